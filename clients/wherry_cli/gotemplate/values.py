"""Go values as templates see them: each with its Go type, which printing and error texts depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["invalid", "string", "int", "float", "bool", "slice", "map", "struct", "time", "interface"]


class Value(NamedTuple):
    """A value of a Go type.

    `data` by kind: str, int, float, bool; for "slice" a tuple of Values or None (nil); for "map" a dict of
    Values or None; for "struct" a tuple of Fields; for "time" (a *time.Time) RFC 3339 text or None; for
    "interface" the Value inside; for "invalid" (no value at all) None.
    """

    kind: Kind
    type: str
    data: object = None

    @property
    def items(self) -> tuple[Value, ...]:
        """Elements of a slice."""
        return self.data if isinstance(self.data, tuple) else ()

    @property
    def entries(self) -> Mapping[str, Value]:
        """Entries of a map."""
        return self.data if isinstance(self.data, dict) else {}

    @property
    def text(self) -> str:
        """Contents of a string."""
        return self.data if isinstance(self.data, str) else ""


class Field(NamedTuple):
    """A struct's field: its names in Go and in JSON. `embedded`: its own fields are reached directly too."""

    name: str
    value: Value
    key: str = ""
    omit_empty: bool = False
    embedded: bool = False


INVALID = Value("invalid", "<nil>")


def string(text: str, type: str = "string") -> Value:
    """A string, or a type that is one (`digest.Digest`)."""
    return Value("string", type, text)


def integer(number: int, type: str = "int") -> Value:
    """An int."""
    return Value("int", type, number)


def boolean(truth: bool) -> Value:
    """A bool."""
    return Value("bool", "bool", truth)


def strings(texts: Iterable[str] | None, element: str = "string") -> Value:
    """A slice of strings; None is the nil slice."""
    items = None if texts is None else tuple(string(text, element) for text in texts)
    return Value("slice", f"[]{element}", items)


def string_map(entries: Mapping[str, str] | None) -> Value:
    """A `map[string]string`; None is the nil map."""
    data = None if entries is None else {key: string(entries[key]) for key in sorted(entries)}
    return Value("map", "map[string]string", data)


def string_set(keys: Iterable[str] | None) -> Value:
    """A `map[string]struct {}`; None is the nil map."""
    data = None if keys is None else {key: Value("struct", "struct {}", ()) for key in sorted(keys)}
    return Value("map", "map[string]struct {}", data)


def time(text: str | None) -> Value:
    """A `*time.Time`, of its RFC 3339 text; None is the nil pointer."""
    return Value("time", "*time.Time", text)


def structure(type: str, *fields: Field) -> Value:
    """A struct, or with a `type` that begins in `*` a pointer to one."""
    return Value("struct", type, fields)


def interface(value: Value) -> Value:
    """A value in an `interface {}`."""
    return Value("interface", "interface {}", value)


def inside(value: Value) -> Value:
    """What an interface holds; any other value itself."""
    return value.data if value.kind == "interface" and isinstance(value.data, Value) else value


def fields(value: Value) -> tuple[Field, ...]:
    """A struct's fields."""
    if not isinstance(value.data, tuple):
        return ()
    return tuple(field for field in value.data if isinstance(field, Field))


def field(value: Value, name: str) -> Value | None:
    """A struct's field by its name, looked for in embedded structs too."""
    for each in fields(value):
        if each.name == name:
            return each.value
    found = (field(each.value, name) for each in fields(value) if each.embedded)
    return next((each for each in found if each is not None), None)


def is_true(value: Value) -> bool:
    """Whether `if` takes the value for true: it is not its type's zero; a struct always is."""
    value = inside(value)
    if value.kind in ("slice", "map"):
        return bool(value.items or value.entries)
    if value.kind == "time":
        return value.data is not None
    return value.kind == "struct" or bool(value.data)


def is_nil(value: Value) -> bool:
    """Whether a value is no value, or its type's nil."""
    return value.kind == "invalid" or (value.kind in ("slice", "map", "time") and value.data is None)


def to_json(value: Value) -> object:
    """The value as encoding/json sees it."""
    value = inside(value)
    if value.kind == "slice":
        return None if value.data is None else [to_json(item) for item in value.items]
    if value.kind == "map":
        return None if value.data is None else {key: to_json(item) for key, item in value.entries.items()}
    if value.kind == "struct":
        return _object(value)
    return value.data


def _object(value: Value) -> dict[str, object]:
    members: dict[str, object] = {}
    for each in fields(value):
        if each.embedded:
            members |= _object(each.value)
        elif not (each.omit_empty and _is_empty(each.value)):
            members[each.key or each.name] = to_json(each.value)
    return members


def _is_empty(value: Value) -> bool:
    """What `omitempty` leaves out; of a struct (`omitzero`) that all its fields are zero."""
    if value.kind == "struct":
        return all(_is_empty(each.value) for each in fields(value))
    return not is_true(value)
