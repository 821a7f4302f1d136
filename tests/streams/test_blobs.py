"""Blobs of files and memory: what may be opened, and what is read."""

from __future__ import annotations

import os
from pathlib import Path

from wherry.interfaces import Extent
from wherry.streams.blobs import BytesBlob, FileBlob


def whole(blob: BytesBlob | FileBlob) -> bytes:
    buffer, parts = memoryview(bytearray(3)), b""
    while count := blob.readinto(buffer):
        assert isinstance(count, int)
        parts += buffer[:count]
    return parts


def test_blobs_of_one_descriptor_do_not_disturb_each_other(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"firstsecond")
    fd = os.open(tmp_path / "archive", os.O_RDONLY)
    try:
        first, second = FileBlob(fd, 0, 5), FileBlob(fd, 5, 6)
        assert first.readinto(memoryview(bytearray(2))) == 2
        assert whole(second) == b"second"
        assert whole(first) == b"rst"
    finally:
        os.close(fd)


def test_an_extent_is_what_is_left(tmp_path: Path) -> None:
    blob = FileBlob(7, 100, 50)
    assert blob.extent() == Extent(7, 100, 50)
    blob.advance(20)
    assert blob.extent() == Extent(7, 120, 30)
    memory = BytesBlob(b"0123456789")
    assert memory.extent() is None
    assert memory.readinto(memoryview(bytearray(4))) == 4
    assert bytes(memory.left) == b"456789"
    assert memory.size == 10
