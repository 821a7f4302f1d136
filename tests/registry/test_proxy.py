"""Requests through an HTTP proxy: CONNECT for https, absolute form for http (3.8, C-18)."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
import trustme

from tests.fakes.http_proxy import FakeProxy
from tests.fakes.registry import MANIFEST_TYPE, FakeRegistry, Reply
from tests.peers.require import require_peer
from tests.peers.servers import running_registry, stop
from wherry.errors import (
    AuthError,
    InvalidError,
    LimitError,
    NetworkError,
    NotYetError,
    RegistryError,
    StalledError,
)
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import Credentials, ImageAccess
from wherry.registry import origin
from wherry.registry.token import TokenServer
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import read_all
from wherry.system import System
from wherry.transports import docker

NAME = "registry.invalid"
INSECURE = ImageAccess(tls_verify=False)
LAYER = os.urandom(300_000)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FakeRegistry]:
    """A registry that is called NAME."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME, "0.0.0.0").configure_cert(context)  # noqa: S104 - a name in a certificate
    with FakeRegistry(tls=context) as running:
        running.manifest("x", "latest", b"{}")
        yield running


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path) -> ImageAccess:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return ImageAccess(cert_dir=str(tmp_path))


def proxied(system: System, url: str, **environ: str) -> System:
    return msgspec.structs.replace(system, environ={"HTTPS_PROXY": url, "HTTP_PROXY": url, **environ})


async def opened(system: System, text: str, access: ImageAccess) -> bytes:
    async with docker.parse(f"//{text}", system).source(system, access) as source:
        return (await source.manifest()).raw


async def test_https_goes_through_a_tunnel(
    secure: FakeRegistry, system: System, trusting: ImageAccess
) -> None:
    """The proxy resolves the name; it sees neither requests nor credentials; the certificate is checked."""
    secure.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    access = msgspec.structs.replace(trusting, credentials=Credentials("alice", "s3cret"))
    with FakeProxy({NAME: secure.port}) as proxy:
        world = proxied(system, f"http://me:pass@127.0.0.1:{proxy.port}")
        assert await opened(world, f"{NAME}/x", access) == b"{}"
        assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]
        assert proxy.authorizations == ["Basic bWU6cGFzcw=="]
        with pytest.raises(NetworkError, match="certificate signed by unknown authority"):
            await opened(world, f"{NAME}/x", ImageAccess())
    assert all(seen.header("Proxy-Authorization") is None for seen in secure.seen)
    assert [seen.header("Authorization") for seen in secure.asked("GET", "/v2/x/manifests/latest")] == [
        "Basic YWxpY2U6czNjcmV0"
    ]


async def test_http_is_passed_on(fake: FakeRegistry, system: System) -> None:
    """Bodies both ways; on a port of its own; the tunnel that https would need is refused."""
    fake.manifest("x", "latest", b"{}")
    wanted = Descriptor("application/octet-stream", digest.of(LAYER), len(LAYER))
    fake.on("GET", f"/v2/x/blobs/{wanted.digest}", Reply(body=LAYER))
    fake.on("POST", "/v2/x/blobs/uploads/", Reply(202, {"Location": "/upload"}))
    fake.on("PUT", "/upload", Reply(201))
    with FakeProxy({NAME: fake.port}, answer=b"HTTP/1.1 403 Forbidden\r\n\r\n") as proxy:
        world = proxied(system, f"http://me:pass@127.0.0.1:{proxy.port}")
        reference = docker.parse(f"//{NAME}:5000/x", world)
        async with reference.source(world, INSECURE) as source, source.blob(wanted) as blob:
            assert await read_all(blob, world.threads, len(LAYER), "blob") == LAYER
        async with reference.destination(world, INSECURE) as destination:
            await destination.put_blob(BytesBlob(LAYER), wanted)
        assert proxy.asked[:2] == [
            f"CONNECT {NAME}:5000 HTTP/1.1",
            f"GET http://{NAME}:5000/v2/ HTTP/1.1",
        ]
        assert set(proxy.authorizations) == {"Basic bWU6cGFzcw=="}
    assert [seen.body for seen in fake.asked("PUT", "/upload")] == [LAYER]
    assert {seen.header("Host") for seen in fake.seen} == {f"{NAME}:5000"}


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", NetworkError, "Forbidden$"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", NetworkError, "Bad Gateway$"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", AuthError, "Proxy Authentication Required$"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01", RegistryError, "bytes of its own"),
        (b"", NetworkError, "EOF$"),
        (b"HTTP/1.1 200 OK\r\nX: ", NetworkError, "unexpected EOF$"),
        (b"no http\r\n\r\n", RegistryError, "malformed HTTP response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, LimitError, "longer than 65536 bytes$"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel(
    system: System, answer: bytes, kind: type[Exception], text: str
) -> None:
    with FakeProxy({}, answer=answer) as proxy, pytest.raises((kind, NetworkError), match=text) as caught:
        await opened(proxied(system, proxy.url), f"{NAME}/x", ImageAccess())
    assert str(caught.value).startswith(
        f'fetching manifest latest in {NAME}/x: pinging container registry {NAME}: Get "https://{NAME}/v2/": '
    )


async def test_a_proxy_that_is_not_there(system: System) -> None:
    text = r"proxyconnect tcp: dial tcp 127\.0\.0\.1:9: connect: connection refused$"
    with pytest.raises(NetworkError, match=text):
        await opened(proxied(system, "http://127.0.0.1:9"), f"{NAME}/x", ImageAccess())


@pytest.fixture
def patient() -> trio.testing.MockClock:
    """Jumps once nothing has moved for a moment, which loopback never needs."""
    return trio.testing.MockClock(autojump_threshold=0.2)


async def test_a_proxy_that_hangs(system: System, patient: trio.testing.MockClock) -> None:
    with (
        FakeProxy({}, hang=True) as proxy,
        pytest.raises(StalledError, match=r"awaiting the proxy's answer$"),
    ):
        await opened(proxied(system, proxy.url), f"{NAME}/x", ImageAccess())


async def test_what_the_environment_can_ask_wrongly(system: System) -> None:
    with pytest.raises(NotYetError, match='a proxy of the kind "socks5" is not yet built'):
        await opened(proxied(system, "socks5://127.0.0.1:9"), f"{NAME}/x", ImageAccess())
    world = proxied(system, "http://127.0.0.1:9", REQUEST_METHOD="GET", HTTPS_PROXY="")
    with pytest.raises(InvalidError, match="refusing to use HTTP_PROXY value in CGI environment"):
        await opened(world, f"{NAME}/x", INSECURE)


async def test_loopback_and_no_proxy_are_direct(fake: FakeRegistry, system: System) -> None:
    fake.manifest("x", "latest", b"{}")
    world = proxied(system, "http://127.0.0.1:9")
    assert await opened(world, f"{fake.name}/x", INSECURE) == b"{}"
    host = f"0.0.0.0:{fake.port}"  # reaches loopback, and counts as another address
    with pytest.raises(NetworkError, match="proxyconnect tcp"):
        await opened(world, f"{host}/x", INSECURE)
    world = proxied(system, "http://127.0.0.1:9", NO_PROXY=host)
    assert await opened(world, f"{host}/x", INSECURE) == b"{}"


async def test_c18_no_netrc(fake: FakeRegistry, system: System) -> None:
    """A .netrc in the home directory is never read (CVE-2024-47081)."""
    fake.manifest("x", "latest", b"{}")
    Path(system.home, ".netrc").write_text("machine 127.0.0.1 login alice password s3cret\n")
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    world = msgspec.structs.replace(system, environ={"NETRC": f"{system.home}/.netrc", "HOME": system.home})
    assert await opened(world, f"{fake.name}/x", INSECURE) == b"{}"
    assert all(seen.header("Authorization") is None for seen in fake.seen)


@pytest.mark.parametrize(
    ("realm", "peer", "registry", "refused"),
    [
        ("https://auth.invalid/", "", "203.0.113.7", ""),
        ("https://auth.invalid/", "", "", ""),
        ("http://auth.invalid/", "", "127.0.0.1", "is not https"),
        ("https://8.8.8.8/", "8.8.8.8", "", ""),
        ("https://10.0.0.1/", "10.0.0.1", "", "it may not point to"),
        ("https://169.254.169.254/", "169.254.169.254", "", "it may not point to"),
        ("https://127.0.0.1/", "127.0.0.1", "", "it may not point to"),
    ],
)
def test_where_a_registry_behind_a_proxy_may_point_to(
    realm: str, peer: str, registry: str, refused: str
) -> None:
    """R-19 where a proxy resolves names: `peer` and `registry` are addresses, or "" for its matter."""
    guard = TokenServer(origin.parse(realm), "", registry, False).guard
    if not refused:
        guard(peer)
        return
    with pytest.raises(AuthError, match=refused):
        guard(peer)


# A real proxy


@contextmanager
def tinyproxy(folder: Path, *settings: str) -> Iterator[tuple[str, Path]]:
    """Debian's tinyproxy until the block ends: its URL and its log."""
    program = require_peer("tinyproxy")
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    log = folder / "tinyproxy.log"
    config = folder / "tinyproxy.conf"
    lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "LogLevel Info", f'LogFile "{log}"']
    config.write_text("\n".join([*lines, "MaxClients 20", *settings, ""]))
    process = subprocess.Popen([program, "-d", "-c", str(config)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"127.0.0.1:{port}", log
    finally:
        stop(process)


async def test_tinyproxy(secure: FakeRegistry, system: System, trusting: ImageAccess, tmp_path: Path) -> None:
    """0.0.0.0 reaches loopback, but is none by Go's rules: it goes through the proxy."""
    require_peer("docker-registry")
    with (
        tinyproxy(tmp_path, "BasicAuth me pass") as (address, log),
        running_registry(tmp_path / "registry") as registry,
    ):
        world = proxied(system, f"http://me:pass@{address}")
        host = f"0.0.0.0:{secure.port}"
        assert await opened(world, f"{host}/x", trusting) == b"{}"
        assert f"CONNECT {host}" in log.read_text()
        with pytest.raises(AuthError, match=r"Proxy Authentication Required$"):
            await opened(proxied(system, f"http://{address}"), f"{host}/x", trusting)
        port = registry.name.rpartition(":")[2]
        reference = docker.parse(f"//0.0.0.0:{port}/a:t", world)
        wanted = Descriptor("application/octet-stream", digest.of(LAYER), len(LAYER))
        # An image, no index: of several Accept lines tinyproxy passes on one.
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": "text/plain", "digest": wanted.digest, "size": len(LAYER)},
                "layers": [],
            }
        ).encode()
        async with reference.destination(world, INSECURE) as destination:
            await destination.put_blob(BytesBlob(LAYER), wanted)
            await destination.put_manifest(raw, MANIFEST_TYPE)
            await destination.commit()
        async with reference.source(world, INSECURE) as source, source.blob(wanted) as blob:
            assert (await source.manifest()).raw == raw
            assert await read_all(blob, world.threads, len(LAYER), "blob") == LAYER
        assert re.search(rf"GET http://0\.0\.0\.0:{port}/v2/a/manifests/t", log.read_text())


async def test_the_texts_are_skopeos(system: System, skopeo_ref: Path) -> None:
    answers = {
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
    }
    for answer in answers:
        with FakeProxy({}, answer=answer) as proxy:
            world = proxied(system, proxy.url)
            done = await trio.run_process(
                [skopeo_ref, "inspect", f"docker://{NAME}/x"],
                env={"HOME": system.home, **world.environ},
                capture_stderr=True,
                check=False,
            )
            with pytest.raises((AuthError, NetworkError)) as caught:
                await opened(world, f"{NAME}/x", ImageAccess())
        theirs = done.stderr.decode().replace('\\"', '"')
        assert str(caught.value) in theirs
