"""Whose credentials a repository is reached with: files, their order, the keys in them, and what is wrong."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.config.system import system, write
from wherry.config import auth, authfile
from wherry.config.authfile import AuthPath
from wherry.errors import FileError, InvalidError, LimitError, NotFoundError, WherryError
from wherry.protocol.options import Credentials, ImageAccess
from wherry.system import System

CANARY = "cAnArY-5ecret"


def encoded(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def auths(**users: str) -> str:
    """A file whose keys have the user of that name and the password `pw`."""
    return json.dumps({"auths": {key: encoded(user, "pw") for key, user in users.items()}})


def private(path: Path, text: str) -> Path:
    write(path, text).chmod(0o600)
    return path


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def here(tmp_path: Path, heard: list[str]) -> System:
    return system(tmp_path, warn=heard.append, uid=os.getuid())


async def user_for(key: str, here: System, **more: Any) -> str | None:
    found = await auth.find(key, here, **more)
    return None if found is None else found.username


# --- which file -------------------------------------------------------------------------------------------

SEARCHED = [
    "run/containers/{uid}/auth.json",
    "home/.config/containers/auth.json",
    "home/.docker/config.json",
    "home/.dockercfg",
]


def test_the_places_and_their_order(here: System, tmp_path: Path) -> None:
    assert [where.path for where in auth.search(here)] == [
        str(tmp_path / path.format(uid=os.getuid())) for path in SEARCHED
    ]
    assert [where.legacy for where in auth.search(here)] == [False, False, False, True]


def test_variables_move_the_places(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    names = {"XDG_RUNTIME_DIR": "r", "XDG_CONFIG_HOME": "c", "DOCKER_CONFIG": "d"}
    here = system(tmp_path, {name: str(tmp_path / folder) for name, folder in names.items()})
    assert [str(Path(where.path).relative_to(tmp_path)) for where in auth.search(here)] == [
        "r/containers/auth.json",
        "c/containers/auth.json",
        "d/config.json",
        "home/.dockercfg",
    ]


def test_without_a_home_nothing_is_looked_for_in_the_working_directory(tmp_path: Path) -> None:
    here = structs.replace(system(tmp_path), home="")
    assert [where.path for where in auth.search(here)] == [
        str(tmp_path / "run/containers" / str(os.getuid()) / "auth.json")
    ]


def test_an_authfile_is_the_only_file(here: System) -> None:
    assert auth.search(here, "x/auth.json") == [AuthPath("x/auth.json", named=True)]


async def test_each_place_is_read_until_one_knows(here: System, tmp_path: Path, heard: list[str]) -> None:
    places = [tmp_path / path.format(uid=os.getuid()) for path in SEARCHED]
    for number, place in reversed(list(enumerate(places))):
        text = auths(**{"h.example": f"user{number}"})
        private(place, json.dumps(json.loads(text)["auths"]) if place.name == ".dockercfg" else text)
        assert await user_for("h.example/a", here) == f"user{number}"
    private(places[0], auths(**{"other.example": "x"}))
    assert await user_for("h.example/a", here) == "user1"
    assert await user_for("unknown.example/a", here) is None
    assert await user_for("h.example/a", here, path=str(places[2])) == "user2"
    assert await user_for("h.example/a", here, path=str(tmp_path / "nonexistent")) is None
    assert heard == []


async def test_a_relative_authfile_is_the_callers(here: System, tmp_path: Path) -> None:
    private(tmp_path / "mine.json", auths(**{"h.example": "me"}))
    assert await user_for("h.example", here, path="mine.json") == "me"


async def test_a_runtime_directory_that_is_missing_is_told(tmp_path: Path, heard: list[str]) -> None:
    here = system(tmp_path, {"XDG_RUNTIME_DIR": str(tmp_path / "gone")}, warn=heard.append)
    assert await user_for("h.example", here) is None
    gone = str(tmp_path / "gone")
    assert heard == [
        f'"{gone}" directory set by $XDG_RUNTIME_DIR does not exist. Either create the directory or unset '
        f"$XDG_RUNTIME_DIR.: faccessat {gone}: no such file or directory: Trying to pull image in the event "
        "that it is a public image."
    ]
    with pytest.raises(NotFoundError, match=r"directory set by \$XDG_RUNTIME_DIR does not exist"):
        auth.primary_path(here)


# --- which key --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("quay.io/image", ["quay.io/image", "quay.io"]),
        ("quay.io/user/image", ["quay.io/user/image", "quay.io/user", "quay.io"]),
        ("q.io:5000/a/b/c", ["q.io:5000/a/b/c", "q.io:5000/a/b", "q.io:5000/a", "q.io:5000"]),
        ("docker.io/library/busybox", ["docker.io/library/busybox", "docker.io/library", "docker.io"]),
        ("docker.io/vendor/busybox", ["docker.io/vendor/busybox", "docker.io/vendor", "docker.io"]),
        ("[::1]:5000/a/b", ["[::1]:5000/a/b", "[::1]:5000/a", "[::1]:5000"]),
    ],
)
def test_c22_lookup_order(key: str, order: list[str]) -> None:
    assert list(auth.lookup_order(key)) == order
    assert list(auth.lookup_order(key, legacy=True)) == [order[-1]]


REFPATH = auths(
    **{
        "example.org/repo": "example",
        "example.org": "local",
        "docker.io/vendor": "first",
        "docker.io": "top",
        "docker.io/library/busybox": "library",
        "docker.io/library": "other",
        "http://old.example/v1/": "http",
        "https://quay.io:443/v1/": "port",
        "path.example/ns": "ns",
        "[::1]:5000": "address",
        "[::1]:5000/ns": "within",
        "https://[fe80::1]/v1/": "url",
    }
)


@pytest.mark.parametrize(
    ("key", "user"),
    [
        ("example.org/repo", "example"),
        ("example.org/repo/image", "example"),
        ("example.org/repository", "local"),
        ("example.org/foo", "local"),
        ("example.org", "local"),
        ("docker.io/vendor/product", "first"),
        ("docker.io/vendor2/product", "top"),
        ("docker.io/library/busybox", "library"),
        ("docker.io/library/fedora", "other"),
        ("docker.io", "top"),
        ("registry-1.docker.io/x", "top"),
        ("index.docker.io/x", "top"),
        ("old.example/a/b", "http"),
        ("quay.io:443/a", "port"),
        ("quay.io/a", None),
        ("path.example/ns/a", "ns"),
        ("path.example/nsx", None),
        ("path.example", None),
        ("sub.example.org", None),
        ("example.org:80/repo", None),
        ("[::1]:5000/a", "address"),
        ("[::1]:5000/ns/a", "within"),
        ("[::1]/a", None),
        ("[::1]:500/a", None),
        ("[fe80::1]/a", "url"),
    ],
)
async def test_c22_the_longest_key_wins(key: str, user: str | None, here: System, tmp_path: Path) -> None:
    private(tmp_path / "auth.json", REFPATH)
    assert await user_for(key, here, path="auth.json") == user


@pytest.mark.parametrize("stored", ["https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io"])
async def test_keys_of_docker_hub(stored: str, here: System, tmp_path: Path) -> None:
    private(tmp_path / "auth.json", auths(**{stored: "hub"}))
    assert await user_for("docker.io/library/a", here, path="auth.json") == "hub"
    assert await user_for("quay.io/library/a", here, path="auth.json") is None


LEGACY = json.dumps(
    {"http://index.docker.io/v1": encoded("docker", "io"), "https://localhost/v1": encoded("local", "host")}
)


@pytest.mark.parametrize(
    ("key", "user"),
    [
        ("docker.io/vendor/product", "docker"),
        ("index.docker.io", "docker"),
        ("localhost/a", "local"),
        ("h.example", None),
    ],
)
async def test_legacy_file(key: str, user: str | None, here: System, tmp_path: Path) -> None:
    private(tmp_path / "home/.dockercfg", LEGACY)
    assert await user_for(key, here) == user


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("https://h.example", r"^key https://h\.example contains http\[s\]:// prefix$"),
        ("h.example/foo@sha256:x", r"^key h\.example/foo@sha256:x contains a '@' character$"),
        ("h.example:5000/foo:tag", r"^key .*:tag contains a ':' character after host\[:port\]$"),
    ],
)
async def test_keys_that_are_none(key: str, text: str, here: System) -> None:
    with pytest.raises(InvalidError, match=text):
        await auth.find(key, here)


@pytest.mark.parametrize(
    ("key", "namespaced"), [("h.example", False), ("localhost:5000", False), ("localhost:5000/repo", True)]
)
def test_keys(key: str, namespaced: bool) -> None:
    assert auth.check_key(key) is namespaced


# --- what an entry says -----------------------------------------------------------------------------------


def b64(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"auth": b64(b"u:p:q")}, Credentials("u", "p:q")),
        ({"auth": b64(b"u:p\0\0\0")}, Credentials("u", "p")),
        ({"auth": b64(b"u:p") + "\n"}, Credentials("u", "p")),
        ({"auth": b64(b"u:")}, Credentials("u", "")),
        ({"AUTH": b64(b"u:p")}, Credentials("u", "p")),
        ({"auth": b64(b"u:\xff"), "email": "x@y"}, Credentials("u", "\udcff")),
        ({"auth": b64(b"0000:"), "identitytoken": "it"}, Credentials("0000", "", "it")),
        ({"identitytoken": "it"}, Credentials("", "", "it")),
        ({"username": "u", "password": "p"}, Credentials("u", "p")),
        ({"username": "u", "password": "p", "auth": b64(b"v:q")}, Credentials("v", "q")),
        ({"auth": b64(b":")}, None),
        ({"auth": None}, None),
        ({}, None),
        (None, None),
    ],
)
async def test_entries(entry: Any, found: Credentials | None, here: System, tmp_path: Path) -> None:
    private(tmp_path / "auth.json", json.dumps({"auths": {"h.example": entry}}))
    assert await auth.find("h.example/a", here, path="auth.json") == found


async def test_c06_an_entry_without_colon_is_skipped(here: System, tmp_path: Path, heard: list[str]) -> None:
    private(tmp_path / "auth.json", json.dumps({"auths": {"h.example": {"auth": b64(CANARY.encode())}}}))
    assert await auth.find("h.example/a", here, path="auth.json") is None
    assert heard == [
        'Error parsing the "auth" field of a credential entry "h.example" in "auth.json", missing semicolon'
    ]
    private(tmp_path / "auth.json", json.dumps({"auths": {"h.example": {"auth": b64(b"u:p")}}}))
    assert await auth.find("h.example/a", here, path="auth.json") == Credentials("u", "p")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", r'unmarshaling JSON at "auth.json": unexpected end of JSON input$'),
        (" \n", r"unexpected end of JSON input$"),
        ('{"auths":{"h.example":{"auth":"' + CANARY, r"it is not valid JSON: unterminated string"),
        ('{"auths":{"h.example":{"auth":"x"}}} ' + CANARY, r"trailing data after the value at line 1"),
        ('{"auths":{"h.example":{"password":00' + CANARY, r"it is not valid JSON: "),
        ('{"auths":{"h.example":{"password":99999999999999999999999}}}', r"an integer out of range$"),
        (f'["{CANARY}"]', r"it is not an object$"),
        (f'{{"auths":["{CANARY}"]}}', r"auths is not an object$"),
        (f'{{"auths":{{"h.example":"{CANARY}"}}}}', r'auths\["h.example"\] is not an object$'),
        ('{"auths":{"h.example":{"auth":7}}}', r'auths\["h.example"\]\.auth is not a string$'),
        (f'{{"auths":{{"h.example":{{"identitytoken":["{CANARY}"]}}}}}}', r"identitytoken is not a string$"),
        ('{"credHelpers":{"h.example":1}}', r'credHelpers\["h.example"\] is not a string$'),
        ('{"credHelpers":"x"}', r"credHelpers is not an object$"),
        ('{"auths":{"h.example":{"auth":"a"},"h.example":{"auth":"b"}}}', r'has the key "h.example" twice$'),
    ],
)
async def test_c06_malformed_files(content: str, text: str, here: System, tmp_path: Path) -> None:
    private(tmp_path / "auth.json", content)
    with pytest.raises(InvalidError, match=r'^reading JSON file "auth.json": .*' + text) as caught:
        await auth.find("h.example/a", here, path="auth.json")
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown
    assert "99999999" not in shown
    private(tmp_path / "auth.json", auths(**{"h.example": "me"}))
    assert await user_for("h.example/a", here, path="auth.json") == "me"


async def test_c06_bad_base64(here: System, tmp_path: Path) -> None:
    private(tmp_path / "auth.json", json.dumps({"auths": {"h.example": {"auth": f"{CANARY}!"}}}))
    text = r'^the "auth" field of the credential entry "h.example" in "auth.json" is not base64$'
    with pytest.raises(InvalidError, match=text) as caught:
        await auth.find("h.example/a", here, path="auth.json")
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert await auth.find("other.example/a", here, path="auth.json") is None  # nobody asked for that entry


def test_secrets_are_in_no_repr() -> None:
    entry = authfile.Entry(auth=CANARY, identity_token=CANARY, password=CANARY)
    file = authfile.AuthFile("x", {"h": entry}, {})
    credentials = Credentials("u", CANARY, CANARY)
    for value in (entry, file, credentials, ImageAccess(credentials=credentials, registry_token=CANARY)):
        assert CANARY not in repr(value)


# --- what kind of file ------------------------------------------------------------------------------------


async def test_c03_a_file_that_others_can_read_is_warned_of(
    here: System, tmp_path: Path, heard: list[str]
) -> None:
    path = private(tmp_path / "auth.json", auths(**{"h.example": "me"}))
    assert await user_for("h.example", here, path="auth.json") == "me"
    assert heard == []
    path.chmod(0o644)
    assert await user_for("h.example", here, path="auth.json") == "me"
    assert heard == ["Others may read the credentials in auth.json (its mode is 0644)"]


async def test_c03_root_does_not_read_another_users_file(tmp_path: Path, heard: list[str]) -> None:
    path = private(tmp_path / "home/.docker/config.json", auths(**{"h.example": "me"}))
    if os.getuid() == 0:
        os.chown(path, 65534, -1)
    root = system(tmp_path, warn=heard.append, uid=0)
    if os.getuid() == 0:
        text = rf"^{path} belongs to the user 65534, root does not read credentials from it$"
    else:
        text = rf"^{path} belongs to the user {os.getuid()}, root does not"
    with pytest.raises(InvalidError, match=text):
        await auth.find("h.example", root, path=str(path))
    assert await auth.find("h.example", root) is None  # found by the search: told, and passed over
    assert len(heard) == 1
    assert "root does not read credentials from it" in heard[0]
    own = system(tmp_path, uid=os.stat(path).st_uid or 1000)
    assert await user_for("h.example", own) == "me"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def large(path: Path) -> None:
    path.write_bytes(b" " * (authfile.LIMIT + 1))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (fifo, InvalidError, "it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), InvalidError, "it is not a regular file"),
        (large, LimitError, "it exceeded maximum allowed size of 1048576 bytes"),
        (sparse, LimitError, "it exceeded maximum allowed size of 1048576 bytes"),
        (lambda path: path.mkdir(), FileError, "read auth.json: is a directory"),
        (lambda path: path.symlink_to(path.name), FileError, "open auth.json: too many levels of symbolic"),
    ],
)
async def test_c25_what_is_no_file_of_credentials(
    make: Callable[[Path], None], kind: type[WherryError], text: str, here: System, tmp_path: Path
) -> None:
    make(tmp_path / "auth.json")
    with pytest.raises(kind, match=rf'^reading JSON file "auth.json": {text}'):
        await auth.find("h.example", here, path="auth.json")


async def test_c25_a_file_of_the_greatest_size(here: System, tmp_path: Path) -> None:
    private(tmp_path / "auth.json", auths(**{"h.example": "me"}).ljust(authfile.LIMIT))
    assert await user_for("h.example", here, path="auth.json") == "me"


@pytest.mark.parametrize("prefix", ["/proc/self/fd", "/dev/fd"])
async def test_an_inherited_descriptor(prefix: str, here: System, tmp_path: Path, heard: list[str]) -> None:
    """The Rust client passes credentials in a file without a name; it may be read more than once."""
    descriptor = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.write(descriptor, auths(**{"h.example": "me"}).encode())
        for _ in range(2):
            assert await user_for("h.example", here, path=f"{prefix}/{descriptor}") == "me"
        if os.getuid() == 0:
            os.fchown(descriptor, 65534, -1)
        root = system(tmp_path, uid=0)
        assert await user_for("h.example", root, path=f"{prefix}/{descriptor}") == "me"
    finally:
        os.close(descriptor)
    assert await auth.find("h.example", here, path=f"{prefix}/{descriptor}") is None
    assert heard == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a program as another user")
def test_an_inherited_descriptor_of_a_file_that_we_may_not_open(tmp_path: Path) -> None:
    """bootc starts us as nobody, with root's file on descriptor 100."""
    program = (
        "import os, sys, trio\n"
        "sys.path[:0] = sys.argv[1:3]\n"
        "from tests.config.system import system\n"
        "from wherry.config import auth\n"
        "from pathlib import Path\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    open('/proc/self/fd/100')\n    raise SystemExit('nobody may open it')\n"
        "except PermissionError:\n    pass\n"
        "here = system(Path('/nonexistent'), {}, uid=65534)\n"
        "print(trio.run(lambda: auth.find('h.example', here, path='/proc/self/fd/100')).username)\n"
    )
    descriptor = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.write(descriptor, auths(**{"h.example": "me"}).encode())
        os.dup2(descriptor, 100)
    finally:
        os.close(descriptor)
    try:
        top = Path(__file__).parents[2]
        ended = subprocess.run(
            [sys.executable, "-c", program, str(top), str(top / "proxy")],
            pass_fds=[100],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(100)
    assert (ended.stdout, ended.stderr) == ("me\n", "")


# --- what the caller brings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "found"),
    [
        (ImageAccess(authfile="auth.json"), Credentials("me", "pw")),
        (ImageAccess(authfile="auth.json", registry_token="t"), Credentials("me", "pw")),
        (ImageAccess(authfile="auth.json", credentials=Credentials("flag", "x")), Credentials("flag", "x")),
        (ImageAccess(authfile="auth.json", anonymous=True), None),
        (ImageAccess(), None),
    ],
)
async def test_flags_come_before_files(
    access: ImageAccess, found: Credentials | None, here: System, tmp_path: Path
) -> None:
    private(tmp_path / "auth.json", auths(**{"h.example": "me"}))
    resolved = await auth.resolve("h.example/a", access, here)
    assert resolved.credentials == found
    assert resolved.authfile is None


async def test_c16_a_server_of_several_users_reads_no_file_and_runs_no_helper(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    helper = write(tmp_path / "bin/docker-credential-x", f"#!/bin/sh\ntouch {mark}\n")
    helper.chmod(0o755)
    private(tmp_path / "home/.docker/config.json", '{"credHelpers":{"h.example":"x"}}')
    private(tmp_path / "auth.json", auths(**{"h.example": "me"}))
    environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    shared = system(tmp_path, environ, own_credentials=False)
    assert await auth.find("h.example", shared) is None
    assert await auth.find("h.example", shared, sources=["x"]) is None
    with pytest.raises(InvalidError, match=r"^this server reads no credential files: send the credentials"):
        await auth.find("h.example", shared, path="auth.json")
    assert not mark.exists()
    sent = ImageAccess(credentials=Credentials("u", "p"))
    assert (await auth.resolve("h.example/a", sent, shared)).credentials == Credentials("u", "p")
    private_server = structs.replace(shared, own_credentials=True)
    assert await user_for("h.example", private_server, path="auth.json") == "me"
