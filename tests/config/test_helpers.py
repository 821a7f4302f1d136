"""Credential helpers: the protocol, and helpers that misbehave."""

from __future__ import annotations

import json
import os
import textwrap
import time
import traceback
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.config.system import system, write
from wherry.config import auth, credential_helpers
from wherry.config.registries import AUTH_FILES
from wherry.errors import (
    AuthError,
    CorruptError,
    FileError,
    InvalidError,
    LimitError,
    NotFoundError,
    StalledError,
    WherryError,
)
from wherry.protocol.options import Credentials
from wherry.system import System

CANARY = "cAnArY-5ecret"
NOT_FOUND = "echo 'credentials not found in native keychain'; exit 1"


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def here(tmp_path: Path, heard: list[str]) -> System:
    environ = {"PATH": f"relative:{tmp_path}/bin:/usr/bin:/bin", "KEPT": "yes"}
    return system(tmp_path, environ, warn=heard.append, uid=os.getuid())


def helper(here: System, script: str, name: str = "x") -> Path:
    path = write(
        Path(here.root) / "bin" / f"docker-credential-{name}", f"#!/bin/sh\n{textwrap.dedent(script)}\n"
    )
    path.chmod(0o755)
    return path


def answering(user: str, secret: str) -> str:
    answer = json.dumps({"ServerURL": "h.example", "Username": user, "Secret": secret})
    return f"cat >asked; echo '{answer}'"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (answering("me", "pw"), Credentials("me", "pw")),
        (answering("<token>", "it"), Credentials("", "", "it")),
        (answering("", ""), None),
        ("echo '{}'", None),
        ("echo noise >&2; " + answering("me", "pw"), Credentials("me", "pw")),
        ("""echo '{"username":"me","SECRET":"pw"}'""", Credentials("me", "pw")),
        (NOT_FOUND, None),
        (f"echo noise >&2; {NOT_FOUND}", None),
    ],
)
async def test_c14_get(script: str, found: Credentials | None, here: System) -> None:
    helper(here, f"cd {here.root}; {script}")
    assert await credential_helpers.get("x", "h.example", here) == found


async def test_c14_what_a_helper_is_given(here: System, tmp_path: Path) -> None:
    helper(here, f'cat >{tmp_path}/stdin; echo "$1 $KEPT $(pwd)" >{tmp_path}/told; echo "{{}}"')
    await credential_helpers.get("x", "h.example:5000", here)
    assert (tmp_path / "stdin").read_text() == "h.example:5000"
    assert (tmp_path / "told").read_text() == "get yes /\n"
    await credential_helpers.store("x", "h.example", Credentials("me", 'p"w'), here)
    assert json.loads((tmp_path / "stdin").read_text()) == {
        "ServerURL": "h.example",
        "Username": "me",
        "Secret": 'p"w',
    }
    assert await credential_helpers.erase("x", "h.example", here)
    assert (tmp_path / "stdin").read_text() == "h.example"
    assert (tmp_path / "told").read_text() == "erase yes /\n"
    helper(here, """[ "$1" = list ] && echo '{"https://a/":"u","b":"v"}'""")
    assert await credential_helpers.list_servers("x", here) == {"https://a/": "u", "b": "v"}
    helper(here, NOT_FOUND)
    assert not await credential_helpers.erase("x", "h.example", here)


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        (
            "echo no luck; exit 3",
            AuthError,
            r"error getting credentials - err: exit status 3, out: `no luck`$",
        ),
        ("kill -9 $$", AuthError, "error getting credentials - err: signal: killed, out: ``$"),
        (f'echo \'{{"Secret":"{CANARY}"}}\'; exit 1', AuthError, "err: exit status 1, out: `…`$"),
        (f"echo {CANARY}", CorruptError, "the answer of credential helper x is not valid JSON$"),
        (f"echo '[\"{CANARY}\"]'", CorruptError, "the answer of credential helper x is not an object$"),
        (
            f"""echo '{{"Secret":["{CANARY}"]}}'""",
            CorruptError,
            "Username or Secret of its answer is not a string",
        ),
        (f"printf '\\xff{CANARY}'", CorruptError, "is not valid JSON$"),
        ("", CorruptError, "is not valid JSON$"),
    ],
)
async def test_c14_what_is_no_answer(script: str, kind: type[WherryError], text: str, here: System) -> None:
    helper(here, script)
    with pytest.raises(kind, match=text) as caught:
        await credential_helpers.get("x", "h.example", here)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


async def test_a_secret_that_a_helper_repeats_is_not_told(here: System) -> None:
    helper(here, "echo cannot store $(cat); exit 1")
    with pytest.raises(AuthError, match=r"^error storing credentials - err: exit status 1, out: `…`$"):
        await credential_helpers.store("x", "h.example", Credentials("me", CANARY), here)


@pytest.mark.parametrize(
    "name", ["", "../../tmp/x", "/bin/sh", "a b", ";id", "x\n", "$(id)", "x/y", "é", "x\0"]
)
async def test_c13_names_that_no_helper_has(name: str, here: System) -> None:
    helper(here, answering("me", "pw"))
    with pytest.raises(InvalidError, match=r"can't be the name of a credential helper$"):
        await credential_helpers.get(name, "h.example", here)
    assert await credential_helpers.get("x", "h.example", here) == Credentials("me", "pw")


async def test_c13_helpers_are_found_on_absolute_paths_only(here: System, tmp_path: Path) -> None:
    planted = write(tmp_path / "relative" / "docker-credential-y", f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    planted.chmod(0o755)
    text = (
        r'^error getting credentials - err: exec: "docker-credential-y": '
        r"executable file not found in \$PATH, out: ``$"
    )
    with pytest.raises(NotFoundError, match=text):
        await credential_helpers.get("y", "h.example", here)
    with pytest.raises(NotFoundError, match=text):
        await credential_helpers.get("y", "h.example", system(tmp_path))
    assert not (tmp_path / "ran").exists()


async def test_a_helper_that_can_not_be_run(here: System, tmp_path: Path) -> None:
    write(tmp_path / "bin" / "docker-credential-x", "\x7fELF nothing").chmod(0o755)
    with pytest.raises(FileError, match=r"^fork/exec .*/bin/docker-credential-x: exec format error$"):
        await credential_helpers.get("x", "h.example", here)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone_soon(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


async def test_c15_a_helper_that_hangs_is_killed_with_its_children(
    here: System, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 2.0
    helper(here, f"sleep 1000 & echo $! >{tmp_path}/child; echo $$ >{tmp_path}/self; wait")
    with pytest.raises(StalledError, match=r"^error getting credentials - err: it did not end within 10 s"):
        await credential_helpers.get("x", "h.example", here)
    for name in ("child", "self"):
        assert gone_soon(int((tmp_path / name).read_text()))


async def test_c15_a_helper_that_never_stops_writing(here: System, tmp_path: Path) -> None:
    helper(here, f"echo $$ >{tmp_path}/self; exec cat /dev/zero")
    with pytest.raises(LimitError, match="it wrote more than 1048576 bytes"):
        await credential_helpers.get("x", "h.example", here)
    assert gone_soon(int((tmp_path / "self").read_text()))


async def test_c15_a_daemon_that_keeps_the_pipe_does_not_hold_us_up(here: System, tmp_path: Path) -> None:
    helper(here, f"setsid sleep 1000 & echo $! >{tmp_path}/child; {answering('me', 'pw').partition('; ')[2]}")
    try:
        assert await credential_helpers.get("x", "h.example", here) == Credentials("me", "pw")
    finally:
        os.kill(int((tmp_path / "child").read_text()), 9)


async def test_c15_there_is_no_terminal_to_wait_for(here: System) -> None:
    helper(here, "( : </dev/tty ) 2>/dev/null && echo terminal || echo none; exit 1")
    with pytest.raises(AuthError, match=r"out: `none`$"):
        await credential_helpers.get("x", "h.example", here)


async def test_c15_a_helper_that_reads_nothing(here: System) -> None:
    helper(here, 'exec <&-; echo \'{"Username":"me","Secret":"pw"}\'')
    long = "h" * 200_000  # more than a pipe holds
    assert await credential_helpers.get("x", long, here) == Credentials("me", "pw")


# --- where files name helpers -----------------------------------------------------------------------------


def config(here: System, **members: object) -> None:
    path = write(Path(here.home) / ".docker/config.json", json.dumps(members))
    path.chmod(0o600)


PLAIN = {"auth": "ZmlsZTpwdw=="}  # file:pw


async def test_a_registrys_helper_comes_before_its_entry(here: System, tmp_path: Path) -> None:
    helper(here, f"cat >{tmp_path}/stdin; " + answering("helper", "pw").partition("; ")[2])
    config(here, auths={"h.example": PLAIN, "h.example/ns": PLAIN}, credHelpers={"h.example": "x"})
    found = await auth.find("h.example/ns/a", here)
    assert found == Credentials("helper", "pw")
    assert (tmp_path / "stdin").read_text() == "h.example"


async def test_a_helper_without_an_answer_leaves_it_to_the_next_file(here: System, tmp_path: Path) -> None:
    helper(here, NOT_FOUND)
    config(here, auths={"h.example": PLAIN}, credHelpers={"h.example": "x"})
    assert await auth.find("h.example", here) is None
    write(tmp_path / "home/.dockercfg", json.dumps({"h.example": PLAIN})).chmod(0o600)
    assert await auth.find("h.example", here) == Credentials("file", "pw")


async def test_a_helper_that_fails_is_an_error(here: System) -> None:
    helper(here, "echo locked; exit 1")
    config(here, credHelpers={"h.example": "x"})
    with pytest.raises(AuthError, match="err: exit status 1, out: `locked`"):
        await auth.find("h.example/a", here)
    assert await auth.find("other.example/a", here) is None


@pytest.mark.parametrize(
    ("key", "asked"), [("h.example/a", "h.example"), ("docker.io/library/a", "https://index.docker.io/v1/")]
)
async def test_creds_store(key: str, asked: str, here: System, tmp_path: Path) -> None:
    helper(here, f"cat >{tmp_path}/stdin; " + answering("store", "pw").partition("; ")[2])
    config(here, auths={asked: {}}, credsStore="x")
    assert await auth.find(key, here) == Credentials("store", "pw")
    assert (tmp_path / "stdin").read_text() == asked
    config(here, auths={key: PLAIN}, credsStore="x")
    assert await auth.find(key, here) == Credentials("file", "pw")


async def test_a_creds_store_of_another_machine_is_told_and_no_error(here: System, heard: list[str]) -> None:
    config(here, auths={"h.example": {}}, credsStore="osxkeychain")
    assert await auth.find("h.example", here) is None
    assert len(heard) == 1
    assert f"The credsStore of {here.home}/.docker/config.json was of no use: " in heard[0]
    assert '"docker-credential-osxkeychain": executable file not found' in heard[0]


async def test_helpers_of_registries_conf(here: System) -> None:
    helper(here, answering("first", "pw"), "one")
    helper(here, "exit 1", "two")
    config(here, auths={"h.example": PLAIN})
    for sources, user in (
        (["one"], "first"),
        ([AUTH_FILES, "one"], "file"),
        (["two", AUTH_FILES], "file"),
    ):
        found = await auth.find("h.example/ns/a", here, sources=sources)
        assert found is not None
        assert found.username == user
    with pytest.raises(
        NotFoundError, match=r"^errors looking up credentials:\n\t\* .*three.*\n\t\* .*four.*\n$"
    ):
        await auth.find("h.example", here, sources=["three", "four"])
