"""Uploads: framing, and registries that answer early, hang up, or stop reading."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from tests.fakes.registry import FakeRegistry, Reply, Seen, error
from tests.streams.ends import SocketBlob
from wherry.errors import AuthError, CorruptError, NetworkError, RegistryError, StalledError, WherryError
from wherry.interfaces import Blob, no_progress
from wherry.model import digest as digests
from wherry.model.name import Named
from wherry.protocol.options import Credentials, ImageAccess
from wherry.registry.client import Registries, RegistryClient
from wherry.registry.uploads import upload
from wherry.streams.blobs import BytesBlob, FileBlob
from wherry.streams.pump import Moved
from wherry.system import System

DATA = os.urandom(12_000_000)  # more than the buffers of sockets hold
START = "/v2/x/blobs/uploads/"


@pytest.fixture(params=["http", "tls"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeRegistry]:
    """A registry whose upload sessions go on at /u."""
    context = None
    if request.param == "tls":
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakeRegistry(tls=context) as running:
        running.on("POST", START, Reply(202, {"Location": "/u?session=1"}))
        yield running


@pytest.fixture
async def client(server: FakeRegistry, tmp_path: Path, system: System) -> AsyncIterator[RegistryClient]:
    access = ImageAccess(tls_verify=False) if server.tls is None else ImageAccess(cert_dir=str(tmp_path))
    async with Registries(system) as registries:
        yield registries.client(server.name, access)


@pytest.fixture
def patient() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0.3)


def named(server: FakeRegistry) -> Named:
    return Named(server.name, "x")


async def send(
    client: RegistryClient, server: FakeRegistry, blob: Blob, data: bytes = DATA, *, known: bool = True
) -> Moved:
    return await upload(
        client,
        named(server),
        blob,
        digest=digests.of(data) if known else None,
        size=len(data) if known else None,
        progress=no_progress,
    )


async def test_r72_one_put_where_digest_and_size_are_known(
    server: FakeRegistry, client: RegistryClient
) -> None:
    server.on("PUT", "/u", Reply(201))
    for _ in range(2):
        moved = await send(client, server, BytesBlob(DATA))
    assert moved == Moved(len(DATA), {"sha256": digests.of(DATA)})
    seen = server.asked("PUT", "/u")[0]
    assert seen.body == DATA
    assert seen.target == f"/u?session=1&digest=sha256%3A{digests.of(DATA)[7:]}"
    assert seen.header("Content-Length") == str(len(DATA))
    assert seen.header("Expect") is None
    assert seen.header("Content-Type") == "application/octet-stream"
    assert len({seen.connection for seen in server.seen if seen.path in (START, "/u")}) == 1


async def test_a_file_goes_by_the_kernel(server: FakeRegistry, client: RegistryClient) -> None:
    server.on("PUT", "/u", Reply(201))
    with tempfile.TemporaryFile() as file:
        file.write(DATA)
        file.flush()
        await send(client, server, FileBlob(file.fileno(), 0, len(DATA)))
    assert server.asked("PUT", "/u")[0].body == DATA


async def test_chunks_where_they_are_not(server: FakeRegistry, client: RegistryClient) -> None:
    server.on("PATCH", "/u", Reply(202, {"Location": "/u2?session=2"}))
    server.on("PUT", "/u2", Reply(201))
    for data in (DATA, b"", b"a"):
        server.seen.clear()
        moved = await send(client, server, BytesBlob(data), data, known=False)
        assert moved.digests["sha256"] == digests.of(data)
        (patch,) = server.asked("PATCH", "/u")
        assert (patch.body, patch.header("Transfer-Encoding")) == (data, "chunked")
        (put,) = server.asked("PUT", "/u2")
        assert (put.body, put.header("Content-Length")) == (b"", "0")
        assert put.target == f"/u2?session=2&digest=sha256%3A{digests.of(data)[7:]}"


@pytest.mark.parametrize(
    ("reply", "kind", "text", "code"),
    [
        (Reply(401, early=True, end="cut"), AuthError, "authentication required", "other"),
        (Reply(413, early=True, end="cut"), RegistryError, 'StatusCode: 413, ""', "other"),
        (
            Reply(503, early=True, end="cut", reason="Full"),
            RegistryError,
            "HTTP status: 503 Full",
            "retryable",
        ),
    ],
)
async def test_an_answer_before_the_body_was_read(
    server: FakeRegistry, client: RegistryClient, reply: Reply, kind: type[WherryError], text: str, code: str
) -> None:
    """It says more than the broken pipe that follows it."""
    server.on("PUT", "/u", reply, Reply(201))
    with pytest.raises((kind, NetworkError), match=r"^uploading layer to |write|read|Put") as caught:
        await send(client, server, BytesBlob(DATA))
    if server.tls is None:  # under TLS a reset may overtake the answer
        assert type(caught.value) is kind
        assert text in str(caught.value)
        assert caught.value.code == code
    await send(client, server, BytesBlob(DATA))


async def test_an_answer_from_a_registry_that_reads_no_more(
    fake: FakeRegistry, system: System, patient: trio.testing.MockClock
) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", Reply(403, early=True, end="hang"))
    async with Registries(system) as registries:
        client = registries.client(fake.name, ImageAccess(tls_verify=False))
        with pytest.raises(AuthError, match='StatusCode: 403, ""'):
            await send(client, fake, BytesBlob(DATA))


async def test_a_yes_before_the_body_was_read_is_a_no(fake: FakeRegistry, system: System) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", Reply(201, early=True, end="cut"))
    async with Registries(system) as registries:
        client = registries.client(fake.name, ImageAccess(tls_verify=False))
        with pytest.raises(RegistryError, match="the registry answered 201 before it had the whole body"):
            await send(client, fake, BytesBlob(DATA))


async def test_a_registry_that_stops_reading(
    server: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock
) -> None:
    server.on("PUT", "/u", Reply(raw=b"", early=True, end="hang"))
    with pytest.raises(StalledError, match=r"write tcp .*: i/o timeout") as caught:
        await send(client, server, BytesBlob(DATA))
    assert caught.value.code == "retryable"


async def test_a_registry_that_hangs_up(server: FakeRegistry, client: RegistryClient) -> None:
    server.on("PUT", "/u", Reply(raw=b"", early=True, end="cut"))
    with pytest.raises(
        NetworkError, match=r'Put ".*/u": (EOF|unexpected EOF|read tcp .* reset by peer)'
    ) as caught:
        await send(client, server, BytesBlob(DATA))
    assert caught.value.code == "retryable"


async def test_the_source_s_failure_is_the_error(server: FakeRegistry, client: RegistryClient) -> None:
    """Not the registry's, though both are errors of the network."""
    server.on("PUT", "/u", Reply(201))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(NetworkError, match=r'Put ".*/u": unexpected EOF$'):
            await send(client, server, SocketBlob(ours, len(DATA)))
    assert not server.asked("PUT", "/u")


async def test_a_source_that_stalls(
    server: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock
) -> None:
    server.on("PUT", "/u", Reply(201))
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(StalledError, match="the source sent nothing for 60 s"):
        await send(client, server, SocketBlob(ours, len(DATA)))


async def test_a_short_source_is_never_a_whole_request(server: FakeRegistry, client: RegistryClient) -> None:
    server.on("PUT", "/u", Reply(201))
    with pytest.raises(CorruptError, match=rf"Size mismatch when copying .*, expected {len(DATA)}, got 3"):
        await send(client, server, BytesBlob(b"abc"))
    with pytest.raises(CorruptError, match="the content is longer than 2 bytes"):
        await upload(
            client, named(server), BytesBlob(b"abc"), digest=digests.of(b"ab"), size=2, progress=no_progress
        )
    assert not server.asked("PUT", "/u")


async def test_a_wrong_digest_is_told_by_what_passed(server: FakeRegistry, client: RegistryClient) -> None:
    """Whatever the registry says: the caller compares."""
    wrong = digests.of(b"abd")
    for reply in (Reply(201), error(400, "DIGEST_INVALID")):
        server.on("PUT", "/u", reply)
        moved = await upload(
            client, named(server), BytesBlob(b"abc"), digest=wrong, size=3, progress=no_progress
        )
        assert moved.digests["sha256"] == digests.of(b"abc")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (error(400, "NAME_INVALID"), f"initiating layer upload to {START} in 127.0.0.1:.*: name invalid"),
        (Reply(200), "received unexpected HTTP status: 200 OK"),
    ],
)
async def test_a_session_that_is_not_opened(
    server: FakeRegistry, client: RegistryClient, reply: Reply, text: str
) -> None:
    server.on("POST", START, reply)
    with pytest.raises(RegistryError, match=text):
        await send(client, server, BytesBlob(b"abc"), b"abc")


async def test_uploads_ask_for_push(fake: FakeRegistry, system: System) -> None:
    challenge = f'Bearer realm="{fake.url}/token",service="s"'
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": challenge}))
    fake.on("GET", "/token", Reply(body=b'{"token":"t"}'))
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", Reply(201))
    access = ImageAccess(tls_verify=False, credentials=Credentials("alice", "s"))
    async with Registries(system) as registries:
        await send(registries.client(fake.name, access), fake, BytesBlob(b"a"), b"a")
    (asked,) = fake.asked("GET", "/token")
    assert asked.target == "/token?account=alice&scope=repository%3Ax%3Apull%2Cpush&service=s"
    sent: list[Seen] = [*fake.asked("POST", START), *fake.asked("PUT", "/u")]
    assert [seen.header("Authorization") for seen in sent] == ["Bearer t", "Bearer t"]
