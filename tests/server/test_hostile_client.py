"""Clients that flood, vanish, or speak from the other side of a byte stream (hostile-cases.md 1.4)."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry, Reply
from tests.server.harness import (
    ROOT,
    TRUSTING,
    Peer,
    Stored,
    ended,
    layout_of,
    make_system,
    request,
    serving,
    spawned,
    stored,
    until,
)
from wherry.server.connection import serve_connection
from wherry.system import System

LARGE = bytes(range(256)) * 12288


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return layout_of(tmp_path_factory.mktemp("large") / "image", LARGE)


# S-20, S-21


async def test_s20_a_client_that_never_reads_replies_is_dropped(images: Path, tmp_path: Path) -> None:
    """The send timeout runs on trio's clock, which jumps as soon as nothing else moves."""
    clock = trio.testing.MockClock(autojump_threshold=0.5)
    await trio.to_thread.run_sync(_flood_and_wait, clock, images, tmp_path)


def _flood_and_wait(clock: trio.abc.Clock, images: Path, tmp_path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            ours.setblocking(False)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_connection, theirs, make_system(tmp_path), TRUSTING)
                peer = Peer(ours)
                await peer.open(f"oci:{images}/l64")
                began = trio.current_time()
                with trio.fail_after(300):  # of the clock that jumps
                    try:
                        while True:
                            await peer.ask("GetLayerInfo", 1)
                    except BrokenPipeError:
                        waited = trio.current_time() - began
            # The server has ended by itself, though nobody hung up.
            assert waited >= 30

    trio.run(main, clock=clock)


async def test_s20_other_connections_are_not_touched(images: Path, tmp_path: Path) -> None:
    system = make_system(tmp_path)
    async with serving(system) as deaf, serving(system) as other:
        await deaf.open(f"oci:{images}/l64")
        with trio.move_on_after(0.5) as blocked:
            while True:
                await deaf.ask("GetLayerInfo", 1)
        assert blocked.cancelled_caught
        assert await other.open(f"oci:{images}/one") == 1
        deaf.sock.close()


async def test_s21_ten_thousand_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer, trio.open_nursery() as nursery:
        count = 10_000

        async def flood() -> None:
            for number in range(count):
                await peer.send(request(f"Nope{number}"))

        nursery.start_soon(flood)
        for number in range(count):
            assert (await peer.reply()).body["error"] == f"unknown method: Nope{number}"


async def test_s21_requests_that_nobody_reads_wait_in_the_socket(tmp_path: Path) -> None:
    """The server stops reading: back-pressure reaches the client, nothing is buffered without bound."""
    async with serving(make_system(tmp_path)) as peer:
        sent = 0
        with trio.move_on_after(0.5):
            while sent < 100_000:
                await peer.send(request("x" * 30_000))
                sent += 1
        assert sent < 1000
        answers = 0
        while answers < sent:
            assert (await peer.reply()).body["error"].startswith("unknown method: xxx")
            answers += 1


# S-24

_CLIENT = """
import os, socket, sys
sys.path[:0] = [{root!r}, {proxy!r}]
import json
from wherry.protocol import fdpass
sock = socket.socket(fileno={fd})
step, blob, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
kept = []
def call(method, *args, answer=True):
    sock.send(json.dumps(dict(method=method, args=list(args))).encode())
    if answer:
        packet = fdpass.receive(sock, 65536, take_fds=True)
        kept.extend(packet.fds)
        return packet
def at(name):
    if step == name:
        print("there", flush=True)
        sys.stdin.read()
at("connected")
call("Initialize", answer=step != "initialize in flight"); at("initialize in flight"); at("initialized")
call("OpenImage", "oci:image", answer=step != "open in flight"); at("open in flight"); at("opened")
call("GetManifest", 1, answer=step != "fd in flight"); at("fd in flight"); at("manifest")
call("GetBlob", 1, blob, size); at("blob")
os.read(kept[-1], 70000); at("mid pipe")
call("GetRawBlob", 1, blob); at("raw blob")
call("FinishPipe", 2, answer=False); at("finish in flight")
"""

STEPS = (
    "connected",
    "initialize in flight",
    "initialized",
    "open in flight",
    "opened",
    "fd in flight",
    "manifest",
    "blob",
    "mid pipe",
    "raw blob",
    "finish in flight",
)


@pytest.mark.parametrize("step", STEPS)
async def test_s24_a_killed_client_leaves_nothing(step: str, large: Stored, tmp_path: Path) -> None:
    """The server runs in this process: whatever stays of the client, the leak check finds it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = _CLIENT.format(root=str(ROOT), proxy=str(ROOT / "proxy"), fd=ours.fileno())
    layer = large.layers[0]
    with ours:
        client = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", code, step, layer["digest"], str(layer["size"])],
            pass_fds=[ours.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    system = make_system(large.path.parent)
    with client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connection, theirs, system, TRUSTING)
            assert client.stdout is not None
            there = await trio.to_thread.run_sync(client.stdout.readline)
            assert there == b"there\n"
            client.send_signal(signal.SIGKILL)
            await until(lambda: not nursery.child_tasks)
    assert system.threads.busy == 0  # type: ignore[attr-defined]


async def test_s24_the_process_ends_with_its_client(large: Stored, tmp_path: Path) -> None:
    with spawned(tmp_path / "home", large.path.parent) as peer:
        await peer.open("oci:image")
        answer = await peer.call("GetRawBlob", 1, large.layers[0]["digest"])
        assert len(answer.fds) == 2
        peer.close()
        assert await ended(peer) == (0, "")


# S-28


async def test_s28_a_hanging_registry_is_left_with_the_client(images: Path, tmp_path: Path) -> None:
    """Hanging up cancels OpenImage; other connections are served meanwhile."""
    system = make_system(tmp_path)
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with serving(system) as stuck, serving(system) as other:
            await stuck.call("Initialize")
            await stuck.ask("OpenImage", f"docker://{fake.name}/x:latest")
            await until(lambda: bool(fake.seen))
            assert await other.open(f"oci:{images}/one") == 1
            stuck.sock.close()


# S-30


async def test_s30_two_requests_in_one_write(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path), kind=socket.SOCK_STREAM) as peer:
        await peer.send(b'{"method":"Initialize"}\n{"method":"Nope"}\n')
        assert (await peer.reply()).value == "0.2.8"
        assert (await peer.reply()).failure == ("other", "unknown method: Nope")


async def test_s30_one_request_in_three_writes(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path), kind=socket.SOCK_STREAM) as peer:
        for piece in (b'{"meth', b'od":"Initialize"', b"}\r\n"):
            await peer.send(piece)
            await trio.testing.wait_all_tasks_blocked()
        assert (await peer.reply()).value == "0.2.8"


async def test_s30_replies_end_in_a_newline_and_count_their_descriptors(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path), kind=socket.SOCK_STREAM) as peer:
        await peer.open(f"oci:{images}/one")
        image = stored(images / "one")
        await peer.send(
            request("GetManifest", 1)
            + b"\n"
            + request("GetRawBlob", 1, image.layers[0]["digest"])
            + b"\n"
            + request("Nope")
            + b"\n"
        )
        manifest, raw, nope = [await peer.reply() for _ in range(3)]
        assert (manifest.body["fds"], raw.body["fds"]) == (1, 2)
        assert list(nope.body) == ["success", "value", "pipeid", "error_code", "error"]
        assert await peer.read(raw.fds[0]) == image.blob(image.layers[0]["digest"])
        assert await peer.read(raw.fds[1]) == b""
        data, verdict = await peer.finished(manifest)
        assert (data, verdict.value) == (image.raw, None)


async def test_s30_an_empty_line_is_answered(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path), kind=socket.SOCK_STREAM) as peer:
        await peer.send(b"\n")
        assert (await peer.reply()).failure[1] == "invalid request: an empty packet"
        assert (await peer.call("Initialize")).value == "0.2.8"


async def test_s30_a_line_at_the_limit_and_one_beyond(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path), kind=socket.SOCK_STREAM) as peer:
        await peer.send(b'{"method":"Initialize"}'.ljust(32768) + b"\n")
        assert (await peer.reply()).value == "0.2.8"
        await peer.send(b"x" * 32769 + b"\n")
        text = "invalid request: a message has more than 32768 bytes without a newline"
        assert (await peer.reply()).failure == ("other", text)
        assert await peer.message() is None


async def test_s30_a_line_of_a_gigabyte_is_cut_off(tmp_path: Path) -> None:
    """The limit is known to be passed long before the line ends; memory holds no more than the limit."""
    async with serving(make_system(tmp_path), kind=socket.SOCK_STREAM) as peer:
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while sent < 1 << 30:
                await peer.send(b"x" * 65536)
                sent += 65536

        with pytest.raises((BrokenPipeError, ConnectionResetError), match=r"Broken pipe|reset"):
            await pour()
        assert sent < 4 << 20


async def test_s30_other_sockets_are_refused(tmp_path: Path) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        done = await trio.run_process(
            [sys.executable, "-m", "wherry_cli", "experimental-image-proxy"],
            stdin=other.fileno(),
            capture_stderr=True,
            capture_stdout=True,
            check=False,
        )
    assert done.returncode == 1
    assert b"is not a Unix SEQPACKET or STREAM socket" in done.stderr


# S-34, S-36


BAD_DIGESTS = {
    "sha256:../../../etc/passwd": "invalid checksum digest length",
    "sha256:" + "../" * 21 + "x": "invalid checksum digest format",
    "sha256:" + "A" * 64: "invalid checksum digest format",
    "md5:" + "0" * 32: "unsupported digest algorithm",
    "sha256:": "invalid checksum digest format",
    "": "invalid checksum digest format",
}


async def test_s34_a_blob_that_is_not_of_the_image(images: Path, tmp_path: Path) -> None:
    """As skopeo: whatever the source has is served by its digest, and checked."""
    image = layout_of(tmp_path / "image", b"mine", b"other")
    manifest = image.digest
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{image.path}")
        answer = await peer.call("GetBlob", 1, manifest, len(image.raw))
        data, verdict = await peer.finished(answer)
        assert (data, verdict.value) == (image.raw, None)
        absent = "sha256:" + "0" * 64
        wanted = f"open {image.file(absent)}: no such file or directory"
        for method, *args in (("GetBlob", 1, absent, 1), ("GetRawBlob", 1, absent)):
            assert (await peer.call(method, *args)).failure == ("other", wanted)
        for bad, why in BAD_DIGESTS.items():
            assert (await peer.call("GetRawBlob", 1, bad)).failure == ("other", why)


async def test_s36_layer_infos_over_the_limit_name_the_other_method(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.call("Initialize")
        for name, count in (("l64", 64), ("l400", 400), ("l3000", 3000)):
            handle = (await peer.call("OpenImage", f"oci:{images}/{name}")).value
            answer = await peer.call("GetLayerInfo", handle)
            assert len(answer.raw) <= 32768
            if count == 64:
                assert len(answer.value) == 64
            else:
                code, text = answer.failure
                assert code == "other"
                assert text.endswith("use GetLayerInfoPiped")
            data, verdict = await peer.finished(await peer.call("GetLayerInfoPiped", handle))
            assert verdict.value is None
            assert [item["digest"] for item in json.loads(data)] == [
                layer["digest"] for layer in stored(images / name).layers
            ]


async def test_the_limit_of_images_is_an_error(images: Path, tmp_path: Path) -> None:
    import msgspec

    limits = msgspec.structs.replace(TRUSTING.limits, images=3)
    async with serving(make_system(tmp_path), msgspec.structs.replace(TRUSTING, limits=limits)) as peer:
        await peer.open(f"oci:{images}/one")
        for handle in (2, 3):
            assert (await peer.call("OpenImage", f"oci:{images}/one")).value == handle
        text = "3 images are open on this connection, which is the limit"
        assert (await peer.call("OpenImage", f"oci:{images}/one")).failure == ("other", text)
        await peer.call("CloseImage", 2)
        assert (await peer.call("OpenImage", f"oci:{images}/one")).value == 4


async def test_open_images_hold_no_thread(images: Path, tmp_path: Path) -> None:
    system: System = make_system(tmp_path)
    async with serving(system) as peer:
        await peer.call("Initialize")
        for _ in range(200):
            await peer.ask("OpenImage", f"oci:{images}/one")
        handles = [(await peer.reply()).value for _ in range(200)]
        assert handles == list(range(1, 201))
        assert system.threads.busy == 0  # type: ignore[attr-defined]
