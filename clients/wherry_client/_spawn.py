"""Starting a private proxy: a child whose standard input is one end of a socket pair."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from wherry.errors import ProxyGoneError

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 10.0


def default_command() -> list[str]:
    """This installation's own proxy."""
    return [sys.executable, "-m", "wherry_cli", "experimental-image-proxy"]


def start(command: Sequence[str] | None) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a proxy; our end of the socket, and the process, which the caller must `stop`.

    Raises ProxyGoneError where the command can't be run.
    """
    argv = list(command or default_command())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)  # noqa: S603
        except OSError as error:
            ours.close()
            raise ProxyGoneError(f"can't start {argv[0]}: {error.strerror}") from None
    return ours, process


def stop(process: subprocess.Popen[bytes]) -> int:
    """Wait for a proxy whose socket is closed; one that stays is killed. Its exit status."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
