"""The command `wherry`, and what answers when it is called `skopeo`.

`run` takes all that it needs as arguments, so that a warm process can run a command for a thin caller.
Modules that a command does not need are not imported: tests/clients/test_cli_start.py pins them.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

from wherry.errors import InvalidError, NotYetError, WherryError, errno_text
from wherry_cli.call import Call, Descriptors
from wherry_cli.commands import BY_NAME, UNBUILT, Command, suggestions
from wherry_cli.flagparser import CommandLine, parse
from wherry_cli.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_KILLED_BY_SIGPIPE = 141


def main() -> int:
    """Entry point of the console script: run with this process's arguments, streams and environment."""
    # Imports allocate much that lives as long as the process: not searching it for cycles, neither now nor at
    # the interpreter's end, saves an eighth of a short command's time.
    gc.set_threshold(50_000, 20, 50)
    _fill_standard_streams()
    try:
        return run(sys.argv, (0, 1, 2), _working_directory(), os.environ)
    except BrokenPipeError:
        return _KILLED_BY_SIGPIPE
    except KeyboardInterrupt:
        return 130
    finally:
        gc.freeze()


def run(argv: Sequence[str], fds: Descriptors, cwd: str, environ: Mapping[str, str]) -> int:
    """Run one command and return its exit status: 0, 1, or 2 where the image does not exist.

    `argv`: the program's name and its arguments. `fds`: standard input, output and error, which stay open.
    `cwd`: "" where it was removed; relative paths are then refused.
    Errors are one log line on standard error. Raises BrokenPipeError where the reader of the output is gone.
    """
    program = "skopeo" if argv and os.path.basename(argv[0]) == "skopeo" else "wherry"
    started = time.time()
    log = Log(fds[2], os.isatty(fds[2]), False, started)
    try:
        line = parse(argv[1:], BY_NAME, UNBUILT)
        log = log._replace(debugging=line.given.on("debug"))
        return _execute(Call(program, line, fds, cwd, environ, log))
    except WherryError as error:
        log.write("fatal", str(error))
        return error.exit_status
    except BrokenPipeError:
        raise
    except OSError as error:  # what can fail anywhere: no descriptors, no memory
        log.write("fatal", errno_text(error))
        return 1


def _fill_standard_streams() -> None:
    """Put /dev/null where a standard stream was closed, as Go's runtime does: else the first files and
    sockets that we open get these numbers, and output would go into them."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is `fd`


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _execute(call: Call) -> int:
    line = call.line
    if line.given.on("help"):
        return _help(call, line)
    if not line.command and line.given.on("version"):
        from wherry import __version__

        call.write(f"{call.program} version {__version__}\n")
        return 0
    command = BY_NAME.get(line.command)
    if command and command.takes is not None and len(line.arguments) != command.takes:
        raise InvalidError(f"accepts {command.takes} arg(s), received {len(line.arguments)}")
    _check_globals(call)
    if command is None:
        raise InvalidError(_no_command(call.program, line.arguments))
    if command.not_yet:
        raise NotYetError(f"{command.name} is not yet built in wherry")
    return _runner(command)(call)


def _check_globals(call: Call) -> None:
    given = call.given
    if given.present("tls-verify" if not call.line.command else "root-tls-verify"):
        call.log.write("warning", "'--tls-verify' is deprecated, please set this on the specific subcommand")
    if given.on("insecure-policy") and given.on("require-signed"):
        raise InvalidError("--insecure-policy and --require-signed are mutually exclusive")


def _no_command(program: str, arguments: Sequence[str]) -> str:
    hint = f"Try '{program} --help' for more information"
    if not arguments:
        return f"Missing command '{program} COMMAND'\n{hint}"
    near = "\n\t".join(suggestions(arguments[0]))
    meant = f"\nDid you mean this?\n\t{near}\n\n" if near else ""
    return f"Unrecognized command `{program} {arguments[0]}`\n{meant}{hint}"


def _help(call: Call, line: CommandLine) -> int:
    from wherry_cli.helptext import command_help, program_help

    command = BY_NAME.get(line.command)
    call.write(command_help(call.program, command) if command else program_help(call.program))
    return 0


def _runner(command: Command) -> Callable[[Call], int]:
    runner: Callable[[Call], int] = import_module(f"wherry_cli.{command.module}").run
    return runner


if __name__ == "__main__":
    sys.exit(main())
