"""Runs a parsed template over a value, with text/template's rules and error texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from wherry.errors import InvalidError, NotYetError
from wherry.model.goquote import quote
from wherry_cli.gotemplate import gotime, values
from wherry_cli.gotemplate.functions import ANY, FUNCTIONS
from wherry_cli.gotemplate.nodes import (
    Action,
    Branch,
    Chain,
    Dot,
    FieldChain,
    Function,
    Jump,
    Literal,
    Nil,
    Pipeline,
    Text,
    Variable,
)
from wherry_cli.gotemplate.printing import show
from wherry_cli.gotemplate.values import INVALID, Value, inside, is_true

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wherry_cli.gotemplate.nodes import Command, Node, Operand, Place

_DIGEST_PARTS: dict[str, Callable[[str], Value]] = {
    "Algorithm": lambda text: values.string(text.partition(":")[0], "digest.Algorithm"),
    "Encoded": lambda text: values.string(text.partition(":")[2]),
    "Hex": lambda text: values.string(text.partition(":")[2]),
    "String": values.string,
}
_OTHER_DIGEST_METHODS = frozenset(("Validate", "Verifier"))
_NILABLE = ("[]", "map[", "*", "interface")


class _BreakError(Exception):
    """Leaves a range."""


class _ContinueError(Exception):
    """Goes on with a range's next element."""


class Runner:
    """One run: the variables, and where it stands. `write` takes the output piece by piece."""

    def __init__(self, name: str, text: str, write: Callable[[str], None]) -> None:
        self._name = name
        self._text = text
        self._write = write
        self._place: Place = Dot(0)
        self._variables: list[tuple[str, Value]] = []

    def run(self, nodes: Sequence[Node], data: Value) -> None:
        """Write what the template makes of `data`. Raises InvalidError, NotYetError."""
        self._variables = [("$", data)]
        self._walk_all(data, nodes)

    def _fail(self, message: str) -> NoReturn:
        before = self._text[: self._place.position]
        line = before.count("\n") + 1
        column = len(before[before.rfind("\n") + 1 :].encode(errors="surrogateescape"))
        raise InvalidError(
            f"template: {self._name}:{line}:{column}: "
            f"executing {quote(self._name)} at <{self._place}>: {message}"
        )

    # Nodes

    def _walk_all(self, dot: Value, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self._walk(dot, node)

    def _walk(self, dot: Value, node: Node) -> None:
        match node:
            case Text():
                self._write(node.text)
            case Action():
                value = self._pipeline(dot, node.pipeline)
                if not node.pipeline.variables:
                    self._write(show(value))
            case Jump():
                raise _BreakError if node.keyword == "break" else _ContinueError
            case Branch():
                known = len(self._variables)
                self._range(dot, node) if node.keyword == "range" else self._choose(dot, node)
                del self._variables[known:]

    def _choose(self, dot: Value, branch: Branch) -> None:
        value = self._pipeline(dot, branch.pipeline)
        if is_true(value):
            self._walk_all(value if branch.keyword == "with" else dot, branch.body)
        elif branch.otherwise is not None:
            self._walk_all(dot, branch.otherwise)

    def _range(self, dot: Value, branch: Branch) -> None:
        value = inside(self._pipeline(dot, branch.pipeline))
        elements = list(self._elements(value, branch))
        if not elements and branch.otherwise is not None:
            self._walk_all(dot, branch.otherwise)
        known = len(self._variables)
        try:
            for key, element in elements:
                self._bind(branch.pipeline, key, element)
                try:
                    self._walk_all(element, branch.body)
                except _ContinueError:
                    pass
                finally:
                    del self._variables[known:]
        except _BreakError:
            pass

    def _elements(self, value: Value, branch: Branch) -> Iterable[tuple[Value, Value]]:
        match value.kind:
            case "slice":
                return [(values.integer(index), item) for index, item in enumerate(value.items)]
            case "map":
                return [(values.string(key), item) for key, item in value.entries.items()]
            case "int":
                if len(branch.pipeline.variables) > 1:
                    self._fail(f"can't use {show(value)} to iterate over more than one variable")
                return [(INVALID, values.integer(number)) for number in range(int(str(value.data)))]
            case "invalid":
                return ()
        self._fail(f"range can't iterate over {show(value)}")

    def _bind(self, pipeline: Pipeline, key: Value, element: Value) -> None:
        names = pipeline.variables
        # They exist already: the pipeline itself declared them, holding what is ranged over.
        for name, value in zip(names, (key, element) if len(names) > 1 else (element,), strict=False):
            self._assign(name, value)

    def _assign(self, name: str, value: Value) -> None:
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return
        self._fail(f"undefined variable: {name}")

    # Pipelines

    def _pipeline(self, dot: Value, pipeline: Pipeline) -> Value:
        self._place = pipeline
        value: Value | None = None
        for command in pipeline.commands:
            value = inside(self._command(dot, command, value))
        result = value if value is not None else INVALID
        for name in pipeline.variables:
            if pipeline.assigns:
                self._assign(name, result)
            else:
                self._variables.append((name, result))
        return result

    def _command(self, dot: Value, command: Command, final: Value | None) -> Value:
        first, *rest = command.arguments
        match first:
            case FieldChain():
                self._place = first
                return self._fields(dot, dot, first, first.names, rest, final)
            case Chain():
                return self._fields(dot, self._chained(dot, first), first, first.names, rest, final)
            case Function():
                return self._function(dot, first, command, rest, final)
            case Variable() if first.names:
                self._place = first
                return self._fields(dot, self._variable(first), first, first.names, rest, final)
        self._place = first if not isinstance(first, Pipeline) else self._place
        if rest or final is not None:
            self._fail(f"can't give argument to non-function {first}")
        if isinstance(first, Nil):
            self._fail("nil is not a command")
        return self._plain(dot, first)

    def _plain(self, dot: Value, operand: Operand) -> Value:
        """An operand without arguments."""
        match operand:
            case Dot():
                return dot
            case Literal():
                return operand.value
            case Variable():
                self._place = operand
                value = self._variable(operand)
                return self._fields(dot, value, operand, operand.names, (), None) if operand.names else value
            case Pipeline():
                return self._pipeline(dot, operand)
            case FieldChain():
                self._place = operand
                return self._fields(dot, dot, operand, operand.names, (), None)
            case Chain():
                return self._fields(dot, self._chained(dot, operand), operand, operand.names, (), None)
            case Function():
                return self._function(dot, operand, operand, (), None)
            case Nil():
                return INVALID

    def _variable(self, variable: Variable) -> Value:
        for name, value in reversed(self._variables):
            if name == variable.name:
                return value
        self._fail(f"undefined variable: {variable.name}")

    def _chained(self, dot: Value, chain: Chain) -> Value:
        self._place = chain
        if isinstance(chain.operand, Nil):
            self._fail(f"indirection through explicit nil in {chain}")
        return self._plain(dot, chain.operand)

    # Fields

    def _fields(
        self,
        dot: Value,
        receiver: Value,
        node: FieldChain | Chain | Variable,
        names: Sequence[str],
        rest: Sequence[Operand],
        final: Value | None,
    ) -> Value:
        for name in names[:-1]:
            receiver = self._field(receiver, name, False)
        has_arguments = bool(rest) or final is not None
        return self._field(receiver, names[-1], has_arguments, len(rest) + (final is not None))

    def _field(self, receiver: Value, name: str, has_arguments: bool, count: int = 0) -> Value:
        if receiver.kind == "invalid":
            return INVALID
        declared, value = receiver.type, inside(receiver)
        method = self._method(value, name)
        if method is not None:
            if count:
                self._fail(f"wrong number of args for {name}: want 0 got {count}")
            return method()
        if value.kind == "struct":
            found = values.field(value, name)
            if found is not None:
                if has_arguments:
                    self._fail(f"{name} has arguments but cannot be invoked as function")
                return found
        elif value.kind == "map":
            if has_arguments:
                self._fail(f"{name} is not a method but has arguments")
            return value.entries.get(name, INVALID)
        self._fail(f"can't evaluate field {name} in type {declared}")

    def _method(self, value: Value, name: str) -> Callable[[], Value] | None:
        if value.type == "digest.Digest":
            if name in _OTHER_DIGEST_METHODS:
                raise NotYetError(f"{name} of digests in templates is not yet built in wherry")
            part = _DIGEST_PARTS.get(name)
            return (lambda: part(value.text)) if part else None
        if value.kind != "time":
            return None
        if name in gotime.OTHER_METHODS:
            raise NotYetError(f"{name} of times in templates is not yet built in wherry")
        if name != "String" and name not in gotime.METHODS:
            return None
        if value.data is None:
            self._fail(f"nil pointer evaluating *time.Time.{name}")
        text = str(value.data)
        if name == "String":
            return lambda: values.string(gotime.time_text(text))
        kind = "int64" if name.startswith("Unix") else "int"
        return lambda: values.integer(gotime.METHODS[name](gotime.parse(text)), kind)

    # Functions

    def _function(
        self,
        dot: Value,
        node: Function,
        whole: Command | Function,
        arguments: Sequence[Operand],
        final: Value | None,
    ) -> Value:
        self._place = node
        name = node.name
        function = FUNCTIONS[name]
        fixed = len(function.parameters)
        count = len(arguments) + (final is not None)
        if function.rest and count < fixed:
            self._fail(f"wrong number of args for {name}: want at least {fixed} got {len(arguments)}")
        if not function.rest and count != fixed:
            self._fail(f"wrong number of args for {name}: want {fixed} got {count}")
        if name in ("and", "or"):
            return self._logic(dot, name == "or", arguments, final)
        if name == "call":
            callee = self._argument(dot, ANY, arguments[0]) if arguments else final or INVALID
            shown = str(arguments[0]) if arguments else show(callee)
            self._place = whole
            # No value that a template can reach is a function.
            self._fail(f"error calling call: non-function {shown} of type {inside(callee).type}")
        types = [*function.parameters, *([function.rest] * max(0, count - fixed))]
        taken = [self._argument(dot, type, each) for type, each in zip(types, arguments, strict=False)]
        if final is not None:
            taken.append(self._checked(final, types[-1]))
        try:
            return function.call(*taken)
        except NotYetError:
            raise
        except InvalidError as error:
            self._place = whole
            self._fail(f"error calling {name}: {error}")

    def _logic(self, dot: Value, stop_at: bool, arguments: Sequence[Operand], final: Value | None) -> Value:
        value = INVALID
        for argument in arguments:
            value = self._argument(dot, ANY, argument)
            if is_true(value) == stop_at:
                return value
        return value if final is None else final

    def _argument(self, dot: Value, type: str, operand: Operand) -> Value:
        self._place = operand
        if isinstance(operand, Nil):
            if type != ANY and not type.startswith(_NILABLE):
                self._fail(f"cannot assign nil to {type}")
            return INVALID
        if isinstance(operand, Literal):
            return self._literal(operand, type)
        return self._checked(self._plain(dot, operand), type)

    def _literal(self, operand: Literal, type: str) -> Value:
        if type in (ANY, operand.value.type):
            return operand.value
        expected = {"string": "string", "int": "integer"}.get(type)
        if expected is None:
            self._fail(f"can't handle {operand} for arg of type {type}")
        whole = isinstance(operand.value.data, float) and operand.value.data.is_integer()
        if expected == "integer" and whole:
            return values.integer(int(str(operand.value.data).partition(".")[0]))
        self._fail(f"expected {expected}; found {operand}")

    def _checked(self, value: Value, type: str) -> Value:
        if type == ANY:
            return value
        value = inside(value)
        if value.kind == "invalid":
            if type.startswith(_NILABLE):
                return Value("slice", type, None)
            self._fail(f"invalid value; expected {type}")
        if value.type != type:
            self._fail(f"wrong type for value; expected {type}; got {value.type}")
        return value
