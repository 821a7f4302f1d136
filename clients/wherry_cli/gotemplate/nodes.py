"""The tree of a parsed template. `str(node)` is the source form that error texts show."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from wherry_cli.gotemplate.values import Value


class Dot(NamedTuple):
    position: int

    def __str__(self) -> str:
        return "."


class Nil(NamedTuple):
    position: int

    def __str__(self) -> str:
        return "nil"


class Literal(NamedTuple):
    """A string, number or bool; `source` as it was written."""

    position: int
    source: str
    value: Value

    def __str__(self) -> str:
        return self.source


class FieldChain(NamedTuple):
    """`.A.B`."""

    position: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(NamedTuple):
    """`$x.A.B`; the name with its `$`."""

    position: int
    name: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name + "".join(f".{name}" for name in self.names)


class Function(NamedTuple):
    position: int
    name: str

    def __str__(self) -> str:
        return self.name


class Chain(NamedTuple):
    """`(pipeline).A.B`."""

    position: int
    operand: Operand
    names: tuple[str, ...]

    def __str__(self) -> str:
        return _argument(self.operand) + "".join(f".{name}" for name in self.names)


class Command(NamedTuple):
    position: int
    arguments: tuple[Operand, ...]

    def __str__(self) -> str:
        return " ".join(map(_argument, self.arguments))


class Pipeline(NamedTuple):
    """`$x := a | b`; `assigns`: by `=`, to variables that exist."""

    position: int
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    assigns: bool = False

    def __str__(self) -> str:
        declared = f"{', '.join(self.variables)} {'=' if self.assigns else ':='} " if self.variables else ""
        return declared + " | ".join(map(str, self.commands))


Operand: TypeAlias = "Dot | Nil | Literal | FieldChain | Variable | Function | Chain | Pipeline"


def _argument(operand: Operand) -> str:
    return f"({operand})" if isinstance(operand, Pipeline) else str(operand)


class Text(NamedTuple):
    position: int
    text: str


class Action(NamedTuple):
    position: int
    pipeline: Pipeline

    def __str__(self) -> str:
        return f"{{{{{self.pipeline}}}}}"


class Branch(NamedTuple):
    """`if`, `with` or `range`, as `keyword` says."""

    position: int
    keyword: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] | None


class Jump(NamedTuple):
    """`break` or `continue`."""

    position: int
    keyword: str


Node: TypeAlias = "Text | Action | Branch | Jump"
Place: TypeAlias = "Operand | Command | Action | Branch"
