"""The grammar of a command line: pflag's and cobra's, with their error texts.

Flags stand anywhere, `--` ends them; `--name=value`, `--name value`; of a bool the value needs the `=`.
`-abc` is three flags, unless one of them takes the rest as its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wherry.errors import InvalidError, context
from wherry.model.goquote import quote
from wherry_cli.flags import GLOBAL, ROOT, Option, options
from wherry_cli.flagvalues import PARSERS, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


class Given(NamedTuple):
    """The flags that were given, by their key. A flag that was not given is None, or its type's zero."""

    values: Mapping[str, Value]

    def present(self, key: str) -> bool:
        """Whether the flag was given at all, with whatever value."""
        return key in self.values

    def switch(self, key: str) -> bool | None:
        """The value of a bool flag that may be left open."""
        value = self.values.get(key)
        return None if value is None else bool(value)

    def on(self, key: str) -> bool:
        """Whether a bool flag is set."""
        return bool(self.values.get(key))

    def text(self, key: str) -> str | None:
        """The value of a string flag."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """The values of a repeatable string flag."""
        value = self.values.get(key)
        return tuple(map(str, value)) if isinstance(value, tuple) else ()

    def number(self, key: str) -> int:
        """The value of an int flag, 0 if it was not given."""
        value = self.values.get(key)
        return value if isinstance(value, int) else 0

    def seconds(self, key: str) -> float:
        """The value of a duration flag, 0 if it was not given."""
        value = self.values.get(key)
        return value if isinstance(value, float) else 0.0


class CommandLine(NamedTuple):
    """`command`: its name, "" for none. `options`: what it takes, for its help text and for checks."""

    command: str
    given: Given
    arguments: tuple[str, ...]
    options: Mapping[str, Option]


def parse(arguments: Sequence[str], commands: Collection[str], unbuilt: Collection[str] = ()) -> CommandLine:
    """Find the command and read its flags; those before its name are read first, and their errors told first.

    Of the commands in `unbuilt` only the help flag is looked for: their own flags are not in the table.
    Raises InvalidError with pflag's text.
    """
    root = options(ROOT, GLOBAL)
    before, command, rest = _find_command(arguments, commands, root)
    values: dict[str, Value] = {}
    if not command:
        return CommandLine("", Given(values), _read(rest, root, values), root)
    _read(before, root, values)
    early = {f"{ROOT}-{key}": values.pop(key) for key in ("tls-verify", "version", "help") if key in values}
    own = options(command, GLOBAL)
    if command in unbuilt:
        rest = [word for word in rest if word in ("-h", "--help")]
    positional = _read(rest, own, values)
    return CommandLine(command, Given({**values, **early}), positional, own)


def _find_command(
    arguments: Sequence[str], commands: Collection[str], root: Mapping[str, Option]
) -> tuple[Sequence[str], str, Sequence[str]]:
    """Split at the command's name, which is the first word that is not a flag's value."""
    is_value = False
    for index, word in enumerate(arguments):
        if is_value:
            is_value = False
        elif word.startswith("--") and "=" not in word:
            is_value = not _is_bool(root.get(word[2:]))
        elif word.startswith("-") and len(word) == 2:
            is_value = not _is_bool(_by_shorthand(root).get(word[1]))
        elif not (word.startswith("-") and len(word) > 1):
            if word not in commands:
                break
            return arguments[:index], word, arguments[index + 1 :]
    return (), "", arguments


def _is_bool(option: Option | None) -> bool:
    # cobra adds the help flag after it has looked for the command: `--help inspect` is help about no command.
    return option is not None and option.flag.kind == "bool" and option.name != "help"


def _by_shorthand(known: Mapping[str, Option]) -> dict[str, Option]:
    return {option.flag.short: option for option in known.values() if option.flag.short}


def _read(words: Sequence[str], known: Mapping[str, Option], values: dict[str, Value]) -> tuple[str, ...]:
    """Put the flags' values into `values` and return what is not a flag."""
    positional: list[str] = []
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if word == "--":
            positional += reversed(rest)
            break
        if len(word) < 2 or word[0] != "-":
            positional.append(word)
        elif word[1] == "-":
            _read_long(word, known, rest, values)
        else:
            _read_short(word, known, rest, values)
    return tuple(positional)


def _read_long(word: str, known: Mapping[str, Option], rest: list[str], values: dict[str, Value]) -> None:
    if word[2] in "-=":
        raise InvalidError(f"bad flag syntax: {word}")
    name, equals, value = word[2:].partition("=")
    if name not in known:
        raise InvalidError(f"unknown flag: --{name}")
    option = known[name]
    if not equals:
        if option.flag.kind == "bool":
            value = "true"
        elif rest:
            value = rest.pop()
        else:
            raise InvalidError(f"flag needs an argument: --{name}")
    _set(option, value, values)


def _read_short(word: str, known: Mapping[str, Option], rest: list[str], values: dict[str, Value]) -> None:
    shorts = _by_shorthand(known)
    cluster = word[1:]
    while cluster:
        letter, after = cluster[0], cluster[1:]
        if letter not in shorts:
            raise InvalidError(f"unknown shorthand flag: {_quote_letter(letter)} in -{cluster}")
        option = shorts[letter]
        cluster = ""
        if len(after) > 1 and after[0] == "=":
            value = after[1:]
        elif option.flag.kind == "bool":
            value, cluster = "true", after
        elif after:
            value = after
        elif rest:
            value = rest.pop()
        else:
            raise InvalidError(f"flag needs an argument: {_quote_letter(letter)} in -{letter}")
        _set(option, value, values)


def _quote_letter(letter: str) -> str:
    """Go's `%q` of a character."""
    shown = {"'": "\\'", '"': '"'}.get(letter) or quote(letter)[1:-1]
    return f"'{shown}'"


def _set(option: Option, value: str, values: dict[str, Value]) -> None:
    short = f"-{option.flag.short}, " if option.flag.short else ""
    with context(f'invalid argument {quote(value)} for "{short}--{option.name}" flag'):
        parsed = PARSERS[option.flag.kind](value)
    earlier = values.get(option.key)
    if isinstance(parsed, tuple) and isinstance(earlier, tuple):
        parsed = (*earlier, *parsed)
    values[option.key] = parsed
