"""Log lines on stderr as logrus' TextFormatter writes them, which skopeo's users and programs match on."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Callable

Level = Literal["debug", "info", "warning", "error", "fatal"]

_COLOURS: dict[Level, int] = {"debug": 37, "info": 36, "warning": 33, "error": 31, "fatal": 31}
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")


class Log(NamedTuple):
    """Where log lines go: `fd`, coloured if it is a terminal. `started`, `wall`: seconds since the epoch."""

    fd: int
    coloured: bool
    debugging: bool
    started: float
    wall: Callable[[], float] = time.time

    def write(self, level: Level, message: str, **fields: object) -> None:
        """Write one line. Debug lines are written only if the user asked for them."""
        if level == "debug" and not self.debugging:
            return
        now = self.wall()
        line = (
            coloured_line(level, message, int(now - self.started), fields)
            if self.coloured
            else plain_line(level, message, timestamp(now), fields)
        )
        with suppress(OSError):  # nobody can be told that there is nobody to tell
            write_all(self.fd, line.encode(errors="surrogateescape"))

    def warn(self, message: str) -> None:
        """Write a warning: the `warn` of a System."""
        self.write("warning", message)


def plain_line(level: Level, message: str, when: str, fields: dict[str, object]) -> str:
    """A line for a file or a pipe: `time="…" level=… msg=…` and the fields, sorted."""
    pairs = [("time", when), ("level", level)]
    if message:
        pairs.append(("msg", message))
    pairs += ((key, str(fields[key])) for key in sorted(fields))
    return " ".join(f"{key}={_value(value)}" for key, value in pairs) + "\n"


def coloured_line(level: Level, message: str, seconds: int, fields: dict[str, object]) -> str:
    """A line for a terminal: four letters of the level in its colour, seconds since the start, the text."""
    colour = _COLOURS[level]
    text = message.removesuffix("\n")
    line = f"\x1b[{colour}m{level.upper()[:4]}\x1b[0m[{seconds:04d}] {text:<44} "
    shown = (f" \x1b[{colour}m{key}\x1b[0m={_value(str(fields[key]))}" for key in sorted(fields))
    return line + "".join(shown) + "\n"


def _value(text: str) -> str:
    return text if _BARE.issuperset(text) else quote(text)


def timestamp(seconds: float) -> str:
    """RFC 3339 in local time, whole seconds; `Z` where the offset is zero."""
    local = time.localtime(seconds)
    minutes = local.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "Z"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + offset


def write_all(fd: int, data: bytes) -> None:
    """Write every byte. Raises OSError; BrokenPipeError where the reader is gone."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # whoever shares the terminal or pipe with us made it non-blocking
            import select

            select.select((), (fd,), ())
