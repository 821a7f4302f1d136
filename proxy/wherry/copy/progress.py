"""Progress of a running copy, told at most ten times a second, however often bytes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from wherry.protocol.messages import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    Tell = Callable[[Event], Awaitable[None]]

INTERVAL = 0.1


class Reporter:
    """Counts payload bytes (from any thread) and tells their sum as `progress` events while it is entered."""

    def __init__(self, tell: Tell | None, number: int) -> None:
        self._tell = tell
        self._number = number
        self._bytes = 0
        self._nursery_manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    def moved(self, count: int) -> None:
        """The data plane moved `count` more bytes. An integer's addition: a lost update only misses one
        event."""
        self._bytes += count

    async def __aenter__(self) -> Reporter:
        self._nursery = await self._nursery_manager.__aenter__()
        if self._tell is not None:
            self._nursery.start_soon(self._report, self._tell)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        return await self._nursery_manager.__aexit__(kind, error, trace)

    async def _report(self, tell: Tell) -> None:
        last = 0
        while True:
            await trio.sleep(INTERVAL)
            if self._bytes != last:
                last = self._bytes
                await tell(Event("progress", self._number, bytes=last))
