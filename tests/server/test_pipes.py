"""Pipes, FinishPipe, and clients that do not read them (hostile-cases.md 1.4, protocol-reference 1.10)."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry
from tests.images import build
from tests.leaks import Held
from tests.server.harness import (
    PATIENCE,
    Stored,
    layout_of,
    make_system,
    serve_image,
    serving,
    spawned,
    stored,
    until,
)
from wherry.system import System

SMALL = b"small"
LARGE = bytes(range(256)) * 12288
"""3 MiB: more than any pipe takes."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """An image of one layer that fits a pipe and one that does not."""
    return layout_of(tmp_path_factory.mktemp("large") / "image", SMALL, LARGE)


def get_blob(image: Stored, layer: int, handle: int = 1) -> tuple[Any, ...]:
    descriptor = image.layers[layer]
    return ("GetBlob", handle, descriptor["digest"], descriptor["size"])


def get_raw_blob(image: Stored, layer: int, handle: int = 1) -> tuple[Any, ...]:
    return ("GetRawBlob", handle, image.layers[layer]["digest"])


async def settled(system: System) -> None:
    """Wait until every data thread has given back what it can't move now."""
    await until(lambda: not system.threads.busy)  # type: ignore[attr-defined]


# S-12


@pytest.fixture(scope="module")
def archive(large: Stored) -> Path:
    """The large image as a compressed archive, which its source expands into a temporary file."""
    files = {
        str(path.relative_to(large.path)): path.read_bytes()
        for path in sorted(large.path.rglob("*"))
        if path.is_file()
    }
    packed = large.path.parent / "large.tar.gz"
    packed.write_bytes(build.gzip(build.tar(files)))
    return packed


@pytest.mark.parametrize("method", [get_blob, get_raw_blob])
@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker"])
async def test_s12_a_blob_runs_on_after_its_image_was_closed(
    kind: str, method: Any, large: Stored, archive: Path, tmp_path: Path
) -> None:
    """What the blob is read from (a temporary file, a connection) stays as long as the blob needs it."""
    with FakeRegistry() as fake:
        names = {
            "oci": f"oci:{large.path}",
            "oci-archive": f"oci-archive:{archive}",
            "docker": serve_image(fake, "x", large),
        }
        async with serving(make_system(tmp_path)) as peer:
            await peer.open(names[kind])
            answer = await peer.call(*method(large, 1))
            assert (await peer.call("CloseImage", 1)).value is None
            assert (await peer.call(*method(large, 1))).failure == ("other", "no image 1")
            assert (await peer.call("CloseImage", 1)).failure == ("other", "no image 1")
            await trio.testing.wait_all_tasks_blocked(0.05)
            if answer.pipe:
                data, verdict = await peer.finished(answer)
                assert verdict.value is None
            else:
                data = await peer.read(answer.fds[0])
                assert await peer.read(answer.fds[1]) == b""
            assert data == LARGE


# S-13


async def test_s13_finish_pipe_before_the_data_is_read_waits(large: Stored, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{large.path}")
        answer = await peer.call(*get_blob(large, 1))
        await peer.ask("FinishPipe", answer.pipe)
        await peer.ask("GetLayerInfo", 1)
        assert await peer.read(answer.fds[0]) == LARGE
        assert (await peer.reply()).value is None, "legacy requests keep their order"
        assert len((await peer.reply()).value) == 2


async def test_s13_a_pipe_ends_with_finish_pipe_only(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{images}/one")
        answer = await peer.call("GetManifest", 1)
        (fd,) = answer.fds
        manifest = stored(images / "one").raw
        assert os.read(fd, 1 << 16) == manifest
        os.set_blocking(fd, False)
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            os.read(fd, 1)
        assert (await peer.call("FinishPipe", answer.pipe)).value is None
        assert os.read(fd, 1) == b""
        wanted = ("other", f"finishpipe: no active pipe {answer.pipe}")
        assert (await peer.call("FinishPipe", answer.pipe)).failure == wanted


async def test_s13_ids_are_never_used_again(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{images}/one")
        for number in range(1, 6):
            answer = await peer.call("GetManifest", 1)
            assert answer.pipe == number
            assert (await peer.call("FinishPipe", number)).value is None
            peer.close_fd(answer.fds[0])
        assert (await peer.call("OpenImage", f"oci:{images}/one")).value == 2
        await peer.call("CloseImage", 2)
        assert (await peer.call("OpenImage", f"oci:{images}/one")).value == 3


async def test_s13_finish_pipe_after_the_reader_left(large: Stored, tmp_path: Path) -> None:
    """What fitted the pipe counts as delivered; the rest is EPIPE."""
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{large.path}")
        answer = await peer.call(*get_blob(large, 0))
        await _some(answer.fds[0], 1)  # then the rest is in the pipe too: it was one write
        peer.close_fd(answer.fds[0])
        assert (await peer.call("FinishPipe", answer.pipe)).value is None
        answer = await peer.call(*get_blob(large, 1))
        os.read(answer.fds[0], 4096)
        peer.close_fd(answer.fds[0])
        assert (await peer.call("FinishPipe", answer.pipe)).failure == ("EPIPE", "write |1: broken pipe")
        answer = await peer.call(*get_raw_blob(large, 1))
        os.read(answer.fds[0], 4096)
        peer.close_fd(answer.fds[0])
        told = b'{"code":"EPIPE","message":"write |1: broken pipe"}'
        assert await peer.read(answer.fds[1]) == told


async def test_s13_s14_pipes_and_images_belong_to_one_connection(images: Path, tmp_path: Path) -> None:
    """A foreign id gives the same answer as one that never was."""
    system = make_system(tmp_path)
    async with serving(system) as one, serving(system) as other:
        await one.open(f"oci:{images}/one")
        answer = await one.call("GetManifest", 1)
        await other.call("Initialize")
        assert (await other.call("FinishPipe", answer.pipe)).failure[1] == "finishpipe: no active pipe 1"
        assert (await other.call("FinishPipe", 77)).failure[1] == "finishpipe: no active pipe 77"
        for method in ("GetManifest", "CloseImage"):
            assert (await other.call(method, 1)).failure == ("other", "no image 1")
            assert (await other.call(method, 77)).failure == ("other", "no image 77")
        data, verdict = await one.finished(answer)
        assert (data, verdict.value) == (stored(images / "one").raw, None)


# S-15, fault 6: stuck and abandoned pipes


@pytest.mark.parametrize("limit", [2, 32])
async def test_s15_stuck_pipes_hold_no_thread(limit: int, large: Stored, tmp_path: Path) -> None:
    """64 clients' worth of unread pipes and one blob more than there are threads: everything else goes on."""
    system = make_system(tmp_path, threads=limit)
    async with serving(system) as peer:
        await peer.open(f"oci:{large.path}")
        stuck = [await peer.call(*get_raw_blob(large, 1)) for _ in range(64)]
        blobs = [await peer.call(*get_blob(large, 1)) for _ in range(limit + 1)]
        last = blobs[-1]
        manifest, verdict = await peer.finished(await peer.call("GetManifest", 1))
        assert (manifest, verdict.value) == (large.raw, None)
        assert _data_threads() <= limit
        await settled(system)
        data, verdict = await peer.finished(last)
        assert (data == LARGE, verdict.value) == (True, None)
        assert _data_threads() <= limit
        for answer in stuck:
            assert await peer.read(answer.fds[0]) == LARGE
            assert await peer.read(answer.fds[1]) == b""
        for answer in reversed(blobs[:-1]):
            with trio.fail_after(PATIENCE):
                assert await _some(answer.fds[0], len(LARGE)) == LARGE
        for answer in blobs[:-1]:
            assert (await peer.call("FinishPipe", answer.pipe)).value is None


def _data_threads() -> int:
    """Threads that move payload now: trio names its cached ones anew with each job."""
    import threading

    return sum(thread.name == "wherry data" for thread in threading.enumerate())


async def _some(fd: int, count: int) -> bytes:
    """Exactly `count` bytes of a pipe that stays open behind them."""
    data = b""
    while len(data) < count:
        await trio.lowlevel.wait_readable(fd)
        data += os.read(fd, count - len(data))
    return data


async def test_s15_stuck_pipes_in_a_process_of_its_own(large: Stored, tmp_path: Path) -> None:
    """With the limits that `wherry experimental-image-proxy` starts with; the kernel counts the threads."""
    with spawned(tmp_path / "home", tmp_path) as peer:
        await peer.open(f"oci:{large.path}")
        stuck = [await peer.call(*get_raw_blob(large, 1)) for _ in range(64)]
        stuck += [await peer.call(*get_blob(large, 1)) for _ in range(33)]
        manifest, _ = await peer.finished(await peer.call("GetManifest", 1))
        assert manifest == large.raw
        # The event loop, the data threads, and those that read manifests and index files.
        assert len(os.listdir(f"/proc/{peer.process.pid}/task")) <= 1 + 32 + 8
        data, verdict = await peer.finished(stuck[-1])
        assert (data == LARGE, verdict.value) == (True, None)


@pytest.mark.parametrize("method", [get_blob, get_raw_blob, None])
async def test_s15_fault_6_sixty_abandoned_pipes_leave_nothing(
    method: Any, large: Stored, tmp_path: Path
) -> None:
    """The client closes its ends and never says FinishPipe; the connection lives on."""
    system = make_system(tmp_path)
    async with serving(system) as peer:
        await peer.open(f"oci:{large.path}")
        before = _descriptors()
        for _ in range(60):
            answer = await peer.call(*(method(large, 1) if method else ("GetManifest", 1)))
            for fd in answer.fds:
                peer.close_fd(fd)
        await settled(system)
        # One more than before: the epoll that watches for readers who leave.
        await until(lambda: _descriptors() <= before + 1)
        assert _data_threads() == 0
        data, verdict = await peer.finished(await peer.call("GetManifest", 1))
        assert (data, verdict.value) == (large.raw, None)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_s15_a_pipe_closed_on_cancel_is_noticed_at_once(large: Stored, tmp_path: Path) -> None:
    """The write end of a pipe whose payload is all written, but not finished, goes with its reader."""
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{large.path}")
        before = _descriptors()
        answers = [await peer.call("GetManifest", 1) for _ in range(20)]
        assert _descriptors() >= before + 40
        for answer in answers:
            peer.close_fd(answer.fds[0])
        await until(lambda: _descriptors() <= before + 1)
        for answer in answers:
            assert (await peer.call("FinishPipe", answer.pipe)).value is None


async def test_the_limit_of_pipes_is_an_error(images: Path, tmp_path: Path) -> None:
    """Abandoned pipes whose result nobody asked for make room; open ones do not."""
    import msgspec

    from tests.server.harness import TRUSTING

    limits = msgspec.structs.replace(TRUSTING.limits, pipes=4)
    settings = msgspec.structs.replace(TRUSTING, limits=limits)
    async with serving(make_system(tmp_path), settings) as peer:
        await peer.open(f"oci:{images}/one")
        answers = [await peer.call("GetManifest", 1) for _ in range(4)]
        text = "4 pipes are open on this connection, which is the limit"
        assert (await peer.call("GetManifest", 1)).failure == ("other", text)
        assert (await peer.call("FinishPipe", answers[0].pipe)).value is None
        again = await peer.call("GetManifest", 1)
        assert again.pipe == 5
        before = _descriptors()
        peer.close_fd(again.fds[0])
        await until(lambda: _descriptors() == before - 2)
        assert (await peer.call("GetManifest", 1)).pipe == 6


# S-25, S-26


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_STREAM])
async def test_s25_a_half_close_finishes_what_flows(kind: int, large: Stored, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path), kind=kind) as peer:
        await peer.open(f"oci:{large.path}")
        plain = await peer.call(*get_blob(large, 1))
        raw = await peer.call(*get_raw_blob(large, 1))
        await peer.ask(*get_blob(large, 0))
        peer.sock.shutdown(socket.SHUT_WR)
        small = await peer.reply()
        assert await peer.read(raw.fds[0]) == LARGE
        assert await peer.read(raw.fds[1]) == b""
        assert await peer.read(plain.fds[0]) == LARGE, "no FinishPipe can come: the pipe closes by itself"
        assert await peer.read(small.fds[0]) == SMALL
        assert await peer.message() is None


async def test_s25_a_half_close_without_transfers_ends_the_process(images: Path, tmp_path: Path) -> None:
    from tests.server.harness import ended

    with spawned(tmp_path / "home", images) as peer:
        await peer.open("oci:one")
        peer.sock.shutdown(socket.SHUT_WR)
        assert await ended(peer) == (0, "")


async def test_s26_a_reply_that_can_t_be_sent_keeps_no_descriptor(large: Stored, tmp_path: Path) -> None:
    """SHUT_RD on the client's side: sending fails, with descriptors attached."""
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{large.path}")
        before = Held.now(tmp_path / ".scratch").descriptors
        peer.sock.shutdown(socket.SHUT_RD)
        for _ in range(10):
            await peer.ask(*get_raw_blob(large, 1))
            await peer.ask("GetManifest", 1)
        # A SIOCOUTQ of 0 says that the server has taken all requests.
        await until(lambda: _unread(peer.sock) == 0)
        await trio.testing.wait_all_tasks_blocked(0.05)
        # The pipe of each GetManifest has no reader left, so only its number is kept.
        await until(lambda: len(Held.now(tmp_path / ".scratch").descriptors - before) <= 1)


def _unread(sock: socket.socket) -> int:
    """Bytes that were sent and that the peer has not received."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


async def test_s26_a_full_socket_keeps_descriptors_until_it_is_read(images: Path, tmp_path: Path) -> None:
    """Replies with descriptors queue in the kernel, in order, and none is lost."""
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{images}/one")
        for _ in range(100):
            await peer.ask("GetManifest", 1)
        for number in range(1, 101):
            answer = await peer.reply()
            assert (answer.pipe, len(answer.fds)) == (number, 1)
            peer.close_fd(answer.fds[0])


# Verification


async def test_sizes_and_digests_are_checked_at_the_end(large: Stored, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{large.path}")
        digest = large.layers[0]["digest"]
        for size in (0, 4, 6):
            data, verdict = await peer.finished(await peer.call("GetBlob", 1, digest, size))
            assert (data, verdict.failure) == (SMALL, ("other", f"expected {size} bytes in blob, got 5"))
        data, verdict = await peer.finished(await peer.call("GetBlob", 1, digest, 5))
        assert (data, verdict.value) == (SMALL, None)


async def test_a_corrupt_blob_is_told_at_the_end(tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"as it was")
    digest = image.layers[0]["digest"]
    image.file(digest).write_bytes(b"as it is.")
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{image.path}")
        data, verdict = await peer.finished(await peer.call("GetBlob", 1, digest, 9))
        assert data == b"as it is."
        assert verdict.failure == ("other", f"corrupted blob, expecting {digest}")
        data, verdict = await peer.finished(await peer.call("GetBlob", 1, digest, 8))
        assert verdict.failure == ("other", f"corrupted blob, expecting {digest}"), "the digest's error wins"


async def test_a_peer_is_independent_of_its_pipes(large: Stored, tmp_path: Path) -> None:
    """Two raw blobs flow beside each other; the one that was asked for last is read first."""
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{large.path}")
        first = await peer.call(*get_raw_blob(large, 1))
        second = await peer.call(*get_raw_blob(large, 1))
        for answer in (second, first):
            assert answer.value == len(LARGE)
            assert await peer.read(answer.fds[0]) == LARGE
            assert await peer.read(answer.fds[1]) == b""
