"""YAML files of the configuration, read strictly: text alone, no key twice, no endless aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from wherry.errors import InvalidError, LimitError
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

DEPTH_LIMIT: Final = 64
NODE_LIMIT: Final = 100_000
"""Values after aliases are resolved: a few lines of nested aliases can stand for billions."""

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


def decode(raw: bytes, kind: type[T]) -> T:
    """The first document, as a Struct of strings, lists and mappings; null stands for a key that is missing.

    Numbers and booleans stay the text that they are. Raises InvalidError (`yaml: …`, and `EOF` where there is
    no document) that names the key, LimitError.
    """
    tree = _Tree(_events(raw)).document()
    try:
        return msgspec.convert({} if tree is None else tree, kind)
    except msgspec.ValidationError as error:
        raise InvalidError(f"yaml: {error}") from None


def _events(raw: bytes) -> Iterator[Any]:
    """The parser's events. Not its nodes: making those recurses in C, and a deep file ends the process."""
    import yaml

    try:
        yield from yaml.parse(raw, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InvalidError(f"yaml: {where}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidError(f"yaml: {error}") from None


class _Tree:
    """Makes plain values of one document's events, and counts them."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._count = 0
        self._anchors: dict[str, tuple[Any, int]] = {}

    def document(self) -> Any:
        """None, a string, a list, or a mapping by strings."""
        for event in self._events:
            if _kind(event) == "DocumentStart":
                return self._value(next(self._events), 1)
        raise InvalidError("EOF")

    def _value(self, event: Any, depth: int) -> Any:
        if depth > DEPTH_LIMIT:
            raise LimitError(f"yaml: nested deeper than {DEPTH_LIMIT}")
        if _kind(event) == "Alias":
            return self._alias(event)
        before = self._count
        self._add(1)
        value: Any
        if _kind(event) == "Scalar":
            plain_untagged = event.implicit[0]
            value = None if plain_untagged and event.value in _NULLS else event.value
        elif _kind(event) == "SequenceStart":
            value = [entry for entry in self._entries(depth) if entry is not None]
        else:
            value = dict(self._pairs(depth))
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > NODE_LIMIT:
            raise LimitError(f"yaml: more than {NODE_LIMIT} values")

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            line = event.start_mark.line + 1
            raise InvalidError(f"yaml: line {line}: alias {quote(event.anchor)} of what is not there yet")
        value, count = self._anchors[event.anchor]
        self._add(count)
        return value

    def _entries(self, depth: int) -> Iterator[Any]:
        while _kind(event := next(self._events)) != "SequenceEnd":
            yield self._value(event, depth + 1)

    def _pairs(self, depth: int) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        while _kind(key := next(self._events)) != "MappingEnd":
            line = key.start_mark.line + 1
            if _kind(key) != "Scalar":
                raise InvalidError(f"yaml: line {line}: a mapping key that is no text")
            if key.value in lines:
                text = f"mapping key {quote(key.value)} already defined at line {lines[key.value]}"
                raise InvalidError(f"yaml: unmarshal errors:\n  line {line}: {text}")
            lines[key.value] = line
            value = self._value(next(self._events), depth + 1)
            if value is not None:
                yield key.value, value


def _kind(event: Any) -> str:
    return type(event).__name__.removesuffix("Event")
