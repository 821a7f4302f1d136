"""Help texts, made from the tables of commands and flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry_cli.commands import COMMANDS, Command
from wherry_cli.flags import GLOBAL, ROOT, options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry_cli.flags import Option

_KINDS = {"string": "TEXT", "strings": "TEXT", "int": "N", "uint": "N", "ints": "N", "duration": "TIME"}


def program_help(program: str) -> str:
    """What `wherry --help` shows."""
    shown = [command for command in COMMANDS if not command.hidden]
    width = max(len(command.name) for command in shown) + 2
    lines = [
        "Moves container images between registries, directories and archives, and looks at them.",
        "",
        f"Usage: {program} [FLAG...] COMMAND [ARGUMENT...]",
        "",
        "Commands:",
        *(f"  {command.name:<{width}}{command.summary}{_later(command.not_yet)}" for command in shown),
        "",
        "Flags of every command:",
        *_flag_lines(options(ROOT, GLOBAL).values()),
        "",
        f"`{program} COMMAND --help` tells more about a command.",
    ]
    return "\n".join(lines) + "\n"


def command_help(program: str, command: Command) -> str:
    """What `wherry COMMAND --help` shows."""
    lines = [
        f"{command.summary}{_later(command.not_yet)}",
        *(("", command.about) if command.about else ()),
        "",
        f"Usage: {program} {command.name} [FLAG...] {command.arguments}",
        "",
        "Flags:",
        *_flag_lines(options(command.name).values()),
    ]
    return "\n".join(lines) + "\n"


def _flag_lines(known: Iterable[Option]) -> list[str]:
    shown = sorted((option for option in known if not option.hidden), key=lambda option: option.name)
    rows = [(_spelling(option), option.flag) for option in shown]
    width = max(len(spelling) for spelling, _ in rows) + 3
    return [f"{spelling:<{width}}{flag.help}{_later(flag.not_yet)}" for spelling, flag in rows]


def _spelling(option: Option) -> str:
    short = f"-{option.flag.short}, " if option.flag.short else "    "
    value = option.flag.shown or _KINDS.get(option.flag.kind, "")
    return f"  {short}--{option.name}" + (f" {value}" if value else "")


def _later(issue: int) -> str:
    return " (not yet built)" if issue else ""
