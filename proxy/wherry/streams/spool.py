"""Files without a name, for large contents that live no longer than an operation."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.errors import file_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.system import System

_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


@asynccontextmanager
async def spool(system: System) -> AsyncIterator[int]:
    """An empty file in `system.scratch`, open for reading and writing; gone when the context ends.

    It has no name, so a process that is killed leaves nothing. Raises FileError, FileMissingError.
    """
    fd = _open_unnamed(system.scratch)
    try:
        yield fd
    finally:
        os.close(fd)


def _open_unnamed(directory: str) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        # Network and stacked file systems may not know O_TMPFILE; old kernels say EISDIR or ENOENT.
        if error.errno not in _NO_TMPFILE:
            raise file_error("open", directory, error) from error
    try:
        fd, path = tempfile.mkstemp(prefix="wherry-", dir=directory)
    except OSError as error:
        raise file_error("open", directory, error) from error
    os.unlink(path)
    return fd
