"""oci-archive: an OCI layout in a tar file, which may be compressed.

`oci-archive:FILE[:NAME]`. Nothing is extracted: the headers are read once, members are read where they are in
the file, through one descriptor for the life of the image. A compressed archive is expanded once, within a
quota, into a file without a name.
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from wherry.errors import CorruptError, FileMissingError, LimitError, context, file_error
from wherry.model.goquote import quote
from wherry.streams import tar
from wherry.streams.blobs import FileBlob
from wherry.streams.expand import plain
from wherry.transports import paths
from wherry.transports.files import in_thread
from wherry.transports.oci import layout, shared_blobs
from wherry.transports.oci.source import Files, OciSource, open_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.interfaces import Blob, ImageDestination
    from wherry.protocol.options import ImageAccess
    from wherry.system import System


class ArchiveReference(Struct, frozen=True):
    """An archive as the user wrote its path, `resolved`, and the name of an image or ""."""

    transport: ClassVar[str] = "oci-archive"

    path: str
    resolved: str
    name: str = ""

    def __str__(self) -> str:
        return f"oci-archive:{self.path}:{self.name}"

    def docker_reference(self) -> str:
        return ""

    def policy_identity(self) -> str:
        return self.resolved

    def policy_scopes(self) -> Sequence[str]:
        return paths.scopes(self.resolved)

    @asynccontextmanager
    async def source(self, system: System, access: ImageAccess) -> AsyncIterator[OciSource]:
        async with AsyncExitStack() as stack:
            fd, size = await in_thread(lambda: _open(self.resolved))
            stack.callback(os.close, fd)
            with context(f"reading archive {quote(self.path)}"):
                fd, size = await stack.enter_async_context(plain(fd, size, system))
                members = await _members(fd, size, system)
            files = ArchiveFiles(fd, members, self.path)
            blobs: Files = ArchiveFiles(fd, members, self.path, f"{layout.BLOBS}/")
            if access.shared_blob_dir:
                blobs = shared_blobs(stack, access.shared_blob_dir, system)
            yield await open_source(files, blobs, self.name, None)

    def destination(
        self, system: System, access: ImageAccess
    ) -> AbstractAsyncContextManager[ImageDestination]:
        from wherry.transports.oci.archive_destination import open_destination

        return open_destination(self, system, access)


def parse(text: str, system: System) -> ArchiveReference:
    """Raises InvalidError, FileMissingError, FileError with skopeo's texts."""
    path, _, name = text.partition(":")
    resolved = paths.resolve(path, system)
    layout.check_name(name)
    return ArchiveReference(path, resolved, name)


def _open(path: str) -> tuple[int, int]:
    """The archive's descriptor and size; never blocks on what is no regular file (A-26)."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    try:
        # Looked at before it is opened as well: opening alone has effects on some devices.
        _require_regular(path, os.lstat(path).st_mode)
        fd = os.open(path, flags)
    except FileNotFoundError:
        raise FileMissingError(f"creating temp directory: archive file not found: {quote(path)}") from None
    except OSError as error:
        with context("creating temp directory"):
            raise file_error("open", path, error) from error
    try:
        info = os.fstat(fd)
        _require_regular(path, info.st_mode)
    except BaseException:
        os.close(fd)
        raise
    return fd, info.st_size


def _require_regular(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise CorruptError(f"open {path}: not a regular file, but {paths.kind_of(mode)}")


async def _members(fd: int, size: int, system: System) -> Mapping[str, tar.Member]:
    stop = threading.Event()
    return await system.threads.run(partial(tar.index, fd, size, stop=stop.is_set), stop.set)


class ArchiveFiles:
    """Members of an archive as the files of a layout; `below` goes before their names."""

    def __init__(self, fd: int, members: Mapping[str, tar.Member], display: str, below: str = "") -> None:
        self._fd = fd
        self._members = members
        self._display = display
        self._below = below

    def shown(self, name: str) -> str:
        return f"{self._display}/{self._below}{name}"

    async def read(self, name: str, limit: int) -> bytes:
        member = self._regular(name)
        if member.size > limit:
            raise LimitError(f"read {self.shown(name)}: exceeded maximum allowed size of {limit} bytes")
        return await in_thread(lambda: self._read(member))

    @asynccontextmanager
    async def blob(self, name: str) -> AsyncIterator[Blob]:
        member = self._regular(name)
        yield FileBlob(self._fd, member.offset, member.size, self.shown(name))

    def _regular(self, name: str) -> tar.Member:
        if self._below + name not in self._members:
            raise FileMissingError(f"open {self.shown(name)}: no such file or directory")
        with context(f"reading archive {quote(self._display)}"):
            return tar.regular(self._members, self._below + name)

    def _read(self, member: tar.Member) -> bytes:
        data = bytearray()
        while len(data) < member.size:
            try:
                part = os.pread(self._fd, member.size - len(data), member.offset + len(data))
            except OSError as error:
                raise file_error("read", self._display, error) from error
            if not part:
                raise CorruptError(f"read {self._display}: unexpected EOF")
            data += part
        return bytes(data)
