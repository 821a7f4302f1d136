"""WWW-Authenticate headers (RFC 9110, section 11.6.1; RFC 6750, section 3), parsed in linear time, sans-IO.

One header may hold several challenges. What is malformed ends the header it stands in: challenges before it
count, and a parameter that is torn does not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HEADER_LIMIT: Final = 16 * 1024
PARAMETER_LIMIT: Final = 64

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's token, not a secret
_SKIP: Final = re.compile(r"[ \t,]*")
_SCHEME: Final = re.compile(rf"({_TOKEN})(?:[ \t]+|(?=,)|\Z)")
_QUOTED: Final = r'"((?:[^"\\\x00]|\\[^\x00])*+)"'
_PARAMETER: Final = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*(?:({_TOKEN})|{_QUOTED})[ \t]*(?=,|\Z)")
_TOKEN68: Final = re.compile(r"[0-9A-Za-z._~+/-]+=*[ \t]*(?=,|\Z)")
_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


class Challenge(NamedTuple):
    """A scheme and its parameters; the names of both are in lower case."""

    scheme: str
    parameters: dict[str, str]


class Scope(NamedTuple):
    """What a token is for (Docker token authentication, section scope): `repository:NAME:ACTIONS`."""

    kind: str
    name: str
    actions: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{self.actions}"


def parse_scope(text: str) -> Scope | None:
    """A Scope of `kind:name:actions`; None for anything else."""
    parts = text.split(":")
    return Scope(*parts) if len(parts) == 3 and all(parts) else None


def parse_all(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate headers of an answer, in their order."""
    return [found for header in headers for found in _challenges(header[:HEADER_LIMIT])]


def _challenges(text: str) -> Iterator[Challenge]:
    at = _end(_SKIP, text, 0)
    while match := _SCHEME.match(text, at):
        scheme, at = match[1].lower(), match.end()
        parameters, at, whole = _parameters(text, at)
        yield Challenge(scheme, parameters)
        if not whole:
            return


def _parameters(text: str, at: int) -> tuple[dict[str, str], int, bool]:
    """The parameters from `at` on, where they end, and whether what follows may be another challenge."""
    found: dict[str, str] = {}
    if (bare := _TOKEN68.match(text, at)) and not _PARAMETER.match(text, at):
        return found, _end(_SKIP, text, bare.end()), True  # `Negotiate dG9rZW4=`
    while True:
        at = _end(_SKIP, text, at)
        match = _PARAMETER.match(text, at)
        if match is None:
            return found, at, bool(_SCHEME.match(text, at))
        if len(found) < PARAMETER_LIMIT:
            # A name that comes twice keeps its first value: a later one must not replace the realm.
            value = match[2] if match[2] is not None else _PAIR.sub(r"\1", match[3])
            found.setdefault(match[1].lower(), value)
        at = match.end()


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()
