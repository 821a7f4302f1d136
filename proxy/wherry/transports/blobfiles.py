"""Blobs as files that are named after their digests: received and verified, or found and verified."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from wherry.errors import CorruptError, FileError, FileMissingError, file_error
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.streams.pump import pump
from wherry.streams.sinks import FileSink
from wherry.transports.files import create_temporary, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.interfaces import Blob, Progress
    from wherry.model.digest import Digest
    from wherry.streams.pump import Moved
    from wherry.system import System
    from wherry.transports.files import Folder

UNKNOWN_TYPE = "application/octet-stream"


def algorithm_for(expected: Descriptor | None) -> str:
    """The algorithm that a blob is to be named with."""
    return "sha256" if expected is None else digest.algorithm(expected.digest)


def limit_for(expected: Descriptor | None) -> int | None:
    """The most bytes that a blob may have."""
    return None if expected is None or expected.size < 0 else expected.size


def received(moved: Moved, expected: Descriptor | None) -> Descriptor:
    """What came, if it is what was expected; raises CorruptError with c/image's texts."""
    algorithm = algorithm_for(expected)
    found = moved.digests[algorithm]
    if expected is None:
        return Descriptor(UNKNOWN_TYPE, found, moved.count)
    if found != expected.digest:
        raise CorruptError(f"Digest did not match, expected {expected.digest}, got {found}")
    if expected.size not in (-1, moved.count):
        raise CorruptError(f"Size mismatch when copying {found}, expected {expected.size}, got {moved.count}")
    return msgspec.structs.replace(expected, size=moved.count)


async def receive(
    blob: Blob,
    folder: Folder,
    name_of: Callable[[Digest], str],
    expected: Descriptor | None,
    system: System,
    progress: Progress,
) -> Descriptor:
    """Write a blob beside its final name, verify it, make it durable and rename it there.

    Nothing stays of a blob that fails or is cancelled. Raises CorruptError, FileError, and as `pump`.
    """
    file = await in_thread(lambda: create_temporary(folder))
    try:
        moved = await pump(
            blob,
            FileSink(file.fd, 0, file.shown),
            system.threads,
            digests=(algorithm_for(expected),),
            limit=limit_for(expected),
            idle=system.idle_timeout,
            progress=progress,
        )
        descriptor = received(moved, expected)
        await in_thread(lambda: file.publish(name_of(descriptor.digest)))
    finally:
        file.discard()
    return descriptor


async def find_verified(folder: Folder, name: str, wanted: Descriptor, system: System) -> int | None:
    """The size of the file `name`, if it is a regular one and holds the blob that is wanted; else None.

    A symbolic link is not looked behind: a blob takes its place (D-12).
    """
    try:
        fd = folder.open(name, follow=False)
    except (FileMissingError, FileError, CorruptError):
        return None
    try:
        size = os.fstat(fd).st_size
        if wanted.size not in (-1, size):
            return None
        check = _Check(fd, digest.algorithm(wanted.digest), folder.shown(name), system)
        found = await system.threads.run(check.run, check.cancel)
    finally:
        os.close(fd)
    return size if found == wanted.digest else None


class _Check:
    """Computes the digest of a file, in a data thread."""

    def __init__(self, fd: int, algorithm: str, shown: str, system: System) -> None:
        self._fd = fd
        self._algorithm = algorithm
        self._shown = shown
        self._system = system
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    def run(self) -> Digest | None:
        hasher = digest.hasher(self._algorithm)
        place = 0
        try:
            with self._system.threads.buffer() as buffer:
                while not self._cancelled and (count := os.preadv(self._fd, [buffer], place)):
                    hasher.update(buffer[:count])
                    place += count
        except OSError as error:
            raise file_error("read", self._shown, error) from error
        return None if self._cancelled else digest.parse(f"{self._algorithm}:{hasher.hexdigest()}")
