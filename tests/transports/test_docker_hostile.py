"""docker: against registries that misbehave: the rows of hostile-cases.md, section 1.1."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path

import pytest

from tests.fakes.registry import MANIFEST_TYPE, FakeRegistry, Reply, Seen
from tests.transports.docker_images import (
    BEARER,
    CONFIG,
    INSECURE,
    LAYER,
    LOGIN,
    accept_upload,
    basic_challenge,
    bearer_challenge,
    described,
    fetch,
    files_of,
    image,
    push,
    reference,
    serve,
    sha,
)
from wherry.errors import (
    AuthError,
    CorruptError,
    InvalidError,
    LimitError,
    NetworkError,
    RegistryError,
    WherryError,
)
from wherry.interfaces import Manifest, ReuseHints
from wherry.model import manifest
from wherry.model.digest import Digest
from wherry.protocol.options import ImageAccess
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import read_all
from wherry.system import System


async def test_r01_a_layer_of_another_digest(fake: FakeRegistry, system: System, tmp_path: Path) -> None:
    serve(fake, LAYER)
    wanted = described(LAYER)
    wrong = LAYER[:-1] + bytes([LAYER[-1] ^ 1])
    fake.on("GET", f"/v2/x/blobs/{wanted.digest}", Reply(body=wrong), Reply(body=LAYER))
    with pytest.raises(CorruptError, match=f"expected {wanted.digest}, got {sha(wrong)}") as caught:
        await fetch(fake, wanted, system, tmp_path / "out")
    assert caught.value.code == "other"
    assert not files_of(tmp_path, len(LAYER))
    await fetch(fake, wanted, system, tmp_path / "good")


async def test_r03_a_body_without_framing_cut_short(
    fake: FakeRegistry, system: System, tmp_path: Path
) -> None:
    """Its end can't be told from a cut: only size and digest tell, for layers and manifests alike."""
    top = serve(fake, LAYER)
    wanted = described(LAYER)
    whole, torn = (Reply(body=data, framing="close") for data in (LAYER, LAYER[:-5]))
    fake.on("GET", f"/v2/x/blobs/{wanted.digest}", torn, whole)
    with pytest.raises(CorruptError, match=f"expected {wanted.digest}"):
        await fetch(fake, wanted, system, tmp_path / "out")
    await fetch(fake, wanted, system, tmp_path / "good")

    raw = image(LAYER)
    headers = {"Content-Type": MANIFEST_TYPE}
    fake.on(
        "GET",
        f"/v2/x/manifests/{top}",
        Reply(headers=headers, body=raw[:-1], framing="close"),
        Reply(headers=headers, body=raw, framing="close"),
    )
    for expected in (CorruptError, None):
        opened = reference(fake, f"x@{top}", system).source(system, INSECURE)
        if expected is None:
            async with opened as source:
                assert (await source.manifest()).raw == raw
        else:
            with pytest.raises(expected, match=f"Manifest does not match provided manifest digest {top}"):
                async with opened:
                    pass


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_framed_body_cut_short_never_looks_whole(
    fake: FakeRegistry, system: System, tmp_path: Path, framing: str
) -> None:
    serve(fake, LAYER)
    wanted = described(LAYER)
    torn = Reply(body=LAYER, length=len(LAYER) + 9, framing=framing, end="close")  # type: ignore[arg-type]
    whole = Reply(body=LAYER, framing=framing)  # type: ignore[arg-type]
    fake.on("GET", f"/v2/x/blobs/{wanted.digest}", torn, whole)
    async with reference(fake, "x", system).source(system, INSECURE) as source, source.blob(wanted) as blob:
        with pytest.raises(NetworkError, match="unexpected EOF") as caught:
            await read_all(blob, system.threads, 1 << 24, "layer")
        assert caught.value.code == "retryable"
    await fetch(fake, wanted, system, tmp_path / "good")


async def test_r04_a_body_longer_than_declared(fake: FakeRegistry, system: System, tmp_path: Path) -> None:
    serve(fake, LAYER)
    wanted = described(LAYER)
    longer = Reply(body=LAYER + os.urandom(20_000_000))
    fake.on("GET", f"/v2/x/blobs/{wanted.digest}", longer, Reply(body=LAYER))
    with pytest.raises(CorruptError, match=f"the content is longer than {len(LAYER)} bytes"):
        await fetch(fake, wanted, system, tmp_path / "out")
    assert not files_of(tmp_path, len(LAYER) + 1)
    await fetch(fake, wanted, system, tmp_path / "good")


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
async def test_r09_r10_credentials_stay_with_their_origin(
    fake: FakeRegistry, other: FakeRegistry, system: System, tmp_path: Path, scheme: str
) -> None:
    """The other origin is the same host at another port; the redirect there works, without the header."""
    serve(fake, LAYER)
    wanted = described(LAYER)
    if scheme == "basic":
        basic_challenge(fake)
    else:
        bearer_challenge(fake)
    for path in ("/v2/x/manifests/latest", f"/v2/x/blobs/{wanted.digest}"):
        other.on("GET", path, *fake._routes["GET", path].answers)
        fake.on("GET", path, Reply(307, {"Location": f"{other.url}{path}"}))
    await fetch(fake, wanted, system, tmp_path / "out", LOGIN)
    for path in ("/v2/x/manifests/latest", f"/v2/x/blobs/{wanted.digest}"):
        (there,) = other.asked("GET", path)
        assert there.header("Authorization") is None
        (here,) = fake.asked("GET", path)
        login = f"Basic {base64.b64encode(b'alice:s3cret').decode()}"
        assert here.header("Authorization") == (login if scheme == "basic" else BEARER)


async def test_a_redirect_within_the_origin_keeps_the_credentials(
    fake: FakeRegistry, system: System, tmp_path: Path
) -> None:
    serve(fake, LAYER)
    basic_challenge(fake)
    wanted = described(LAYER)
    fake.on("GET", f"/v2/x/blobs/{wanted.digest}", Reply(302, {"Location": "/elsewhere?a=b"}))
    fake.on("GET", "/elsewhere", Reply(body=LAYER))
    await fetch(fake, wanted, system, tmp_path / "out", LOGIN)
    (seen,) = fake.asked("GET", "/elsewhere")
    assert seen.header("Authorization") is not None
    assert seen.target == "/elsewhere?a=b"


@pytest.mark.parametrize("what", ["manifests", "blobs"])
@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("loop", "stopped after 5 redirects"),
        ("file:///etc/passwd", "redirect .* is neither http nor https"),
        ("http://user@127.0.0.1:1/", "redirect .* holds a user name or password"),
        ("http://127.0.0.1:1/" + "a" * 9000, "redirect is longer than 8192 characters"),
    ],
)
async def test_r12_redirects_that_are_refused(
    fake: FakeRegistry, system: System, what: str, location: str, text: str
) -> None:
    serve(fake, LAYER)
    wanted = described(LAYER)
    path = "/v2/x/manifests/latest" if what == "manifests" else f"/v2/x/blobs/{wanted.digest}"
    good = fake._routes["GET", path].answers[0]
    fake.on("GET", path, Reply(307, {"Location": path if location == "loop" else location}))

    async def take() -> None:
        async with reference(fake, "x", system).source(system, INSECURE) as source, source.blob(wanted):
            pass

    with pytest.raises(RegistryError, match=text):
        await take()
    assert len(fake.asked("GET", path)) == (6 if location == "loop" else 1)
    fake.on("GET", path, *[Reply(307, {"Location": path})] * 5, good)
    await take()


async def test_r13_an_upload_to_another_host_gets_no_credentials(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    basic_challenge(fake)
    accept_upload(fake, f"{other.url}/upload?signed=yes", at=other)
    await push(fake, system)
    (seen,) = other.asked("PUT", "/upload")
    assert seen.header("Authorization") is None
    assert (seen.body, seen.target) == (b"hello", f"/upload?signed=yes&digest=sha256%3A{sha(b'hello')[7:]}")
    (start,) = fake.asked("POST", "/v2/x/blobs/uploads/")
    assert start.header("Authorization") is not None


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/upload", "/upload?digest={}"),
        ("/upload?state=1", "/upload?state=1&digest={}"),
        ("/upload?digest=sha256:evil&a=b", "/upload?a=b&digest={}"),
        ("../../../../upload", "/upload?digest={}"),
        ("", "determining upload URL: upload Location: http: no Location header in response"),
        ("javascript:alert(1)", "upload Location .* is neither http nor https"),
        ("http://user:password@127.0.0.1/upload", "upload Location .* holds a user name or password"),
    ],
)
async def test_r14_upload_locations(fake: FakeRegistry, system: System, location: str, target: str) -> None:
    basic_challenge(fake)
    accept_upload(fake, location)
    if not target.startswith("/"):
        with pytest.raises(RegistryError, match=target) as caught:
            await push(fake, system)
        assert caught.value.code == "other"
        assert "password@" not in str(caught.value)
        return
    await push(fake, system)
    (seen,) = fake.asked("PUT", "/upload")
    assert seen.target == target.format(f"sha256%3A{sha(b'hello')[7:]}")
    assert seen.header("Authorization") is not None


async def test_r15_a_mount_that_becomes_an_upload_elsewhere(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    basic_challenge(fake)
    wanted = described(LAYER)
    fake.on("HEAD", f"/v2/x/blobs/{wanted.digest}", Reply(404))
    uploads = "/v2/x/blobs/uploads/"
    fake.on("POST", uploads, Reply(202, {"Location": f"{other.url}/session"}), Reply(201))
    async with reference(fake, "x", system).destination(system, LOGIN) as destination:
        assert await destination.reuse_blob(wanted, ReuseHints("y")) is None
        assert await destination.reuse_blob(wanted, ReuseHints("y")) == wanted
    (seen,) = other.asked("DELETE", "/session")
    assert seen.header("Authorization") is None
    assert fake.asked("POST", uploads)[0].target.endswith(f"?from=y&mount=sha256%3A{wanted.digest[7:]}")


async def test_r16_the_password_goes_to_a_neighbour_realm(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    """A registry on loopback may name a token server on loopback; it gets the password, nobody else does."""
    bearer_challenge(fake, f"{other.url}/token")
    other.on("GET", "/token", Reply(body=b'{"access_token":"t0ken"}'))
    serve(fake)
    async with reference(fake, "x", system).source(system, LOGIN):
        pass
    (asked,) = other.asked("GET", "/token")
    assert asked.target == "/token?account=alice&scope=repository%3Ax%3Apull&service=s"
    assert asked.header("Authorization") == f"Basic {base64.b64encode(b'alice:s3cret').decode()}"
    (seen,) = fake.asked("GET", "/v2/x/manifests/latest")
    assert seen.header("Authorization") == BEARER


async def test_r16_r19_a_realm_in_a_network_of_others_is_not_connected_to(
    fake: FakeRegistry, system: System
) -> None:
    bearer_challenge(fake, "http://169.254.169.254/latest/meta-data")
    serve(fake)
    text = "the registry at 127.0.0.1 names a token server at 169.254.169.254 "
    with pytest.raises(AuthError, match=text) as caught:
        async with reference(fake, "x", system).source(system, LOGIN):
            pass
    assert caught.value.code == "other"


async def test_a_realm_that_redirects_there_is_refused_too(fake: FakeRegistry, system: System) -> None:
    bearer_challenge(fake)
    fake.on(
        "GET", "/token", Reply(302, {"Location": "http://169.254.169.254/x"}), Reply(body=b'{"token":"t"}')
    )
    serve(fake)
    with pytest.raises(AuthError, match=re.escape("names a token server at 169.254.169.254")):
        async with reference(fake, "x", system).source(system, LOGIN):
            pass
    async with reference(fake, "x", system).source(system, LOGIN):
        pass


@pytest.mark.parametrize(
    ("realm", "text"),
    [
        ("file:///etc/passwd", "bearer realm .* is neither http nor https"),
        ("gopher://127.0.0.1/", "bearer realm .* is neither http nor https"),
        ("http://", "bearer realm .* has no valid host"),
        ("http://a:b@127.0.0.1/", "bearer realm .* holds a user name or password"),
        ("http://127.0.0.1/" + "a" * 12_000, "bearer realm is longer than 8192 characters"),
        ("", "missing realm in bearer auth challenge"),
        (None, "missing realm in bearer auth challenge"),
    ],
)
async def test_r18_realms_that_are_none(
    fake: FakeRegistry, system: System, realm: str | None, text: str
) -> None:
    serve(fake)
    offer = "Bearer service=s" if realm is None else f'Bearer realm="{realm}"'
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": offer}))
    with pytest.raises(AuthError, match=text):
        async with reference(fake, "x", system).source(system, LOGIN):
            pass
    assert {seen.path for seen in fake.seen} == {"/v2/"}
    bearer_challenge(fake)
    async with reference(fake, "x", system).source(system, LOGIN):
        pass


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"token":"a\\r\\nX-Evil: 1"}', "a token of more than visible ASCII"),
        (b'{"token":"a b"}', "a token of more than visible ASCII"),
        ('{"token":"é"}'.encode(), "a token of more than visible ASCII"),
    ],
)
async def test_r24_tokens_that_would_break_the_header(
    fake: FakeRegistry, system: System, body: bytes, text: str
) -> None:
    serve(fake)
    bearer_challenge(fake, token=body)
    with pytest.raises(AuthError, match=text):
        async with reference(fake, "x", system).source(system, INSECURE):
            pass
    assert not fake.asked("GET", "/v2/x/manifests/latest")
    bearer_challenge(fake)
    async with reference(fake, "x", system).source(system, INSECURE):
        pass
    broken = ImageAccess(tls_verify=False, registry_token="a\r\nX-Evil: 1")
    with pytest.raises(InvalidError, match="the registry token holds more than visible ASCII characters"):
        async with reference(fake, "x", system).source(system, broken):
            pass


INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"


def untyped(raw: bytes) -> bytes:
    value = json.loads(raw)
    del value["mediaType"]
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("content_type", "raw", "text"),
    [
        (MANIFEST_TYPE, image(), None),
        (f"{MANIFEST_TYPE}; charset=utf-8", image(), None),
        (INDEX_TYPE, untyped(image()), "rejecting ambiguous manifest"),
        (INDEX_TYPE, image(), "rejecting ambiguous manifest"),
    ],
)
async def test_r48_r50_a_content_type_that_the_bytes_deny(
    fake: FakeRegistry, system: System, content_type: str, raw: bytes, text: str | None
) -> None:
    fake.manifest("x", "latest", raw, content_type)
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        top = Manifest.unchecked(await source.manifest())
    if text is None:
        assert manifest.parse_image(top.raw, top.media_type).config.digest == sha(CONFIG)
    else:
        with pytest.raises(CorruptError, match=text):
            manifest.parse(top.raw, top.media_type)


@pytest.mark.parametrize("content_type", ["text/html", "", "application/json"])
async def test_r51_no_manifest_type_leaves_it_to_the_bytes(
    fake: FakeRegistry, system: System, content_type: str
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    replies = [Reply(headers=headers, body=body) for body in (image(), b"<html>hello</html>")]
    fake.on("GET", "/v2/x/manifests/latest", *replies)
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        top = await source.manifest()
        assert manifest.parse_image(top.raw, top.media_type).config.digest == sha(CONFIG)
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        top = await source.manifest()
        with pytest.raises(CorruptError, match="manifest"):
            manifest.parse(top.raw, top.media_type)


async def test_r60_r63_a_manifest_of_another_digest(fake: FakeRegistry, system: System) -> None:
    wanted = serve(fake, LAYER)
    path = f"/v2/x/manifests/{wanted}"
    headers = {"Content-Type": MANIFEST_TYPE, "Docker-Content-Digest": wanted}
    good, bad = Reply(headers=headers, body=image(LAYER)), Reply(headers=headers, body=image())
    text = f"Manifest does not match provided manifest digest {wanted}"
    fake.on("GET", path, bad)
    with pytest.raises(CorruptError, match=text):
        async with reference(fake, f"x@{wanted}", system).source(system, INSECURE):
            pass
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        with pytest.raises(CorruptError, match=text):
            await source.manifest(Digest(wanted))
        fake.on("GET", path, good)
        assert (await source.manifest(Digest(wanted))).instance == wanted
    async with reference(fake, f"x@{wanted}", system).source(system, INSECURE):
        pass


async def test_r61_a_digest_header_is_not_believed(fake: FakeRegistry, system: System) -> None:
    headers = {"Content-Type": MANIFEST_TYPE, "Docker-Content-Digest": sha(b"something else")}
    fake.on("GET", "/v2/x/manifests/latest", Reply(headers=headers, body=image()))
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        assert sha((await source.manifest()).raw) == sha(image())


async def test_r62_a_tag_that_moves(fake: FakeRegistry, system: System) -> None:
    headers = {"Content-Type": MANIFEST_TYPE}
    moving = [Reply(headers=headers, body=body) for body in (image(), image(LAYER))]
    fake.on("GET", "/v2/x/manifests/latest", *moving)
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        for _ in range(2):
            assert (await source.manifest()).raw == image()
    assert len(fake.asked("GET", "/v2/x/manifests/latest")) == 1


async def test_r30_a_manifest_of_5_mib(fake: FakeRegistry, system: System) -> None:
    fake.manifest("x", "latest", b" " * (5 << 20))
    text = f"reading manifest body latest in {fake.name}/x: exceeded maximum allowed size of 4194304 bytes"
    with pytest.raises(LimitError, match=re.escape(text)):
        async with reference(fake, "x", system).source(system, INSECURE):
            pass
    fake.manifest("x", "latest", image() + b" " * ((4 << 20) - len(image())))
    async with reference(fake, "x", system).source(system, INSECURE):
        pass


async def test_r69_a_web_server_that_says_yes_to_everything(fake: FakeRegistry, system: System) -> None:
    path = "/v2/x/manifests/latest"
    raw = image()
    cases: list[tuple[Reply, str | None]] = [
        (
            Reply(200, reason="Fine"),
            "uploading manifest latest to .*/x: received unexpected HTTP status: 200 Fine",
        ),
        (Reply(201, {"Docker-Content-Digest": sha(b"other")}), "the registry says that it stored"),
        (Reply(302, {"Location": "/"}), "redirected with status 302"),
        (Reply(200, {"Docker-Content-Digest": sha(raw)}), None),
        (Reply(201), None),
    ]
    for reply, text in cases:
        fake.on("PUT", path, reply)
        async with reference(fake, "x", system).destination(system, INSECURE) as destination:
            await destination.put_manifest(raw, MANIFEST_TYPE)
            if text is None:
                await destination.commit()
            else:
                with pytest.raises(WherryError, match=text):
                    await destination.commit()
    assert all(seen.body == raw for seen in fake.asked("PUT", path))
    assert fake.asked("PUT", path)[0].header("Content-Type") == MANIFEST_TYPE


async def test_nothing_is_visible_without_commit(fake: FakeRegistry, system: System) -> None:
    accept_upload(fake, "/upload")
    async with reference(fake, "x", system).destination(system, INSECURE) as destination:
        await destination.put_blob(BytesBlob(LAYER), described(LAYER))
        await destination.put_manifest(image(LAYER), MANIFEST_TYPE)
        fake.on("PUT", f"/v2/x/manifests/{sha(image())}", Reply(201))
        await destination.put_manifest(image(), MANIFEST_TYPE, sha(image()))
    # An instance lies under its digest alone, as blobs do: no name leads to it yet.
    puts = [seen.path for seen in fake.seen if "manifests" in seen.path]
    assert puts == [f"/v2/x/manifests/{sha(image())}"]


async def test_instances_go_before_the_image(fake: FakeRegistry, system: System) -> None:
    for name in ("latest", sha(image()), sha(image(LAYER))):
        fake.on("PUT", f"/v2/x/manifests/{name}", Reply(201))
    async with reference(fake, "x", system).destination(system, INSECURE) as destination:
        await destination.put_manifest(b"{}", INDEX_TYPE)
        for raw in (image(), image(LAYER)):
            await destination.put_manifest(raw, MANIFEST_TYPE, sha(raw))
        await destination.commit()
    puts = [seen.path.rpartition("/")[2] for seen in fake.seen if seen.method == "PUT"]
    assert puts == [sha(image()), sha(image(LAYER)), "latest"]


async def test_a_blob_that_is_not_what_was_promised_is_no_part_of_an_image(
    fake: FakeRegistry, system: System
) -> None:
    accept_upload(fake, "/upload")
    async with reference(fake, "x", system).destination(system, INSECURE) as destination:
        for data in (b"hellO", b"hell", b"hello!"):
            with pytest.raises(CorruptError, match=r"expected|longer"):
                await destination.put_blob(BytesBlob(data), described(b"hello"))
        await destination.put_blob(BytesBlob(b"hello"), described(b"hello"))
    assert [seen.body for seen in fake.asked("PUT", "/upload")][-1] == b"hello"
    assert len(fake.asked("PUT", "/upload")) <= 3  # a short one never becomes a request


async def test_foreign_layers_are_fetched_without_credentials(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    """CVE-2020-15157; only http and https, the first that has it."""
    import msgspec

    basic_challenge(fake)
    serve(fake, LAYER)
    other.on("GET", "/layer", Reply(body=LAYER))
    urls = ("ftp://127.0.0.1/x", f"{other.url}/none", f"{other.url}/layer")
    wanted = msgspec.structs.replace(described(LAYER), urls=urls)
    async with reference(fake, "x", system).source(system, LOGIN) as source:
        async with source.blob(wanted) as blob:
            assert await read_all(blob, system.threads, 1 << 24, "layer") == LAYER
        assert not fake.asked("GET", f"/v2/x/blobs/{wanted.digest}")
        assert all(seen.header("Authorization") is None for seen in other.seen)
        nowhere = msgspec.structs.replace(wanted, urls=urls[:2])
        text = "failed fetching external blob from all urls: error fetching external blob from .* 404"
        with pytest.raises(RegistryError, match=text):
            async with source.blob(nowhere):
                pass
        with pytest.raises(NetworkError, match="the reader's own"):
            async with source.blob(wanted):
                raise NetworkError("the reader's own")
        fake.on("GET", "/layer", Reply(body=LAYER))
        own = msgspec.structs.replace(wanted, urls=(f"{fake.url}/layer",))
        async with source.blob(own) as blob:
            assert await read_all(blob, system.threads, 1 << 24, "layer") == LAYER
        assert fake.asked("GET", "/layer")[0].header("Authorization") is None
        unsupported = msgspec.structs.replace(wanted, urls=urls[:1])
        async with source.blob(unsupported) as blob:
            assert await read_all(blob, system.threads, 1 << 24, "layer") == LAYER


def test_the_fake_is_asked_what_it_was_told(fake: FakeRegistry) -> None:
    """The hostile server itself, read by the standard library."""
    import http.client

    fake.on("GET", "/a", Reply(body=b"one"), lambda seen: Reply(body=seen.target.encode()))
    connection = http.client.HTTPConnection(fake.host, fake.port)
    for path, body in (("/a", b"one"), ("/a?b=c", b"/a?b=c")):
        connection.request("GET", path)
        assert connection.getresponse().read() == body
    connection.close()
    assert [type(seen) for seen in fake.seen] == [Seen, Seen]
    assert hashlib.sha256(LAYER).hexdigest() == sha(LAYER)[7:]
