"""Replacing a small file of secrets: all or nothing, whoever else writes, whenever we are killed."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from wherry.errors import InvalidError, StalledError, file_error
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.system import System

LOCK_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05


class Replacing:
    """A file that may be replaced while its lock is held."""

    def __init__(self, folder: int, name: str, shown: str) -> None:
        self._folder = folder
        self._name = name
        self._shown = shown
        self._temporary = f".{name}.new"  # one name is enough under the lock, and the next writer removes it

    def replace(self, data: bytes) -> None:
        """Put a file with `data`, mode 0600, in the old one's place; it is on the disk when this returns.

        Raises FileError; the old file is then as it was.
        """
        try:
            self.discard()
            self._write(data)
            os.rename(self._temporary, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError as error:
            self.discard()
            raise file_error("write", self._shown, error) from None

    def discard(self) -> None:
        """Remove what a writer that was killed left behind."""
        with suppress(FileNotFoundError):
            os.unlink(self._temporary, dir_fd=self._folder)

    def _write(self, data: bytes) -> None:
        descriptor, nameless = self._create()
        try:
            os.fchmod(descriptor, 0o600)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
            if nameless:
                os.link(f"/proc/self/fd/{descriptor}", self._temporary, dst_dir_fd=self._folder)
        finally:
            os.close(descriptor)

    def _create(self) -> tuple[int, bool]:
        """A new file, without a name until it is whole where the file system can do that: then hardly a
        moment is left in which being killed leaves secrets under a second name."""
        try:
            return os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=self._folder), True
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
                raise
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._temporary, flags, 0o600, dir_fd=self._folder), False


@asynccontextmanager
async def replacing(path: str, system: System) -> AsyncIterator[Replacing]:
    """Lock a file for replacing it; its directory is made (0700) where it is missing.

    A symbolic link is followed, so that it stays one, if we own it and what it names. The lock is flock(2) of
    `.NAME.lock` beside the file.

    Raises InvalidError for a link to somebody else's file, FileError, StalledError where the lock is not to
    be had within 30 s.
    """
    real = _real(path, system)
    parent, name = os.path.split(real)
    try:
        _make_folders(parent)
        folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise file_error("mkdir", os.path.dirname(path), error) from None
    try:
        lock = _open_lock(folder, name, path)
        try:
            await _lock(lock, path)
            yield Replacing(folder, name, path)
        finally:
            os.close(lock)
    finally:
        os.close(folder)


def _make_folders(path: str) -> None:
    """The directory and those above it that are missing, for us alone whatever the umask."""
    if os.path.isdir(path):
        return
    _make_folders(os.path.dirname(path))
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)


def _real(path: str, system: System) -> str:
    """Where the file itself is. Raises InvalidError where a link to it is not to be trusted (C-02)."""
    absolute = system.path(path)
    if not os.path.islink(absolute):
        return absolute
    real = os.path.realpath(absolute)
    for name in (absolute, real):
        try:
            owner = os.lstat(name).st_uid
        except FileNotFoundError:
            continue  # a link to a file that is to be made
        except OSError as error:
            raise file_error("lstat", name, error) from None
        if owner != system.uid:
            raise InvalidError(
                f"{quote(path)} is a symbolic link to {quote(real)}, and {quote(name)} belongs to the user "
                f"{owner}: credentials are not written there"
            )
    return real


def _open_lock(folder: int, name: str, shown: str) -> int:
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(f".{name}.lock", flags, 0o600, dir_fd=folder)
    except OSError as error:
        raise file_error("open", f"{os.path.dirname(shown)}/.{name}.lock", error) from None
    with suppress(OSError):  # made by another user, who lets us in
        os.fchmod(lock, 0o600)  # a umask may have kept the owner from opening it again
    return lock


async def _lock(descriptor: int, shown: str) -> None:
    deadline = trio.current_time() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if trio.current_time() >= deadline:
                raise StalledError(f"{quote(shown)} is locked by another program") from None
            await trio.sleep(_POLL_S)
        else:
            return
