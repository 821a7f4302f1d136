"""Bodies that are cut, stall or change their server's mind, and go on by Range (registry/resume.py)."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
import trustme

from tests.fakes.registry import Answer, FakeRegistry, Reply, Seen, ranged
from tests.transports.docker_images import bearer_challenge
from wherry.errors import AuthError, NetworkError, RegistryError, StalledError, WherryError
from wherry.model import digest
from wherry.model.name import Named
from wherry.protocol.options import ImageAccess
from wherry.registry import blobs
from wherry.registry.client import Registries, RegistryClient
from wherry.registry.resume import MUCH, content_range
from wherry.streams.pump import Moved, pump
from wherry.streams.sinks import MemorySink, PipeSink
from wherry.system import Retries, System

DATA = os.urandom(300_000)
DIGEST = digest.of(DATA)
BLOB = f"/v2/x/blobs/{DIGEST}"
CUT = 100_000


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
async def client(fake: FakeRegistry, system: System, warned: list[str]) -> AsyncIterator[RegistryClient]:
    async with Registries(msgspec.structs.replace(system, warn=warned.append)) as registries:
        yield registries.client(fake.name, ImageAccess(tls_verify=False))


@pytest.fixture
def patient() -> trio.testing.MockClock:
    """Jumps once nothing has moved for a moment, which loopback never needs."""
    return trio.testing.MockClock(autojump_threshold=0.2)


def torn(end: str = "close", data: bytes = DATA[:CUT], framing: str = "length") -> Reply:
    """The beginning of a body."""
    if framing == "chunked":
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(DATA)
        return Reply(raw=head + data, end=end)  # type: ignore[arg-type]
    return Reply(body=data, length=len(DATA), end=end, framing=framing)  # type: ignore[arg-type]


def partial(headers: tuple[tuple[str, str], ...], body: bytes = DATA[CUT:], status: int = 206) -> Reply:
    return Reply(status, headers, body)


def place(first: int = CUT, last: int = len(DATA) - 1, total: int | str = len(DATA)) -> tuple[str, str]:
    return ("Content-Range", f"bytes {first}-{last}/{total}")


async def take(client: RegistryClient) -> tuple[bytes, Moved]:
    """The blob, hashed while it passes."""
    sink = MemorySink(1 << 24, "blob")
    async with blobs.open_blob(client, Named(client.registry, "x"), DIGEST) as blob:
        assert blob.size in (len(DATA), None)
        moved = await pump(blob, sink, client.system.threads, digests=("sha256",), idle=60)
    return bytes(sink.data), moved


def ranges(fake: FakeRegistry) -> list[str | None]:
    return [seen.header("Range") for seen in fake.asked("GET", BLOB)]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_r02_a_body_that_is_cut_goes_on(
    fake: FakeRegistry, client: RegistryClient, warned: list[str], end: str, framing: str
) -> None:
    fake.on("GET", BLOB, torn(end, framing=framing), ranged(DATA))
    data, moved = await take(client)
    assert data == DATA
    assert moved == Moved(len(DATA), {"sha256": DIGEST})
    [first, again] = ranges(fake)
    assert first is None
    start = int(re.fullmatch(r"bytes=(\d+)-", again or "")[1])  # type: ignore[index]
    assert 0 < start <= CUT
    [text] = warned
    assert text.startswith(("unexpected EOF; going on at byte", "read tcp 127.0.0.1"))


async def test_r02_by_the_kernel_too(fake: FakeRegistry, client: RegistryClient) -> None:
    """Nothing is hashed, so the bytes go from socket to pipe unseen; and then from the next socket."""
    fake.on("GET", BLOB, torn(), ranged(DATA))
    out, into = os.pipe()
    os.set_blocking(into, False)
    collected = bytearray()

    async def drain() -> None:
        while chunk := await trio.to_thread.run_sync(os.read, out, 1 << 20):
            collected.extend(chunk)

    async with (
        blobs.open_blob(client, Named(client.registry, "x"), DIGEST) as blob,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(drain)
        moved = await pump(blob, PipeSink(into), client.system.threads)
        os.close(into)
    os.close(out)
    assert (moved.count, bytes(collected)) == (len(DATA), DATA)
    assert ranges(fake) == [None, f"bytes={CUT}-"]


@pytest.mark.parametrize("end", ["cut", "reset"])
async def test_r02_under_tls(system: System, tmp_path: Path, end: str) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    with FakeRegistry(tls=context) as fake:
        fake.on("GET", BLOB, torn(end), ranged(DATA))
        async with Registries(system) as registries:
            client = registries.client(fake.name, ImageAccess(cert_dir=str(tmp_path)))
            data, moved = await take(client)
        assert data == DATA
        assert moved.digests == {"sha256": DIGEST}
        assert len(ranges(fake)) == 2


async def test_r02_a_registry_without_ranges_is_an_error(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on("GET", BLOB, torn(), Reply(body=DATA))
    text = r"^unexpected EOF \(after reconnecting, server did not process a Range: header, status 200\)$"
    with pytest.raises(NetworkError, match=text) as caught:
        await take(client)
    assert caught.value.code == "retryable"
    assert (await take(client))[0] == DATA


BOUNDARY = ("Content-Type", "multipart/byteranges; boundary=x")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (partial((place(first=CUT - 1),), DATA[CUT - 1 :]), "asked from byte 100000 on, got unexpected"),
        (partial((place(first=CUT + 1),), DATA[CUT + 1 :]), "asked from byte 100000 on, got unexpected"),
        (partial((place(total=len(DATA) + 1),)), "asked from byte 100000 on, got unexpected Content-Range"),
        (partial((place(last=len(DATA), total=len(DATA) + 1),)), "the content has 300001 bytes, not 300000"),
        (partial((place(), place())), "2 Content-Range headers instead of one"),
        (partial((BOUNDARY,)), "0 Content-Range headers instead of one"),
        (partial((("Content-Range", "bytes */300000"),)), "invalid Content-Range header"),
        (partial((("Content-Range", "items 100000-299999/300000"),)), "invalid Content-Range header"),
        (partial((place(last=len(DATA) - 2, total="*"),), DATA[CUT:-1]), "the content has 299999 bytes, not"),
        (partial((place(),), DATA[CUT:] + b"x"), "200001 bytes follow instead of 200000"),
        (partial((place(),), DATA[CUT:-1]), "199999 bytes follow instead of 200000"),
    ],
)
async def test_r44_ranges_that_are_not_what_was_asked_for(
    fake: FakeRegistry, client: RegistryClient, reply: Reply, text: str
) -> None:
    fake.on("GET", BLOB, torn(), reply)
    with pytest.raises(RegistryError, match=rf"^unexpected EOF \(after reconnecting.*{re.escape(text)}"):
        await take(client)
    for near in (partial((place(),)), partial((place(total="*"),))):
        fake.on("GET", BLOB, torn(), near)
        assert (await take(client))[0] == DATA


@pytest.mark.parametrize(
    ("headers", "total"),
    [
        (["bytes 5-9/10"], 10),
        (["bytes 5-9/*"], 10),
        (["bytes 5-4/10"], None),
        (["bytes 5-8/10"], None),
        (["bytes  5-9/10"], None),
        (["bytes 5-9/10 "], None),
        (["bytes +5-9/10"], None),
        (["bytes \u0665-9/10"], None),
        (["bytes 5-9/" + "1" * 100], None),
    ],
)
def test_r44_content_range(headers: list[str], total: int | None) -> None:
    if total is not None:
        assert content_range(headers, 5) == total
    else:
        with pytest.raises(RegistryError, match="Content-Range"):
            content_range(headers, 5)


async def test_r45_from_the_start_only_where_nothing_was_handed_out(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.on("GET", BLOB, torn(data=b""), Reply(body=DATA))
    assert (await take(client))[0] == DATA
    assert ranges(fake) == [None, None]
    fake.on("GET", BLOB, torn(data=b""), Reply(body=DATA + b"x"))
    with pytest.raises(RegistryError, match="after reconnecting, the content has another length"):
        await take(client)


async def test_r46_a_blob_that_changed_has_another_digest(fake: FakeRegistry, client: RegistryClient) -> None:
    """It is put together as the registry says; whoever asked compares the digest."""
    fake.on("GET", BLOB, torn(), ranged(os.urandom(len(DATA))))
    _, moved = await take(client)
    assert moved.count == len(DATA)
    assert moved.digests["sha256"] != DIGEST


@pytest.mark.parametrize("end", ["close", "hang"])
async def test_no_progress_twice_ends_it(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock, end: str
) -> None:
    empty = Reply(206, (place(),), b"", length=len(DATA) - CUT, end=end)  # type: ignore[arg-type]
    fake.on("GET", BLOB, torn(end), empty)
    began = trio.current_time()
    with pytest.raises(WherryError, match=r"unexpected EOF|the source sent nothing for 60 s$") as caught:
        await take(client)
    assert caught.value.code == "retryable"
    assert len(ranges(fake)) == 2
    assert trio.current_time() - began < (130 if end == "hang" else 2)


async def test_progress_goes_on_and_on(fake: FakeRegistry, client: RegistryClient) -> None:
    """A registry that hangs up after each piece is borne with, as long as pieces come."""

    def piece(seen: Seen) -> Reply:
        start = int((seen.header("Range") or "bytes=0-")[6:-1])
        if not start:
            return torn(data=DATA[:60_000])
        some = DATA[start : start + 60_000]
        return Reply(206, (place(start),), some, length=len(DATA) - start, end="close")

    fake.on("GET", BLOB, piece)
    assert (await take(client))[0] == DATA
    assert len(ranges(fake)) == 5


async def test_a_trickle_ends_with_the_tries(fake: FakeRegistry, client: RegistryClient) -> None:
    def byte(seen: Seen) -> Reply:
        start = int((seen.header("Range") or "bytes=0-")[6:-1])
        if not start:
            return torn(data=DATA[:1])
        some = DATA[start : start + 1]
        return Reply(206, (place(start),), some, length=len(DATA) - start, end="close")

    fake.on("GET", BLOB, byte)
    with pytest.raises(NetworkError, match="unexpected EOF"):
        await take(client)
    assert len(ranges(fake)) == 1 + client.system.retries.unreachable
    assert len(DATA) < MUCH  # or the tries would be renewed


async def test_r40_a_stalled_body_goes_on_elsewhere(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock, warned: list[str]
) -> None:
    """The slow side has a name."""
    fake.on("GET", BLOB, torn("hang"), ranged(DATA))
    began = trio.current_time()
    assert (await take(client))[0] == DATA
    assert 60 <= trio.current_time() - began < 62
    [text] = warned
    assert text.startswith(
        f"reading {fake.url}{BLOB}: the source sent nothing for 60 s; going on at byte 100000"
    )


async def test_a_stall_while_reconnecting_is_the_second_one(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock
) -> None:
    fake.on("GET", BLOB, torn("hang"), Reply(raw=b"HTTP/1.1 206", end="hang"))
    began = trio.current_time()
    with pytest.raises(
        StalledError, match=r"sent nothing for 60 s \(while reconnecting\): .*awaiting response"
    ):
        await take(client)
    assert 120 <= trio.current_time() - began < 130


@pytest.mark.parametrize(
    ("again", "whole"),
    [
        ((Reply(401), ranged(DATA)), True),
        ((Reply(503), Reply(502), ranged(DATA)), True),
        ((Reply(429, {"Retry-After": "3"}), ranged(DATA)), True),
        ((Reply(raw=b"", end="close"), ranged(DATA)), True),
        ((Reply(401), Reply(401)), False),
    ],
)
async def test_r27_what_happens_while_reconnecting(
    fake: FakeRegistry,
    client: RegistryClient,
    patient: trio.testing.MockClock,
    again: tuple[Answer, ...],
    whole: bool,
) -> None:
    """A token that has expired in mid-transfer is renewed once; failures that pass are waited out (F-10)."""
    bearer_challenge(fake)
    fake.on("GET", BLOB, torn(), *again)
    if whole:
        assert (await take(client))[0] == DATA
    else:
        text = r"^unexpected EOF \(while reconnecting\): fetching blob: authentication required$"
        with pytest.raises(AuthError, match=text):
            await take(client)
    assert len(ranges(fake)) == 1 + len(again)
    assert set(ranges(fake)[1:]) == {f"bytes={CUT}-"}
    assert len(fake.asked("GET", "/token")) <= 2


async def test_a_token_that_expired_meanwhile_is_not_sent(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock
) -> None:
    bearer_challenge(fake)
    fake.on("GET", "/token", Reply(body=b'{"token":"one"}'), Reply(body=b'{"token":"two"}'))
    fake.on("GET", BLOB, torn("hang"), ranged(DATA))
    assert (await take(client))[0] == DATA
    used = [seen.header("Authorization") for seen in fake.asked("GET", BLOB)]
    assert used == ["Bearer one", "Bearer two"]


async def test_redirects_are_followed_anew(
    fake: FakeRegistry, other: FakeRegistry, client: RegistryClient
) -> None:
    """Where the blob was may have been a place for one time only."""

    def elsewhere(at: int) -> Callable[[Seen], Reply]:
        return lambda _: Reply(307, {"Location": f"{other.url}/store?sig=s3cret{at}"})

    fake.on("GET", BLOB, elsewhere(1), elsewhere(2))
    other.on("GET", "/store", torn(), ranged(DATA))
    assert (await take(client))[0] == DATA
    assert [seen.target for seen in other.seen] == ["/store?sig=s3cret1", "/store?sig=s3cret2"]
    assert [seen.header("Range") for seen in other.seen] == [None, f"bytes={CUT}-"]


async def test_cancelled_while_it_waits(
    fake: FakeRegistry, system: System, patient: trio.testing.MockClock
) -> None:
    waiting = msgspec.structs.replace(system, retries=Retries(pause=20.0))
    fake.on("GET", BLOB, torn(), ranged(DATA))
    async with Registries(waiting) as registries:
        client = registries.client(fake.name, ImageAccess(tls_verify=False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, client)
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    assert len(ranges(fake)) == 1


async def test_the_caller_s_deadline_counts(
    fake: FakeRegistry, system: System, patient: trio.testing.MockClock
) -> None:
    """What can't be waited for is told at once, with its cause."""
    waiting = msgspec.structs.replace(system, retries=Retries(pause=20.0))
    fake.on("GET", BLOB, torn(), ranged(DATA))
    async with Registries(waiting) as registries:
        client = registries.client(fake.name, ImageAccess(tls_verify=False))
        began = trio.current_time()
        with trio.fail_after(5), pytest.raises(NetworkError, match=r"^unexpected EOF$"):
            await take(client)
        assert trio.current_time() - began < 2
