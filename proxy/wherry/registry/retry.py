"""When a request is made again: which failures may pass, after which pause, and how many ask at once.

Three things bound it, whatever a registry does (R-37 to R-39): a budget of tries and of time for each
operation; the caller's own deadline, which no pause outlasts; and a breaker for each registry, so that a
hundred clients of one that fails do not knock a hundred times as often.
"""

from __future__ import annotations

import math
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from wherry.errors import NetworkError, RegistryError, StalledError, WherryError
from wherry.registry.dial import UnreachableError
from wherry.system import Retries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


T = TypeVar("T")

THROTTLED: Final = 429
PASSING: Final = frozenset({THROTTLED, 500, 502, 503, 504})
"""Statuses of answers that may be others a moment later."""

OPENS_AFTER: Final = 5
RECOVERY: Final = 10
FORGETS_AFTER_S: Final = 60.0
_LONGEST_S: Final = 60.0
_BREAKER_LONGEST_S: Final = 8.0
_THROTTLED_FACTOR: Final = 4


def may_pass(error: WherryError) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, NetworkError | StalledError):
        return error.retryable
    return error.retryable or error.http_status in PASSING


class Budget:
    """What one operation may spend on further tries, in number and in time from now on.

    `stalls`: how many of its tries may have ended in silence; `waits`: whether it waits for a registry that
    keeps failing (Breaker) at all.
    """

    def __init__(self, rules: Retries, stalls: int = 2, *, waits: bool = True) -> None:
        self.waits = waits
        self._rules = rules
        self._stalls_allowed = stalls
        self.renew()

    def renew(self) -> None:
        """As new: the operation has got on."""
        self._tries = 0
        self._stalls = 0
        self._end = trio.current_time() + self._rules.budget

    def moved(self) -> None:
        """Some bytes came since the last failure: another stall is not one in a row."""
        self._stalls = 0

    @property
    def deadline(self) -> float:
        """When (on trio's clock) the last try must have begun: the budget's end, or the caller's."""
        return min(self._end, trio.current_effective_deadline())

    def pause(self, error: WherryError, *, known: bool = True) -> float | None:
        """Seconds to wait before the next try, None where there is none.

        `known`: whether the server has answered before; one that was never there is not asked again.
        """
        if self._tries >= self._limit(error) or (isinstance(error, UnreachableError) and not known):
            return None
        if isinstance(error, StalledError):
            if self._stalls >= self._stalls_allowed or not known:
                return None
            self._stalls += 1
        pause = self._length(error)
        if trio.current_time() + pause >= self.deadline:
            return None
        self._tries += 1
        return pause

    def _limit(self, error: WherryError) -> int:
        if error.http_status == THROTTLED:
            return self._rules.throttled
        return self._rules.unreachable if isinstance(error, NetworkError) else self._rules.failed

    def _length(self, error: WherryError) -> float:
        """At least what the registry asked for; never the same for two clients."""
        dice = self._rules.dice()
        first = self._rules.pause * (_THROTTLED_FACTOR if error.http_status == THROTTLED else 1)
        own = float(min(first * 2**self._tries, _LONGEST_S)) * (0.75 + 0.5 * dice)
        return own if error.retry_after is None else error.retry_after * (1 + 0.1 * dice)


def one_try() -> Budget:
    """Of an operation that has another way."""
    return Budget(Retries(failed=0, throttled=0, unreachable=0), waits=False)


class GivenUpError(RegistryError):
    """Others have found out that the registry keeps failing; it was not asked once more."""


class Breaker:
    """What the clients of one registry know together of its failures.

    It opens after several failures in a row, and at once when the registry says that there are too many
    requests. While it is open one client asks at a time, after the pause that is due; the others wait, and
    give up with it when its tries fail. It closes once the registry has answered a few times.
    """

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._failed = 0
        self._recovering = 0
        self._failures = 0
        self._until = -math.inf
        self._last_at = -math.inf
        self._last: WherryError | None = None
        self._turn = trio.Lock()

    @property
    def is_open(self) -> bool:
        return self._recovering > 0 and trio.current_time() < self._last_at + FORGETS_AFTER_S

    @asynccontextmanager
    async def turn(self, budget: Budget) -> AsyncIterator[None]:
        """Leave to ask. Raises GivenUpError where others have found out meanwhile that it is of no use."""
        if not self.is_open or self._turn.statistics().owner is trio.lowlevel.current_task():
            yield
            return
        if not budget.waits and trio.current_time() < self._until:
            raise self._given_up()
        before = self._failures
        with trio.move_on_at(budget.deadline) as scope:
            await self._turn.acquire()
        if scope.cancelled_caught:
            raise self._given_up()
        try:
            if self._failures - before >= OPENS_AFTER or self._until >= budget.deadline:
                raise self._given_up()
            if self.is_open:
                await trio.sleep_until(self._until)
            yield
        finally:
            self._turn.release()

    def answered(self) -> None:
        """The registry gave an answer, a yes or a no."""
        self._failed = 0
        self._recovering = max(0, self._recovering - 1)

    def failed(self, error: WherryError, pause: float | None) -> None:
        """A request failed, and may be made again after `pause`."""
        self._failures += 1
        self._failed += 1
        # A copy of what counts: the error itself gets more text on its way to the caller.
        self._last = RegistryError(
            f"registry {self._registry} keeps failing: {error}",
            retryable=True,
            http_status=error.http_status,
            retry_after=error.retry_after,
        )
        self._last_at = now = trio.current_time()
        if error.http_status == THROTTLED or self._failed >= OPENS_AFTER:
            self._recovering = RECOVERY
            due = min(pause or 0.0, _LONGEST_S) if error.http_status == THROTTLED else self._own_pause()
            self._until = max(self._until, now + due)
            self._last_at = max(now, self._until)

    def _own_pause(self) -> float:
        return min(0.5 * 2.0 ** min(self._failed - OPENS_AFTER, 8), _BREAKER_LONGEST_S)

    def _given_up(self) -> WherryError:
        last = self._last
        if last is None:
            return GivenUpError(f"registry {self._registry} keeps failing", retryable=True)
        return GivenUpError(
            str(last), retryable=True, http_status=last.http_status, retry_after=last.retry_after
        )


class Persistence:
    """Makes requests to one registry until they succeed, or until there is no use.

    `warn` is told of each try that failed and is not the last.
    """

    def __init__(self, rules: Retries, breaker: Breaker, warn: Callable[[str], None]) -> None:
        self._rules = rules
        self._breaker = breaker
        self._warn = warn

    def budget(self, stalls: int = 2) -> Budget:
        """That of an operation that begins now."""
        return Budget(self._rules, stalls)

    async def run(
        self, once: Callable[[], Awaitable[T]], budget: Budget, known: Callable[[], bool] = lambda: True
    ) -> T:
        """The result of `once`, which is awaited again after each failure that may pass.

        `once` must be idempotent, and leave nothing open when it raises. Raises its last error, or
        GivenUpError where it was not asked at all.
        """
        own: WherryError | None = None
        while True:
            async with self._turn(budget, own):
                try:
                    result = await once()
                except WherryError as error:
                    if not may_pass(error):
                        self._breaker.answered()
                        raise
                    pause = budget.pause(error, known=known())
                    self._breaker.failed(error, pause)
                    if pause is None:
                        raise
                    own = error
                    self._warn(f"{error}; trying again in {pause:.1f} s")
                else:
                    self._breaker.answered()
                    return result
            await trio.sleep(pause)

    @asynccontextmanager
    async def _turn(self, budget: Budget, own: WherryError | None) -> AsyncIterator[None]:
        """The breaker's; where it gives up, who has an error of his own raises that."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._breaker.turn(budget))
            except GivenUpError:
                if own is not None:
                    raise own from None
                raise
            yield
