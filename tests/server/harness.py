"""A server to talk to, in this process or in one of its own, and a client that says exactly what it is told.

`Peer` knows the framing and nothing else of the protocol: tests send well-formed and hostile messages alike,
and read what came back as it stands. Nothing here is of wherry_client.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.fakes.registry import FakeRegistry
from tests.fakes.registry import Reply as HttpReply
from tests.wire.driver import environment
from wherry.protocol import fdpass
from wherry.protocol.messages import PolicyOptions
from wherry.protocol.options import ImageAccess, PlatformChoice
from wherry.server.connection import serve_connection
from wherry.server.settings import ProxySettings
from wherry.streams.threads import DataThreads
from wherry.system import Retries, System

ROOT = Path(__file__).parents[2]
PATIENCE = 30
"""Seconds after which a server counts as hung; no test waits for them to pass."""

HANG = HttpReply(body=b"part", length=1000, end="hang")
"""A registry's body that stops after four bytes."""

TRUSTING = ProxySettings(policy=PolicyOptions(insecure=True), access=ImageAccess(tls_verify=False))


def make_system(root: Path, *, threads: int = 32, idle: float = 60.0) -> System:
    """A world below `root`, in which nothing of the host's counts, and a registry is asked once."""
    scratch = root / ".scratch"
    scratch.mkdir(exist_ok=True)
    return System(
        root=str(root),
        home=str(root),
        cwd=str(root),
        scratch=str(scratch),
        platform=PlatformChoice(os="linux", architecture="amd64"),
        threads=DataThreads(threads),
        idle_timeout=idle,
        retries=Retries(failed=0, throttled=0, unreachable=0),
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells of: a thread's or the kernel's state."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


@dataclass(frozen=True)
class Reply:
    """A reply or event as it came; the fds are closed with their Peer unless `Peer.take` took them."""

    raw: bytes
    fds: tuple[int, ...] = ()
    body: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", json.loads(self.raw))

    @property
    def value(self) -> Any:
        assert self.body["success"], self.body
        return self.body["value"]

    @property
    def pipe(self) -> int:
        assert self.body["success"], self.body
        return int(self.body["pipeid"])

    @property
    def failure(self) -> tuple[str, str]:
        """(error_code, error) of a reply that must be an error, in skopeo's five members or more."""
        assert self.body["success"] is False, self.body
        assert self.body["value"] is None
        assert self.body["pipeid"] == 0
        assert self.fds == ()
        return self.body["error_code"], self.body["error"]


def request(method: str, *args: Any, **members: Any) -> bytes:
    return json.dumps({"method": method, "args": list(args), **members}).encode()


class Peer:
    """The client's end of a socket of either type."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.stream = sock.type == socket.SOCK_STREAM
        self._process = process
        self._buffer = b""
        self._spare: list[int] = []
        self._owned: set[int] = set()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    # Packets

    async def send(self, data: bytes, fds: tuple[int, ...] = ()) -> None:
        """Bytes as they are: a packet, or a piece of a stream."""
        left = memoryview(data)
        while True:
            try:
                left = left[fdpass.send(self.sock, left, fds) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)
                continue
            if not left:
                return

    async def ask(self, method: str, *args: Any, **members: Any) -> None:
        await self.send(request(method, *args, **members) + (b"\n" if self.stream else b""))

    async def message(self) -> Reply | None:
        """The next message; None where the server has closed its end."""
        with trio.fail_after(PATIENCE):
            while True:
                line, newline, rest = self._buffer.partition(b"\n")
                if self.stream and newline:
                    self._buffer = rest
                    count = json.loads(line).get("fds", 0)
                    assert len(self._spare) >= count, "the file descriptors come with the message's last byte"
                    fds, self._spare = tuple(self._spare[:count]), self._spare[count:]
                    return Reply(line, fds)
                try:
                    packet = fdpass.receive(self.sock, 1 << 20, take_fds=True)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self.sock)
                    continue
                except ConnectionResetError:
                    return None
                self._owned.update(packet.fds)
                if not packet.data:
                    return None
                if not self.stream:
                    return Reply(packet.data, packet.fds)
                self._buffer += packet.data
                self._spare += packet.fds

    async def reply(self) -> Reply:
        message = await self.message()
        assert message is not None, "the server closed the connection"
        return message

    async def reply_to(self, number: int) -> Reply:
        """The reply to request `number`; what comes before it is dropped."""
        while True:
            message = await self.reply()
            if message.body.get("id") == number and "event" not in message.body:
                return message

    async def call(self, method: str, *args: Any, **members: Any) -> Reply:
        await self.ask(method, *args, **members)
        return await self.reply()

    # What the protocol's happy path is made of

    async def open(self, reference: str) -> int:
        """Initialize, and open an image."""
        assert (await self.call("Initialize")).value == "0.2.8"
        return int((await self.call("OpenImage", reference)).value)

    async def hello(self, *want: str) -> dict[str, Any]:
        greeting = {"protocol": [1], "client": "tests", "want": list(want)}
        return (await self.call("Hello", greeting, id=1)).value  # type: ignore[no-any-return]

    async def read(self, fd: int) -> bytes:
        """All of a pipe to its end, and close it."""
        self.take(fd)
        data = b""
        async with trio.lowlevel.FdStream(fd) as stream:
            with trio.fail_after(PATIENCE):
                async for chunk in stream:
                    data += chunk
        return data

    async def finished(self, answer: Reply) -> tuple[bytes, Reply]:
        """(the data of a FinishPipe pipe, the reply to FinishPipe)."""
        await self.ask("FinishPipe", answer.pipe)
        data = await self.read(answer.fds[0])
        return data, await self.reply()

    def take(self, fd: int) -> int:
        """The fd is the caller's to close from now on."""
        self._owned.discard(fd)
        return fd

    def close_fd(self, fd: int) -> None:
        os.close(self.take(fd))

    def close(self) -> None:
        self.sock.close()
        for fd in self._owned:
            os.close(fd)
        self._owned.clear()


@asynccontextmanager
async def serving(
    system: System, settings: ProxySettings = TRUSTING, kind: int = socket.SOCK_SEQPACKET
) -> AsyncIterator[Peer]:
    """A server in this event loop. Leaving the block hangs up, and the server must end by itself then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    peer = Peer(ours)
    ended = trio.Event()

    async def serve() -> None:
        try:
            await serve_connection(theirs, system, settings)
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            yield peer
        finally:
            peer.close()
            with trio.fail_after(PATIENCE, shield=True):
                await ended.wait()


@contextmanager
def spawned(
    home: Path,
    cwd: Path,
    *flags: str,
    before: tuple[str, ...] = ("--insecure-policy",),
    kind: int = socket.SOCK_SEQPACKET,
) -> Iterator[Peer]:
    """A server in a process of its own, which is gone when the block is left."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    home.mkdir(exist_ok=True)
    paths = os.pathsep.join([str(ROOT / "proxy"), str(ROOT / "clients")])
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "wherry_cli", *before, "experimental-image-proxy", *flags],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment(home) | {"PYTHONPATH": paths},
        )
    peer = Peer(ours, process)
    try:
        yield peer
    finally:
        peer.close()
        if process.poll() is None:
            process.kill()
        process.communicate()


async def ended(peer: Peer) -> tuple[int, str]:
    """(exit status, standard error) of a process whose end is due."""
    process = peer.process

    def wait() -> tuple[int, str]:
        _, errors = process.communicate(timeout=PATIENCE)
        return process.returncode, errors.decode()

    return await trio.to_thread.run_sync(wait)


@dataclass(frozen=True)
class Stored:
    """An image in a layout, as its files say."""

    path: Path
    digest: str
    raw: bytes

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads(self.raw)  # type: ignore[no-any-return]

    @property
    def layers(self) -> list[dict[str, Any]]:
        return self.manifest["layers"]  # type: ignore[no-any-return]

    @property
    def config(self) -> dict[str, Any]:
        return self.manifest["config"]  # type: ignore[no-any-return]

    def blob(self, digest: str) -> bytes:
        return self.file(digest).read_bytes()

    def file(self, digest: str) -> Path:
        return self.path / "blobs" / digest.replace(":", "/")


def stored(path: Path) -> Stored:
    """The only image of an OCI layout."""
    [entry] = json.loads((path / "index.json").read_bytes())["manifests"]
    return Stored(path, entry["digest"], (path / "blobs" / entry["digest"].replace(":", "/")).read_bytes())


def layout_of(path: Path, *payloads: bytes) -> Stored:
    """A layout of one image whose layers are these bytes, whatever they are."""
    from tests.images import build

    layers = [build.Layer(payload, build.digest(payload)) for payload in payloads]
    layout = build.OciLayout(path)
    layout.tag(layout.image(layers, build.config(layers)))
    return stored(path)


def serve_image(fake: FakeRegistry, repository: str, image: Stored, **blobs: HttpReply) -> str:
    """Put an image into the registry, all blobs whole, but for `layer` where one is given; its name."""
    fake.manifest(repository, "latest", image.raw)
    for descriptor in (image.config, *image.layers):
        reply = HttpReply(body=image.blob(descriptor["digest"]))
        fake.on("GET", f"/v2/{repository}/blobs/{descriptor['digest']}", reply)
    for layer, reply in zip(image.layers, blobs.values(), strict=False):
        fake.on("GET", f"/v2/{repository}/blobs/{layer['digest']}", reply)
    return f"docker://{fake.name}/{repository}:latest"
