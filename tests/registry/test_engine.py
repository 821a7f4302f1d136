"""The HTTP engine: framing, the pool, limits, TLS; against a server that does as it is told."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from tests.fakes.registry import FakeRegistry, Reply
from wherry.errors import (
    AuthError,
    LimitError,
    NetworkError,
    OperationCancelledError,
    RegistryError,
    StalledError,
    WherryError,
)
from wherry.registry import origin
from wherry.registry.dial import Limits
from wherry.registry.engine import Authorization, Engine, Exchange, Reach, Request
from wherry.registry.tls import TlsSettings
from wherry.streams.pump import pump, read_all
from wherry.streams.sinks import PipeSink
from wherry.system import System

DATA = os.urandom(300_000)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine() as made:
        yield made


@pytest.fixture
def patient() -> trio.testing.MockClock:
    """Jumps once nothing has moved for a moment, which loopback never needs."""
    return trio.testing.MockClock(autojump_threshold=0.2)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_fake(authority: trustme.CA) -> Iterator[FakeRegistry]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakeRegistry(tls=context) as running:
        yield running


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path) -> Reach:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return Reach(TlsSettings(True, str(tmp_path)))


def asking(fake: FakeRegistry, path: str = "/x", method: str = "GET", **more: object) -> Request:
    return Request(method, origin.parse(f"{fake.url}{path}"), **more)  # type: ignore[arg-type]


@asynccontextmanager
async def exchanging(engine: Engine, request: Request) -> AsyncIterator[Exchange]:
    exchange = await engine.start(request)
    try:
        yield exchange
    finally:
        exchange.release()


async def get(engine: Engine, request: Request) -> bytes:
    async with exchanging(engine, request) as exchange:
        return await exchange.read(1 << 24)


# --- framing and the pool ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reused"),
    [
        (Reply(body=DATA), True),
        (Reply(body=DATA, framing="chunked"), True),
        (Reply(body=b""), True),
        (Reply(body=b"", framing="chunked"), True),
        (Reply(body=DATA, framing="close"), False),
        (Reply(headers={"Connection": "Close"}, body=DATA), False),
        (Reply(raw=b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"), False),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd"), False),
        (Reply(raw=b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 204 No\r\n\r\n"), True),
    ],
)
async def test_a_connection_serves_again_only_when_nothing_is_left_on_it(
    fake: FakeRegistry, engine: Engine, reply: Reply, reused: bool
) -> None:
    fake.on("GET", "/x", reply)
    fake.on("GET", "/y", Reply(body=b"second"))
    expected = reply.body if reply.raw is None else {True: b"", False: b"abc"}[b"204" in reply.raw]
    assert await get(engine, asking(fake)) == expected
    assert await get(engine, asking(fake, "/y")) == b"second"
    assert fake.connections == (1 if reused else 2)


async def test_r73_two_framings_are_not_trusted_further(fake: FakeRegistry, engine: Engine) -> None:
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    bad = both.replace(b"3\r\nabc", b"zz\r\nabc")
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
    fake.on("GET", "/x", Reply(raw=both), Reply(raw=bad), Reply(raw=twice))
    assert await get(engine, asking(fake)) == b"abc"
    with pytest.raises(RegistryError, match="malformed chunked encoding"):
        await get(engine, asking(fake))
    with pytest.raises(RegistryError, match=r"malformed HTTP response: .*Content-Length"):
        await get(engine, asking(fake))
    assert fake.connections == 3


async def test_an_unread_body_closes_its_connection(fake: FakeRegistry, engine: Engine) -> None:
    fake.on("GET", "/x", Reply(body=DATA))
    for _ in range(2):
        async with exchanging(engine, asking(fake)):
            pass
    assert fake.connections == 2


async def test_a_head_answer_has_no_body(fake: FakeRegistry, engine: Engine) -> None:
    fake.on("HEAD", "/x", Reply(length=12345))
    for _ in range(2):
        async with exchanging(engine, asking(fake, method="HEAD")) as exchange:
            assert exchange.header("content-LENGTH") == "12345"
            assert await exchange.read(0) == b""
    assert fake.connections == 1


@pytest.mark.parametrize(
    ("method", "repeated"), [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("POST", False)]
)
async def test_a_pooled_connection_that_dies_is_replaced_once(
    fake: FakeRegistry, engine: Engine, method: str, repeated: bool
) -> None:
    """The server closes it just as the next request arrives."""
    fake.on("GET", "/x", Reply(body=b"first"))
    fake.on(method, "/y", Reply(raw=b"", end="close"), Reply(204))
    assert await get(engine, asking(fake)) == b"first"
    if repeated:
        assert await get(engine, asking(fake, "/y", method)) == b""
    else:
        with pytest.raises(NetworkError, match=r'^Post "http://.*/y": EOF$'):
            await get(engine, asking(fake, "/y", method))
    assert len(fake.asked(method, "/y")) == (2 if repeated else 1)


async def test_a_new_connection_that_dies_is_an_error(fake: FakeRegistry, engine: Engine) -> None:
    fake.on("GET", "/x", Reply(raw=b"", end="close"))
    with pytest.raises(NetworkError, match=rf'^Get "{fake.url}/x": EOF$') as caught:
        await get(engine, asking(fake))
    assert caught.value.code == "retryable"
    assert len(fake.asked("GET", "/x")) == 1


async def test_what_a_server_says_unasked_is_no_answer(fake: FakeRegistry, engine: Engine) -> None:
    """A second response behind the first one must not be taken for the next request's (R-73)."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    fake.on("GET", "/x", Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + evil))
    fake.on("GET", "/late", Reply(body=b"ok", late=evil))
    fake.on("GET", "/y", Reply(body=b"good"))
    for path in ("/x", "/late"):
        assert await get(engine, asking(fake, path)) == b"ok"
        await trio.sleep(0.3)
        assert await get(engine, asking(fake, "/y")) == b"good"


async def test_connections_are_not_shared_between_users(fake: FakeRegistry, engine: Engine) -> None:
    fake.on("GET", "/x", Reply(body=b"a"))
    for partition in ("alice", "bob", "alice", ""):
        await get(engine, asking(fake, reach=Reach(partition=partition)))
    assert fake.connections == 3


async def test_an_idle_connection_is_dropped_after_90_seconds(
    fake: FakeRegistry, engine: Engine, patient: trio.testing.MockClock
) -> None:
    fake.on("GET", "/x", Reply(body=b"a"))
    for pause, connections in ((0, 1), (89, 1), (91, 2)):
        await trio.sleep(pause)
        await get(engine, asking(fake))
        assert fake.connections == connections


async def test_an_authorization_goes_to_its_origin_only(
    fake: FakeRegistry, other: FakeRegistry, engine: Engine
) -> None:
    secret = Authorization(origin.parse(fake.url).origin, "Basic c2VjcmV0")
    for server in (fake, other):
        server.on("GET", "/x", Reply())
        await get(engine, asking(server, authorization=secret))
    assert [server.seen[0].header("Authorization") for server in (fake, other)] == ["Basic c2VjcmV0", None]


async def test_the_address_is_judged_before_anything_is_sent(fake: FakeRegistry, engine: Engine) -> None:
    def refuse(peer: str) -> None:
        raise AuthError(f"not {peer}")

    fake.on("GET", "/x", Reply())
    with pytest.raises(AuthError, match=r"not 127\.0\.0\.1"):
        await get(engine, asking(fake, reach=Reach(guard=refuse)))
    assert not fake.connections
    await get(engine, asking(fake))
    with pytest.raises(AuthError, match=r"not 127\.0\.0\.1"):  # nor by a connection that is open already
        await get(engine, asking(fake, reach=Reach(guard=refuse)))
    assert len(fake.seen) == 1


# --- heads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "kind", "text"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", RegistryError, "malformed HTTP response: "),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", RegistryError, "malformed HTTP response: "),
        (b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n", RegistryError, "malformed HTTP response: "),
        (b"HTTP/1.1 101 Switch\r\n\r\n", RegistryError, "malformed HTTP response: "),
        (b"HTTP/1.1 102 Wait\r\n\r\n" * 17, RegistryError, "unexpected interim response with status 102"),
        (b"HTTP/1.1 200 OK\r\nX: ", NetworkError, "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 90_000, LimitError, "response head is longer than 65536 bytes"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: aaaa\r\n" * 10_000,
            LimitError,
            "response head is longer than 65536 bytes",
        ),
    ],
)
async def test_r43_heads_that_are_refused(
    fake: FakeRegistry, engine: Engine, raw: bytes, kind: type[WherryError], text: str
) -> None:
    near = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + b"a" * 65_000 + b"\r\n\r\n"
    fake.on("GET", "/x", Reply(raw=raw, end="close"), Reply(raw=near))
    with pytest.raises(kind, match=re.escape(text)) as caught:
        await get(engine, asking(fake))
    assert str(caught.value).startswith(f'Get "{fake.url}/x": ')
    assert caught.value.code == ("retryable" if kind is NetworkError else "other")
    await get(engine, asking(fake))


async def test_a_query_is_not_shown(fake: FakeRegistry, engine: Engine) -> None:
    fake.on("GET", "/x", Reply(raw=b"", end="close"))
    with pytest.raises(NetworkError, match=rf'^Get "{fake.url}/x": EOF$'):
        await get(engine, asking(fake, "/x?X-Amz-Signature=secret"))


# --- time ---------------------------------------------------------------------------------------------


async def test_r40_a_server_that_never_answers(
    fake: FakeRegistry, engine: Engine, patient: trio.testing.MockClock
) -> None:
    fake.on("GET", "/x", Reply(raw=b"HTTP/1.1 200 OK\r\n", end="hang"))
    began = trio.current_time()
    with pytest.raises(StalledError, match="net/http: timeout awaiting response headers") as caught:
        await get(engine, asking(fake))
    assert caught.value.code == "retryable"
    assert trio.current_time() - began == pytest.approx(60)


async def test_r40_a_body_that_stalls(
    fake: FakeRegistry, engine: Engine, patient: trio.testing.MockClock
) -> None:
    fake.on("GET", "/x", Reply(body=b"abc", length=10, end="hang"))
    began = trio.current_time()
    with pytest.raises(StalledError, match=r"/x: i/o timeout"):
        await get(engine, asking(fake))
    assert trio.current_time() - began == pytest.approx(60)


async def test_r42_a_server_that_never_shakes_hands(engine: Engine, patient: trio.testing.MockClock) -> None:
    with FakeRegistry(greeting=b"") as silent:
        url = origin.parse(silent.url.replace("http", "https"))
        began = trio.current_time()
        with pytest.raises(StalledError, match="net/http: TLS handshake timeout") as caught:
            await get(engine, Request("GET", url))
        assert caught.value.code == "retryable"
        assert trio.current_time() - began == pytest.approx(10)


async def test_minimum_rate(
    fake: FakeRegistry, engine: Engine, autojump_clock: trio.testing.MockClock
) -> None:
    from wherry.registry.engine import _Pace

    pace, url = _Pace(), origin.parse(fake.url)
    for count in (30_000, 31_441, 61_440):  # one KiB a second, and no more
        await trio.sleep(30 if count < 60_000 else 60)
        pace.note(count, url)
    pace.note(61_439, url)
    await trio.sleep(60)
    with pytest.raises(StalledError, match="slower than 1 KiB/s"):
        _Pace.note(_behind(pace), 1, url)


def _behind(pace: object) -> object:
    pace._count = 100  # type: ignore[attr-defined]
    return pace


# --- the data plane -------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
async def test_bodies_through_the_data_plane(
    fake: FakeRegistry,
    tls_fake: FakeRegistry,
    trusting: Reach,
    engine: Engine,
    system: System,
    framing: str,
    tls: bool,
) -> None:
    server = tls_fake if tls else fake
    server.on("GET", "/x", Reply(body=DATA * 4, framing=framing, end="close"))  # type: ignore[arg-type]
    async with exchanging(engine, asking(server, reach=trusting)) as exchange:
        assert exchange.body.size == (len(DATA) * 4 if framing == "length" else None)
        assert (exchange.body.extent() is not None) is (framing == "length" and not tls)
        assert await read_all(exchange.body, system.threads, 1 << 24, "body") == DATA * 4


async def test_the_kernel_moves_a_plain_body(fake: FakeRegistry, engine: Engine, system: System) -> None:
    """Two bodies on one connection: exactly the first one's bytes were taken from the socket."""
    fake.on("GET", "/x", Reply(body=DATA * 4))
    for _ in range(2):
        out, into = os.pipe()
        os.set_blocking(into, False)
        collected = bytearray()

        async def drain(out: int = out, collected: bytearray = collected) -> None:
            while chunk := await trio.to_thread.run_sync(os.read, out, 1 << 20):
                collected.extend(chunk)

        async with exchanging(engine, asking(fake)) as exchange, trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            moved = await pump(exchange.body, PipeSink(into), system.threads)
            os.close(into)
        os.close(out)
        assert moved.count == len(DATA) * 4
        assert collected == DATA * 4
    assert fake.connections == 1


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_tls_body_that_is_cut_is_never_whole(
    tls_fake: FakeRegistry, trusting: Reach, engine: Engine, system: System, framing: str
) -> None:
    """Without any framing too: TLS says goodbye before the end, or it was not the end (R-03)."""
    length = len(DATA) + 1 if framing != "close" else None
    torn = Reply(body=DATA, framing=framing, length=length, end="cut")  # type: ignore[arg-type]
    tls_fake.on("GET", "/x", torn)
    async with exchanging(engine, asking(tls_fake, reach=trusting)) as exchange:
        with pytest.raises(NetworkError, match=r"^unexpected EOF$") as caught:
            await read_all(exchange.body, system.threads, 1 << 24, "body")
    assert caught.value.code == "retryable"


async def test_a_reset_says_so(fake: FakeRegistry, engine: Engine, system: System) -> None:
    fake.on("GET", "/x", Reply(body=b"a" * 10, length=20, end="reset"))
    async with exchanging(engine, asking(fake)) as exchange:
        text = r"^read tcp 127\.0\.0\.1:\d+->127\.0\.0\.1:\d+: read: connection reset by peer$"
        with pytest.raises(NetworkError, match=text) as caught:
            await read_all(exchange.body, system.threads, 1 << 24, "body")
    assert caught.value.code == "retryable"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
async def test_an_abort_ends_a_read_that_waits(
    fake: FakeRegistry, tls_fake: FakeRegistry, trusting: Reach, engine: Engine, system: System, tls: bool
) -> None:
    server = tls_fake if tls else fake
    server.on("GET", "/x", Reply(body=DATA, length=len(DATA) + 1, end="hang"))
    async with exchanging(engine, asking(server, reach=trusting)) as exchange:
        ended = []

        async def take() -> None:
            with pytest.raises(OperationCancelledError, match="the read was cancelled"):
                await read_all(exchange.body, system.threads, 1 << 24, "body")
            ended.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.sleep(0.1)
            assert not ended
            exchange.body.abort()
            exchange.body.abort()
        assert ended
        assert not exchange.body.clean


async def test_cancelling_a_transfer_closes_its_connection(
    fake: FakeRegistry, engine: Engine, system: System
) -> None:
    fake.on("GET", "/x", Reply(body=DATA, length=len(DATA) + 1, end="hang"), Reply(body=b"next"))
    async with exchanging(engine, asking(fake)) as exchange:
        with trio.move_on_after(0.1) as scope:
            await read_all(exchange.body, system.threads, 1 << 24, "body")
        assert scope.cancelled_caught
    assert await get(engine, asking(fake)) == b"next"
    assert fake.connections == 2


# --- TLS ------------------------------------------------------------------------------------------------


async def test_r76_certificates(
    tls_fake: FakeRegistry, trusting: Reach, engine: Engine, authority: trustme.CA, tmp_path: Path
) -> None:
    tls_fake.on("GET", "/x", Reply(body=b"a"))
    unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    with pytest.raises(NetworkError, match=unknown) as caught:
        await get(engine, asking(tls_fake))
    assert caught.value.code == "other"
    named = Request("GET", origin.parse(f"https://localhost:{tls_fake.port}/x"), reach=trusting)
    with pytest.raises(NetworkError, match="x509: certificate is not valid for localhost"):
        await get(engine, named)
    assert await get(engine, asking(tls_fake, reach=trusting)) == b"a"
    assert await get(engine, asking(tls_fake, reach=Reach(TlsSettings(verify=False)))) == b"a"


async def test_c21_what_was_not_verified_is_not_reused(
    tls_fake: FakeRegistry, trusting: Reach, engine: Engine
) -> None:
    tls_fake.on("GET", "/x", Reply(body=b"a"))
    await get(engine, asking(tls_fake, reach=Reach(TlsSettings(verify=False))))
    with pytest.raises(NetworkError, match="certificate signed by unknown authority"):
        await get(engine, asking(tls_fake))
    await get(engine, asking(tls_fake, reach=trusting))
    assert tls_fake.connections == 3


async def test_client_certificates(authority: trustme.CA, tmp_path: Path, engine: Engine) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    with FakeRegistry(tls=context) as server:
        server.on("GET", "/x", Reply(body=b"a"))
        with pytest.raises(NetworkError, match=r"tls|EOF|reset"):
            await get(engine, asking(server, reach=Reach(TlsSettings(True, str(tmp_path)))))
        client = authority.issue_cert("client@example.com")
        client.private_key_pem.write_to_path(str(tmp_path / "client.key"))
        missing = TlsSettings(True, str(tmp_path))
        with pytest.raises(WherryError, match=r"missing client certificate client\.cert for key client\.key"):
            await get(engine, asking(server, reach=Reach(missing)))
        client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.cert"))
        assert await get(engine, asking(server, reach=Reach(TlsSettings(True, str(tmp_path))))) == b"a"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.crt", "no certificate", "a.crt holds no certificate that can be used"),
        ("a.cert", "", "missing key a.key for client certificate a.cert"),
        ("a.key", "", "missing client certificate a.cert for key a.key"),
    ],
)
def test_c19_certificate_directories_that_are_refused(
    tmp_path: Path, name: str, content: str, text: str
) -> None:
    settings = TlsSettings(True, str(tmp_path))
    settings.contexts()
    before = settings.fingerprint()
    (tmp_path / name).write_text(content)
    assert settings.fingerprint() != before
    with pytest.raises(WherryError, match=re.escape(text)):
        settings.contexts()
    TlsSettings(True, str(tmp_path / "none")).contexts()


async def test_http_where_https_is_spoken(engine: Engine) -> None:
    with FakeRegistry(greeting=b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here, sorry") as plain:
        url = origin.parse(plain.url.replace("http", "https"))
        with pytest.raises(NetworkError, match="http: server gave HTTP response to HTTPS client") as caught:
            await get(engine, Request("GET", url))
    assert caught.value.code == "other"


async def test_an_ipv6_literal(engine: Engine) -> None:
    with FakeRegistry(host="::1") as server:
        server.on("GET", "/x", Reply(body=b"six"))
        assert await get(engine, asking(server)) == b"six"
        assert server.seen[0].header("Host") == f"[::1]:{server.port}"


async def test_a_name_that_does_not_resolve(engine: Engine) -> None:
    with pytest.raises(
        NetworkError, match=r"dial tcp: lookup nothing\.invalid: (no such host|server misbeh)"
    ):
        await get(engine, Request("GET", origin.parse("https://nothing.invalid/")))


async def test_the_first_address_that_answers(fake: FakeRegistry, engine: Engine) -> None:
    """`localhost` may be ::1 first, where nobody listens."""
    fake.on("GET", "/x", Reply(body=b"a"))
    assert await get(engine, Request("GET", origin.parse(f"http://localhost:{fake.port}/x"))) == b"a"
    with pytest.raises(NetworkError, match="connect: connection refused"):
        await get(engine, Request("GET", origin.parse("http://localhost:1/x")))


def test_limits_are_the_documented_ones() -> None:
    assert Limits() == Limits(connect=10, tls=10, head=60, idle=60)
