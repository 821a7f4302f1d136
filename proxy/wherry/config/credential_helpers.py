"""Programs that keep credentials: `docker-credential-NAME get|store|erase|list`.

Protocol: github.com/docker/docker-credential-helpers. The server's name (or JSON, to store) goes to standard
input, JSON or the text of an error comes from standard output. A helper gets 10 seconds and may write 1 MiB;
it has a session of its own, without a terminal to wait for, and is killed with all its children (C-15).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct

from wherry.config.authfile import member
from wherry.errors import (
    AuthError,
    CorruptError,
    InvalidError,
    LimitError,
    NotFoundError,
    StalledError,
    file_error,
)
from wherry.model import strictjson
from wherry.model.goquote import quote
from wherry.protocol.options import Credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wherry.system import System

TIMEOUT_S: Final = 10.0
OUTPUT_LIMIT: Final = 1024 * 1024
TOKEN_USER: Final = "<token>"  # noqa: S105 - what helpers say in place of a user, not a secret

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_NOT_FOUND: Final = "credentials not found in native keychain"
_SHOWN: Final = 200
_DRAIN_S: Final = 0.25  # for what a helper wrote before it ended, where a child of it keeps the pipe open


class _Answer(Struct, frozen=True):
    """`status`: as subprocess counts, negative for a signal."""

    status: int
    output: bytes

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace").strip()

    @property
    def not_found(self) -> bool:
        return self.status != 0 and self.text == _NOT_FOUND


async def get(helper: str, server: str, system: System) -> Credentials | None:
    """The credentials that a helper keeps for a server; None where it has none.

    Raises InvalidError for a name that may not be a helper's, NotFoundError where there is no such program,
    StalledError, LimitError, AuthError where it fails, CorruptError where it answers with something else.
    """
    answer = await _run(helper, "get", server.encode(), system, "error getting credentials")
    if answer.not_found:
        return None
    _check(answer, "error getting credentials")
    document = _parse(helper, answer.output)
    user, secret = member(document, "Username"), member(document, "Secret")
    if not isinstance(user, str | None) or not isinstance(secret, str | None):
        raise CorruptError(f"credential helper {helper}: Username or Secret of its answer is not a string")
    if user == TOKEN_USER:
        return Credentials("", "", secret or "")
    found = Credentials(user or "", secret or "")
    return found if found != Credentials("", "") else None


async def store(helper: str, server: str, credentials: Credentials, system: System) -> None:
    """Give a helper credentials to keep. Raises as `get`."""
    given = {"ServerURL": server, "Username": credentials.username, "Secret": credentials.password}
    answer = await _run(
        helper, "store", json.dumps(given).encode() + b"\n", system, "error storing credentials"
    )
    _check(answer, "error storing credentials", credentials.password)


async def erase(helper: str, server: str, system: System) -> bool:
    """Have a helper forget a server's credentials; False where it had none. Raises as `get`."""
    answer = await _run(helper, "erase", server.encode(), system, "error erasing credentials")
    if answer.not_found:
        return False
    _check(answer, "error erasing credentials")
    return True


async def list_servers(helper: str, system: System) -> dict[str, str]:
    """The users by server that a helper has credentials for. Raises as `get`."""
    answer = await _run(helper, "list", b"unused", system, "error listing credentials")
    _check(answer, "error listing credentials")
    return {server: str(user) for server, user in _parse(helper, answer.output).items()}


def _parse(helper: str, output: bytes) -> dict[str, object]:
    what = f"the answer of credential helper {helper}"
    try:
        value = strictjson.loads(output, limit=OUTPUT_LIMIT, what=what)
    except (CorruptError, LimitError):
        # The parser's text may quote what it read.
        raise CorruptError(f"{what} is not valid JSON") from None
    if not isinstance(value, dict):
        raise CorruptError(f"{what} is not an object")
    return value


def _check(answer: _Answer, what: str, secret: str = "") -> None:
    if answer.status:
        raise AuthError(_failure(what, _ending(answer.status), _shown(answer.text, secret)))


def _failure(what: str, problem: str, output: str = "") -> str:
    return f"{what} - err: {problem}, out: `{output}`"


def _ending(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    return f"signal: {(signal.strsignal(-status) or str(-status)).lower()}"


def _shown(text: str, secret: str) -> str:
    """The text of a helper's error, if it can't hold a secret: an answer (JSON) that came before the failure
    is not shown."""
    if "{" in text or (secret and secret in text):
        return "…"
    return quote(text[:_SHOWN])[1:-1]


def _program(helper: str, system: System, what: str) -> str:
    """The path of a helper, found in the absolute directories of $PATH."""
    if not _NAME.fullmatch(helper):
        raise InvalidError(f"{quote(helper)} can't be the name of a credential helper")
    name = f"docker-credential-{helper}"
    folders = [folder for folder in system.environ.get("PATH", "").split(":") if folder.startswith("/")]
    if (found := shutil.which(name, path=":".join(folders))) is None or not folders:
        problem = f"exec: {quote(name)}: executable file not found in $PATH"
        raise NotFoundError(_failure(what, problem))
    return found


async def _run(helper: str, action: str, given: bytes, system: System, what: str) -> _Answer:
    program = _program(helper, system, what)
    call = _Call()
    start = partial(
        trio.run_process,
        [program, action],
        stdin=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        deliver_cancel=_kill_group,
        start_new_session=True,
        env=dict(system.environ),
        cwd="/",
    )
    with trio.move_on_after(TIMEOUT_S) as limit:
        await call.run(start)
    if call.failure is not None:
        raise file_error("fork/exec", program, call.failure)
    if call.overflow:
        raise LimitError(_failure(what, f"it wrote more than {OUTPUT_LIMIT} bytes"))
    if limit.cancelled_caught or call.status is None:
        raise StalledError(_failure(what, f"it did not end within {TIMEOUT_S:.0f} s"), retryable=False)
    return _Answer(call.status, bytes(call.output))


class _Call:
    """One run of a helper: what it wrote, and how it ended."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.overflow = False
        self.status: int | None = None
        self.failure: OSError | None = None
        self._read = trio.Event()

    async def run(self, start: Callable[..., Awaitable[object]]) -> None:
        """Run it to its end. The results are in the attributes: an error would come out as a group."""
        async with trio.open_nursery() as nursery:
            try:
                process: trio.Process = await nursery.start(start)
            except OSError as error:
                self.failure = error
                return
            nursery.start_soon(self._collect, process, nursery.cancel_scope)
            status = await process.wait()
            with trio.move_on_after(_DRAIN_S):
                await self._read.wait()
            self.status = status
            nursery.cancel_scope.cancel()

    async def _collect(self, process: trio.Process, scope: trio.CancelScope) -> None:
        if process.stdout is None:
            raise AssertionError("stdout is a pipe")
        async with process.stdout as stream:
            async for part in stream:
                self.output += part
                if len(self.output) > OUTPUT_LIMIT:
                    self.overflow = True
                    scope.cancel()
                    return
        self._read.set()


async def _kill_group(process: trio.Process) -> None:
    """Everything that the helper started and that did not leave its session."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
