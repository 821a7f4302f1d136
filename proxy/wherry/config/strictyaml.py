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
"""Nodes after aliases are resolved: a few lines of nested aliases can stand for billions."""

_NULL: Final = "tag:yaml.org,2002:null"


def decode(raw: bytes, kind: type[T]) -> T:
    """The first document, as a Struct of strings, lists and mappings; null stands for a key that is missing.

    Numbers and booleans stay the text that they are. Raises InvalidError (`yaml: …`, and `EOF` where there is
    no document) that names the key, LimitError.
    """
    tree = _Tree().plain(_compose(raw))
    try:
        return msgspec.convert({} if tree is None else tree, kind)
    except msgspec.ValidationError as error:
        raise InvalidError(f"yaml: {error}") from None


def _compose(raw: bytes) -> Any:
    import yaml

    try:
        loader = yaml.CSafeLoader(raw)
        try:
            if loader.check_node():
                return loader.get_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InvalidError(f"yaml: {where}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidError(f"yaml: {error}") from None
    except RecursionError:
        raise LimitError(f"yaml: nested deeper than {DEPTH_LIMIT}") from None
    raise InvalidError("EOF")


class _Tree:
    """Makes plain values of one document's nodes, and counts them."""

    def __init__(self) -> None:
        self._count = 0

    def plain(self, node: Any, depth: int = 1) -> Any:
        """None, a string, a list, or a mapping by strings."""
        self._count += 1
        if depth > DEPTH_LIMIT:
            raise LimitError(f"yaml: nested deeper than {DEPTH_LIMIT}")
        if self._count > NODE_LIMIT:
            raise LimitError(f"yaml: more than {NODE_LIMIT} values")
        if node.id == "mapping":
            return dict(self._pairs(node, depth))
        if node.id == "sequence":
            values = [self.plain(entry, depth + 1) for entry in node.value]
            return [value for value in values if value is not None]
        return None if node.tag == _NULL else node.value

    def _pairs(self, node: Any, depth: int) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar":
                raise InvalidError(f"yaml: line {line}: a mapping key that is no text")
            if key.value in lines:
                text = f"mapping key {quote(key.value)} already defined at line {lines[key.value]}"
                raise InvalidError(f"yaml: unmarshal errors:\n  line {line}: {text}")
            lines[key.value] = line
            made = self.plain(value, depth + 1)
            if made is not None:
                yield key.value, made
