"""login and logout against what skopeo said, at a terminal, and with secrets that must not get out."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.clients import login_cases
from tests.clients.login_cases import AUTH, CASES, GOLDEN, PASSWORD, RUN, USER, Case, World, running_world
from tests.peers.require import require_peer
from wherry.errors import WherryError
from wherry.protocol.messages import OpenOptions
from wherry.protocol.options import Credentials, ImageAccess
from wherry_client import Client

WHERRY = [sys.executable, "-m", "wherry_cli"]
CANARY = "cAnArY-5ecret"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require_peer("docker-registry")
    require_peer("htpasswd")
    with running_world(tmp_path_factory.mktemp("login")) as running:
        yield running


@cache
def golden() -> dict[str, Any]:
    return json.loads(GOLDEN.read_bytes())  # type: ignore[no-any-return]


# Where the texts differ on purpose: our own, for the errors of each command.
OURS = {
    "authfile-malformed": 'unmarshaling JSON at \\"a.json\\": it is not valid JSON: expecting property name',
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_as_skopeo(case: Case, world: World, tmp_path: Path) -> None:
    seen = world.run(case, WHERRY, tmp_path / "here")
    recorded = json.loads(json.dumps(golden()["cases"][case.id]))
    if case.id in OURS:
        for ours, theirs in zip(seen["told"], recorded["told"], strict=True):
            assert OURS[case.id] in ours[2]
            ours[2] = theirs[2]
    assert seen["told"] == recorded["told"]
    assert seen["files"] == recorded["files"]


def test_every_case_is_recorded_from_skopeo() -> None:
    assert list(golden()["cases"]) == [case.id for case in CASES]
    assert re.fullmatch(r"skopeo version 1\.22\.0[^ ]*", golden()["recorded"]["version"])
    assert set(OURS) <= {case.id for case in CASES}


# --- at a terminal ----------------------------------------------------------------------------------------


class Terminal:
    """A command whose standard input is a terminal."""

    def __init__(self, argv: list[str], environ: dict[str, str], here: Path) -> None:
        self.master, self.slave = os.openpty()
        self.process = subprocess.Popen(
            argv, stdin=self.slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, cwd=here
        )
        self.said = ""

    def wait_for(self, text: str) -> None:
        assert self.process.stdout is not None
        while not self.said.endswith(text):
            part = os.read(self.process.stdout.fileno(), 1024).decode()
            assert part, (self.said, self.process.stderr and self.process.stderr.read())
            self.said += part

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def wait_for_silence(self) -> None:
        deadline = time.monotonic() + 30
        while self.echoes and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not self.echoes

    def shown(self) -> str:
        """What the terminal itself echoed."""
        parts = []
        while select.select([self.master], [], [], 0.2)[0]:
            parts.append(os.read(self.master, 1024))
        return b"".join(parts).decode()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, self.said + out.decode(), err.decode()


@contextmanager
def at_terminal(
    world: World, here: Path, *argv: str, files: dict[str, str] | None = None
) -> Iterator[Terminal]:
    environ = world.prepare(Case("terminal", (), files or {}), here)
    words = [world.fill(word, here) for word in argv]
    terminal = Terminal([*WHERRY, *words], environ, here)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.communicate()
        os.close(terminal.master)
        os.close(terminal.slave)


def test_user_and_password_are_asked_for(world: World, tmp_path: Path) -> None:
    with at_terminal(world, tmp_path / "t", "login", "--tls-verify=false", "{REG}") as terminal:
        terminal.wait_for("Username: ")
        assert terminal.echoes
        terminal.type(f"{USER}\n")
        terminal.wait_for("Password: ")
        terminal.wait_for_silence()
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == (0, "Username: Password: \nLogin Succeeded!\n", "")
        assert terminal.echoes
        assert terminal.shown() == f"{USER}\r\n"
    written = json.loads((tmp_path / "t" / RUN).read_bytes())
    assert list(written["auths"].values()) == [{"auth": AUTH}]


def test_an_empty_answer_keeps_the_user(world: World, tmp_path: Path) -> None:
    files = {RUN: login_cases.auths(**{"{REG}": "bWU6b2xk"})}
    with at_terminal(world, tmp_path / "t", "login", "--tls-verify=false", "{REG}", files=files) as terminal:
        terminal.wait_for("please enter valid username and password\nUsername (me): ")
        terminal.type("\n")
        terminal.wait_for("Password: ")
        terminal.wait_for_silence()
        terminal.type(f"{PASSWORD}\n")
        status, said, error = terminal.end()
    assert (status, error) == (0, "")
    assert said.endswith("Username (me): Password: \nLogin Succeeded!\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_terminal_that_echoes(
    number: signal.Signals, status: int, world: World, tmp_path: Path
) -> None:
    with at_terminal(world, tmp_path / "t", "login", "--tls-verify=false", "-u", "me", "{REG}") as terminal:
        terminal.wait_for("Password: ")
        terminal.wait_for_silence()
        terminal.process.send_signal(number)
        ended, _, error = terminal.end()
        assert terminal.echoes
    assert (ended, error) == (status, "")
    assert not (tmp_path / "t" / RUN).exists()


# --- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "stdin", "files"),
    [
        (("login", "--tls-verify=false", "-u", "me", "--password-stdin", "{REG}"), CANARY, {}),
        (("login", "--tls-verify=false", "-u", "me", "--password-stdin", "{CLOSED}"), CANARY, {}),
        (("login", "--tls-verify=false", "-u", "me", "--password-stdin", "{OPEN}"), CANARY, {RUN: "{"}),
        (
            ("login", "--tls-verify=false", "{REG}"),
            "",
            {RUN: f'{{"auths":{{"{{REG}}":{{"auth":"{CANARY}"}}}}}}'},
        ),
        (("login", "--get-login", "{REG}"), "", {RUN: f'{{"auths":{{"{{REG}}":"{CANARY}"}}}}'}),
        (("logout", "{REG}"), "", {RUN: f'{{"auths":{{"{{REG}}":{{"auth":"{CANARY}"'}),
        (
            ("inspect", "--tls-verify=false", "docker://{REG}/a"),
            "",
            {RUN: f'{{"auths":{{"{{REG}}":["{CANARY}"]}}}}'},
        ),
    ],
)
def test_c06_c08_a_secret_is_in_no_text(
    argv: tuple[str, ...], stdin: str, files: dict[str, str], world: World, tmp_path: Path
) -> None:
    """Neither on the command line (--password-stdin) nor in what is said, however it fails."""
    here = tmp_path / "here"
    environ = world.prepare(Case("canary", (), files), here)
    words = [world.fill(word, here) for word in argv]
    ended = subprocess.run(
        [*WHERRY, "--debug", *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=here,
        env=environ,
        check=False,
    )
    assert ended.returncode == 1
    assert "level=fatal" in ended.stderr
    assert CANARY not in ended.stdout + ended.stderr + " ".join(words)
    assert not (here / RUN).exists() or files


def test_the_modules_that_login_needs_are_not_those_of_copy() -> None:
    program = (
        "import sys; sys.argv = ['wherry', 'login']\n"
        "from wherry_cli.__main__ import main\n"
        "assert main() == 1\n"
        "print([name for name in ('wherry.copy', 'wherry.image', 'wherry.server', 'httpx', 'cryptography')"
        " if name in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stdout == "[]\n", ended.stderr


@pytest.mark.parametrize(
    ("content", "flags", "error"),
    [
        (f"me:{PASSWORD}\n", (), None),
        (f"me:{PASSWORD}\r\nmore", (), None),
        ("me:wrong", (), "authentication required"),
        ("", (), "credentials can't be empty"),
        (":x", (), "username can't be empty"),
        ("me:x", ("--creds", "a:b"), "creds-file and other credentials cannot be specified at the same time"),
        ("me:x", ("--no-creds",), "creds-file and no-creds cannot be specified at the same time"),
        (None, (), "open creds: no such file or directory"),
        ("x" * 70_000, (), "creds exceeded maximum allowed size of 65536 bytes"),
    ],
)
def test_c08_credentials_of_a_file(
    content: str | None, flags: tuple[str, ...], error: str | None, world: World, tmp_path: Path
) -> None:
    """What others can't see in the list of processes; skopeo has no such flag."""
    here = tmp_path / "here"
    environ = world.prepare(Case("creds-file", ()), here)
    if content is not None:
        (here / "creds").write_text(content)
    argv = [
        "list-tags",
        "--tls-verify=false",
        "--creds-file",
        "creds",
        *flags,
        world.fill("docker://{REG}/a", here),
    ]
    ended = subprocess.run(
        [*WHERRY, *argv], capture_output=True, text=True, cwd=here, env=environ, check=False
    )
    assert ended.returncode == 1
    assert (error or "repository name not known to registry") in ended.stderr, ended.stderr


def test_c08_the_client_library_puts_nothing_on_a_command_line(world: World) -> None:
    """Credentials are sent with the request, the proxy's command line and environment lack them."""
    access = ImageAccess(credentials=Credentials("me", CANARY), tls_verify=False)
    with Client.spawn() as client:
        with pytest.raises(WherryError, match="authentication required") as caught:
            client.open_image(f"docker://{world.names['{REG}']}/a", OpenOptions(access=access))
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        seen = [
            Path(f"/proc/{child}/{name}").read_bytes()
            for child in children
            for name in ("cmdline", "environ")
        ]
    assert any(b"experimental-image-proxy" in one for one in seen)
    assert CANARY.encode() not in b"".join(seen)
    assert CANARY not in str(caught.value)
