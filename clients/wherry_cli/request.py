"""Asking a server: the one embedded in this process, with the caller's rights, files and credentials."""

from __future__ import annotations

import random
import signal
import threading
from typing import TYPE_CHECKING, ClassVar, TypeVar

import trio

from wherry.errors import InvalidError, OperationCancelledError, StalledError, WherryError
from wherry.server.embed import embedded
from wherry.server.settings import ProxySettings
from wherry_cli import coredumps
from wherry_cli.access import platform_choice, policy_options
from wherry_cli.system_from import build_system, with_tls_details
from wherry_client import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wherry_cli.call import Call

    Question = Callable[[AsyncClient], Awaitable["T"]]

T = TypeVar("T")

_LONGEST_DELAY = 60.0  # seconds; the reference doubles without an end


class TerminatedError(OperationCancelledError):
    """SIGTERM came."""

    exit_status: ClassVar[int] = 143


def ask(call: Call, question: Question[T]) -> T:
    """The answer to a question, within --command-timeout, tried again as --retry-times says.

    Raises the WherryError that the server answered, or StalledError when the time is over.
    """
    coredumps.forbid()
    try:
        return trio.run(_ask, call, question)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


async def _ask(call: Call, question: Question[T]) -> T:
    """Ask until answered; SIGTERM cancels, so that an unfinished destination is rolled back."""
    answers: list[T] = []
    failures: list[Exception] = []
    ended = False

    async def watch(scope: trio.CancelScope) -> None:
        nonlocal ended
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                ended = True
                scope.cancel()

    async with trio.open_nursery() as nursery:
        if threading.current_thread() is threading.main_thread():
            nursery.start_soon(watch, nursery.cancel_scope)
        try:
            answers.append(await _ask_in_time(call, question))
        except Exception as error:
            failures.append(error)  # raised below: the nursery would wrap it in a group
        nursery.cancel_scope.cancel()
    if ended:
        raise TerminatedError("terminated")
    if failures:
        raise failures[0]
    return answers[0]


async def _ask_in_time(call: Call, question: Question[T]) -> T:
    limit = call.given.seconds("command-timeout")
    if limit <= 0:
        return await _ask_again(call, question)
    with trio.move_on_after(limit):
        return await _ask_again(call, question)
    raise StalledError("context deadline exceeded")


async def _ask_again(call: Call, question: Question[T]) -> T:
    """Ask, and ask again after errors that may pass (skopeo's --retry-times, --retry-delay)."""
    given = call.given
    most, fixed = given.number("retry-times"), given.seconds("retry-delay")
    if fixed < 0:
        raise InvalidError("--retry-delay must not be negative")
    attempt = 0
    while True:
        try:
            return await _ask_once(call, question)
        except WherryError as error:
            if not error.retryable or attempt >= most:
                raise
            delay = fixed or min(2.0**attempt, _LONGEST_DELAY)
            attempt += 1
            text = f"Failed, retrying in {go_duration(delay)} ... ({attempt}/{most}). Error: {error}"
            call.log.write("warning", text)
        # So that clients that failed together do not come back together.
        await trio.sleep(delay * (1 + random.random() / 10))  # noqa: S311 - no secret


async def _ask_once(call: Call, question: Question[T]) -> T:
    given = call.given
    settings = ProxySettings(
        platform=platform_choice(given), policy=policy_options(given), log=call.log.write
    )
    system = with_tls_details(build_system(call), given)
    call.log.write("debug", f"Asking the embedded server: {call.line.command} {' '.join(call.arguments)}")
    async with embedded(system, settings) as sock, AsyncClient.over(sock) as client:
        return await question(client)


def go_duration(seconds: float) -> str:
    """A time as Go's `Duration.String` writes it: `10ms`, `1s`, `1m30s`."""
    nanoseconds = round(seconds * 1e9)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{_decimal(nanoseconds, size)}{unit}" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{shown}{_decimal(rest, 10**9)}s"


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    fraction = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
