"""Writing an image into a new tar file, which takes the place of the old one when it is complete.

Members are written as they come, behind one another, into a temporary file beside the target: one pass, no
directory of blobs that is packed afterwards. Where a blob's size is not known before, its header is filled in
after it; what came of a blob that fails is cut off again. Times are 0 and owners root, so the same blobs in
the same order give the same bytes.
"""

from __future__ import annotations

import os
import stat
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from wherry.errors import CorruptError, FileError, InternalError, InvalidError, NotYetError, file_error
from wherry.interfaces import Progress, no_progress
from wherry.model import digest
from wherry.model.goquote import quote
from wherry.streams import tar
from wherry.streams.pump import pump
from wherry.streams.sinks import FileSink
from wherry.transports import paths
from wherry.transports.blobfiles import algorithm_for, limit_for, received
from wherry.transports.exchange import prefix_for
from wherry.transports.files import (
    Folder,
    Temporary,
    create_temporary,
    in_thread,
    opened_folder,
    require_writable,
    sweep,
)
from wherry.transports.oci import layout
from wherry.transports.oci.destination import ACCEPTS, NO_SIGNATURES, check_manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.interfaces import Blob, ReuseHints
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.protocol.options import ImageAccess
    from wherry.system import System
    from wherry.transports.oci.archive import ArchiveReference

_SOME_HEX: Final = "0" * 64


class _Writer:
    """The archive so far: everything before `end` is complete members."""

    def __init__(self, file: Temporary) -> None:
        self.file = file
        self.end = 0
        self._folders: set[str] = set()

    def put(self, data: bytes, at: int) -> None:
        """Write at a place of the file. Blocks."""
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self.file.fd, view, at)
                view, at = view[count:], at + count
        except OSError as error:
            raise file_error("write", self.file.shown, error) from error

    def cut(self) -> None:
        """Forget what was written behind the last complete member."""
        try:
            os.ftruncate(self.file.fd, self.end)
        except OSError as error:
            raise file_error("truncate", self.file.shown, error) from error

    def add(self, name: str, data: bytes) -> None:
        """Append a whole member, and the directories that it is in."""
        self.add_folders(name)
        self._append(tar.header(name, len(data)) + data + tar.padding(len(data)))

    def add_folders(self, name: str) -> None:
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth]) + "/"
            if folder not in self._folders:
                self._append(tar.header(folder, 0, mode=0o755, kind="directory"))
                self._folders.add(folder)

    def finish_member(self, name: str, size: int, room: int) -> None:
        """Complete a member whose content was written behind `room` bytes for its header."""
        self.put(tar.padding(size), self.end + room + size)
        self.put(_fitted_header(name, size, room), self.end)
        self.end += room + size + len(tar.padding(size))

    def _append(self, data: bytes) -> None:
        self.put(data, self.end)
        self.end += len(data)


def _fitted_header(name: str, size: int, room: int) -> bytes:
    """The member's header in as many bytes as were left for it."""
    header = tar.header(name, size)
    if len(header) == room:
        return header
    # Only a size from 8 GiB on that was not known before comes here: it does not fit into octal digits, and
    # there is no room for a pax header. Go, GNU tar and libarchive read such numbers in base 256 as well.
    header = tar.header(name, 0)
    if len(header) != room:
        raise InternalError(f"no room for the header of {name}")
    block = header[-tar.BLOCK :]
    block = block[:124] + b"\x80" + size.to_bytes(11, "big") + block[136:148] + b" " * 8 + block[156:]
    return header[: -tar.BLOCK] + block[:148] + b"%06o\0 " % sum(block) + block[156:]


class ArchiveDestination:
    """An ImageDestination. One blob at a time: members cannot be written into each other."""

    accepts = msgspec.structs.replace(ACCEPTS, parallel_blobs=1)

    def __init__(self, writer: _Writer, folder: Folder, target: str, name: str, system: System) -> None:
        self._writer = writer
        self._folder = folder
        self._target = target
        self._name = name
        self._system = system
        self._lock = trio.Lock()
        self._known: dict[Digest, int] = {}
        self._top: tuple[str, Digest, int] | None = None

    async def reuse_blob(self, wanted: Descriptor, hints: ReuseHints) -> Descriptor | None:
        """A blob that this archive has already; the old one at the target is not looked into."""
        size = self._known.get(wanted.digest)
        if size is None or wanted.size not in (-1, size):
            return None
        return msgspec.structs.replace(wanted, size=size)

    async def put_blob(
        self, blob: Blob, expected: Descriptor | None, progress: Progress = no_progress
    ) -> Descriptor:
        async with self._lock:
            try:
                return await self._put_blob(blob, expected, progress)
            except BaseException:
                self._writer.cut()
                raise

    async def _put_blob(self, blob: Blob, expected: Descriptor | None, progress: Progress) -> Descriptor:
        writer = self._writer
        name = _member_name(algorithm_for(expected), expected)
        writer.add_folders(name)
        room = len(tar.header(name, limit_for(expected) or 0))
        moved = await pump(
            blob,
            FileSink(writer.file.fd, writer.end + room, writer.file.shown),
            self._system.threads,
            digests=(algorithm_for(expected),),
            limit=limit_for(expected),
            idle=self._system.idle_timeout,
            progress=progress,
        )
        stored = received(moved, expected)
        if stored.digest in self._known:
            writer.cut()
            return stored
        name = _member_name(algorithm_for(expected), stored)
        await in_thread(lambda: writer.finish_member(name, stored.size, room))
        self._known[stored.digest] = stored.size
        return stored

    async def put_manifest(self, raw: bytes, media_type: str, instance: Digest | None = None) -> None:
        found = check_manifest(raw, media_type, instance)
        async with self._lock:
            if found not in self._known:
                name = f"{layout.BLOBS}/{layout.blob_name(found)}"
                await in_thread(lambda: self._writer.add(name, raw))
                self._known[found] = len(raw)
        if instance is None:
            self._top = (media_type, found, len(raw))

    async def put_signatures(self, signatures: Sequence[bytes], instance: Digest | None = None) -> None:
        if signatures:
            raise InvalidError(NO_SIGNATURES)

    async def commit(self) -> None:
        if self._top is None:
            raise InternalError("commit without a manifest")
        media_type, found, size = self._top
        index = layout.added(layout.new_index(), media_type, found, size, self._name)
        async with self._lock:
            await in_thread(lambda: self._finish(layout.index_bytes(index)))

    def _finish(self, index: bytes) -> None:
        self._writer.cut()
        self._writer.add(layout.INDEX, index)
        self._writer.add(layout.LAYOUT, layout.LAYOUT_BYTES)
        self._writer.put(tar.TRAILER, self._writer.end)
        self._writer.file.publish(self._target)
        self._folder.sync()


def _member_name(algorithm: str, known: Descriptor | None) -> str:
    encoded = _SOME_HEX if known is None else digest.encoded(known.digest)
    return f"{layout.BLOBS}/{algorithm}/{encoded}"


@asynccontextmanager
async def open_destination(
    reference: ArchiveReference, system: System, access: ImageAccess
) -> AsyncIterator[ArchiveDestination]:
    """Start the new archive beside its target; removed at the end unless it was committed.

    Raises FileError where the target cannot be replaced, before anything is fetched (D-15).
    """
    if access.shared_blob_dir:
        raise NotYetError("oci-archive: writing into a shared blob directory is not yet built")
    async with AsyncExitStack() as stack:
        folder, file = await in_thread(lambda: _start(reference.resolved, stack))
        writer = _Writer(file)
        await in_thread(lambda: writer.add_folders(_member_name("sha256", None)))
        yield ArchiveDestination(writer, folder, os.path.basename(reference.resolved), reference.name, system)


def _start(target: str, stack: AsyncExitStack) -> tuple[Folder, Temporary]:
    _check_target(target)
    parent = target.rpartition("/")[0] or "/"
    folder = stack.enter_context(opened_folder(parent, parent))
    sweep(folder, prefix_for(target))
    require_writable(folder, os.path.basename(target))
    file = create_temporary(folder, prefix_for(target))
    stack.callback(file.discard)
    return folder, file


def _check_target(target: str) -> None:
    """Only a regular file is replaced."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return
    if stat.S_ISDIR(mode):
        raise FileError(f"creating tar file {quote(target)}: open {target}: is a directory")
    if not stat.S_ISREG(mode):
        raise CorruptError(
            f"creating tar file {quote(target)}: not a regular file, but {paths.kind_of(mode)}"
        )
