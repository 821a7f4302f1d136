"""A template's text as tokens (text/template's syntax)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYWORDS = frozenset(
    ("block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with")
)
_SPACES = " \t\r\n"
_TERMINATORS = " \t\r\n.,|:)("
_WORD = re.compile(r"\w*")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?"
    r"|0[oO][0-7_]*(?:\.[0-7_]*)?|0[bB][01_]*(?:\.[01_]*)?"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_QUOTED = {
    '"': (re.compile(r'"(?:[^"\\\n]|\\[^\n])*"', re.DOTALL), "string", "quoted string"),
    "'": (re.compile(r"'(?:[^'\\\n]|\\[^\n])*'", re.DOTALL), "char", "character constant"),
    "`": (re.compile(r"`[^`]*`"), "raw", "raw quoted string"),
}
_SINGLE = {"=": "assign", "|": "pipe"}


class Token(NamedTuple):
    """`kind`: "text", "left", "right", "space", "field", …, a keyword's own name, "error" or "eof".
    `position`: in characters from the text's start; `line` from 1."""

    kind: str
    value: str
    position: int
    line: int


class Lexer:
    """Makes the tokens of one text; after an error token nothing comes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0

    def tokens(self) -> Iterator[Token]:
        """All tokens; the last is "eof" or "error"."""
        while True:
            start = self._text.find("{{", self._position)
            end = len(self._text) if start < 0 else start
            text = self._text[self._position : end]
            trims = start >= 0 and self._trims(start + 2)
            shown = text.rstrip(_SPACES) if trims else text
            if shown:
                yield self._token("text", shown, self._position)
            self._position = end
            if start < 0:
                yield self._token("eof", "", end)
                return
            comment = start + (4 if trims else 2)
            if self._text.startswith("/*", comment):
                problem = self._skip_comment(comment)
                if problem is not None:
                    yield problem
                    return
                continue
            yield self._token("left", "{{", start)
            self._position = comment
            self._depth = 0
            for token in self._action():
                yield token
                if token.kind == "error":
                    return

    def _token(self, kind: str, value: str, position: int) -> Token:
        return Token(kind, value, position, self._text.count("\n", 0, position) + 1)

    def _error(self, message: str) -> Token:
        return self._token("error", message, self._position)

    def _trims(self, position: int) -> bool:
        text = self._text
        return text.startswith("-", position) and text[position + 1 : position + 2] in tuple(_SPACES)

    def _right(self, position: int) -> int:
        """Length of the right delimiter that stands here, with its trim marker; 0 if none does."""
        if self._text.startswith("}}", position):
            return 2
        marked = self._text[position : position + 1] in tuple(_SPACES)
        return 4 if marked and self._text.startswith("-}}", position + 1) else 0

    def _pass_right(self, length: int) -> None:
        self._position += length
        if length == 4:
            rest = self._text[self._position :]
            self._position += len(rest) - len(rest.lstrip(_SPACES))

    def _skip_comment(self, start: int) -> Token | None:
        end = self._text.find("*/", start)
        if end < 0:
            return self._error("unclosed comment")
        self._position = end + 2
        length = self._right(self._position)
        if not length:
            return self._error("comment ends before closing delimiter")
        self._pass_right(length)
        return None

    def _action(self) -> Iterator[Token]:
        while True:
            length = self._right(self._position)
            if length:
                if self._depth:
                    yield self._error("unclosed left paren")
                    return
                token = self._token("right", "}}", self._position)
                self._pass_right(length)
                yield token
                return
            if self._position >= len(self._text):
                yield self._error("unclosed action")
                return
            token = self._inside()
            yield token
            if token.kind == "error":
                return

    def _inside(self) -> Token:
        text, start = self._text, self._position
        char = text[start]
        if char in _SPACES:
            return self._space()
        if char in _QUOTED:
            pattern, kind, name = _QUOTED[char]
            found = pattern.match(text, start)
            return self._emit(kind, found.end()) if found else self._error(f"unterminated {name}")
        if char == "$" or (char == "." and not text[start + 1 : start + 2].isdecimal()):
            return self._name(start + 1, "variable" if char == "$" else "field")
        if char in "+-." or ("0" <= char <= "9"):
            return self._number()
        if char == "_" or char.isalnum():
            return self._name(start, "identifier")
        if char == ":":
            if text.startswith(":=", start):
                return self._emit("declare", start + 2)
            return self._error("expected :=")
        if char in "()":
            self._depth += 1 if char == "(" else -1
            return self._error("unexpected right paren") if self._depth < 0 else self._emit(char, start + 1)
        if " " < char <= "~":
            return self._emit(_SINGLE.get(char, "other"), start + 1)
        return self._error(f"unrecognized character in action: {unicode_name(char)}")

    def _emit(self, kind: str, end: int) -> Token:
        token = self._token(kind, self._text[self._position : end], self._position)
        self._position = end
        return token

    def _space(self) -> Token:
        end = self._position
        while end < len(self._text) and self._text[end] in _SPACES:
            end += 1
        # The last space may belong to a trim marker.
        return self._emit("space", end - 1 if self._right(end - 1) == 4 else end)

    def _name(self, word: int, kind: str) -> Token:
        found = _WORD.match(self._text, word)
        end = found.end() if found else word
        value = self._text[self._position : end]
        rest = self._text[end : end + 1]
        if rest and rest not in _TERMINATORS and not self._text.startswith("}}", end):
            return self._error(f"bad character {unicode_name(rest)}")
        if kind == "identifier":
            kind = value if value in KEYWORDS else "bool" if value in ("true", "false") else kind
        return self._emit("dot" if value == "." else kind, end)

    def _number(self) -> Token:
        found = _NUMBER.match(self._text, self._position)
        end = found.end() if found else self._position
        rest = self._text[end : end + 1]
        if rest == "_" or rest.isalnum():
            return self._error(f'bad number syntax: "{self._text[self._position : end + 1]}"')
        return self._emit("number", end)


def unicode_name(char: str) -> str:
    """Go's `%#U`: `U+007B '{'`."""
    shown = f" '{char}'" if char.isprintable() else ""
    return f"U+{ord(char):04X}{shown}"
