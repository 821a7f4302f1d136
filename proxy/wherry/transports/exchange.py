"""Replacing a whole directory at once, with Linux's renameat2(RENAME_EXCHANGE)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from wherry.errors import FileError
from wherry.transports.files import TEMPORARY, Folder, opened_folder, remove_flat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_EXCHANGE: Final = 2


def prefix_for(path: str) -> str:
    """What the temporary names beside `path` start with, so that only its own leftovers are swept."""
    name = os.path.basename(path)
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16] + "-"


def exchange(path: str, old: Folder, carried: Iterable[str], fill: Callable[[Folder], None]) -> bool:
    """Put a new directory in the place of `path`, whose open directory is `old`. Blocks.

    The new one has the files `carried` of the old one (the same inodes) and what `fill` writes into it. One
    system call makes the difference: before it there is the old directory, after it the new one; then the old
    one is removed.

    False, with nothing changed, where that cannot be done: the parent cannot be written, `path` is a mount
    point, the file system has no hard links, or something that is carried is a directory. What `fill` raises
    goes through, with the old directory in its place.
    """
    parent_path, _, name = path.rpartition("/")
    with ExitStack() as stack:
        try:
            parent = stack.enter_context(opened_folder(parent_path or "/", parent_path or "/"))
            twin = stack.enter_context(_twin(parent, path, old))
            for file in carried:
                os.link(file, file, src_dir_fd=old.fd, dst_dir_fd=twin.folder.fd, follow_symlinks=False)
        except (OSError, FileError):
            return False
        fill(twin.folder)
        twin.folder.sync()
        if not _swap(parent.fd, twin.name, name):
            return False
        twin.folder = old
        parent.sync()
    return True


class _Twin:
    """The directory that has the temporary name."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.folder = folder
        self.name = name


@contextmanager
def _twin(parent: Folder, path: str, old: Folder) -> Iterator[_Twin]:
    """A directory beside `old`, with its mode and owner. Whichever has its name at the end is removed."""
    name = f"{TEMPORARY}{prefix_for(path)}{secrets.token_hex(8)}"
    os.mkdir(name, 0o700, dir_fd=parent.fd)
    with ExitStack() as stack:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        stack.callback(os.close, fd)
        twin = _Twin(Folder(fd, old.display), name)
        stack.callback(_remove, parent, twin)
        with suppress(OSError):  # no locks: then no sweep removes anything either
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        info = os.fstat(old.fd)
        if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, info.st_uid, info.st_gid)
        os.fchmod(fd, info.st_mode & 0o7777)
        yield twin


def _remove(parent: Folder, twin: _Twin) -> None:
    with suppress(OSError):
        remove_flat(parent, twin.name, twin.folder.fd)


def _swap(parent_fd: int, one: str, other: str) -> bool:
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return bool(call(parent_fd, os.fsencode(one), parent_fd, os.fsencode(other), _EXCHANGE) == 0)
