"""How large a pipe is made for a blob."""

from __future__ import annotations

import fcntl
from typing import Final

DEFAULT: Final = 64 << 10
LARGE: Final = 256 << 10
LARGEST: Final = 1 << 20
LARGEST_FROM: Final = 16 << 20
"""Blobs longer than this get a pipe of LARGEST bytes."""


class PipeBudget:
    """Counts the bytes of enlarged pipes that are open.

    Linux lets an unprivileged user have 64 MiB of pipe buffers; beyond that every new pipe of that user, in
    any program, holds 8 KiB. Half of it is ours at most.
    """

    def __init__(self, most: int = 32 << 20) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """Take `size` bytes if there are as many left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Return what `size_pipe` took, when the pipe is closed."""
        self._left += size


def size_pipe(fd: int, expected: int | None, budget: PipeBudget) -> int:
    """Enlarge the pipe for a blob of `expected` bytes (None: not known).

    Returns the bytes taken from `budget`, for the caller to give back: 0 where the pipe stayed as it was.
    """
    if expected is not None and expected <= DEFAULT:
        return 0
    size = LARGEST if expected is not None and expected > LARGEST_FROM else LARGE
    if not budget.take(size):
        return 0
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:  # EPERM over the user's limit: a matter of speed, nothing else
        budget.give_back(size)
        return 0
    return size
