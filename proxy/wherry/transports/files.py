"""Files of image directories: opened below a directory that is held open, replaced and never overwritten.

A directory is opened once and everything is reached from its descriptor, so a source keeps what it opened
when somebody renames another directory into its place. What is written gets a temporary name in the directory
where it belongs (a rename cannot cross file systems) and a lock: who comes after a crash can tell a file that
is being written from one that nobody will ever finish.

Functions here block and belong in a thread (`in_thread`), but for those that say otherwise.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from wherry.errors import CorruptError, FileError, FileMissingError, LimitError, file_error
from wherry.streams.blobs import FileBlob
from wherry.transports.paths import joined, kind_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")

QUICK: Final = 256 << 10
"""Bytes that are read from a file without a thread: as long as a hash of them takes."""

TEMPORARY: Final = ".wherry-"
_LEFTOVER = re.compile(r"\.wherry-(?:[0-9a-f]{16}-)?[0-9a-f]{16}")
_READ_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


async def in_thread(job: Callable[[], T]) -> T:
    """Run a short file operation off the event loop; it is finished even when the caller is cancelled."""
    return await trio.to_thread.run_sync(job)


class Folder:
    """A directory held open. `display` is its path as the user wrote it ("" for the working directory)."""

    def __init__(self, fd: int, display: str) -> None:
        self.fd = fd
        self.display = display

    def shown(self, name: str) -> str:
        """The path of an entry for error texts."""
        return joined(self.display, name)

    def open(self, name: str, *, follow: bool = True) -> int:
        """Open a regular file for reading; never blocks, quick enough for the event loop.

        Raises FileMissingError, FileError (`open PATH: …`), CorruptError for what is no regular file (D-04).
        With `follow` False a symbolic link at the last component is no regular file either.
        """
        shown = self.shown(name)
        try:
            # Looked at before it is opened as well: opening alone has effects on some devices.
            _require_regular(os.stat(name, dir_fd=self.fd, follow_symlinks=follow).st_mode, shown)
            fd = os.open(name, _READ_FLAGS | (0 if follow else os.O_NOFOLLOW), dir_fd=self.fd)
        except OSError as error:
            raise file_error("open", shown, error) from error
        try:
            _require_regular(os.fstat(fd).st_mode, shown)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def read(self, name: str, limit: int) -> bytes:
        """The whole of a regular file; LimitError where it has more than `limit` bytes."""
        fd = self.open(name)
        with os.fdopen(fd, "rb", buffering=0) as file:
            if os.fstat(fd).st_size > limit:
                raise LimitError(f"read {self.shown(name)}: exceeded maximum allowed size of {limit} bytes")
            try:
                return _read_up_to(file.fileno(), limit, self.shown(name))
            except OSError as error:
                raise file_error("read", self.shown(name), error) from error

    async def read_soon(self, name: str, limit: int) -> bytes:
        """As `read`; a small file is read on the event loop, which costs less than asking a thread."""
        try:
            size = os.stat(name, dir_fd=self.fd).st_size
        except OSError:
            size = 0  # `read` says what is wrong
        if size > QUICK:
            return await in_thread(lambda: self.read(name, limit))
        return self.read(name, limit)

    @asynccontextmanager
    async def blob(self, name: str) -> AsyncIterator[FileBlob]:
        """A regular file as a blob, closed when the context ends."""
        fd = self.open(name)
        try:
            yield FileBlob(fd, 0, os.fstat(fd).st_size, self.shown(name))
        finally:
            os.close(fd)

    def sync(self) -> None:
        """Make the directory's entries durable."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise file_error("sync", self.display or ".", error) from error

    def replace(self, name: str, data: bytes) -> None:
        """Write a small file beside its name and rename it there; a link at the name is not followed."""
        with temporary(self) as file:
            file.write(data)
            file.publish(name)

    def remove(self, name: str) -> None:
        """Unlink a file that may be missing."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise file_error("remove", self.shown(name), error) from error


class AbsentFolder:
    """A directory that does not exist: reading anything from it fails as Go's open() would."""

    def __init__(self, display: str) -> None:
        self.display = display

    def shown(self, name: str) -> str:
        return joined(self.display, name)

    def read(self, name: str, limit: int) -> bytes:
        raise FileMissingError(f"open {self.shown(name)}: no such file or directory")

    async def read_soon(self, name: str, limit: int) -> bytes:
        return self.read(name, limit)

    def blob(self, name: str) -> AbstractAsyncContextManager[FileBlob]:
        raise FileMissingError(f"open {self.shown(name)}: no such file or directory")


def _require_regular(mode: int, shown: str) -> None:
    if not stat.S_ISREG(mode):
        raise CorruptError(f"open {shown}: not a regular file, but {kind_of(mode)}")


def _read_up_to(fd: int, limit: int, shown: str) -> bytes:
    parts: list[bytes] = []
    left = limit + 1
    while left and (part := os.read(fd, min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise LimitError(f"read {shown}: exceeded maximum allowed size of {limit} bytes")
    return b"".join(parts)


@contextmanager
def opened_folder(path: str, display: str, *, for_entry: str = "") -> Iterator[Folder]:
    """Hold a directory open. `for_entry` names the file that errors speak of, as if it had been opened."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        shown = joined(display, for_entry) if for_entry else display or "."
        raise file_error("open", shown, error) from error
    try:
        yield Folder(fd, display)
    finally:
        os.close(fd)


@contextmanager
def opened_if_there(path: str, display: str, *, for_entry: str) -> Iterator[Folder | AbsentFolder]:
    """As `opened_folder`, but a directory that does not exist fails later, when it is read from."""
    if not os.path.lexists(path):
        yield AbsentFolder(display)
        return
    with opened_folder(path, display, for_entry=for_entry) as folder:
        yield folder


def make_folder(path: str, display: str) -> bool:
    """Create a directory unless it is there; whether it was created. Its parent has to exist."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return False
    except OSError as error:
        raise file_error("mkdir", display, error) from error
    return True


class Temporary:
    """A file that is being written, under a name that nobody looks for; see `temporary`."""

    def __init__(self, folder: Folder, fd: int, name: str) -> None:
        self.folder = folder
        self.fd = fd
        self.name = name

    @property
    def shown(self) -> str:
        return self.folder.shown(self.name)

    def write(self, data: bytes) -> None:
        """Append a little data."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise file_error("write", self.shown, error) from error

    def publish(self, name: str) -> None:
        """Make the contents durable and rename the file to `name` in the same directory, over what is there.

        The rename itself is durable after `folder.sync()`.
        """
        try:
            os.fsync(self.fd)
            os.fchmod(self.fd, 0o644)
        except OSError as error:
            raise file_error("sync", self.shown, error) from error
        try:
            os.rename(self.name, name, src_dir_fd=self.folder.fd, dst_dir_fd=self.folder.fd)
        except OSError as error:
            raise file_error("rename", self.folder.shown(name), error) from error
        self.name = ""

    def discard(self) -> None:
        """Remove the temporary name, if it still exists, and close the file."""
        if self.name:
            with suppress(OSError):
                os.unlink(self.name, dir_fd=self.folder.fd)
        os.close(self.fd)


@contextmanager
def temporary(folder: Folder, prefix: str = "") -> Iterator[Temporary]:
    """A new file in `folder`, for reading and writing; gone when the context ends, unless it was published.

    Never blocks on anything but the disk. Raises FileError (`open PATH: permission denied`).
    """
    file = create_temporary(folder, prefix)
    try:
        yield file
    finally:
        file.discard()


def create_temporary(folder: Folder, prefix: str = "") -> Temporary:
    """As `temporary`, for callers whose own context calls `discard`."""
    while True:
        name = f"{TEMPORARY}{prefix}{secrets.token_hex(8)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=folder.fd)
        except OSError as error:
            raise file_error("open", folder.shown(name), error) from error
        file = Temporary(folder, fd, name)
        if _lock_new(fd) and _is_still(folder, name, fd):
            return file
        file.discard()  # somebody swept it away between the two calls


def sweep(folder: Folder, prefix: str = "") -> None:
    """Remove temporary files of writers that died: those whose lock nobody holds.

    `prefix`: as given to `temporary`; "" for any. A directory that cannot be read is left as it is.
    """
    with suppress(OSError):
        for name in os.listdir(folder.fd):
            if _LEFTOVER.fullmatch(name) and name.startswith(TEMPORARY + prefix):
                _sweep_one(folder, name)


def _sweep_one(folder: Folder, name: str) -> None:
    with suppress(OSError):
        fd = os.open(name, _READ_FLAGS | os.O_NOFOLLOW, dir_fd=folder.fd)
        try:
            mode = os.fstat(fd).st_mode
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stat.S_ISREG(mode):
                os.unlink(name, dir_fd=folder.fd)
            elif stat.S_ISDIR(mode):
                remove_flat(folder, name, fd)
        finally:
            os.close(fd)


def remove_flat(parent: Folder, name: str, fd: int) -> None:
    """Remove a directory of files; raises OSError where it holds directories."""
    for entry in os.listdir(fd):
        os.unlink(entry, dir_fd=fd)
    os.rmdir(name, dir_fd=parent.fd)


def _lock_new(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # a sweep looks at it
    except OSError:  # a file system without locks: no sweep removes anything there either
        return True
    return True


def _is_still(folder: Folder, name: str, fd: int) -> bool:
    try:
        there = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


@asynccontextmanager
async def locked(fd: int, display: str) -> AsyncIterator[None]:
    """Hold the exclusive flock of a directory; waiting for it can be cancelled."""
    pause = 0.001
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            await trio.sleep(pause)
            pause = min(pause * 2, 0.1)
        except OSError as error:
            raise file_error("flock", display or ".", error) from error
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def require_writable(folder: Folder, *replaced: str) -> None:
    """Find out now whether files can be made, and `replaced` renamed over: before anything is fetched (D-15).

    Raises FileError.
    """
    with temporary(folder):
        pass
    info = os.fstat(folder.fd)
    if not info.st_mode & stat.S_ISVTX or os.geteuid() in (0, info.st_uid):
        return
    for name in replaced:  # in a sticky directory only its owner replaces a file
        with suppress(FileNotFoundError):
            if os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_uid != os.geteuid():
                raise FileError(f"rename {folder.shown(name)}: operation not permitted")
