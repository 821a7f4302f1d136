"""Sources that fail and go on (interfaces.Resumable): no byte is lost, none comes twice."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio
import trio.testing

from wherry.errors import NetworkError, ReaderGoneError, StalledError, WherryError
from wherry.interfaces import Extent, Resumable, WouldBlock
from wherry.streams.pump import pump
from wherry.streams.sinks import MemorySink, PipeSink
from wherry.streams.threads import DataThreads

DATA = os.urandom(100_000)


class Broken:
    """Fails at each place of `breaks`; with "stall" it is silent there."""

    def __init__(self, breaks: list[int], how: str = "raise", most: int = 7000) -> None:
        self.at = 0
        self.resumed: list[tuple[int, WherryError]] = []
        self.aborted = False
        self._breaks = breaks
        self._how = how
        self._most = most
        self._fd, self._other = os.pipe()

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._other)

    @property
    def size(self) -> int:
        return len(DATA)

    def extent(self) -> Extent | None:
        return None

    def advance(self, count: int) -> None:
        raise AssertionError("nothing is moved by the kernel")

    def fileno(self) -> int:
        return self._fd

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        if self.at in self._breaks:
            if self._how == "stall":
                return WouldBlock.READ
            raise NetworkError("unexpected EOF")
        end = min([self.at + len(buffer), self.at + self._most, len(DATA), *self._ahead()])
        count = end - self.at
        buffer[:count] = DATA[self.at : end]
        self.at = end
        return count

    def _ahead(self) -> list[int]:
        return [place for place in self._breaks if place > self.at]

    def abort(self) -> None:
        self.aborted = True


class Mending(Broken):
    async def resume(self, cause: WherryError) -> None:
        self.resumed.append((self.at, cause))
        await trio.sleep(1)
        self._breaks.remove(self.at)


@pytest.mark.parametrize("breaks", [[], [0], [1], [7000], [1, 6999, 7000, 50_000], [99_999], [100_000]])
async def test_no_byte_is_lost(autojump_clock: trio.testing.MockClock, breaks: list[int]) -> None:
    """Small reads are gathered before they are passed on; what came before the failure counts."""
    autojump_clock.autojump_threshold = 0.1
    blob, sink = Mending(list(breaks)), MemorySink(1 << 20, "blob")
    try:
        moved = await pump(blob, sink, DataThreads(), digests=("sha256",), limit=len(DATA))
    finally:
        blob.close()
    assert bytes(sink.data) == DATA
    assert (moved.count, moved.digests["sha256"]) == (
        len(DATA),
        f"sha256:{hashlib.sha256(DATA).hexdigest()}",
    )
    assert [at for at, _ in blob.resumed] == breaks
    assert isinstance(blob, Resumable)


async def test_silence_is_a_failure_too(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.1
    blob, sink = Mending([100, 200], "stall"), MemorySink(1 << 20, "blob")
    began = trio.current_time()
    try:
        await pump(blob, sink, DataThreads(), idle=60)
    finally:
        blob.close()
    assert bytes(sink.data) == DATA
    assert [type(cause) for _, cause in blob.resumed] == [StalledError, StalledError]
    assert trio.current_time() - began == pytest.approx(2 * (60 + 1), abs=1)


async def test_a_source_that_can_t_go_on(autojump_clock: trio.testing.MockClock) -> None:
    """What came before is passed on; then its error."""
    blob, sink = Broken([10_000]), MemorySink(1 << 20, "blob")
    assert not isinstance(blob, Resumable)
    try:
        with pytest.raises(NetworkError, match="unexpected EOF"):
            await pump(blob, sink, DataThreads())
    finally:
        blob.close()
    assert bytes(sink.data) == DATA[:10_000]
    assert blob.aborted


async def test_the_sink_s_failure_is_not_the_source_s() -> None:
    blob = Mending([])
    out, into = os.pipe()
    os.set_blocking(into, False)
    os.close(out)
    try:
        with pytest.raises(ReaderGoneError, match="broken pipe"):
            await pump(blob, PipeSink(into), DataThreads())
    finally:
        os.close(into)
        blob.close()
    assert not blob.resumed
    assert blob.aborted
