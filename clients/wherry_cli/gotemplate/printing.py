"""Go's package fmt: how values print, and what Printf's verbs do with them."""

from __future__ import annotations

import re
from typing import NamedTuple

from wherry.errors import NotYetError
from wherry.model.goquote import quote
from wherry_cli.gotemplate.gotime import time_text
from wherry_cli.gotemplate.values import Value, fields, inside

_VERB = re.compile(r"([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?(.)", re.DOTALL)
_NUMBERS = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X"}
_STRING_VERBS = frozenset("vsqxX")
_INT_VERBS = frozenset("vdboOxXcqU")
_FLOAT_VERBS = frozenset("veEfFgG")


def show(value: Value) -> str:
    """`fmt.Sprint` of one value, as an action of a template prints it."""
    value = inside(value)
    if value.kind == "invalid":
        return "<no value>"
    return _format(value._replace(type=value.type.removeprefix("*")), _Spec("v"))


def sprint(arguments: list[Value]) -> str:
    """`fmt.Sprint`: spaces between operands of which neither is a string."""
    shown: list[str] = []
    before = True
    for argument in map(inside, arguments):
        is_string = argument.kind == "string"
        if shown and not is_string and not before:
            shown.append(" ")
        shown.append(_format(argument, _Spec("v")))
        before = is_string
    return "".join(shown)


def sprintln(arguments: list[Value]) -> str:
    """`fmt.Sprintln`: spaces between all operands, and a newline."""
    return " ".join(_format(inside(argument), _Spec("v")) for argument in arguments) + "\n"


def sprintf(template: str, arguments: list[Value]) -> str:
    """`fmt.Sprintf`, with its notes on wrong and missing operands."""
    shown: list[str] = []
    rest = list(reversed(arguments))
    position = 0
    while True:
        start = template.find("%", position)
        if start < 0:
            shown.append(template[position:])
            break
        shown.append(template[position:start])
        found = _VERB.match(template, start + 1)
        if found is None:
            shown.append("%!(NOVERB)")
            break
        position = found.end()
        shown.append(_directive(found, rest))
    if rest:
        left = ", ".join(_typed(inside(argument)) for argument in reversed(rest))
        shown.append(f"%!(EXTRA {left})")
    return "".join(shown)


def _directive(found: re.Match[str], rest: list[Value]) -> str:
    flags, width, precision, verb = found.groups()
    if verb == "%":
        return "%"
    if "*" in (width, precision) or verb == "[":
        raise NotYetError("widths and indexes from operands (%*d, %[1]s) are not yet built in wherry")
    if not rest:
        return f"%!{verb}(MISSING)"
    dotted = "." in found[0]
    spec = _Spec(verb, flags, int(width or 0), int(precision or 0) if dotted else None)
    return _format(inside(rest.pop()), spec)


class _Spec(NamedTuple):
    verb: str
    flags: str = ""
    width: int = 0
    precision: int | None = None


def _typed(value: Value) -> str:
    return "<nil>" if value.kind == "invalid" else f"{value.type}={_format(value, _Spec('v'))}"


def _format(value: Value, spec: _Spec) -> str:
    if spec.verb == "T":
        return _pad("<nil>" if value.kind == "invalid" else value.type, spec)
    if spec.verb == "v" and "#" in spec.flags:
        raise NotYetError("%#v in templates is not yet built in wherry")
    match value.kind:
        case "interface":
            return _format(inside(value), spec)
        case "invalid":
            return _pad("<nil>", spec) if spec.verb == "v" else f"%!{spec.verb}(<nil>)"
        case "time":
            text = "<nil>" if value.data is None else time_text(str(value.data))
            return _format(Value("string", value.type, text), spec)
        case "string":
            return _string(value, spec)
        case "slice":
            return f"[{' '.join(_format(item, spec) for item in value.items)}]"
        case "map":
            pairs = (
                f"{_format(Value('string', 'string', key), spec)}:{_format(item, spec)}"
                for key, item in value.entries.items()
            )
            return f"map[{' '.join(pairs)}]"
        case "struct":
            return _struct(value, spec)
    return _basic(value, spec)


def _struct(value: Value, spec: _Spec) -> str:
    named = "+" in spec.flags and spec.verb == "v"
    shown = ((f"{field.name}:" if named else "") + _format(field.value, spec) for field in fields(value))
    pointer = "&" if value.type.startswith("*") else ""
    return f"{pointer}{{{' '.join(shown)}}}"


def _string(value: Value, spec: _Spec) -> str:
    text = value.text
    if spec.verb not in _STRING_VERBS:
        return f"%!{spec.verb}({value.type}={text})"
    if spec.precision is not None:
        text = text[: spec.precision]
    if spec.verb == "q":
        raw = "#" in spec.flags and "`" not in text and text.isprintable()
        text = f"`{text}`" if raw else quote(text)
    elif spec.verb in "xX":
        separator = " " if " " in spec.flags else ""
        text = text.encode(errors="surrogateescape").hex(separator) if separator else _hex(text)
        text = text.upper() if spec.verb == "X" else text
    return _pad(text, spec)


def _hex(text: str) -> str:
    return text.encode(errors="surrogateescape").hex()


def _basic(value: Value, spec: _Spec) -> str:
    data = value.data
    if isinstance(data, bool):
        if spec.verb not in "tv":
            return f"%!{spec.verb}(bool={_go_bool(data)})"
        return _pad(_go_bool(data), spec)
    if isinstance(data, int):
        return _integer(data, value.type, spec)
    if isinstance(data, float):
        return _float(data, value.type, spec)
    return ""


def _go_bool(truth: bool) -> str:
    return "true" if truth else "false"


def _integer(number: int, type: str, spec: _Spec) -> str:
    if spec.verb not in _INT_VERBS:
        return f"%!{spec.verb}({type}={number})"
    if spec.verb in "cqU":
        text = _rune(number, spec.verb)
        return _pad(text, spec)
    digits = format(abs(number), _NUMBERS.get(spec.verb, "o" if spec.verb == "O" else "d"))
    if spec.precision is not None:
        digits = digits.rjust(spec.precision, "0") if spec.precision or number else ""
    prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(spec.verb, "") if "#" in spec.flags else ""
    prefix = "0o" if spec.verb == "O" else prefix
    return _signed(number < 0, prefix + digits, spec, spec.precision is None)


def _rune(code: int, verb: str) -> str:
    if verb == "U":
        return f"U+{code:04X}"
    if verb == "c":
        return chr(code)
    shown = {"'": "\\'", '"': '"'}.get(chr(code)) or quote(chr(code))[1:-1]
    return f"'{shown}'"


def _float(number: float, type: str, spec: _Spec) -> str:
    if spec.verb not in _FLOAT_VERBS:
        return f"%!{spec.verb}({type}={shortest(number)})"
    if spec.verb in "vgG" and spec.precision is None:
        digits = shortest(abs(number))
    else:
        precision = 6 if spec.precision is None else spec.precision
        digits = format(abs(number), f".{precision}{'g' if spec.verb == 'v' else spec.verb}")
    return _signed(number < 0, digits, spec, True)


def shortest(number: float) -> str:
    """`%v` of a float64: the shortest digits; with an exponent below 1e-4 and from 1e6 on."""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = int(exponent or 0) + len(whole) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0") or "0"
    sign = "-" if number < 0 else ""
    power = point - 1 if number else 0
    if -4 <= power < 6:
        return f"{number:.{max(0, len(digits) - 1 - power)}f}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _signed(negative: bool, digits: str, spec: _Spec, zeros: bool) -> str:
    plus = "+" in spec.flags and spec.verb != "v"  # of a %v it asks for the names of fields
    sign = "-" if negative else "+" if plus else " " if " " in spec.flags else ""
    if zeros and "0" in spec.flags and "-" not in spec.flags:
        digits = digits.rjust(spec.width - len(sign), "0")
    return _pad(sign + digits, spec._replace(flags=spec.flags.replace("0", "")))


def _pad(text: str, spec: _Spec) -> str:
    if "-" in spec.flags:
        return text.ljust(spec.width)
    return text.rjust(spec.width, "0" if "0" in spec.flags else " ")
