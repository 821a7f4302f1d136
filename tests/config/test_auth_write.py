"""What login and logout write, and that nothing is lost whatever happens."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.config.system import system, write
from tests.peers.require import require_peer
from wherry.config import auth, authwrite
from wherry.config.authwrite import Target
from wherry.config.registries import AUTH_FILES
from wherry.errors import AuthError, FileError, InvalidError, StalledError, WherryError
from wherry.protocol.options import Credentials
from wherry.system import System

CANARY = "cAnArY-5ecret"
ME = Credentials("me", "pw")
FILES = (AUTH_FILES,)
EMPTY = '{\n\t"auths": {}\n}'


@pytest.fixture
def here(tmp_path: Path) -> System:
    return system(tmp_path, {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}, uid=os.getuid())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep/er/auth.json"


def one(key: str, auth: str = "bWU6cHc=") -> str:
    return f'{{\n\t"auths": {{\n\t\t"{key}": {{\n\t\t\t"auth": "{auth}"\n\t\t}}\n\t}}\n}}'


async def store(here: System, path: Path, key: str = "h.example", *, compat: bool = False) -> str:
    return await authwrite.store(Target(str(path), compat), key, ME, here, FILES)


# --- the text ---------------------------------------------------------------------------------------------


async def test_the_bytes_of_a_new_file(here: System, file: Path) -> None:
    assert await store(here, file) == str(file)
    assert file.read_text() == one("h.example")
    assert await auth.find("h.example/a", here, path=str(file)) == ME
    assert await authwrite.remove(Target(str(file)), "h.example", here, FILES)
    assert file.read_text() == EMPTY
    assert not await authwrite.remove(Target(str(file)), "h.example", here, FILES)


@pytest.mark.parametrize("compat", [False, True])
async def test_c07_unknown_members_are_kept_byte_for_byte(compat: bool, here: System, file: Path) -> None:
    kept = {
        "HttpHeaders": '{ "X":"\\u00e9<>&\\/",\r\n"Y" : [1.0,1e5, -0,12345678901234567] }',
        "currentContext": '"desktop-linux"',
        "plugins": '{"debug" :{"hooks":"exec"}}',
        "credsStore": '""',
        "nothing": "null",
    }
    other = '{"auth":"eDp5" , "email": "x@y", "registrytoken":"keep\\u0041"}'
    members = [f'"{name}"  :{value}' for name, value in kept.items()]
    members.insert(2, f'"auths":{{"o.example":{other}}}')
    write(file, "")
    file.write_bytes(("{" + ",".join(members) + "}\n").encode())
    await store(here, file, compat=compat)
    assert await authwrite.remove(Target(str(file), compat), "nobody.example", here, FILES) is False
    text = file.read_bytes().decode()
    written = authwrite.split(text)
    assert list(written) == ["HttpHeaders", "currentContext", "auths", "plugins", "credsStore", "nothing"]
    assert {name: value for name, value in written.items() if name != "auths"} == kept
    assert authwrite.split(written["auths"])["o.example"] == other
    assert await auth.find("h.example", here, path=str(file)) == ME
    await authwrite.remove_all(Target(str(file), compat), here, FILES)
    assert authwrite.split(file.read_bytes().decode()) == {**kept, "auths": "{}"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", one("h.example")),
        ('{"auths":null}', one("h.example")),
        ('{"AUTHS":{}}', one("h.example").replace("auths", "AUTHS")),
        (one("h.example", "eDp5"), one("h.example")),
    ],
)
async def test_what_there_was(before: str, after: str, here: System, file: Path) -> None:
    write(file, before)
    await store(here, file)
    assert file.read_text() == after


async def test_docker_has_its_own_key_for_the_hub_and_no_namespaces(here: System, file: Path) -> None:
    await store(here, file, "docker.io", compat=True)
    assert file.read_text() == one("https://index.docker.io/v1/")
    assert await auth.find("docker.io/library/a", here, path=str(file)) == ME
    text = r'^Credentials cannot be recorded in Docker-compatible format with namespaced key "h\.example/ns"$'
    with pytest.raises(InvalidError, match=text):
        await store(here, file, "h.example/ns", compat=True)
    assert await authwrite.remove(Target(str(file), compat=True), "docker.io", here, FILES)
    assert file.read_text() == EMPTY
    await store(here, file, "docker.io/ns")
    assert file.read_text() == one("docker.io/ns")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"auths":[]}', f'{{"auths":{{"a":"{CANARY}"}}}}'])
async def test_a_malformed_file_is_left_alone(content: str, here: System, file: Path) -> None:
    write(file, content)
    with pytest.raises(InvalidError, match=r'^reading JSON file ".*auth\.json": ') as caught:
        await store(here, file)
    assert CANARY not in str(caught.value)
    assert file.read_text() == content


# --- the file ---------------------------------------------------------------------------------------------


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_c01_modes_whatever_the_umask(umask: int, here: System, file: Path) -> None:
    await store(here, file)
    assert [mode(path) for path in (file, file.parent, file.parent.parent)] == [0o600, 0o700, 0o700]
    file.chmod(0o644)
    await store(here, file, "other.example")
    assert mode(file) == 0o600
    assert {path.name for path in file.parent.iterdir()} == OWN
    assert mode(file.parent / ".auth.json.lock") == 0o600


def linked(tmp_path: Path, file: Path) -> Path:
    real = write(tmp_path / "dotfiles/auth.json", one("o.example"))
    file.parent.mkdir(parents=True)
    file.symlink_to(os.path.relpath(real, file.parent))
    return real


async def test_c02_a_link_is_written_through(here: System, tmp_path: Path, file: Path) -> None:
    real = linked(tmp_path, file)
    await store(here, file)
    assert file.is_symlink()
    assert set(json.loads(real.read_bytes())["auths"]) == {"h.example", "o.example"}
    assert mode(real) == 0o600
    real.unlink()
    await store(here, file)
    assert real.read_text() == one("h.example")


async def test_c02_a_link_to_somebody_elses_file_is_refused(here: System, tmp_path: Path, file: Path) -> None:
    real = linked(tmp_path, file)
    stranger = system(tmp_path, uid=os.getuid() + 1)
    before = real.read_bytes()
    text = (
        rf'^"{re.escape(str(file))}" is a symbolic link to .* belongs to the user {os.getuid()}: credentials'
    )
    with pytest.raises(InvalidError, match=text):
        await authwrite.store(Target(str(file)), "h.example", ME, stranger, FILES)
    assert real.read_bytes() == before
    await store(here, file)
    assert real.read_bytes() != before


async def test_a_place_that_can_not_be_written(here: System, tmp_path: Path) -> None:
    write(tmp_path / "plain", "")
    with pytest.raises(FileError, match=r"^mkdir .*/plain/x: not a directory$"):
        await store(here, tmp_path / "plain/x/auth.json")


async def test_writers_wait_for_each_other(
    here: System, file: Path, autojump_clock: trio.testing.MockClock
) -> None:
    await store(here, file)
    with (file.parent / ".auth.json.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StalledError, match=r'auth\.json" is locked by another program$'):
            await store(here, file, "other.example")
    await store(here, file, "other.example")
    assert set(json.loads(file.read_bytes())["auths"]) == {"h.example", "other.example"}


def test_writers_at_once_lose_nothing(here: System, file: Path) -> None:
    def write_some(number: int) -> None:
        async def run() -> None:
            for key in range(10):
                await store(here, file, f"h{number}-{key}.example")

        trio.run(run)

    threads = [threading.Thread(target=write_some, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(file.read_bytes())["auths"]) == 40


PROGRAM = """
import sys, trio
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from tests.config.system import system
from wherry.config import authwrite
from wherry.protocol.options import Credentials
here = system(Path(sys.argv[3]))
target = authwrite.Target(sys.argv[3] + "/auth.json")
async def run():
    await authwrite.store(target, "new.example", Credentials("me", "NEW"), here, ("containers-auth.json",))
trio.run(run)
"""
TRACED = "write,fsync,fchmod,linkat,rename,renameat,renameat2,unlinkat,flock"


def traced(strace: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    top = Path(__file__).parents[2]
    argv = [strace, "-qq", *options, "-e", f"trace={TRACED}"]
    argv += [sys.executable, "-c", PROGRAM, top, top / "proxy", folder]
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, check=False)


def test_c04_killed_at_each_system_call_of_writing(tmp_path: Path) -> None:
    """The old file or the new one, whole; what is left under the temporary name goes with the next writer."""
    strace = require_peer("strace")
    old = one("old.example", "b2xkOm9sZA==")
    seen = write(tmp_path / "seen/auth.json", old)
    seen.chmod(0o600)
    done = traced(strace, seen.parent, "-o", str(tmp_path / "trace"))
    assert (done.returncode, done.stderr) == (0, "")
    calls = re.findall(r"^(\w+)\(", (tmp_path / "trace").read_text(), re.MULTILINE)
    assert {"flock", "fchmod", "write", "linkat", "fsync"} <= set(calls), calls
    assert any(call.startswith("rename") for call in calls)
    new = set(json.loads(seen.read_bytes())["auths"])
    assert new == {"old.example", "new.example"}
    left: set[str] = set()
    for number, call in enumerate(calls):
        folder = tmp_path / f"killed{number}"
        path = write(folder / "auth.json", old)
        path.chmod(0o600)
        nth = calls[: number + 1].count(call)
        done = traced(strace, folder, "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={nth}")
        assert done.returncode == -9, (call, nth, done)
        text = path.read_text()
        assert text == old or set(json.loads(text)["auths"]) == new, (call, nth)
        left |= {f"{call} {entry.name}" for entry in folder.iterdir() if entry.name not in OWN}
        assert all(mode(entry) == 0o600 for entry in folder.iterdir())
        trio.run(store, system(folder), path, "new.example")
        assert {entry.name for entry in folder.iterdir()} <= OWN
    assert left <= {"rename .auth.json.new", "renameat .auth.json.new"}, left


OWN = {"auth.json", ".auth.json.lock"}


# --- helpers ----------------------------------------------------------------------------------------------


def helper(here: System, script: str, name: str = "x") -> None:
    write(Path(here.root) / f"bin/docker-credential-{name}", f"#!/bin/sh\n{script}\n").chmod(0o755)


REMEMBERS = 'echo "$1 $(cat)" >>"$(dirname "$0")/told"'


def told(here: System) -> list[str]:
    return (Path(here.root) / "bin/told").read_text().splitlines()


async def test_credentials_go_to_the_registrys_helper(here: System, file: Path) -> None:
    helper(here, REMEMBERS)
    before = '{"auths":{"h.example":{}},"credHelpers":{"h.example":"x","h.example/ns":"x"}}'
    write(file, before)
    assert await store(here, file) == "credential helper: x"
    assert told(here) == ['store {"ServerURL": "h.example", "Username": "me", "Secret": "pw"}']
    assert file.read_text() == before
    with pytest.raises(
        InvalidError, match=r"^updating .*: namespaced key is not supported for credential helper x$"
    ):
        await store(here, file, "h.example/ns")
    await store(here, file, "other.example")
    assert await auth.find("other.example", here, path=str(file)) == ME


async def test_c24_logout_of_what_a_helper_holds(here: System, file: Path) -> None:
    helper(here, REMEMBERS)
    write(file, '{"auths":{"h.example":{}},"credHelpers":{"h.example":"x","g.example":"x"}}')
    target = Target(str(file))
    assert await authwrite.remove(target, "h.example", here, FILES)
    assert told(here) == ["erase h.example"]
    helper(here, "echo 'credentials not found in native keychain'; exit 1")
    assert not await authwrite.remove(target, "h.example", here, FILES)
    helper(here, "echo locked; exit 1")
    text = (
        r'^updating ".*": removing credentials for h\.example from credential helper x: '
        r"error erasing credentials - err: exit status 1, out: `locked`$"
    )
    with pytest.raises(AuthError, match=text):
        await authwrite.remove(target, "h.example", here, FILES)


async def test_c24_logout_of_all(here: System, file: Path) -> None:
    helper(here, REMEMBERS)
    content = '{"auths":{"h.example":{},"a.example":{}},"credHelpers":{"h.example":"x","g.example":"x"}}'
    write(file, content)
    await authwrite.remove_all(Target(str(file)), here, FILES)
    assert told(here) == ["erase h.example", "erase g.example"]
    assert file.read_text() == EMPTY
    write(file, content)
    await authwrite.remove_all(Target(str(file), compat=True), here, FILES)
    assert list(authwrite.split(file.read_text())) == ["auths", "credHelpers"]
    helper(here, "echo locked; exit 1")
    write(file, content)
    with pytest.raises(AuthError, match="locked"):
        await authwrite.remove_all(Target(str(file)), here, FILES)
    assert file.read_text() == content


async def test_c24_logout_of_all_where_there_is_nothing(here: System, file: Path) -> None:
    await authwrite.remove_all(Target(str(file)), here, FILES)
    assert file.read_text() == EMPTY


async def test_helpers_of_registries_conf(here: System, file: Path) -> None:
    listing = """[ "$1" = list ] && echo '{"l.example":"u"}' || """
    helper(here, listing + REMEMBERS)
    target = Target(str(file))
    assert await authwrite.store(target, "h.example", ME, here, ("x", AUTH_FILES)) == "credential helper: x"
    assert not file.exists()
    assert await authwrite.store(target, "h.example/ns", ME, here, ("x", AUTH_FILES)) == str(file)
    assert await authwrite.remove(target, "h.example", here, ("x", AUTH_FILES))
    await authwrite.remove_all(target, here, ("x", "missing", AUTH_FILES))
    assert told(here)[1:] == ["erase h.example", "erase l.example"]
    assert file.read_text() == EMPTY
    # Docker does not know of them.
    await authwrite.store(Target(str(file), compat=True), "h.example", ME, here, ("x",))
    assert file.read_text() == one("h.example")
    helper(here, "exit 1")
    with pytest.raises(WherryError, match=r"^Errors storing credentials\n\t\* .*\n\t\* .*\n$"):
        await authwrite.store(target, "h.example", ME, here, ("x", "x"))
