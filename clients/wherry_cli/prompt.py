"""Asking a person: a line, or a password that is not shown."""

from __future__ import annotations

import os
import signal
import termios
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wherry.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

LIMIT = 1024 * 1024


def read_line(fd: int) -> str:
    """A line without its end, not a byte more. Raises InvalidError (`EOF`) where the input ends before it."""
    line = bytearray()
    while (byte := os.read(fd, 1)) != b"\n":
        if not byte:
            raise InvalidError("EOF")
        line += byte
        if len(line) > LIMIT:
            raise InvalidError("line too long")
    return line.decode(errors="surrogateescape").removesuffix("\r")


def read_password(fd: int) -> str:
    """A line typed at a terminal that shows nothing of it meanwhile.

    Raises InvalidError where `fd` is no terminal (`inappropriate ioctl for device`, as skopeo says).
    """
    try:
        before = termios.tcgetattr(fd)
    except termios.error:
        raise InvalidError("inappropriate ioctl for device") from None
    silent = list(before)
    silent[3] &= ~termios.ECHO
    with _ended_by_sigterm():
        try:
            termios.tcsetattr(fd, termios.TCSANOW, silent)
            return read_line(fd)
        finally:
            termios.tcsetattr(fd, termios.TCSANOW, before)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is an exception meanwhile: else it would leave a terminal that shows nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def read_joined(fd: int) -> str:
    """All lines of the input, without their ends (--password-stdin). Raises InvalidError for over 1 MiB."""
    data = bytearray()
    while part := os.read(fd, 65536):
        data += part
        if len(data) > LIMIT:
            raise InvalidError("standard input is longer than a password can be")
    lines = data.decode(errors="surrogateescape").split("\n")
    return "".join(line.removesuffix("\r") for line in lines)
