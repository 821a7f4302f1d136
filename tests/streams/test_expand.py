"""Expansion of compressed archives: whole, linear, bounded, and nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from wherry.errors import CorruptError, FileMissingError, LimitError, OperationCancelledError
from wherry.protocol.options import PlatformChoice
from wherry.streams.expand import FREE, Compression, detect, expand, plain
from wherry.streams.spool import spool
from wherry.streams.threads import DataThreads
from wherry.system import System

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAYLOAD = b"".join(b"line %d of an archive\n" % number for number in range(20_000))
SKIPPABLE = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
COMPRESS: dict[Compression, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": partial(zstd.compress, options={int(zstd.CompressionParameter.checksum_flag): 1}),
}


def never() -> bool:
    return False


def expanded(data: bytes, compression: Compression, stop: Callable[[], bool] = never) -> bytes:
    with ExitStack() as stack:
        fd, out = os.memfd_create("in"), os.memfd_create("out")
        stack.callback(os.close, fd)
        stack.callback(os.close, out)
        os.write(fd, data)
        size = expand(fd, len(data), compression, out, stop)
        assert os.fstat(out).st_size == size
        return os.pread(out, size, 0)


def system(scratch: Path) -> System:
    return System(scratch=str(scratch), platform=PlatformChoice(), threads=DataThreads())


@pytest.mark.parametrize("compression", COMPRESS)
def test_all_members_are_expanded(compression: Compression) -> None:
    compress = COMPRESS[compression]
    data = compress(PAYLOAD) + compress(b"") + compress(b"more")
    assert detect(data[:10]) == compression
    assert expanded(data, compression) == PAYLOAD + b"more"


@pytest.mark.parametrize("compression", COMPRESS)
def test_damage_is_an_error(compression: Compression) -> None:
    data = COMPRESS[compression](PAYLOAD)
    for cut in (5, len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptError, match=rf"^{compression}: unexpected EOF$"):
            expanded(data[:cut], compression)
    with pytest.raises(CorruptError, match=rf"^{compression}: invalid header$"):
        expanded(data + b"trailing garbage", compression)
    wrong = bytearray(data)
    wrong[len(data) // 2] ^= 0xFF
    with pytest.raises(CorruptError, match=rf"^{compression}: "):
        expanded(bytes(wrong), compression)


def test_detection_looks_at_enough() -> None:
    assert detect(SKIPPABLE) == "zstd"
    for head in (b"", b"\x1f", b"BZhello.txt", b"blobs/\0\0\0\0", b"\x1f\x8b\x00"):
        assert detect(head[:10]) is None


@pytest.mark.parametrize("compression", COMPRESS)
def test_a09_a_bomb_ends_at_the_quota(compression: Compression) -> None:
    bomb = COMPRESS[compression](bytes(FREE + 1))
    assert len(bomb) * 200 < FREE
    with pytest.raises(LimitError, match=rf"^the archive expands to more than {FREE} bytes$"):
        expanded(bomb, compression)
    nearest = COMPRESS[compression](bytes(FREE))
    assert len(expanded(nearest, compression)) == FREE


def test_a09_the_ratio_counts_beyond_what_is_free() -> None:
    filler = os.urandom(FREE // 150)
    data = gzip.compress(filler) + gzip.compress(bytes(FREE))
    assert len(expanded(data, "gzip")) == FREE + len(filler)


def test_one_level_of_compression() -> None:
    with pytest.raises(CorruptError, match=r"^the archive is compressed more than once$"):
        expanded(gzip.compress(zstd.compress(PAYLOAD)), "gzip")


@pytest.mark.parametrize(
    ("data", "compression", "size"),
    [
        (gzip.compress(b"") * 50_000, "gzip", 0),
        (gzip.compress(b"ab") * 50_000, "gzip", 100_000),
        (zstd.compress(b"ab") + SKIPPABLE * 200_000 + zstd.compress(b"c"), "zstd", 3),
        (lzma.compress(b"") + bytes(4 * 50_000) + lzma.compress(b"c"), "xz", 1),
    ],
    ids=["empty members", "tiny members", "skippable frames", "stream padding"],
)
def test_many_members_pass(data: bytes, compression: Compression, size: int) -> None:
    assert len(expanded(data, compression)) == size


def test_a_truncated_skippable_frame() -> None:
    for end in (SKIPPABLE[:6], SKIPPABLE[:-1]):
        with pytest.raises(CorruptError, match=r"^zstd: unexpected EOF$"):
            expanded(zstd.compress(b"x") + end, "zstd")


def test_decoders_get_so_much_memory_and_no_more() -> None:
    huge = lzma.compress(PAYLOAD, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}])
    with pytest.raises(LimitError, match=r"^xz: Memory usage limit exceeded$"):
        expanded(huge, "xz")
    assert expanded(lzma.compress(PAYLOAD, preset=9), "xz") == PAYLOAD

    def frame(window_log: int) -> bytes:
        options = {int(zstd.CompressionParameter.window_log): window_log}
        compressor = zstd.ZstdCompressor(options=options)
        return compressor.compress(PAYLOAD) + compressor.flush()

    with pytest.raises(LimitError, match=r"^zstd: .*requires too much memory"):
        expanded(frame(28), "zstd")
    assert expanded(frame(27), "zstd") == PAYLOAD


async def test_expansion_is_cancelled_at_once(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelledError, match=r"^expanding the archive was cancelled$"):
        expanded(gzip.compress(PAYLOAD), "gzip", stop.is_set)


async def test_a_plain_archive_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(PAYLOAD)
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        async with plain(fd, len(PAYLOAD), system(tmp_path / "no such directory")) as given:
            assert given == (fd, len(PAYLOAD))
    finally:
        os.close(fd)


async def test_an_expanded_archive_has_no_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(PAYLOAD))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        async with plain(fd, os.fstat(fd).st_size, system(scratch)) as (out, size):
            assert os.pread(out, size + 1, 0) == PAYLOAD
            assert list(scratch.iterdir()) == []
            assert os.fstat(out).st_nlink == 0
    finally:
        os.close(fd)


async def test_a_spool_needs_its_directory(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"^open .*/missing: no such file or directory$"):
        async with spool(system(tmp_path / "missing")):
            pass
    async with spool(system(tmp_path)) as fd:
        await trio.to_thread.run_sync(os.write, fd, b"x")
        assert os.pread(fd, 9, 0) == b"x"
