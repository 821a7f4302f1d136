"""What `pump` moves arrives whole, in order and hashed, between all kinds of ends."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.streams.ends import (
    CountingThreads,
    SocketBlob,
    connected,
    open_pipe,
    parked,
    read_to_end,
    receive_to_end,
)
from wherry.errors import (
    CorruptError,
    FileError,
    LimitError,
    NetworkError,
    OperationCancelledError,
    ReaderGoneError,
    StalledError,
)
from wherry.interfaces import Blob, Extent, WouldBlock
from wherry.streams.blobs import BytesBlob, FileBlob
from wherry.streams.pump import Moved, pump, read_all
from wherry.streams.sinks import FileSink, PipeSink, Sink, SocketSink
from wherry.streams.threads import DataThreads

PAYLOAD = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(100_000)) + b"odd"


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@asynccontextmanager
async def source(kind: str, tmp_path: Path) -> AsyncIterator[Blob]:
    """A blob of PAYLOAD of this kind, fed meanwhile."""
    async with trio.open_nursery() as nursery:
        with ExitStack() as stack:
            if kind == "memory":
                yield BytesBlob(PAYLOAD)
            elif kind in ("file", "member"):
                before = b"before" if kind == "member" else b""
                (tmp_path / "blob").write_bytes(before + PAYLOAD + before)
                fd = os.open(tmp_path / "blob", os.O_RDONLY)
                stack.callback(os.close, fd)
                yield FileBlob(fd, len(before), len(PAYLOAD))
            else:
                ours, theirs = stack.enter_context(connected(tls=kind == "tls"))
                prefix = PAYLOAD[:1000] if kind == "socket with prefix" else b""
                rest = PAYLOAD[len(prefix) :]
                nursery.start_soon(trio.to_thread.run_sync, partial(theirs.sendall, rest))
                yield SocketBlob(ours, len(PAYLOAD), prefix)


async def received(kind: str, tmp_path: Path, move: Callable[[Sink], Awaitable[None]]) -> bytes:
    """Run `move` into a sink of this kind and return what came out of it."""
    came: list[bytes] = []

    async def read(reader: Callable[[], bytes]) -> None:
        came.append(await trio.to_thread.run_sync(reader))

    if kind == "file":
        target = tmp_path / "out"
        target.write_bytes(b"head")
        with ExitStack() as stack:
            fd = os.open(target, os.O_RDWR)
            stack.callback(os.close, fd)
            await move(FileSink(fd, 4))
        assert target.read_bytes()[:4] == b"head"
        return target.read_bytes()[4:]
    if kind == "pipe":
        with open_pipe() as (out, _, into, close_writer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, lambda: read_to_end(out))
                await move(PipeSink(into))
                close_writer()
        return came[0]
    with connected(tls=kind == "tls") as (ours, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, lambda: receive_to_end(theirs))
            ours.setblocking(False)
            await move(SocketSink(ours))
            ours.shutdown(socket.SHUT_WR)
    return came[0]


@pytest.mark.parametrize("digests", [(), ("sha256", "sha512")], ids=["raw", "hashed"])
@pytest.mark.parametrize("into", ["pipe", "file", "socket", "tls"])
@pytest.mark.parametrize("kind", ["memory", "file", "member", "socket", "socket with prefix", "tls"])
async def test_all_bytes_arrive(kind: str, into: str, digests: tuple[str, ...], tmp_path: Path) -> None:
    results: list[Moved] = []
    progress: list[int] = []

    async def move(sink: Sink) -> None:
        async with source(kind, tmp_path) as blob:
            results.append(
                await pump(
                    blob,
                    sink,
                    DataThreads(2),
                    digests=digests,
                    limit=len(PAYLOAD),
                    progress=progress.append,
                )
            )

    assert await received(into, tmp_path, move) == PAYLOAD
    assert results[0].count == len(PAYLOAD) == sum(progress)
    expected = {name: f"{name}:{hashlib.new(name, PAYLOAD).hexdigest()}" for name in digests}
    assert results[0].digests == expected


@pytest.mark.parametrize("size", [0, 1, 65535, 65536])
async def test_small_content_of_memory_needs_no_thread_and_no_reader(size: int) -> None:
    threads = CountingThreads()
    with open_pipe() as (out, _, into, close_writer):
        moved = await pump(BytesBlob(PAYLOAD[:size]), PipeSink(into), threads, digests=["sha256"])
        close_writer()
        assert read_to_end(out) == PAYLOAD[:size]
    assert (moved.count, moved.digests) == (size, {"sha256": sha256(PAYLOAD[:size])})
    assert threads.jobs == 0


async def test_what_does_not_fit_the_pipe_goes_to_a_thread() -> None:
    threads = CountingThreads()
    with open_pipe() as (out, _, into, close_writer):
        os.write(into, b"x" * 60000)
        results: list[Moved] = []

        async def move() -> None:
            results.append(
                await pump(BytesBlob(PAYLOAD[:65536]), PipeSink(into), threads, digests=["sha256"])
            )
            close_writer()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            await parked(threads)
            assert not results
            assert await trio.to_thread.run_sync(read_to_end, out) == b"x" * 60000 + PAYLOAD[:65536]
    assert results[0].digests["sha256"] == sha256(PAYLOAD[:65536])
    assert threads.jobs > 0


async def test_a_target_that_the_kernel_refuses_is_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(PAYLOAD)
    fd = os.open(tmp_path / "in", os.O_RDONLY)
    target = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # copy_file_range says EBADF
    try:
        moved = await pump(FileBlob(fd, 0, len(PAYLOAD)), FileSink(target), DataThreads())
    finally:
        os.close(fd)
        os.close(target)
    assert moved.count == len(PAYLOAD)
    assert (tmp_path / "out").read_bytes() == PAYLOAD


async def test_a_full_file_system_is_told_with_the_files_name() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(FileError, match=r"^write blobs/x: no space left on device$"):
            await pump(BytesBlob(PAYLOAD), FileSink(full, display="blobs/x"), DataThreads())
    finally:
        os.close(full)


@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
@pytest.mark.parametrize("kind", ["memory", "file", "socket", "tls"])
async def test_more_than_the_limit_is_refused_and_not_delivered(
    kind: str, digests: tuple[str, ...], tmp_path: Path
) -> None:
    limit = len(PAYLOAD) - 1

    async def move(sink: Sink) -> None:
        async with source(kind, tmp_path) as blob:
            with pytest.raises(CorruptError, match=f"^the content is longer than {limit} bytes$"):
                await pump(blob, sink, DataThreads(), digests=digests, limit=limit)

    assert PAYLOAD[:limit].startswith(await received("pipe", tmp_path, move))


async def test_the_limit_holds_on_the_short_way_too() -> None:
    with open_pipe() as (out, _, into, close_writer):
        with pytest.raises(CorruptError, match="longer than 9 bytes"):
            await pump(BytesBlob(b"0123456789"), PipeSink(into), DataThreads(), limit=9)
        close_writer()
        assert read_to_end(out) == b""


@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
async def test_a_file_that_shrinks_is_an_error(digests: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"short")
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    try:
        with open_pipe() as (_, _, into, _), pytest.raises(CorruptError, match=r"^unexpected EOF$"):
            await pump(FileBlob(fd, 0, 6), PipeSink(into), DataThreads(), digests=digests)
    finally:
        os.close(fd)


@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
async def test_a_connection_that_ends_early_is_an_error(digests: tuple[str, ...]) -> None:
    with connected(tls=False) as (ours, theirs), open_pipe() as (_, _, into, _):
        theirs.sendall(b"half")
        theirs.close()
        with pytest.raises(NetworkError, match=r"^unexpected EOF$"):
            await pump(SocketBlob(ours, 8), PipeSink(into), DataThreads(), digests=digests)


@pytest.mark.parametrize("size", [60_000, 600_000])
@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
async def test_a_reader_that_left_is_a_broken_pipe(size: int, digests: tuple[str, ...]) -> None:
    with open_pipe() as (_, close_reader, into, _):
        close_reader()
        with pytest.raises(ReaderGoneError, match=r"^write \|1: broken pipe$") as caught:
            await pump(BytesBlob(PAYLOAD[:size]), PipeSink(into), DataThreads(), digests=digests)
    assert caught.value.code == "EPIPE"


@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
@pytest.mark.parametrize("sent", [b"", b"some"], ids=["silent", "paused"])
async def test_a_reader_that_leaves_is_noticed_while_the_source_is_silent(
    digests: tuple[str, ...], sent: bytes
) -> None:
    threads = CountingThreads()
    with connected(tls=False) as (ours, theirs), open_pipe() as (_, close_reader, into, _):
        theirs.sendall(sent)
        blob = SocketBlob(ours, 100)
        async with trio.open_nursery() as nursery:

            async def move() -> None:
                with pytest.raises(ReaderGoneError, match=r"^write \|1: broken pipe$"):
                    await pump(blob, PipeSink(into), threads, digests=digests, idle=None)

            nursery.start_soon(move)
            await parked(threads)
            close_reader()
    assert blob.aborted


async def test_a_reader_that_leaves_a_full_pipe_is_noticed(tmp_path: Path) -> None:
    threads = CountingThreads()
    with open_pipe() as (_, close_reader, into, _):
        async with source("file", tmp_path) as blob, trio.open_nursery() as nursery:

            async def move() -> None:
                with pytest.raises(ReaderGoneError, match=r"^write \|1: broken pipe$"):
                    await pump(blob, PipeSink(into), threads)

            nursery.start_soon(move)
            await parked(threads)
            close_reader()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_peer_that_closes_an_upload_is_a_network_error(tls: bool) -> None:
    with connected(tls=tls) as (ours, theirs):
        ours.setblocking(False)
        theirs.close()
        with pytest.raises(NetworkError, match=r"^write: "):
            await pump(BytesBlob(PAYLOAD), SocketSink(ours), DataThreads())


@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
async def test_a_silent_source_is_given_up(
    digests: tuple[str, ...], autojump_clock: trio.testing.MockClock
) -> None:
    with connected(tls=False) as (ours, theirs), open_pipe() as (_, _, into, _):
        theirs.sendall(b"some")
        blob = SocketBlob(ours, 100)
        with pytest.raises(StalledError, match=r"^the source sent nothing for 60 s$") as caught:
            await pump(blob, PipeSink(into), DataThreads(), digests=digests)
    assert caught.value.code == "retryable"
    assert blob.aborted
    assert trio.current_time() >= 60


async def test_a_source_that_trickles_is_given_up(mock_clock: trio.testing.MockClock) -> None:
    threads = CountingThreads()
    with connected(tls=False) as (ours, theirs), open_pipe() as (_, _, into, _):
        async with trio.open_nursery() as nursery:

            async def move() -> None:
                with pytest.raises(StalledError, match=r"^the source sent only 1 bytes in 80 s$"):
                    await pump(SocketBlob(ours, 100), PipeSink(into), threads)

            nursery.start_soon(move)
            for _ in range(2):
                await parked(threads)
                mock_clock.jump(40)
                theirs.send(b"x")


@pytest.mark.parametrize("kind", ["file", "socket"])
async def test_a_slow_reader_is_never_given_up(
    kind: str, mock_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    threads = CountingThreads()
    with open_pipe() as (out, _, into, close_writer):

        async def move() -> None:
            async with source(kind, tmp_path) as blob:
                await pump(blob, PipeSink(into), threads)
            close_writer()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(move)
            for _ in range(3):
                await parked(threads)
                mock_clock.jump(3600)
            assert await trio.to_thread.run_sync(read_to_end, out) == PAYLOAD


@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
async def test_s15_readers_that_stall_hold_no_thread(digests: tuple[str, ...], tmp_path: Path) -> None:
    threads = CountingThreads(2)
    finished: list[int] = []
    (tmp_path / "blob").write_bytes(PAYLOAD)
    fd = os.open(tmp_path / "blob", os.O_RDONLY)
    with ExitStack() as stack:
        stack.callback(os.close, fd)
        pipes = [stack.enter_context(open_pipe()) for _ in range(65)]

        async def move(number: int) -> None:
            _, _, into, close_writer = pipes[number]
            moved = await pump(FileBlob(fd, 0, len(PAYLOAD)), PipeSink(into), threads, digests=digests)
            assert moved.count == len(PAYLOAD)
            finished.append(number)
            close_writer()

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(move, number)
            await parked(threads)
            assert finished == []
            nursery.start_soon(move, 64)
            for number in reversed(range(65)):
                assert await trio.to_thread.run_sync(read_to_end, pipes[number][0]) == PAYLOAD
                await parked(threads)
                assert finished[-1] == number
    assert finished == list(reversed(range(65)))
    assert threads.most_busy == 2


class Endless(BytesBlob):
    """Zeros, until somebody asks it to end."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.end = threading.Event()

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        return 0 if self.end.is_set() else len(buffer)


async def test_a_transfer_that_never_waits_makes_room_for_others() -> None:
    threads, blob = CountingThreads(1), Endless()
    null = os.open("/dev/null", os.O_WRONLY)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, blob, FileSink(null), threads)
            while not threads.jobs:
                await trio.lowlevel.checkpoint()
            assert await read_all(BytesBlob(b"small"), threads, 5, "manifest") == b"small"
            assert not blob.end.is_set()
            blob.end.set()
    finally:
        os.close(null)
    assert threads.most_busy == 1


class WatchedFile(FileBlob):
    aborted = 0

    def abort(self) -> None:
        self.aborted += 1
        super().abort()


class Deaf:
    """A blob whose reads last until it is aborted."""

    size = None

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.aborted = threading.Event()
        self.returned = False

    def extent(self) -> Extent | None:
        return None

    def advance(self, count: int) -> None:
        raise AssertionError("no extent, nothing to advance")

    def fileno(self) -> int:
        return -1

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        self.reading.set()
        assert self.aborted.wait(30)
        self.returned = True
        raise OperationCancelledError("aborted")

    def abort(self) -> None:
        self.aborted.set()


async def test_cancellation_aborts_a_read_and_waits_for_its_thread() -> None:
    blob, threads = Deaf(), DataThreads()
    with open_pipe() as (_, _, into, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pump, blob, PipeSink(into), threads)
            await trio.to_thread.run_sync(blob.reading.wait)
            nursery.cancel_scope.cancel()
    assert blob.returned
    assert threads.busy == 0


@pytest.mark.parametrize("digests", [(), ("sha256",)], ids=["raw", "hashed"])
@pytest.mark.parametrize("settled", [False, True], ids=["in the thread", "in the loop"])
@pytest.mark.parametrize("blocked", ["source", "sink"])
async def test_cancellation_of_a_blocked_transfer(
    blocked: str, settled: bool, digests: tuple[str, ...], tmp_path: Path
) -> None:
    threads = CountingThreads()
    with open_pipe() as (_, _, into, _), connected(tls=False) as (ours, _theirs), ExitStack() as stack:
        if blocked == "source":
            blob: SocketBlob | WatchedFile = SocketBlob(ours, 100)
        else:
            (tmp_path / "blob").write_bytes(PAYLOAD)
            fd = os.open(tmp_path / "blob", os.O_RDONLY)
            stack.callback(os.close, fd)
            blob = WatchedFile(fd, 0, len(PAYLOAD))
        async with trio.open_nursery() as nursery:

            async def move() -> None:
                await pump(blob, PipeSink(into), threads, digests=digests)

            nursery.start_soon(move)
            if settled:
                await parked(threads)
            else:
                while not threads.jobs:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert threads.busy == 0
    assert blob.aborted


async def test_read_all() -> None:
    assert await read_all(BytesBlob(PAYLOAD), DataThreads(), len(PAYLOAD), "manifest") == PAYLOAD
    with pytest.raises(LimitError, match=r"^manifest: exceeded maximum allowed size of 9 bytes$"):
        await read_all(BytesBlob(b"0123456789"), DataThreads(), 9, "manifest")
