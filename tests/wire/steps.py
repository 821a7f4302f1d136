"""The vocabulary of scenarios: what a client does, and where wherry may answer otherwise than skopeo.

A step without ``differs`` must give skopeo's bytes. One with it names a row of the closed list (issue 3,
item 6; docs/differences.md) and carries in ``ours`` what wherry gives instead, written by hand: a dict from
the kind of event (``recv``, ``data``, ``closed``, ``exit``, ``eof``; ``fds`` if not 0) to the exact value, or
to a compiled pattern that must match the whole text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DIFFERS = {
    "pipe ids": "the number in pipeid; the player replaces it, so no step needs this",
    "JSON syntax": "texts of JSON syntax errors",
    "truncated requests": "a packet longer than 32768 bytes",
    "zero packets": "an empty packet",
    "duplicate keys": "a key of the request given twice",
    "odd numbers": "fractional or negative ids and sizes",
    "FinishPipe without arguments": "skopeo's process ends",
    "oversized replies": "skopeo's process ends, or no known client can read the reply",
    "retry classes": "error_code for failures of the registry",
    "-1 sizes": "a blob's size that the registry does not tell",
    "hostile": "an input that hostile-cases.md makes us refuse",
    "converted config": "the config that a converted manifest names, fetched by its digest",
    "server end": "what the error pipe and FinishPipe say when the server ends or times out",
    "tail": "the tail of an error text that Go's net, TLS, JSON, tar or OS code wrote",
}

Expected = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    differs: str | None = field(default=None, kw_only=True)
    ours: Expected | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.differs is None) != (self.ours is None) or self.differs not in {None, *DIFFERS}:
            raise ValueError(f"differs and ours go together, and differs is of the closed list: {self}")


@dataclass(frozen=True)
class Request(Step):
    """Sends a packet and receives a reply. ``pipe`` names the reply's pipe; ``read`` reads it at once."""

    pipe: str | None = field(default=None, kw_only=True)
    read: bool = field(default=True, kw_only=True)


@dataclass(frozen=True, init=False)
class Call(Request):
    """A well-formed request."""

    method: str
    args: tuple[Any, ...]

    def __init__(self, method: str, *args: Any, **more: Any) -> None:
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "args", args)
        for name in ("differs", "ours", "pipe"):
            object.__setattr__(self, name, more.pop(name, None))
        object.__setattr__(self, "read", more.pop("read", True))
        if more:
            raise TypeError(f"no such field: {more}")
        self.__post_init__()

    @property
    def packet(self) -> bytes:
        body = {"method": self.method, "args": self.args}
        return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Raw(Request):
    """A packet of any bytes, answered or not."""

    packet: bytes


@dataclass(frozen=True)
class Send(Step):
    """A packet whose reply is not awaited here: the next ``Receive`` takes it, or there is none."""

    packet: bytes


@dataclass(frozen=True)
class Receive(Request):
    """Takes the reply to an earlier ``Send``."""


@dataclass(frozen=True)
class Finish(Step):
    """FinishPipe with the id of the pipe of that name."""

    pipe: str


@dataclass(frozen=True)
class Data(Step):
    """Everything up to end of file on a pipe; on a FinishPipe pipe this comes after ``Finish``.

    ``text=False`` notes size and sha256 of short data too. A pipe that no reply opened gives None.
    """

    pipe: str
    which: str = "data"
    text: bool = True


@dataclass(frozen=True)
class Wait(Step):
    """Waits until that many bytes lie unread in a pipe, so that no run races the server."""

    pipe: str
    size: int


@dataclass(frozen=True)
class CloseFd(Step):
    """Closes a pipe's data end, unread."""

    pipe: str


@dataclass(frozen=True)
class End(Step):
    """Closes the socket (``close``) and waits for the exit status; ``stderr`` is noted if asked for.

    Every scenario ends with one; it is added where none is written.
    """

    close: bool = True
    stderr: bool = False


@dataclass(frozen=True)
class Scenario:
    """Steps against one server. ``before`` and ``after`` are flags around the subcommand.

    stdin: ``socket`` (fd 0 is the server's end) or ``null`` (the end is another fd, ``{SOCKFD}``
    in ``after``).
    registry: the scenario needs ``{REGISTRY}``, ``{FAKE}`` and ``{REFUSED}``.
    """

    steps: tuple[Step, ...]
    before: tuple[str, ...] = ("--insecure-policy", "--override-arch=amd64", "--override-os=linux")
    after: tuple[str, ...] = ()
    stdin: str = "socket"
    registry: bool = False


def scenario(*steps: Step, **more: Any) -> Scenario:
    ending = () if steps and any(isinstance(step, End) for step in steps) else (End(),)
    return Scenario((*steps, *ending), **more)


# --- what wherry's own answers look like -----------------------------------------------------------


def error(pattern: str, code: str = "other") -> dict[str, Any]:
    """``ours`` for an error reply whose text, as it stands in the JSON, matches ``pattern``."""
    head = '{"success":false,"value":null,"pipeid":0,"error_code":"' + code + '","error":"'
    return {"recv": re.compile(re.escape(head) + pattern + re.escape('"}'))}


def tail(start: str, ending: str = ".+", code: str = "other") -> dict[str, Any]:
    """``differs`` and ``ours`` for an error that begins as skopeo's does and ends in our words."""
    return {"differs": "tail", "ours": error(re.escape(start) + ending, code)}
