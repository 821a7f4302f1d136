"""Tokens → tree, with text/template's error texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from wherry.errors import InvalidError, NotYetError
from wherry.model.goquote import quote
from wherry_cli.flagvalues import parse_int
from wherry_cli.gotemplate import values
from wherry_cli.gotemplate.lexer import KEYWORDS, Lexer, Token
from wherry_cli.gotemplate.nodes import (
    Action,
    Branch,
    Chain,
    Command,
    Dot,
    FieldChain,
    Function,
    Jump,
    Literal,
    Nil,
    Node,
    Operand,
    Pipeline,
    Text,
    Variable,
)

if TYPE_CHECKING:
    from collections.abc import Collection

_OPERANDS = frozenset(
    ("bool", "char", "dot", "field", "identifier", "number", "nil", "raw", "string", "variable", "(")
)
_NOT_BUILT = ("block", "define", "template")
_DEPTH_LIMIT = 200
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|\\", re.DOTALL
)


class Parser:
    """Parses one text; `functions`: the names that may be called."""

    def __init__(self, name: str, text: str, functions: Collection[str]) -> None:
        self._name = name
        self._functions = functions
        self._tokens = list(Lexer(text).tokens())
        self._next = 0
        self._line = 1
        self._action_line = 0
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0

    def parse(self) -> tuple[Node, ...]:
        """The tree. Raises InvalidError, and NotYetError for associated templates."""
        nodes: list[Node] = []
        while self._peek().kind != "eof":
            found = self._text_or_action()
            if isinstance(found, str):
                self._fail(f"unexpected {{{{{found}}}}}")
            nodes.append(found)
        return tuple(nodes)

    # Tokens

    def _take(self) -> Token:
        token = self._tokens[min(self._next, len(self._tokens) - 1)]
        self._next += 1
        self._line = token.line
        return token

    def _take_solid(self) -> Token:
        while (token := self._take()).kind == "space":
            pass
        return token

    def _peek(self) -> Token:
        token = self._tokens[min(self._next, len(self._tokens) - 1)]
        self._line = token.line
        return token

    def _peek_solid(self) -> Token:
        token = self._take_solid()
        self._next -= 1
        return token

    def _fail(self, message: str) -> NoReturn:
        raise InvalidError(f"template: {self._name}:{self._line}: {message}")

    def _unexpected(self, token: Token, where: str) -> NoReturn:
        if token.kind == "error":
            extra = ""
            if self._action_line and self._action_line != token.line:
                extra = f" in action started at {self._name}:{self._action_line}"
                if token.value.endswith(" action"):
                    extra = extra.removeprefix(" in action")
            self._fail(f"{token.value}{extra}")
        self._fail(f"unexpected {_shown(token)} in {where}")

    # Lists and control structures

    def _items(self) -> tuple[tuple[Node, ...], str]:
        """Nodes up to `end` or `else`, and which of them it was."""
        nodes: list[Node] = []
        while self._peek_solid().kind != "eof":
            found = self._text_or_action()
            if isinstance(found, str):
                return tuple(nodes), found
            nodes.append(found)
        self._fail("unexpected EOF")

    def _text_or_action(self) -> Node | str:
        token = self._take_solid()
        if token.kind == "text":
            return Text(token.position, token.value)
        if token.kind != "left":
            self._unexpected(token, "input")
        self._action_line = token.line
        found = self._action()
        self._action_line = 0
        return found

    def _action(self) -> Node | str:
        token = self._take_solid()
        if token.kind in ("if", "with", "range"):
            return self._branch(token)
        if token.kind in ("break", "continue"):
            end = self._take_solid()
            if end.kind != "right":
                self._unexpected(end, f"{{{{{token.kind}}}}}")
            if not self._ranges:
                self._fail(f"{{{{{token.kind}}}}} outside {{{{range}}}}")
            return Jump(token.position, token.kind)
        if token.kind == "end":
            self._expect_right("end")
            return "end"
        if token.kind == "else":
            # `else if` leaves its `if` to the branch that we are in.
            if self._peek_solid().kind not in ("if", "with"):
                self._expect_right("else")
            return "else"
        if token.kind in _NOT_BUILT:
            raise NotYetError(f"{{{{{token.kind}}}}} in templates is not yet built in wherry")
        self._next -= 1
        return Action(token.position, self._pipeline("command", "right"))

    def _expect_right(self, where: str) -> None:
        token = self._take_solid()
        if token.kind != "right":
            self._unexpected(token, where)

    def _branch(self, keyword: Token) -> Branch:
        known = len(self._variables)
        pipeline = self._pipeline(keyword.kind, "right")
        self._ranges += keyword.kind == "range"
        body, stop = self._items()
        self._ranges -= keyword.kind == "range"
        otherwise: tuple[Node, ...] | None = None
        if stop == "else":
            token = self._peek_solid()
            if keyword.kind != "range" and token.kind == keyword.kind:
                otherwise = (self._branch(self._take_solid()),)
            else:
                otherwise, stop = self._items()
                if stop != "end":
                    self._fail(f"expected end; found {{{{{stop}}}}}")
        del self._variables[known:]
        return Branch(pipeline.position, keyword.kind, pipeline, body, otherwise)

    # Pipelines

    def _pipeline(self, where: str, end: str) -> Pipeline:
        position = self._peek_solid().position
        variables, assigns = self._declarations(where)
        commands: list[Command] = []
        while (token := self._take_solid()).kind != end:
            if token.kind not in _OPERANDS:
                self._unexpected(token, where)
            self._next -= 1
            commands.append(self._command())
        if not commands:
            self._fail(f"missing value for {where}")
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.arguments[0], (Literal, Dot, Nil)):
                self._fail(f"non executable command in pipeline stage {stage}")
        return Pipeline(position, tuple(commands), variables, assigns)

    def _declarations(self, where: str) -> tuple[tuple[str, ...], bool]:
        found: list[str] = []
        while self._peek_solid().kind == "variable":
            start = self._next
            variable = self._take_solid()
            token = self._take_solid()
            if token.kind in ("assign", "declare"):
                self._variables.append(variable.value)
                return (*found, variable.value), token.kind == "assign"
            if not (token.kind == "other" and token.value == ","):
                self._next = start
                break
            self._variables.append(variable.value)
            found.append(variable.value)
            if where != "range" or len(found) > 1:
                self._fail(f"too many declarations in {where}")
            if self._peek_solid().kind not in ("variable", "right", ")"):
                self._fail("range can only initialize variables")
        return tuple(found), False

    def _command(self) -> Command:
        position = self._peek_solid().position
        arguments: list[Operand] = []
        while True:
            self._peek_solid()
            while self._peek().kind == "space":
                self._next += 1
            operand = self._operand()
            if operand is not None:
                arguments.append(operand)
            token = self._take()
            if token.kind == "space":
                continue
            if token.kind in ("right", ")"):
                self._next -= 1
            elif token.kind != "pipe":
                self._unexpected(token, "operand")
            break
        if not arguments:
            self._fail("empty command")
        return Command(position, tuple(arguments))

    def _operand(self) -> Operand | None:
        operand = self._term()
        if operand is None or self._peek().kind != "field":
            return operand
        position = self._peek().position
        names: list[str] = []
        while self._peek().kind == "field":
            names.append(self._take().value[1:])
        match operand:
            case FieldChain():
                return FieldChain(position, (*operand.names, *names))
            case Variable():
                return Variable(position, operand.name, tuple(names))
            case Literal() | Nil() | Dot():
                self._fail(f"unexpected . after term {quote(str(operand))}")
        return Chain(position, operand, tuple(names))

    def _term(self) -> Operand | None:
        token = self._take_solid()
        match token.kind:
            case "identifier":
                if token.value not in self._functions:
                    self._fail(f"function {quote(token.value)} not defined")
                return Function(token.position, token.value)
            case "dot":
                return Dot(token.position)
            case "nil":
                return Nil(token.position)
            case "variable":
                if token.value not in self._variables:
                    self._fail(f"undefined variable {quote(token.value)}")
                return Variable(token.position, token.value)
            case "field":
                return FieldChain(token.position, (token.value[1:],))
            case "(":
                return self._parenthesized()
            case "bool" | "number" | "char" | "string" | "raw":
                return Literal(token.position, token.value, self._constant(token))
        self._next -= 1
        return None

    def _parenthesized(self) -> Pipeline:
        if self._depth >= _DEPTH_LIMIT:
            self._fail("max expression depth exceeded")
        self._depth += 1
        pipeline = self._pipeline("parenthesized pipeline", ")")
        self._depth -= 1
        return pipeline

    def _constant(self, token: Token) -> values.Value:
        match token.kind:
            case "bool":
                return values.boolean(token.value == "true")
            case "raw":
                return values.string(token.value[1:-1].replace("\r", ""))
            case "string":
                return values.string(self._unquote(token.value))
            case "char":
                char = self._unquote(token.value)
                if len(char) != 1:
                    self._fail(f"malformed character constant: {token.value}")
                return values.integer(ord(char))
        return self._numeric(token.value)

    def _unquote(self, source: str) -> str:
        def replace(found: re.Match[str]) -> str:
            letter, byte, octal, short, long = found.groups()
            if letter:
                return _ESCAPES[letter]
            code = int(byte or short or long or octal or "110000", 8 if octal else 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000 or (octal and code > 0xFF):
                self._fail("invalid syntax")
            if (byte or octal) and code >= 0x80:
                return bytes([code]).decode(errors="surrogateescape")
            return chr(code)

        text = _ESCAPE.sub(replace, source[1:-1])
        return text.encode(errors="surrogateescape").decode(errors="surrogateescape")

    def _numeric(self, text: str) -> values.Value:
        if text.endswith("i"):
            raise NotYetError("complex numbers in templates are not yet built in wherry")
        try:
            return values.integer(parse_int(text))
        except InvalidError:
            pass
        try:
            number = float.fromhex(text) if "p" in text.lower() else float(text)
        except ValueError:
            self._fail(f"bad number syntax: {quote(text)}")
        if number.is_integer() and not set(text) & set(".eEpP"):
            self._fail(f"integer overflow: {quote(text)}")
        return values.Value("float", "float64", number)


def _shown(token: Token) -> str:
    if token.kind == "eof":
        return "EOF"
    if token.kind in KEYWORDS or token.kind == "dot":
        return f"<{token.value}>"
    return f"{quote(token.value[:10])}..." if len(token.value) > 10 else quote(token.value)
