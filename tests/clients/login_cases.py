"""Command lines of login and logout, what runs them, and what records them from a real skopeo.

``python -m tests.clients.login_cases /path/to/skopeo COMMIT DATE`` writes golden/login.json.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.servers import running_registry

GOLDEN = Path(__file__).parent / "golden" / "login.json"
TIMEOUT_S = 60.0
USER, PASSWORD = "me", "secret"
AUTH = "bWU6c2VjcmV0"  # me:secret
OTHER = "eDp5"  # x:y
IT = "--tls-verify=false -u me -p secret"


@dataclass(frozen=True)
class Case:
    """Commands in one directory, one after the other, and the files that they find.

    Words may hold {REG} (user me, password secret), {OPEN} (no login), {CLOSED} (nobody listens), {TMP} (the
    directory, where home and run are).
    """

    id: str
    commands: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""


def auths(**keys: str) -> str:
    """A file as both programs write it; what is spaced otherwise only wherry leaves so."""
    return json.dumps({"auths": {key: {"auth": value} for key, value in keys.items()}}, indent="\t")


RUN, DOCKER = "run/containers/auth.json", "home/.docker/config.json"
UNKNOWN = (
    '{\n\t"auths": {},\n\t"credHelpers": {\n\t\t"h.example": "none"\n\t},\n\t"currentContext": "x",\n'
    '\t"plugins": {\n\t\t"a": 1.50\n\t}\n}'
)

CASES = (
    Case("new", (f"login {IT} {{REG}}",)),
    Case("new-verbose", (f"login -v {IT} {{REG}}",)),
    Case("bad-password", ("login --tls-verify=false -u me -p bad {REG}",)),
    Case("registry-without-login", (f"login {IT} {{OPEN}}",)),
    Case("closed", (f"login {IT} {{CLOSED}}",)),
    Case("not-tls", ("login -u me -p secret {REG}",)),
    Case("no-argument", ("login", "logout")),
    Case("two-arguments", ("login a b", "logout a b")),
    Case(
        "namespace", (f"login {IT} {{REG}}/a/b", "login --get-login {REG}/a/b/c", "login --get-login {REG}/a")
    ),
    Case("tag", (f"login {IT} {{REG}}/a:b",)),
    Case("digest", (f"login {IT} {{REG}}/a@sha256:" + "a" * 64,)),
    Case("bad-name", (f"login {IT} {{REG}}/A", "logout {REG}/A")),
    Case("url", (f"login {IT} http://{{REG}}/v2/x?y", "login --get-login https://u@{REG}/v1/#z")),
    Case(
        "get-login",
        ("login --get-login h.example", "login --get-login g.example"),
        {RUN: auths(**{"h.example": OTHER})},
    ),
    Case("existing", ("login --tls-verify=false {REG}",), {RUN: auths(**{"{REG}": AUTH})}),
    Case("existing-of-namespace", ("login --tls-verify=false {REG}/a/b",), {RUN: auths(**{"{REG}/a": AUTH})}),
    Case("existing-invalid", ("login --tls-verify=false {REG}",), {RUN: auths(**{"{REG}": OTHER})}),
    Case("existing-in-docker-file", ("login --tls-verify=false {REG}",), {DOCKER: auths(**{"{REG}": AUTH})}),
    Case("existing-replaced", (f"login {IT} {{REG}}",), {RUN: auths(**{"{REG}": OTHER, "h.example": OTHER})}),
    Case(
        "identity-token",
        (f"login {IT} {{REG}}", "login --get-login {REG}"),
        {RUN: '{"auths":{"{REG}":{"auth":"MDA6","identitytoken":"it"}}}'},
    ),
    Case("no-input", ("login --tls-verify=false {REG}",)),
    Case("no-terminal", ("login --tls-verify=false {REG}",), stdin=b"me\n"),
    Case("no-terminal-user", ("login --tls-verify=false -u me {REG}",), stdin=b"secret\n"),
    Case(
        "password-of-known-user",
        ("login --tls-verify=false -p secret {REG}",),
        {RUN: auths(**{"{REG}": "bWU6b2xk"})},
        stdin=b"\n",
    ),
    Case("password-for-typed-user", ("login --tls-verify=false -p secret {REG}",), stdin=b"  me \n"),
    Case("stdin", ("login --tls-verify=false -u me --password-stdin {REG}",), stdin=b"secret\n"),
    Case("stdin-lines", ("login --tls-verify=false -u me --password-stdin {REG}",), stdin=b"sec\r\nre\nt"),
    Case("stdin-wrong", ("login --tls-verify=false -u me --password-stdin {REG}",), stdin=b" secret\n"),
    Case("stdin-empty", ("login --tls-verify=false -u me --password-stdin {REG}",)),
    Case("stdin-without-user", ("login --tls-verify=false --password-stdin {REG}",), stdin=b"secret"),
    Case(
        "stdin-and-password", ("login --tls-verify=false -u me -p x --password-stdin {REG}",), stdin=b"secret"
    ),
    Case("authfile", (f"login -v {IT} --authfile d/e/a.json {{REG}}", "logout --authfile d/e/a.json {REG}")),
    Case(
        "authfile-malformed",
        (f"login {IT} --authfile a.json {{REG}}", "logout --authfile a.json {REG}"),
        {"a.json": "{"},
    ),
    Case(
        "authfile-is-dockers",
        (f"login {IT} --authfile {{TMP}}/{DOCKER} {{REG}}", f"logout --authfile {{TMP}}/{DOCKER} {{REG}}"),
    ),
    Case("variable", (f"login -v {IT} {{REG}}", "logout {REG}"), env={"REGISTRY_AUTH_FILE": "v/a.json"}),
    Case("variable-is-dockers", (f"login {IT} {{REG}}",), env={"REGISTRY_AUTH_FILE": "{TMP}/" + DOCKER}),
    Case("docker-config", (f"login -v {IT} {{REG}}", "logout {REG}"), env={"DOCKER_CONFIG": "{TMP}/dc"}),
    Case("docker-config-namespace", (f"login {IT} {{REG}}/a",), env={"DOCKER_CONFIG": "{TMP}/dc"}),
    Case(
        "compat",
        (f"login -v {IT} --compat-auth-file c.json {{REG}}", "logout --compat-auth-file c.json {REG}"),
        {"c.json": UNKNOWN},
    ),
    Case("compat-namespace", (f"login {IT} --compat-auth-file c.json {{REG}}/a",)),
    Case("compat-and-authfile", (f"login {IT} --compat-auth-file c.json --authfile a.json {{REG}}",)),
    Case(
        "compat-hub",
        ("logout --compat-auth-file c.json docker.io",),
        {"c.json": auths(**{"https://index.docker.io/v1/": OTHER})},
    ),
    Case(
        "runtime-directory-missing",
        (f"login {IT} {{REG}}", "logout {REG}", "logout --all"),
        env={"XDG_RUNTIME_DIR": "{TMP}/gone"},
    ),
    Case(
        "logout",
        ("logout h.example", "logout h.example"),
        {RUN: auths(**{"h.example": OTHER, "g.example": OTHER})},
    ),
    Case("logout-url", ("logout https://h.example/v1/",), {RUN: auths(**{"h.example": OTHER})}),
    Case(
        "logout-namespace",
        ("logout h.example/a", "logout h.example/a/b"),
        {RUN: auths(**{"h.example/a/b": OTHER, "h.example": OTHER})},
    ),
    Case(
        "logout-authfile-missing",
        ("logout --authfile nope h.example", "logout --compat-auth-file nope h.example"),
    ),
    Case(
        "logout-of-docker",
        ("logout --tls-verify=false {REG}", "logout --tls-verify=false {REG}/a"),
        {DOCKER: auths(**{"{REG}": AUTH})},
    ),
    Case(
        "logout-of-docker-invalid", ("logout --tls-verify=false {REG}",), {DOCKER: auths(**{"{REG}": OTHER})}
    ),
    Case(
        "logout-all", ("logout --all", "logout -a"), {RUN: auths(**{"h.example": OTHER, "g.example": OTHER})}
    ),
    Case("logout-all-argument", ("logout --all h.example",)),
    Case("logout-all-nothing", ("logout -a",)),
    Case(
        "logout-helper",
        ("logout h.example", "logout --all"),
        {RUN: '{"auths":{"h.example":{}},"credHelpers":{"h.example":"test"}}'},
    ),
    Case(
        "login-helper",
        (f"login -v {IT} {{REG}}", "login --get-login {REG}"),
        {RUN: '{"credHelpers":{"{REG}":"test"}}'},
    ),
    Case("login-helper-missing", (f"login -v {IT} {{REG}}",), {RUN: '{"credHelpers":{"{REG}":"missing"}}'}),
    Case("unknown-flag", ("login --creds a:b {REG}", "logout -u x {REG}")),
)

HELPER = """#!/bin/sh
here=$(dirname "$0")
case $1 in
store) cat >"$here/stored" ;;
get) cat "$here/stored" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) cat >/dev/null ;;
esac
"""


@dataclass
class World:
    """The servers, and what stands for them in texts."""

    names: dict[str, str]

    def fill(self, text: str, here: Path) -> str:
        for name, value in (self.names | {"{TMP}": str(here)}).items():
            text = text.replace(name, value)
        return text

    def free(self, text: str, here: Path) -> str:
        """`text` without what differs from run to run."""
        for name, value in {"{TMP}": str(here), **self.names}.items():
            text = text.replace(value, name)
        return re.sub(r'time="[^"]*"', 'time="TIME"', text)

    def prepare(self, case: Case, here: Path) -> dict[str, str]:
        """Make the directory of a case; the environment of its commands."""
        for name in ("home", "run", "bin"):
            (here / name).mkdir(parents=True)
        helper = here / "bin" / "docker-credential-test"
        helper.write_text(HELPER)
        helper.chmod(0o755)
        for name, text in case.files.items():
            path = here / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill(text, here))
            path.chmod(0o600)
        return {
            "PATH": f"{here}/bin:{os.environ['PATH']}",
            "HOME": str(here / "home"),
            "XDG_RUNTIME_DIR": str(here / "run"),
            "TZ": "UTC",
            **{name: self.fill(value, here) for name, value in case.env.items()},
        }

    def run(self, case: Case, program: Sequence[str], here: Path) -> dict[str, Any]:
        """Run a case: what each command said, and the files that are left."""
        environ = self.prepare(case, here)
        told = []
        for line in case.commands:
            argv = [*program, *self.fill(line, here).split()]
            ended = subprocess.run(
                argv,
                input=case.stdin,
                capture_output=True,
                cwd=here,
                env=environ,
                timeout=TIMEOUT_S,
                umask=0o022,
                check=False,
            )
            streams = (self.free(data.decode(), here) for data in (ended.stdout, ended.stderr))
            told.append([ended.returncode, *streams])
        return {"told": told, "files": dict(self.files(here))}

    def files(self, here: Path) -> Iterator[tuple[str, list[str]]]:
        """Mode and text of every file, mode of every directory; not of what wherry locks with."""
        for path in sorted(here.rglob("*")):
            name, mode = path.relative_to(here).as_posix(), f"{stat.S_IMODE(path.stat().st_mode):o}"
            if path.is_dir():
                yield f"{name}/", [mode]
            elif not path.name.endswith(".lock") and path.name != "docker-credential-test":
                # Go and Python space the JSON for a helper differently.
                text = path.read_text() if path.name != "stored" else json.dumps(json.loads(path.read_text()))
                yield name, [mode, self.free(text, here)]


@contextmanager
def running_world(root: Path) -> Iterator[World]:
    with (
        running_registry(root / "locked", login=(USER, PASSWORD)) as locked,
        running_registry(root / "open") as free,
        socket.socket() as closed,
    ):
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        yield World({"{REG}": locked.name, "{OPEN}": free.name, "{CLOSED}": nobody})


def record(program: str, commit: str, date: str) -> None:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if not said.startswith("skopeo version") or Path(program).read_bytes()[:4] != b"\x7fELF":
        raise SystemExit(f"{program} is no skopeo that Go compiled")
    with tempfile.TemporaryDirectory() as folder, running_world(Path(folder) / "servers") as world:
        cases = {case.id: world.run(case, [program], Path(folder) / case.id) for case in CASES}
    recorded = {"version": said, "commit": commit, "date": date}
    GOLDEN.write_text(json.dumps({"recorded": recorded, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    record(*sys.argv[1:])
