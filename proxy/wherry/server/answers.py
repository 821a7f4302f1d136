"""What a handler gives back: a value, and what travels beside it."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class Answer(Struct, frozen=True):
    """A reply's value, the id of its pipe if it has one, and fds that are sent and then closed on our
    side."""

    value: object = None
    pipe: int = 0
    fds: tuple[int, ...] = ()


def plain(value: object) -> object:
    """A Struct as the JSON objects it stands for."""
    return msgspec.to_builtins(value)
