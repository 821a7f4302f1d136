"""The trio client: many requests at once, cancellation that reaches the server, errors as they are."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry, Reply, error
from tests.server.harness import TRUSTING, Stored, layout_of, make_system, serve_image, stored, until
from wherry.errors import (
    CorruptError,
    ImageNotFoundError,
    NotFoundError,
    NotYetError,
    PolicyError,
    ProxyGoneError,
    WherryError,
)
from wherry.protocol import fdpass, messages
from wherry.protocol.messages import CopyOptions, PolicyOptions
from wherry.protocol.options import ImageAccess
from wherry.server.embed import embedded
from wherry_client import AsyncClient

LARGE = bytes(range(256)) * 12288
SERVER = [sys.executable, "-m", "wherry_cli", "--insecure-policy", "experimental-image-proxy"]
TRUST = CopyOptions(policy=PolicyOptions(insecure=True), source=ImageAccess(tls_verify=False))
HELLO = (
    b'{"success":true,"id":1,"value":{"protocol":1,"server":"x","legacy":"0.2.8","methods":[],"limits":{}}}'
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return layout_of(tmp_path_factory.mktemp("large") / "image", b"small", LARGE)


@asynccontextmanager
async def connected(root: Path) -> AsyncIterator[AsyncClient]:
    """A client of a server in this event loop, as the command line has it."""
    async with embedded(make_system(root), TRUSTING) as sock, AsyncClient.over(sock) as client:
        yield client


async def all_of(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_an_image_is_what_its_files_say(images: Path, tmp_path: Path) -> None:
    image = stored(images / "two")
    async with connected(tmp_path) as client:
        assert client.hello.protocol == 1
        async with await client.open_image(f"oci:{images}/two") as opened:
            assert await opened.manifest() == (image.digest, image.raw)
            assert await opened.raw_manifest() == (image.digest, image.raw)
            assert await opened.raw_config() == (image.config["digest"], image.blob(image.config["digest"]))
            assert json.loads(await opened.config())["os"] == "linux"
            for layer in await opened.layers():
                async with opened.blob(layer.digest, layer.size) as chunks:
                    assert await all_of(chunks) == image.blob(layer.digest)


async def test_many_requests_at_once(images: Path, large: Stored, tmp_path: Path) -> None:
    async with connected(tmp_path) as client, trio.open_nursery() as nursery:
        done: list[str] = []

        async def fetch(name: str, image: Stored) -> None:
            async with await client.open_image(f"oci:{image.path}") as opened:
                for layer in image.layers:
                    async with opened.blob(layer["digest"], layer["size"]) as chunks:
                        assert len(await all_of(chunks)) == layer["size"]
            done.append(name)

        for number in range(8):
            nursery.start_soon(fetch, f"large {number}", large)
            nursery.start_soon(fetch, f"two {number}", stored(images / "two"))
    assert len(done) == 16


async def test_documents_larger_than_a_pipe(images: Path, tmp_path: Path) -> None:
    image = stored(images / "l3000")
    async with connected(tmp_path) as client:
        opened = await client.open_image(f"oci:{images}/l3000")
        assert await opened.manifest() == (image.digest, image.raw)
        assert len(await opened.layers()) == 3000
        seen = json.loads(await client.inspect(f"oci:{images}/l3000"))
        assert len(seen["layers"]) == 3000


async def test_a_corrupt_blob_never_ends_well(tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"as it was")
    digest = image.layers[0]["digest"]
    async with connected(tmp_path) as client:
        opened = await client.open_image(f"oci:{image.path}")
        rows = {b"as it is.": "expected blob", b"as it was, and more": "got more", b"as it": "got 5"}
        for content, text in rows.items():
            image.file(digest).write_bytes(content)
            async with opened.blob(digest, 9) as chunks:
                with pytest.raises(CorruptError, match=text):
                    await all_of(chunks)
        image.file(digest).write_bytes(b"as it was")
        async with opened.blob(digest, 9) as chunks:
            assert await all_of(chunks) == b"as it was"


async def test_a_proxy_that_dies_is_never_taken_for_an_end(large: Stored) -> None:
    """Neither the blob nor the requests in flight end well, and each of them ends."""
    failed: list[str] = []
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with AsyncClient.spawn(SERVER) as client, trio.open_nursery() as nursery:

            async def hang(number: int) -> None:
                with pytest.raises(ProxyGoneError, match="the proxy "):
                    await client.open_image(
                        f"docker://{fake.name}/x{number}",
                        messages.OpenOptions(access=ImageAccess(tls_verify=False)),
                    )
                failed.append(str(number))

            opened = await client.open_image(f"oci:{large.path}")
            for number in range(5):
                nursery.start_soon(hang, number)
            await until(lambda: bool(fake.seen))
            async with opened.blob(large.layers[1]["digest"]) as chunks:
                assert len(await anext(chunks)) > 0
                [child] = [int(pid) for pid in _children()]
                os.kill(child, signal.SIGKILL)
                with pytest.raises(ProxyGoneError, match="the proxy ended in the middle of a blob"):
                    await all_of(chunks)
            with pytest.raises(ProxyGoneError, match="the proxy "):
                await client.call(messages.Ping())
    assert sorted(failed) == ["0", "1", "2", "3", "4"]


def _children() -> list[str]:
    """The spawned proxy: the only child that runs our module."""
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                stat = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
                command = Path("/proc", pid, "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(stat[1]) == os.getpid() and b"wherry_cli" in command:
                found.append(pid)
    return found


async def test_errors_come_bare_and_typed(images: Path, tmp_path: Path) -> None:
    """No exception group anywhere: neither around the proxy's errors nor around the caller's."""
    async with connected(tmp_path) as client:
        with pytest.raises(ImageNotFoundError, match="no descriptor found") as missing:
            await client.open_image(f"oci:{images}/one:nope")
        assert missing.value.exit_status == 2
        with pytest.raises(NotFoundError, match="no such file or directory"):
            await client.open_image("oci:nope")

    async def leave_with(problem: BaseException) -> None:
        async with connected(tmp_path):
            raise problem

    for problem in (KeyError("mine"), WherryError("mine")):
        with pytest.raises(type(problem), match="mine"):
            await leave_with(problem)

    async def leave_by_an_error() -> None:
        async with connected(tmp_path) as client:
            await client.open_image("nosuch:x")

    with pytest.raises(WherryError, match="unknown transport"):
        await leave_by_an_error()


async def test_a_busy_registry_s_error_keeps_its_details(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        with FakeRegistry() as fake:
            fake.on("GET", "/v2/x/manifests/latest", Reply(503, {"Retry-After": "7"}))
            with pytest.raises(WherryError, match="503") as busy:
                await client.open_image(f"docker://{fake.name}/x")
        assert (busy.value.http_status, busy.value.retryable, busy.value.retry_after) == (503, True, 7.0)


async def test_copy_errors_come_bare_and_typed(images: Path, tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        with FakeRegistry() as fake:
            fake.on("GET", "/v2/x/manifests/latest", error(404, "MANIFEST_UNKNOWN", "manifest unknown"))
            with pytest.raises(ImageNotFoundError, match="manifest unknown"):
                await client.copy(f"docker://{fake.name}/x", f"oci:{tmp_path}/t", TRUST)
        policy = tmp_path / "policy.json"
        policy.write_text('{"default":[{"type":"reject"}]}')
        strict = CopyOptions(policy=PolicyOptions(path=str(policy)))
        with pytest.raises(PolicyError, match="rejected by policy"):
            await client.copy(f"oci:{images}/one", f"oci:{tmp_path}/t", strict)


async def test_copy_inspect_and_tags(images: Path, tmp_path: Path) -> None:
    image = stored(images / "two")
    steps: list[str] = []
    async with connected(tmp_path) as client:
        target = f"oci:{tmp_path}/copied:t"
        result = await client.copy(f"oci:{images}/two", target, TRUST, lambda step: steps.append(step.name))
        assert result.digest == image.digest
        assert {"blob", "config", "manifest"} <= set(steps)
        assert json.loads(await client.inspect(target))["digest"] == image.digest
        with FakeRegistry() as fake:
            fake.on("GET", "/v2/x/tags/list", Reply(body=b'{"name":"x","tags":["b","a"]}'))
            options = messages.TagsOptions(access=ImageAccess(tls_verify=False))
            assert (await client.list_tags(f"docker://{fake.name}/x", options)).tags == ("b", "a")


async def test_progress_of_a_copy(tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"x" * 100_000)
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image, layer=Reply(body=b"x" * 70_000, length=100_000, end="hang"))
        async with connected(tmp_path) as client:
            heard = trio.Event()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def copy() -> None:
                        target = f"oci:{tmp_path}/copied:t"
                        await client.copy(name, target, TRUST, on_progress=lambda count: heard.set())

                    nursery.start_soon(copy)
                    await heard.wait()
                    scope.cancel()
            assert scope.cancelled_caught
            assert (await client.call(messages.Ping())).value is None


async def test_an_exception_of_a_listener_is_the_call_s(images: Path, tmp_path: Path) -> None:
    def refuse(step: messages.Step) -> None:
        raise KeyError(step.name)

    async with connected(tmp_path) as client:
        for _ in range(2):
            with pytest.raises(KeyError, match=r"signatures|blob|manifest|config"):
                await client.copy(f"oci:{images}/two", f"oci:{tmp_path}/copied:t", TRUST, refuse)
        assert json.loads(await client.inspect(f"oci:{images}/one"))["digest"]


# Cancellation


async def test_cancelling_a_call_cancels_it_on_the_server(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        limits = messages.Limits(inflight=1)
        from msgspec.structs import replace

        async with (
            embedded(make_system(tmp_path), replace(TRUSTING, limits=limits)) as sock,
            AsyncClient.over(sock) as client,
        ):
            # One request may be in flight, and Cancel comes on top.
            with trio.move_on_after(0.1) as scope:
                await client.open_image(f"docker://{fake.name}/x")
            assert scope.cancelled_caught
        async with connected(tmp_path) as client:
            for _ in range(3):
                with trio.move_on_after(0.1) as scope:
                    await client.open_image(f"docker://{fake.name}/x")
                assert scope.cancelled_caught
            assert (await client.call(messages.Ping())).value is None


async def test_the_server_hears_of_a_cancelled_call() -> None:
    """What goes over the wire, seen from the server's end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with ours, theirs:
        seen: list[dict[str, object]] = []

        async def server() -> None:
            while True:
                await trio.lowlevel.wait_readable(theirs)
                if not (data := theirs.recv(32768)):
                    return
                seen.append(json.loads(data))
                if seen[-1]["method"] == "Hello":
                    theirs.send(HELLO)
                elif seen[-1]["method"] == "Cancel":
                    pipe = os.pipe()
                    fdpass.send(theirs, b'{"success":true,"value":1,"id":2}', pipe)
                    for fd in pipe:
                        os.close(fd)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(server)
            async with AsyncClient.over(ours) as client:
                with trio.move_on_after(0.1):
                    await client.open_image("oci:x")
            nursery.cancel_scope.cancel()
        assert [message["method"] for message in seen] == ["Hello", "OpenImage", "Cancel"]
        assert seen[2]["args"] == [seen[1]["id"]]


async def test_cancelled_while_the_proxy_goes(tmp_path: Path) -> None:
    """The end of the connection does not turn a cancellation into another exception."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(HELLO)
        async with AsyncClient.over(ours) as client:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.open_image, "oci:x")
                    await trio.testing.wait_all_tasks_blocked()
                    theirs.shutdown(socket.SHUT_RDWR)
                    scope.cancel()
            assert scope.cancelled_caught


# At the other end: a legacy server, a liar, nobody


async def test_a_legacy_server_is_named_as_such(skopeo_ref: Path) -> None:
    command = [str(skopeo_ref), "--insecure-policy", "experimental-image-proxy"]
    with pytest.raises(NotYetError, match="has no extended protocol"):
        await _spawn(command)


async def test_a_server_without_hello_is_named_as_such() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(b'{"success":false,"error_code":"other","error":"unknown method: Hello"}')
        with pytest.raises(NotYetError, match="has no extended protocol"):
            await _over(ours)


async def _spawn(command: list[str]) -> None:
    async with AsyncClient.spawn(command):
        raise AssertionError("it must not get this far")


async def _over(sock: socket.socket) -> None:
    async with AsyncClient.over(sock) as client:
        await client.document(messages.Inspect("oci:x"))


LIES: dict[str, bytes] = {
    "no JSON": b"hello",
    "an empty packet": b"",
    "a value of another type": b'{"success":true,"value":"x","id":2}',
    "no descriptor": b'{"success":true,"value":{"bytes":1,"media_type":"x"},"id":2}',
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES.keys())
async def test_a_proxy_that_talks_nonsense(answer: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)

    async def lie() -> None:
        for reply in (HELLO, answer):
            await trio.lowlevel.wait_readable(theirs)
            theirs.recv(32768)
            theirs.send(reply)
            theirs.send(b'{"event":"draining"}')

    with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lie)
            with pytest.raises(ProxyGoneError, match="the proxy"):
                await _over(ours)


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ProxyGoneError, match=r"can't start"):
        await _spawn([str(tmp_path / "nope")])
    with pytest.raises(ProxyGoneError, match="the proxy"):
        await _spawn(["/bin/true"])
    name = re.escape(str(tmp_path / "nope"))
    with pytest.raises(ProxyGoneError, match=f"connecting to {name}: "):
        async with AsyncClient.connect(tmp_path / "nope"):
            pass
