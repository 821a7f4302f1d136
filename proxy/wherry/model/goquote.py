"""Text in quotes as Go's `%q` (strconv.Quote) shows it: what skopeo's error texts are made of."""

from __future__ import annotations

_NAMED = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(text: str) -> str:
    """`text` in double quotes; what is not printable is escaped, bytes that are not UTF-8 as `\\xNN`.

    Such bytes are expected as Python's file system encoding leaves them (surrogateescape).
    """
    return f'"{"".join(map(_show, text))}"'


def quote_list(texts: list[str]) -> str:
    """`[]string{"a", "b"}`: Go's `%#v` of a slice of strings."""
    return f"[]string{{{', '.join(map(quote, texts))}}}"


def _show(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    if char.isprintable():
        return char
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    if 0xD800 <= number <= 0xDFFF:
        return "\ufffd"
    if number < 0x20 or number == 0x7F:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
