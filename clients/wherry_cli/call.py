"""One call of the command: everything that a command needs, and nothing global."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wherry.errors import NotYetError, file_error
from wherry_cli.log import Log, write_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wherry_cli.flagparser import CommandLine, Given

Descriptors = tuple[int, int, int]
"""Numbers of standard input, output and error."""


class Call(NamedTuple):
    """`program`: the name we were called by. `cwd`, `environ`: the caller's, maybe not this process's."""

    program: str
    line: CommandLine
    fds: Descriptors
    cwd: str
    environ: Mapping[str, str]
    log: Log

    @property
    def given(self) -> Given:
        """The flags."""
        return self.line.given

    @property
    def arguments(self) -> Sequence[str]:
        """What is not a flag."""
        return self.line.arguments

    def write(self, data: bytes | str) -> None:
        """Write a result to standard output. Raises FileError; BrokenPipeError where its reader is gone."""
        try:
            write_all(self.fds[1], data if isinstance(data, bytes) else data.encode(errors="surrogateescape"))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise file_error("write", "/dev/stdout", error) from error

    def write_usage(self) -> None:
        """Write the command's help text to standard error."""
        from wherry_cli.commands import BY_NAME
        from wherry_cli.helptext import command_help

        text = command_help(self.program, BY_NAME[self.line.command])
        write_all(self.fds[2], f"{text}\n".encode())

    def refuse_unbuilt(self, without_effect: Iterable[str] = ()) -> None:
        """Raise NotYetError for the first given flag whose effect is not built.

        `without_effect`: keys of flags that would change nothing in this call, which are let pass.
        """
        for name, option in self.line.options.items():
            if option.flag.not_yet and self.given.present(option.key) and option.key not in without_effect:
                raise NotYetError(f"--{name} is not yet built in wherry")
