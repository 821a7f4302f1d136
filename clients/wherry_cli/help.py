"""`wherry help [COMMAND]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry_cli.commands import BY_NAME
from wherry_cli.helptext import command_help, program_help
from wherry_cli.log import write_all

if TYPE_CHECKING:
    from wherry_cli.call import Call


def run(call: Call) -> int:
    """Show the help text of the command that is named, or of the program."""
    if not call.arguments:
        call.write(program_help(call.program))
        return 0
    command = BY_NAME.get(call.arguments[0])
    if command:
        call.write(command_help(call.program, command))
        return 0
    text = f"There is no command {call.arguments[0]}\n{program_help(call.program)}"
    write_all(call.fds[2], text.encode(errors="surrogateescape"))
    return 0
