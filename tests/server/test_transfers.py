"""Transfers at their edges: cancelled while they begin, bugs below them, no descriptors left."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.harness import TRUSTING, layout_of, make_system, serving
from wherry.errors import LimitError
from wherry.interfaces import Blob, WouldBlock
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.policy import load_policy
from wherry.protocol.messages import BlobOptions
from wherry.protocol.options import ImageAccess, PlatformChoice
from wherry.server.images import HeldImage, ImageTable, PolicyCheck
from wherry.server.pipes import PipeTable
from wherry.server.transfers import Transfers
from wherry.streams.blobs import BytesBlob
from wherry.transports import parse

WANTED = digest.of(b"x")
WAYS = ("verified", "raw", "tracked")


class BrokenBlob:
    """A blob whose transport has a bug."""

    size = 1

    def extent(self) -> None:
        return None

    def advance(self, count: int) -> None:
        raise ZeroDivisionError("a bug")

    def fileno(self) -> int:
        return -1

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        raise ZeroDivisionError("a bug")

    def abort(self) -> None:
        self.aborted = True


class Source:
    """An image's source, whose blobs open when `go` is set."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.go = trio.Event()

    @asynccontextmanager
    async def blob(self, wanted: Descriptor) -> AsyncIterator[Blob]:
        await self.go.wait()
        yield self._blob


class Image:
    """All that transfers want of an image."""

    def __init__(self, source: Source) -> None:
        self.source = source


def held(source: Source) -> HeldImage:
    return HeldImage(Image(source))  # type: ignore[arg-type]


def start(transfers: Transfers, way: str, image: HeldImage) -> Any:
    options = BlobOptions(size=1)
    return {
        "verified": lambda: transfers.verified(image, WANTED, 1),
        "raw": lambda: transfers.raw(image, WANTED, 1),
        "tracked": lambda: transfers.tracked(image, WANTED, options),
    }[way]()


@pytest.mark.parametrize("way", WAYS)
async def test_s24_cancelled_while_it_begins(way: str, tmp_path: Path) -> None:
    """The blob opens in the very moment in which the request is cancelled: no reply will carry the pipes."""
    source = Source(BytesBlob(b"x"))
    pipes = PipeTable(10)
    before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        transfers = Transfers(nursery, make_system(tmp_path), pipes, TRUSTING.log)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as request:
                request.start_soon(start, transfers, way, held(source))
                await trio.testing.wait_all_tasks_blocked()
                source.go.set()
                scope.cancel()
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        pipes.close()
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("way", WAYS)
async def test_no_descriptor_is_left_where_none_can_be_had(way: str, tmp_path: Path) -> None:
    """Two pipes are needed and only one can be made: the request fails, the first pipe goes."""
    source = Source(BytesBlob(b"x"))
    source.go.set()
    pipes = PipeTable(10)
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with trio.open_nursery() as nursery:
        transfers = Transfers(nursery, make_system(tmp_path), pipes, TRUSTING.log)
        lowest = os.dup(0)
        os.close(lowest)
        room = 1 if way == "verified" else 3
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, hard))
        try:
            with pytest.raises(LimitError, match=r"\Ano file descriptor is left for a pipe\Z"):
                await start(transfers, way, held(source))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_bug_below_a_transfer_ends_that_transfer_only(tmp_path: Path) -> None:
    source = Source(BrokenBlob())
    source.go.set()
    log: list[str] = []
    pipes = PipeTable(10)
    async with trio.open_nursery() as nursery:
        system = make_system(tmp_path)
        transfers = Transfers(nursery, system, pipes, lambda level, text: log.append(text))
        _, data, errors = await transfers.raw(held(source), WANTED, 1)
        assert await drained(data) == b""
        told = b'{"code":"other","message":"internal error in GetRawBlob: ZeroDivisionError"}'
        assert await drained(errors) == told
        _, data, status = await transfers.tracked(held(source), WANTED, BlobOptions(size=1))
        assert await drained(data) == b""
        assert b'"message":"internal error in OpenBlob: ZeroDivisionError"' in await drained(status)
        _, data, pipe = await transfers.verified(held(source), WANTED, 1)
        await pipe.done.wait()
        assert str(pipe.error) == "internal error in GetBlob: ZeroDivisionError"
        os.close(data)
    pipes.close()
    assert len(log) == 3
    assert all("ZeroDivisionError: a bug" in text for text in log)


async def drained(fd: int) -> bytes:
    async with trio.lowlevel.FdStream(fd) as stream:
        return b"".join([chunk async for chunk in stream])


class BadEnd:
    """A reference whose source has a bug when it is left."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __str__(self) -> str:
        return str(self._real)

    @asynccontextmanager
    async def source(self, system: Any, access: Any) -> AsyncIterator[Any]:
        async with self._real.source(system, access) as source:
            yield source
        raise ZeroDivisionError("a bug")


async def test_a_bug_in_closing_an_image_does_not_end_the_connection(images: Path, tmp_path: Path) -> None:
    system = make_system(tmp_path)
    reference = BadEnd(parse(f"oci:{images}/one", system))
    policy = PolicyCheck(load_policy(system, None, True), False)
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        table = ImageTable(nursery, system, 10, log=lambda level, text: log.append(text))
        handle = await table.open(reference, ImageAccess(), PlatformChoice(), policy)  # type: ignore[arg-type]
        table.close(handle)
    assert len(log) == 1
    assert "ZeroDivisionError: a bug" in log[0]


async def test_descriptors_run_out_and_come_back(tmp_path: Path) -> None:
    """EMFILE is an error of the request; the connection lives on, and the next one succeeds."""
    image = layout_of(tmp_path / "image", b"x" * 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{image.path}")
        first = await peer.call("GetManifest", 1)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            for _ in range(3):
                wanted = ("other", "no file descriptor is left for a pipe")
                assert (await peer.call("GetManifest", 1)).failure == wanted
                assert (await peer.call("GetRawBlob", 1, image.digest)).failure[0] == "other"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for answer in (first, await peer.call("GetManifest", 1)):
            data, verdict = await peer.finished(answer)
            assert (data, verdict.value) == (image.raw, None)
