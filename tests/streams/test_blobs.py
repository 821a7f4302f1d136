"""Blobs of files and memory: what may be opened, and what is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from wherry.errors import CorruptError, FileError, FileMissingError
from wherry.interfaces import Extent
from wherry.streams.blobs import BytesBlob, FileBlob, open_file_blob


def whole(blob: BytesBlob | FileBlob) -> bytes:
    buffer, parts = memoryview(bytearray(3)), b""
    while count := blob.readinto(buffer):
        assert isinstance(count, int)
        parts += buffer[:count]
    return parts


async def test_d04_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("fifo")
    cases = {
        tmp_path / "fifo": "a named pipe",
        tmp_path / "link": "a named pipe",
        tmp_path / "directory": "a directory",
        Path("/dev/zero"): "a device",
    }
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        cases[tmp_path / "socket"] = "a socket"
        for path, kind in cases.items():
            with pytest.raises(CorruptError, match=rf"^open blobs/x: not a regular file, but {kind}$"):
                async with open_file_blob(str(path), "blobs/x"):
                    pass
    (tmp_path / "regular").write_bytes(b"content")
    async with open_file_blob(str(tmp_path / "regular"), "blobs/x") as blob:
        assert blob.size == 7
        assert whole(blob) == b"content"


async def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "regular").write_bytes(b"content")
    (tmp_path / "link").symlink_to("regular")
    async with open_file_blob(str(tmp_path / "link")) as blob:
        assert whole(blob) == b"content"


async def test_files_that_can_not_be_opened_are_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileMissingError, match=r"^open blobs/x: no such file or directory$"):
        async with open_file_blob(str(tmp_path / "missing"), "blobs/x"):
            pass
    with pytest.raises(FileError, match=r"^open blobs/x: too many levels of symbolic links$"):
        async with open_file_blob(str(tmp_path / "loop"), "blobs/x"):
            pass


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
