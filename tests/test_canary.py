"""Secrets get out nowhere (C-09, C-10): not into logs at debug level, errors, files, arguments, environments.

Each test plants secrets of its own in every place that wherry takes them from, lets servers do their worst
with them, and then looks through everything that somebody could read: standard output and error, replies and
error pipes, every file that was left, and, while requests were under way, the command lines, environments
and open files of all our processes. What the server received shows that the secret was there to leak.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.registry import FakeRegistry, Reply, Seen, error
from tests.server.harness import Peer, ended, request, spawned
from tests.transports.docker_images import LAYER, image, serve, sha

WHERRY = [sys.executable, "-m", "wherry_cli", "--debug", "--insecure-policy"]
BLOB = f"/v2/x/blobs/{sha(LAYER)}"
COPY = ("copy", "--src-tls-verify=false", "docker://{fake}/x:latest", "dir:copied")
INSPECT = ("inspect", "--tls-verify=false", "docker://{fake}/x:latest")
_SEARCHED_BYTES = 4 << 20
_numbers = itertools.count(1)


def canary(kind: str) -> str:
    """A secret that no other text holds by chance; its `kind` tells which one leaked."""
    return f"cAnArY{kind}{os.getpid()}x{next(_numbers)}"


def forms(secret: str) -> list[bytes]:
    """A secret as it may stand in text: as it is, and within something in base64, wherever it begins."""
    raw = secret.encode()
    found = [raw, raw.hex().encode()]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        # The first and last characters depend on what stands beside the secret.
        found.append(encoded[4 if before else 0 : -4])
    return found


def test_the_search_finds_what_it_is_for() -> None:
    secret = canary("p")
    for text in (
        secret,
        f"Basic {base64.b64encode(f'me:{secret}'.encode()).decode()}",
        secret.encode().hex(),
    ):
        assert any(form in text.encode() for form in forms(secret)), text
    for user in ("", "a", "ab", "abc"):
        encoded = base64.b64encode(f"{user}:{secret}".encode())
        assert any(form in encoded for form in forms(secret)), user
    assert not any(form in b"cAnArY and another text" for form in forms(secret))


def children(pid: int) -> Iterator[int]:
    """All processes that descend from `pid`, itself not."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            below = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except OSError:
            continue
        for child in map(int, below):
            yield child
            try:
                yield from children(child)
            except OSError:
                continue


def exposed(pid: int) -> Iterator[tuple[str, bytes]]:
    """What other processes can see of one: command line, environment, files it has open.

    What may not be read, for a process keeps it to itself, is not exposed.
    """
    for name in ("cmdline", "environ", "comm"):
        try:
            yield name, Path(f"/proc/{pid}/{name}").read_bytes()
        except OSError:
            continue
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for number in descriptors:
        place = f"/proc/{pid}/fd/{number}"
        try:
            if stat.S_ISREG(os.stat(place).st_mode):
                with open(place, "rb") as file:
                    yield f"open file {os.readlink(place)}", file.read(_SEARCHED_BYTES)
        except OSError:
            continue


@dataclass
class World:
    """A user's home with all configuration, two servers, and everything that was seen.

    `store`: another origin than the registry's. `kept`: files in which the user keeps secrets himself.
    """

    root: Path
    fake: FakeRegistry
    store: FakeRegistry
    evidence: list[tuple[str, bytes]] = field(default_factory=list)
    kept: set[Path] = field(default_factory=set)
    environ: dict[str, str] = field(default_factory=dict)
    main: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("home", "run", "tmp", "bin", "work"):
            (self.root / name).mkdir(mode=0o700)
        (self.root / "registries.conf").touch()
        self.environ |= {
            "HOME": str(self.root / "home"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "TMPDIR": str(self.root / "tmp"),
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "CONTAINERS_REGISTRIES_CONF": str(self.root / "registries.conf"),
        }

    def keep(self, name: str, text: str) -> Path:
        """A file that only its owner may read."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        self.kept.add(path)
        return path

    def auth(self, **entry: str) -> Path:
        """The user's auth.json, with an entry for the registry."""
        return self.keep("run/containers/auth.json", json.dumps({"auths": {self.fake.name: entry}}))

    def look(self) -> None:
        """See what all our processes expose now."""
        for pid in children(os.getpid()):
            for name, data in exposed(pid):
                place = name.removeprefix("open file ").removesuffix(" (deleted)")
                if Path(place) not in self.kept and pid not in self.main:
                    self.evidence.append((f"{name} of process {pid}", data))

    def watched(self, answer: Reply | Callable[[Seen], Reply]) -> Callable[[Seen], Reply]:
        """An answer before which is looked around."""

        def replied(seen: Seen) -> Reply:
            self.look()
            return given if isinstance(given, Reply) else given(seen)

        given = answer() if answer in (TORN, BUSY) else answer
        return replied

    def run(self, *words: str, stdin: str = "", own: bool = False) -> tuple[int, str]:
        """Run a command; its exit status and standard error. `own`: the secret is in its own arguments or
        environment, where the user put it, and only what it starts must not show it."""
        filled = [word.format(fake=self.fake.name) for word in words]
        process = subprocess.Popen(
            [*WHERRY, f"--tmpdir={self.root / 'tmp'}", *filled],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.root / "work",
            env=self.environ,
        )
        if own:
            self.main.append(process.pid)
        out, err = process.communicate(stdin.encode(), timeout=60)
        self.evidence += [(f"standard output of {words}", out), (f"standard error of {words}", err)]
        return process.returncode, err.decode()

    def check(self, *secrets: str) -> None:
        """Nothing that was seen, and no file that is left, holds a secret."""
        files = [path for path in self.root.rglob("*") if path.is_file() and path not in self.kept]
        seen = [*self.evidence, *((f"file {path}", path.read_bytes()) for path in files)]
        assert any("standard error" in where or "reply" in where for where, _ in seen)
        for secret in secrets:
            for form in forms(secret):
                leaks = [f"{where}: …{_around(data, form)}…" for where, data in seen if form in data]
                assert not leaks, f"{secret} is in {leaks}"

    def was_sent(self, secret: str, to: FakeRegistry | None = None) -> bool:
        """Whether a server got a secret: it was used, and could have leaked."""
        said = b"\n".join(
            b"\n".join([one.target.encode(), *(value.encode() for _, value in one.headers), one.body])
            for one in list((to or self.fake).seen)
        )
        return any(form in said for form in forms(secret))


def _around(data: bytes, form: bytes) -> str:
    at = data.index(form)
    return data[max(0, at - 60) : at + len(form) + 20].decode(errors="replace")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with FakeRegistry() as fake, FakeRegistry() as store:
        yield World(tmp_path, fake, store)


def gossip(seen: Seen) -> Reply:
    """A refusal that repeats what the client sent: authorization, body and target."""
    told = f"you sent Authorization: {seen.header('Authorization')} to http://u@h{seen.target}"
    warning = f'299 - "{told}"'
    return error(403, "DENIED", told, Warning=warning)


def basic_auth(world: World, then: Reply | Callable[[Seen], Reply]) -> None:
    """A registry that wants a password, and answers `then` for the manifest."""
    want = Reply(401, {"WWW-Authenticate": 'Basic realm="r"'})
    world.fake.on(
        "GET", "/v2/", world.watched(lambda seen: Reply() if seen.header("Authorization") else want)
    )
    serve(world.fake, LAYER)
    world.fake.on("GET", "/v2/x/manifests/latest", world.watched(then))


def bearer_auth(world: World, token: Reply | Callable[[Seen], Reply]) -> None:
    """A registry that wants a token; `token`: what its token server answers."""
    offer = f'Bearer realm="{world.fake.url}/token",service="s"'
    world.fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": offer}))
    for method in ("GET", "POST"):
        world.fake.on(method, "/token", world.watched(token))
    serve(world.fake, LAYER)


def once(reply: Reply, then: Callable[[Seen], Reply] = gossip) -> Callable[[], Callable[[Seen], Reply]]:
    """Answers that begin with a failure that passes, which is warned of, and end with a refusal."""

    def answers() -> Callable[[Seen], Reply]:
        left = [reply]
        return lambda seen: left.pop() if left else then(seen)

    return answers


GOOD = Reply(headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, body=image(LAYER))
TORN = once(Reply(raw=b"", end="reset"))
BUSY = once(Reply(503))


# --- passwords --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [(Reply(), 0), (error(401, "UNAUTHORIZED", "no"), 1), (gossip, 1)],
    ids=["taken", "refused", "gossip"],
)
def test_c09_a_password_that_is_typed(world: World, answer: Any, status: int) -> None:
    secret = canary("password")
    want = Reply(401, {"WWW-Authenticate": 'Basic realm="r"'})

    def ping(seen: Seen) -> Reply:
        if seen.header("Authorization") is None:
            return want
        return answer if isinstance(answer, Reply) else answer(seen)

    world.fake.on("GET", "/v2/", world.watched(ping))
    world.kept.add(world.root / "run/containers/auth.json")
    login = ("login", "--tls-verify=false", "-v", "-u", "me", "--password-stdin", "{fake}")
    code, said = world.run(*login, stdin=secret)
    assert code == status, said
    assert world.was_sent(secret)
    if status == 0:
        world.run("login", "--get-login", "{fake}")
        world.run("login", "--tls-verify=false", "{fake}")
        world.run("logout", "{fake}")
    world.check(secret)


KEPT = ["auth.json", "--creds-file", "--authfile", "helper", "$REGISTRY_AUTH_FILE"]


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        *((where, GOOD) for where in KEPT),
        *((where, gossip) for where in KEPT),
        ("auth.json", TORN),
        ("helper", BUSY),
    ],
)
def test_c09_a_password_that_is_kept(world: World, where: str, answer: Any) -> None:
    secret = canary("password")
    flags: tuple[str, ...] = ()
    encoded = base64.b64encode(f"me:{secret}".encode()).decode()
    entry = json.dumps({"auths": {world.fake.name: {"auth": encoded}}})
    if where == "auth.json":
        world.auth(auth=encoded)
    elif where == "--creds-file":
        flags = ("--src-creds-file", str(world.keep("creds", f"me:{secret}\n")))
    elif where == "--authfile":
        flags = ("--src-authfile", str(world.keep("mine.json", entry)))
    elif where == "$REGISTRY_AUTH_FILE":
        world.environ["REGISTRY_AUTH_FILE"] = str(world.keep("mine.json", entry))
    else:
        helper(world, json.dumps({"Username": "me", "Secret": secret}))
    basic_auth(world, answer)
    code, said = world.run(COPY[0], *flags, *COPY[1:])
    assert code == (0 if answer is GOOD else 1), said
    assert world.was_sent(secret)
    world.check(secret)


def helper(world: World, answer: str, status: int = 0) -> None:
    """A credential helper; it leaves its arguments and environment in a file that is searched."""
    path = world.keep(
        "bin/docker-credential-canary",
        f"#!/bin/sh\ntr '\\0' '\\n' </proc/$$/cmdline >{world.root}/told-args\nenv >{world.root}/told-env\n"
        f"cat >/dev/null\necho '{answer}'\necho '{answer}' >&2\nexit {status}\n",
    )
    path.chmod(0o700)
    world.keep("run/containers/auth.json", json.dumps({"credHelpers": {world.fake.name: "canary"}}))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{{"Username": "me", "Secret": "{}"}}', 1),
        ('{{"Username": "me", "Secret": "{}"', 0),
        ("{}", 0),
        ('{{"Username": "me", "Secret": ["{}"]}}', 0),
    ],
)
def test_c09_a_helper_that_fails(world: World, answer: str, status: int) -> None:
    secret = canary("helper")
    helper(world, answer.format(secret), status)
    basic_auth(world, GOOD)
    assert world.run(*COPY)[0] == 1
    assert (world.root / "told-env").exists(), "the helper was not asked"
    world.check(secret)


def test_c09_a_password_that_a_helper_is_given_to_keep(world: World) -> None:
    secret = canary("kept")
    helper(world, "{}")
    basic_auth(world, GOOD)
    code, said = world.run(
        "login", "--tls-verify=false", "-u", "me", "--password-stdin", "{fake}", stdin=secret
    )
    assert code == 0, said
    assert "store" in (world.root / "told-args").read_text()
    world.check(secret)


# --- tokens -----------------------------------------------------------------------------------------------


def repeated(seen: Seen) -> Reply:
    """A token server that repeats the form it was sent, as some do with what they refuse."""
    return error(400, "UNKNOWN", f"bad form at http://x/token?{seen.body.decode()}")


@pytest.mark.parametrize("answer", [None, repeated, gossip, TORN, BUSY])
def test_c09_identity_tokens(world: World, answer: Any) -> None:
    secret, token = canary("identity"), canary("issued")
    body = json.dumps({"access_token": token, "expires_in": 300, "refresh_token": secret}).encode()
    bearer_auth(world, Reply(body=body) if answer is None else answer)
    world.auth(identitytoken=secret, auth=base64.b64encode(b"<token>:").decode())
    code, said = world.run(*COPY)
    assert code == (0 if answer is None else 1), said
    assert world.was_sent(secret)
    assert world.was_sent(token) == (answer is None)
    world.check(secret, token)


@pytest.mark.parametrize("answer", [gossip, error(401, "UNAUTHORIZED"), BUSY])
def test_c09_tokens_that_are_issued(world: World, answer: Any) -> None:
    password, token = canary("password"), canary("issued")
    world.auth(auth=base64.b64encode(f"me:{password}".encode()).decode())
    bearer_auth(world, Reply(body=json.dumps({"token": token}).encode()))
    world.fake.on("GET", "/v2/x/manifests/latest", world.watched(answer))
    for words in (COPY, INSPECT, ("list-tags", "--tls-verify=false", "docker://{fake}/x")):
        world.run(*words)
    assert world.was_sent(password)
    assert world.was_sent(token)
    world.check(password, token)


@pytest.mark.parametrize(
    "body",
    ['{{"token": "{}\\n"}}', '{{"token": "{}"', '{{"token": ["{}"]}}', "{}", '{{"tokem": "{}"}}'],
)
def test_c09_a_token_that_is_none(world: World, body: str) -> None:
    token = canary("malformed")
    bearer_auth(world, Reply(body=body.format(token).encode()))
    assert world.run(*COPY)[0] == 1
    world.check(token)


@pytest.mark.parametrize("answer", [GOOD, gossip])
def test_c09_a_registry_token(world: World, answer: Any) -> None:
    """It is in wherry's arguments, since the user put it there; it must get no further."""
    secret = canary("registry")
    bearer_auth(world, Reply(500))
    world.fake.on("GET", "/v2/x/manifests/latest", world.watched(answer))
    world.run("copy", f"--src-registry-token={secret}", *COPY[1:], own=True)
    assert world.was_sent(secret)
    world.check(secret)


# --- URLs -------------------------------------------------------------------------------------------------

SIGNED = [
    ("{store}/b?X-Amz-Signature={secret}", Reply(403, body=b"<Error>no</Error>")),
    ("{store}/b?sig={secret}", Reply(body=LAYER[:1000], length=len(LAYER), end="close")),
    ("{store}/b?sig={secret}", Reply(307, {"Location": "/b?sig={secret}&again"})),
    ("{store}/b?sig={secret}", Reply(body=b"another blob")),
    ("{store}/b?sig={secret}", Reply(404)),
    ("http://me:{secret}@127.0.0.1:1/b", None),
    ("http://{secret}@127.0.0.1:1/b", None),
    ("ftp://h.example/b?sig={secret}", None),
    ("http://h.example/b c?sig={secret}", None),
    ("http:///b?sig={secret}", None),
    ("http://h_?/b?sig={secret}", None),
    ("http://h.example:x/b?sig={secret}", None),
    ("http://[::1/b?sig={secret}", None),
    ("http://me:{secret}@[::1/b", None),
    ("ftp://me:{secret}@h/b", None),
    ("http://me:{secret}@h:x/b", None),
]


@pytest.mark.parametrize(("location", "answer"), SIGNED)
def test_c10_a_redirect_that_fails(world: World, location: str, answer: Reply | None) -> None:
    secret = canary("signature")
    serve(world.fake, LAYER)
    there = location.format(store=world.store.url, secret=secret)
    world.fake.on("GET", BLOB, world.watched(Reply(307, {"Location": there})))
    if answer is not None:
        headers = {name: value.format(secret=secret) for name, value in dict(answer.headers).items()}
        first = replaced(answer, headers)
        world.store.on("GET", "/b", world.watched(first), world.watched(Reply(403)))
    assert world.run(*COPY)[0] == 1
    assert world.fake.asked("GET", BLOB)
    assert world.was_sent(secret, world.store) == (answer is not None)
    world.check(secret)


def replaced(reply: Reply, headers: dict[str, str]) -> Reply:
    return Reply(reply.status, headers, reply.body, reply.length, end=reply.end, raw=reply.raw)


UPLOADS = [
    ("http://me:{secret}@127.0.0.1:1/b", None),
    ("ftp://h.example/b?sig={secret}", None),
    ("/up?state={secret}", gossip),
    ("/up?state={secret}", Reply(500)),
    (
        "/up?state={secret}",
        Reply(201, {"Location": "http://h/x?sig={secret}", "Docker-Content-Digest": "{secret}"}),
    ),
]


@pytest.mark.parametrize(("location", "answer"), UPLOADS)
def test_c10_an_upload_s_location_that_fails(world: World, location: str, answer: Any) -> None:
    secret = canary("upload")
    start = {"Location": location.format(secret=secret)}
    world.fake.on("POST", "/v2/x/blobs/uploads/", world.watched(Reply(202, start)))
    if isinstance(answer, Reply):
        answer = replaced(
            answer, {name: value.format(secret=secret) for name, value in dict(answer.headers).items()}
        )
    world.fake.on("PUT", "/up", world.watched(answer or Reply()))
    layout = Path(__file__).parents[1] / "docs" / "examples" / "hello"
    assert world.run("copy", "--dest-tls-verify=false", f"oci:{layout}:latest", "docker://{fake}/x:1")[0] != 0
    assert world.fake.asked("POST", "/v2/x/blobs/uploads/")
    assert world.was_sent(secret) == (answer is not None)
    world.check(secret)


def test_c09_a_proxy_s_password(world: World) -> None:
    """$HTTPS_PROXY may hold one; the proxy gets it, and refuses."""
    secret = canary("proxy")
    world.environ["HTTPS_PROXY"] = f"http://me:{secret}@{world.store.name}"
    world.store.on("CONNECT", "h.example:443", world.watched(Reply(407)), world.watched(Reply(502)))
    for _ in range(2):
        assert world.run("inspect", "docker://h.example/x", own=True)[0] == 1
    assert world.was_sent(secret, world.store)
    world.environ["HTTPS_PROXY"] = f"socks5://me:{secret}@{world.store.name}"
    assert world.run("inspect", "docker://h.example/x", own=True)[0] == 1
    world.environ["HTTPS_PROXY"] = f"http://me:{secret}@127.0.0.1:1"
    assert world.run("inspect", "docker://h.example/x", own=True)[0] == 1
    world.check(secret)


# --- ends -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_c09_a_command_that_is_ended(world: World, number: signal.Signals) -> None:
    secret = canary("password")
    world.auth(auth=base64.b64encode(f"me:{secret}".encode()).decode())
    basic_auth(world, GOOD)

    def end(_: Seen) -> Reply:
        for pid in children(os.getpid()):
            # The session's registries are children too.
            if b"wherry_cli" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, number)
        return Reply(body=LAYER[:1000], length=len(LAYER), end="hang")

    world.fake.on("GET", BLOB, world.watched(end))
    assert world.run(*COPY)[0] in (130, 143)
    assert world.was_sent(secret)
    world.check(secret)


# --- the proxy --------------------------------------------------------------------------------------------


@dataclass
class Session:
    """A proxy at debug level, of which all replies and pipes are evidence."""

    world: World
    peer: Peer
    number: int = 0

    async def call(self, method: str, *args: Any, **members: Any) -> dict[str, Any]:
        await self.peer.send(request(method, *args, **members))
        answer = await self.peer.reply()
        self.world.evidence.append((f"reply to {method}", answer.raw))
        if answer.body["pipeid"]:
            await self.peer.send(request("FinishPipe", answer.body["pipeid"]))
        for fd in answer.fds:
            self.world.evidence.append((f"pipe of the reply to {method}", await self.peer.read(fd)))
        if answer.body["pipeid"]:
            self.world.evidence.append(("reply to FinishPipe", (await self.peer.reply()).raw))
        return answer.body


@pytest.mark.parametrize("place", ["refused", "torn"])
async def test_c09_c10_a_legacy_session(world: World, place: str, tmp_path: Path) -> None:
    password, signature = canary("password"), canary("signature")
    creds = world.keep("creds", f"me:{password}\n")
    basic_auth(world, GOOD)
    there = f"{world.store.url}/b?sig={signature}"
    world.fake.on("GET", BLOB, world.watched(Reply(307, {"Location": there})))
    refused = Reply(403, body=f"no {there}".encode())
    torn = Reply(body=LAYER[:500], length=len(LAYER), end="close")
    answers = [refused] if place == "refused" else [torn, refused, torn, refused]
    world.store.on("GET", "/b", *map(world.watched, answers))
    flags = ("--tls-verify=false", "--creds-file", str(creds))
    with spawned(tmp_path / "h", tmp_path / "work", *flags, before=("--debug", "--insecure-policy")) as peer:
        session = Session(world, peer)
        await session.call("Initialize")
        opened = await session.call("OpenImage", f"docker://{world.fake.name}/x:latest")
        assert opened["success"], opened
        await session.call("GetManifest", 1)
        assert (await session.call("OpenImage", f"docker://{world.fake.name}/none:latest"))["error"]
        raw = await session.call("GetRawBlob", 1, sha(LAYER))
        await session.call("GetBlob", 1, sha(LAYER), len(LAYER))
        assert raw["error"] or place == "torn", raw
        await peer.send(request("Shutdown"))
        status, errors = await ended(peer)
    world.evidence.append(("standard error of the proxy", errors.encode()))
    assert "level=debug" in errors
    assert status == 0
    assert world.was_sent(password)
    world.check(password, signature)


async def test_c09_credentials_in_requests(world: World, tmp_path: Path) -> None:
    """The extended protocol takes credentials in a request; what is wrong with it is told without them."""
    secret = canary("request")
    basic_auth(world, gossip)
    good = {"credentials": {"username": "me", "password": secret}, "tls_verify": False}
    there = f"docker://{world.fake.name}/x:latest"
    with spawned(tmp_path / "h", tmp_path / "work", before=("--debug", "--insecure-policy")) as peer:
        session = Session(world, peer)
        hello = {"protocol": [1], "client": "tests", "want": []}
        assert (await session.call("Hello", hello, id=1))["success"]
        for access in (
            good,
            good | {"unknown": secret},
            good | {"tls_verify": secret},
            good | {"credentials": secret},
            good | {"credentials": [secret]},
            good | {"credentials": {"username": "me", "password": [secret]}},
            good | {"credentials": {"username": "me", "password": secret, "unknown": 1}},
            {"registry_token": [secret]},
            {"registry_token": f"{secret}\n"},
            {"identity_token": secret},
            secret,
        ):
            answer = await session.call("OpenImageWith", there, {"access": access}, id=2)
            assert not answer["success"]
        await peer.send(request("OpenImageWith", there, {"access": good}, id=3)[:-3])  # torn JSON
        torn = await peer.reply()
        world.evidence.append(("reply to a torn request", torn.raw))
        await session.call("OpenImageWith", there, {"access": good}, id=5, timeout_ms=secret)
        peer.process.send_signal(signal.SIGTERM)
        _, errors = await ended(peer)
    world.evidence.append(("standard error of the proxy", errors.encode()))
    assert world.was_sent(secret)
    world.check(secret)


# --- core dumps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forbidden", [True, False])
def test_c12_no_core_of_a_process_with_credentials(world: World, forbidden: bool) -> None:
    """What holds credentials is not dumpable; other programs are."""
    secret = canary("password")
    world.auth(auth=base64.b64encode(f"me:{secret}".encode()).decode())
    told: list[int] = []
    program = (
        "import ctypes, os, sys\n"
        "from wherry_cli.__main__ import run\n"
        "if sys.argv[1] == 'True':\n    run(['wherry', *sys.argv[2:]], (0, 1, 2), os.getcwd(), os.environ)\n"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    basic_auth(world, GOOD)
    for command in (COPY, ("login", "--get-login", "{fake}"), ("experimental-image-proxy", "--sockfd=99")):
        words = [word.format(fake=world.fake.name) for word in command]
        done = subprocess.run(
            [sys.executable, "-c", program, str(forbidden), "--insecure-policy", *words],
            capture_output=True,
            cwd=world.root / "work",
            env=world.environ,
            check=True,
        )
        told.append(int(done.stdout.split()[-1]))
    assert told == [0 if forbidden else 1] * 3
