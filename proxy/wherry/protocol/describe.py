"""The tables of protocol.md, made of the Structs in messages.py.

    python -m wherry.protocol.describe protocol.md

writes them between the document's markers; tests/test_protocol_md.py fails while they differ.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
from msgspec import inspect

from wherry import errors
from wherry.protocol import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.protocol.messages import Method

_CARRIES: Final = {
    "": "",
    "pipe": "`pipeid`, 1 fd",
    "data+error": "2 fds: data, error pipe",
    "data+status": "2 fds: data, status",
    "document": "1 fd: the document",
}
_SECTION: Final = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

_TOLD: Final[tuple[type[msgspec.Struct], ...]] = (
    messages.BlobStatus,
    messages.InspectResult,
    messages.CopyResult,
    messages.Event,
    messages.ErrorDetail,
)
"""Objects that no argument and no value's type leads to: documents, status lines, events, details."""

KINDS: Final[tuple[type[errors.WherryError], ...]] = (
    errors.InvalidError,
    errors.NotFoundError,
    errors.AuthError,
    errors.PolicyError,
    errors.NetworkError,
    errors.StalledError,
    errors.RegistryError,
    errors.CorruptError,
    errors.LimitError,
    errors.OperationCancelledError,
    errors.InternalError,
)
"""Of the errors of each kind, the one that explains it."""


def updated(text: str) -> str:
    """`text` with every generated section as the Structs say it now. Raises KeyError for an unknown one."""
    return _SECTION.sub(lambda found: f"{found[1]}\n{SECTIONS[found[2]]()}\n{found[3]}", text)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join([_row(head), _row("---" for _ in head), *map(_row, rows), ""])


def _said(kind: type[object]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _methods(methods: tuple[type[Method[object]], ...]) -> str:
    rows = []
    for method in methods:
        args = [
            f"{field.name}: {_type(field.type)}" + ("" if field.required else "?")
            for field in _fields(method)
        ]
        value = _type(inspect.type_info(_value(method)))
        rows.append(
            (
                f"`{method.__name__}`",
                method.since,
                f"`[{', '.join(args)}]`",
                "none: no reply" if method is messages.Shutdown else value,
                _CARRIES[method.carries],
                _said(method),
            )
        )
    return _table(("method", "since", "args", "value", "beside it", "what it does"), rows)


def objects() -> list[type[msgspec.Struct]]:
    """The objects of requests, replies and events, in the order in which the document shows them."""
    found: list[type[msgspec.Struct]] = []

    def walk(kind: inspect.Type) -> None:
        for inner in _inside(kind):
            walk(inner)
        if isinstance(kind, inspect.StructType) and kind.cls not in found:
            found.append(kind.cls)
            for field in kind.fields:
                walk(field.type)

    for method in messages.BY_NAME.values():
        for field in _fields(method):
            walk(field.type)
        walk(inspect.type_info(_value(method)))
    for kind in _TOLD:
        walk(inspect.type_info(kind))
    return found


def _objects() -> str:
    parts = []
    for kind in objects():
        rows = [(f"`{field.name}`", _type(field.type), _default(field)) for field in _fields(kind)]
        table = _table(("member", "type", "default"), rows)
        parts.append(f"#### {kind.__name__}\n\n{_said(kind)}\n\n{table}")
    return "\n".join(parts)


def _kinds() -> str:
    rows = [(f"`{kind.kind}`", "yes" if kind.retryable else "no", _said(kind)) for kind in KINDS]
    return _table(("kind", "retryable by itself", "what happened"), rows)


def _inside(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    """The types that an array, an object or a choice is made of."""
    match kind:
        case inspect.UnionType():
            return kind.types
        case inspect.VarTupleType():
            return (kind.item_type,)
        case inspect.DictType():
            return (kind.value_type,)
    return ()


def _value(method: type[Method[object]]) -> Any:
    """The type of a method's value: Method's parameter."""
    return get_args(method.__orig_bases__[0])[0]  # type: ignore[attr-defined]


def _fields(kind: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    described = inspect.type_info(kind)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"{kind} is no Struct")
    return described.fields


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    made: Any = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
    value = made() if field.default is msgspec.NODEFAULT else made
    return f"`{json.dumps(msgspec.to_builtins(value))}`"


def _type(kind: inspect.Type) -> str:
    """A type in the words of JSON."""
    match kind:
        case inspect.StrType():
            return "string"
        case inspect.IntType():
            return "integer"
        case inspect.BoolType():
            return "boolean"
        case inspect.NoneType():
            return "null"
        case inspect.LiteralType():
            return " or ".join(json.dumps(value) for value in kind.values)
        case inspect.UnionType():
            return " or ".join(map(_type, kind.types))
        case inspect.VarTupleType():
            return f"array of {_type(kind.item_type)}"
        case inspect.DictType():
            return f"object of {_type(kind.value_type)}"
        case inspect.StructType():
            return kind.cls.__name__
    raise TypeError(f"no word for {kind}")


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "legacy-methods": lambda: _methods(messages.LEGACY),
    "extended-methods": lambda: _methods(messages.EXTENDED),
    "objects": _objects,
    "error-kinds": _kinds,
}

if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(updated(page.read_text()))
