"""Progress of a running copy, told at most ten times a second, however often bytes arrive."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from wherry.protocol.messages import Event
from wherry.streams.background import background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Tell = Callable[[Event], Awaitable[None]]

INTERVAL = 0.1


class Reporter:
    """Counts payload bytes, from any thread."""

    def __init__(self) -> None:
        self.bytes = 0

    def moved(self, count: int) -> None:
        """The data plane moved `count` more bytes; two threads at once may lose one of their updates."""
        self.bytes += count


@asynccontextmanager
async def reporting(tell: Tell | None, number: int) -> AsyncIterator[Reporter]:
    """A Reporter whose sum is told as `progress` events of request `number` while the block runs."""
    reporter = Reporter()
    async with background() as nursery:
        if tell is not None:
            nursery.start_soon(_report, reporter, tell, number)
        yield reporter


async def _report(reporter: Reporter, tell: Tell, number: int) -> None:
    told = 0
    while True:
        await trio.sleep(INTERVAL)
        if reporter.bytes != told:
            told = reporter.bytes
            await tell(Event("progress", number, bytes=told))
