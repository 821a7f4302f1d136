"""The functions that templates may call: text/template's own, and skopeo's (containers/common report)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_plus

from wherry.errors import InternalError, InvalidError
from wherry.model import gojson
from wherry_cli.gotemplate import values
from wherry_cli.gotemplate.printing import show, sprint, sprintf, sprintln
from wherry_cli.gotemplate.values import INVALID, Value, inside, is_nil, is_true

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANY = "any"


class Function(NamedTuple):
    """`parameters`: Go types, or ANY; `rest`: the type of further ones, "" for none."""

    call: Callable[..., Value]
    parameters: tuple[str, ...]
    rest: str = ""


# --- skopeo's


def _json(value: Value) -> Value:
    """json.Encoder without HTML escaping (U+2028 stays escaped), trimmed."""
    encoded = gojson.dumps(values.to_json(value)).decode()
    plain = {"u003c": "<", "u003e": ">", "u0026": "&"}
    # Pairs of backslashes are passed over, so that an escaped backslash before u003c stays.
    return values.string(
        re.sub(r"\\(\\|u003c|u003e|u0026)", lambda found: plain.get(found[1], found[0]), encoded)
    )


def _title(value: Value) -> Value:
    """strings.Title: the first letter of every word."""
    return values.string(re.sub(r"(?<!\w)\w", lambda found: _fold(found[0], str.title), value.text))


def _fold(text: str, change: Callable[[str], str]) -> str:
    """Change each character's case, where that gives one character."""
    return "".join(new if len(new := change(char)) == 1 else char for char in text)


def _pad(source: Value, before: Value, after: Value) -> Value:
    sizes = [int(str(size.data)) for size in (before, after)]
    if source.text and min(sizes) < 0:
        raise InvalidError("strings: negative Repeat count")
    return values.string(" " * sizes[0] + source.text + " " * sizes[1] if source.text else "")


def _truncate(source: Value, length: Value) -> Value:
    data, size = source.text.encode(errors="surrogateescape"), int(str(length.data))
    if size < 0:
        raise InvalidError(f"runtime error: slice bounds out of range [:{size}]")
    return values.string(data[:size].decode(errors="surrogateescape"))


def _split(text: Value, separator: Value) -> Value:
    return values.strings(text.text.split(separator.text) if separator.text else list(text.text))


def _join(texts: Value, separator: Value) -> Value:
    return values.string(separator.text.join(text.text for text in texts.items))


# --- text/template's


def _length(value: Value) -> Value:
    value = inside(value)
    match value.kind:
        case "string":
            return values.integer(len(value.text.encode(errors="surrogateescape")))
        case "slice":
            return values.integer(len(value.items))
        case "map":
            return values.integer(len(value.entries))
        case "time" if value.data is None:
            raise InvalidError("len of nil pointer")
    raise InvalidError(f"len of type {value.type.removeprefix('*')}")


def _position(index: Value, size: int) -> int:
    index = inside(index)
    if index.kind == "invalid":
        raise InvalidError("cannot index slice/array with nil")
    if index.kind != "int" or not isinstance(index.data, int):
        raise InvalidError(f"cannot index slice/array with type {index.type}")
    if not 0 <= index.data <= size:
        raise InvalidError(f"index out of range: {index.data}")
    return index.data


def _index(item: Value, *indexes: Value) -> Value:
    item = inside(item)
    if item.kind == "invalid":
        raise InvalidError("index of untyped nil")
    for index in indexes:
        item = _one_index(inside(item), inside(index))
    return item


def _one_index(item: Value, index: Value) -> Value:
    if item.kind == "string":
        data = item.text.encode(errors="surrogateescape")
        position = _position(index, len(data))
        if position == len(data):
            raise InvalidError("reflect: string index out of range")
        return values.integer(data[position], "uint8")
    if item.kind == "slice":
        position = _position(index, len(item.items))
        if position == len(item.items):
            raise InvalidError("reflect: slice index out of range")
        return item.items[position]
    if item.kind == "map":
        if index.kind == "invalid":
            raise InvalidError("value is nil; should be of type string")
        if index.type != "string":
            raise InvalidError(f"value has type {index.type}; should be string")
        empty = Value("struct", "struct {}", ()) if "struct" in item.type else values.string("")
        return item.entries.get(index.text, empty)
    if item.kind == "time" and item.data is None:
        raise InvalidError("index of nil pointer")
    raise InvalidError(f"can't index item of type {item.type.removeprefix('*')}")


def _slice(item: Value, *indexes: Value) -> Value:
    item = inside(item)
    if item.kind == "invalid":
        raise InvalidError("slice of untyped nil")
    if len(indexes) > 3:
        raise InvalidError(f"too many slice indexes: {len(indexes)}")
    if item.kind == "string":
        if len(indexes) == 3:
            raise InvalidError("cannot 3-index slice a string")
        data = item.text.encode(errors="surrogateescape")
        start, end = _bounds(indexes, len(data))
        return item._replace(data=data[start:end].decode(errors="surrogateescape"))
    if item.kind == "slice":
        start, end = _bounds(indexes, len(item.items))
        return item._replace(data=item.items[start:end])
    raise InvalidError(f"can't slice item of type {item.type.removeprefix('*')}")


def _bounds(indexes: tuple[Value, ...], size: int) -> tuple[int, int]:
    bounds = [0, size, size]
    for place, index in enumerate(indexes):
        bounds[place] = _position(index, size)
    for low, high in ((bounds[0], bounds[1]), (bounds[1], bounds[2])):
        if low > high:
            raise InvalidError(f"invalid slice index: {low} > {high}")
    return bounds[0], bounds[1]


def _equal(first: Value, *others: Value) -> Value:
    if not others:
        raise InvalidError("missing argument for comparison")
    return values.boolean(any(_same(inside(first), inside(other)) for other in others))


_BASIC = {"bool": "bool", "string": "string", "int": "int", "float": "float"}


def _same(one: Value, other: Value) -> bool:
    kinds = _BASIC.get(one.kind), _BASIC.get(other.kind)
    if kinds[0] != kinds[1]:
        if "invalid" in (one.kind, other.kind):
            return False
        raise InvalidError(f"incompatible types for comparison: {one.type} and {other.type}")
    if kinds[0] is not None:
        return one.data == other.data
    if one.kind != other.kind and "invalid" not in (one.kind, other.kind):
        raise InvalidError(f"non-comparable types {show(one)}: {one.type}, {other.type}: {show(other)}")
    if is_nil(one) or is_nil(other):
        return is_nil(one) == is_nil(other)
    if other.kind in ("slice", "map", "struct"):
        raise InvalidError(f"non-comparable type {show(other)}: {other.type}")
    return one is other


def _less(one: Value, other: Value) -> bool:
    one, other = inside(one), inside(other)
    for value in (one, other):
        if value.kind not in _BASIC:
            raise InvalidError("invalid type for comparison")
    if one.kind != other.kind:
        raise InvalidError(f"incompatible types for comparison: {one.type} and {other.type}")
    match one.data, other.data:
        case bool(), _:
            raise InvalidError("invalid type for comparison")
        case (int() | float()) as low, (int() | float()) as high:
            return low < high
    return one.text.encode(errors="surrogateescape") < other.text.encode(errors="surrogateescape")


def _less_or_equal(one: Value, other: Value) -> bool:
    return _less(one, other) or _same(inside(one), inside(other))


def _text_of(arguments: tuple[Value, ...]) -> str:
    """What html, js and urlquery work on: one string, or all arguments printed."""
    if len(arguments) == 1 and inside(arguments[0]).type == "string":
        return inside(arguments[0]).text
    return sprint([argument if argument.kind != "invalid" else INVALID for argument in arguments])


_HTML = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js_escape(text: str) -> str:
    shown = []
    for char in text:
        if char in _JS:
            shown.append(_JS[char])
        elif char.isprintable():
            shown.append(char)
        else:
            shown.append(f"\\u{ord(char):04X}")
    return "".join(shown)


def _query_escape(text: str) -> str:
    return quote_plus(text, safe="", errors="surrogateescape")


def _text(text: str) -> Value:
    return values.string(text)


def _by_runner(*arguments: Value) -> Value:
    raise InternalError("this function is the runner's own")


FUNCTIONS: Mapping[str, Function] = {
    "join": Function(_join, ("[]string", "string")),
    "json": Function(_json, (ANY,)),
    "lower": Function(lambda value: _text(_fold(value.text, str.lower)), ("string",)),
    "pad": Function(_pad, ("string", "int", "int")),
    "split": Function(_split, ("string", "string")),
    "title": Function(_title, ("string",)),
    "truncate": Function(_truncate, ("string", "int")),
    "upper": Function(lambda value: _text(_fold(value.text, str.upper)), ("string",)),
    "and": Function(_by_runner, (ANY,), ANY),
    "or": Function(_by_runner, (ANY,), ANY),
    "call": Function(_by_runner, (ANY,), ANY),
    "not": Function(lambda value: values.boolean(not is_true(value)), (ANY,)),
    "len": Function(_length, (ANY,)),
    "index": Function(_index, (ANY,), ANY),
    "slice": Function(_slice, (ANY,), ANY),
    "print": Function(lambda *all: _text(sprint(list(all))), (), ANY),
    "println": Function(lambda *all: _text(sprintln(list(all))), (), ANY),
    "printf": Function(lambda form, *all: _text(sprintf(form.text, list(all))), ("string",), ANY),
    "html": Function(lambda *all: _text(_text_of(all).translate(_HTML)), (), ANY),
    "js": Function(lambda *all: _text(_js_escape(_text_of(all))), (), ANY),
    "urlquery": Function(lambda *all: _text(_query_escape(_text_of(all))), (), ANY),
    "eq": Function(_equal, (ANY,), ANY),
    "ne": Function(lambda one, other: values.boolean(not _same(inside(one), inside(other))), (ANY, ANY)),
    "lt": Function(lambda one, other: values.boolean(_less(one, other)), (ANY, ANY)),
    "le": Function(lambda one, other: values.boolean(_less_or_equal(one, other)), (ANY, ANY)),
    "gt": Function(lambda one, other: values.boolean(not _less_or_equal(one, other)), (ANY, ANY)),
    "ge": Function(lambda one, other: values.boolean(not _less(one, other)), (ANY, ANY)),
}
"""`and` and `or` evaluate only as many arguments as they need, `call` names its own: the runner does them."""
