"""The blocking client: what it verifies, how it fails, and that it needs no wherry at the other end."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import build
from tests.server.harness import ROOT, Stored, layout_of, serve_image, stored
from wherry.errors import (
    CorruptError,
    ImageNotFoundError,
    InvalidError,
    NotFoundError,
    PolicyError,
    ProxyGoneError,
    WherryError,
)
from wherry.protocol import fdpass, messages
from wherry.protocol.messages import BlobOptions, CopyOptions, InspectOptions, OpenOptions, PolicyOptions
from wherry.protocol.options import ImageAccess, PlatformChoice
from wherry_client import Client

from tests.fakes.registry import FakeRegistry, Reply, error  # isort: skip

LARGE = bytes(range(256)) * 12288
SERVER = [sys.executable, "-m", "wherry_cli", "--insecure-policy", "experimental-image-proxy"]
TRUST = CopyOptions(policy=PolicyOptions(insecure=True))
PLAIN_HTTP = ImageAccess(tls_verify=False)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return layout_of(tmp_path_factory.mktemp("large") / "image", b"small", LARGE)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client.spawn(SERVER) as spawned:
        yield spawned


def server_pid(client: Client) -> int:
    """The process behind a spawned client; tests end it, applications have no business to."""
    process = client._process
    assert process is not None
    return process.pid


def test_the_installation_s_own_proxy_is_the_default(images: Path) -> None:
    with Client.spawn() as client:
        assert client.hello is not None
        assert client.hello.protocol == 1
        assert client.inspect(f"oci:{images}/one").digest == stored(images / "one").digest


def test_an_image_is_what_its_files_say(client: Client, images: Path) -> None:
    image = stored(images / "two")
    with client.open_image(f"oci:{images}/two") as opened:
        assert opened.manifest() == (image.digest, image.raw)
        assert opened.raw_manifest() == (image.digest, image.raw)
        assert opened.raw_config() == (image.config["digest"], image.blob(image.config["digest"]))
        assert json.loads(opened.config())["architecture"] == "amd64"
        layers = opened.layers()
        assert [(item.digest, item.size, item.media_type) for item in layers] == [
            (item["digest"], item["size"], item["mediaType"]) for item in image.layers
        ]
        for layer in layers:
            for size in (layer.size, -1):
                with opened.blob(layer.digest, size) as stream:
                    assert stream.read() == image.blob(layer.digest)
    with pytest.raises(InvalidError, match=r"\Ano image 1\Z"):
        opened.manifest()


def test_documents_larger_than_a_pipe(client: Client, images: Path) -> None:
    image = stored(images / "l3000")
    with client.open_image(f"oci:{images}/l3000") as opened:
        assert opened.manifest() == (image.digest, image.raw)
        assert len(opened.layers()) == 3000
    view = InspectOptions(view="manifest")
    assert client.document(messages.Inspect(f"oci:{images}/l3000", view)) == image.raw


def test_a_large_blob_is_read_in_pieces(client: Client, large: Stored) -> None:
    layer = large.layers[1]
    with client.open_image(f"oci:{large.path}") as opened:
        with opened.blob(layer["digest"], layer["size"]) as stream:
            pieces = []
            while piece := stream.read(100_001):
                pieces.append(piece)
            assert stream.read() == b"", "the end stays the end"
        assert b"".join(pieces) == LARGE


def test_a_corrupt_blob_never_ends_well(client: Client, tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"as it was")
    digest = image.layers[0]["digest"]
    rows: list[tuple[bytes, int, str]] = [
        (b"as it is.", 9, rf"\Aexpected blob {digest}, got sha256:"),
        (b"as it is.", -1, rf"\Aexpected blob {digest}, got sha256:"),
        (b"as it was, and more", 9, r"\Aexpected 9 bytes in blob sha256:.*, got more\Z"),
        (b"as it", 9, r"\Aexpected 9 bytes in blob, got 5\Z"),
    ]
    with client.open_image(f"oci:{image.path}") as opened:
        for content, size, text in rows:
            image.file(digest).write_bytes(content)
            with opened.blob(digest, size) as stream, pytest.raises(CorruptError, match=text):
                stream.read()
        image.file(digest).write_bytes(b"as it was")
        with opened.blob(digest, 9) as stream:
            assert stream.read() == b"as it was"


def test_a_proxy_that_dies_is_never_taken_for_an_end(large: Stored) -> None:
    with Client.spawn(SERVER) as client:
        opened = client.open_image(f"oci:{large.path}")
        with opened.blob(large.layers[1]["digest"], len(LARGE)) as stream:
            assert stream.read(1000) == LARGE[:1000]
            os.kill(server_pid(client), signal.SIGKILL)
            with pytest.raises(ProxyGoneError, match=r"\Athe proxy ended in the middle of a blob\Z"):
                stream.read()
        with pytest.raises(ProxyGoneError, match="the proxy "):
            client.open_image(f"oci:{large.path}")


def test_a_proxy_that_is_told_to_end_says_so(large: Stored) -> None:
    with Client.spawn(SERVER) as client:
        opened = client.open_image(f"oci:{large.path}")
        with opened.blob(large.layers[1]["digest"]) as stream:
            stream.read(1)
            os.kill(server_pid(client), signal.SIGTERM)
            with pytest.raises(WherryError, match="proxy terminated") as caught:
                stream.read()
            assert caught.value.retryable


def test_closing_a_blob_early_stops_it(client: Client, large: Stored) -> None:
    with client.open_image(f"oci:{large.path}") as opened:
        for _ in range(3):
            with opened.blob(large.layers[1]["digest"]) as stream:
                stream.read(10)
        with opened.blob(large.layers[0]["digest"], 5) as stream:
            assert stream.read() == b"small"


def test_errors_have_types(client: Client, images: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError, match="no descriptor found for reference") as missing:
        client.open_image(f"oci:{images}/one:nope")
    assert missing.value.exit_status == 2
    with pytest.raises(NotFoundError, match="no such file or directory") as absent:
        client.open_image(f"oci:{tmp_path}/nope")
    assert absent.value.exit_status == 1
    with pytest.raises(InvalidError, match="unknown transport"):
        client.open_image("nosuch:foo")
    with pytest.raises(InvalidError, match="invalid checksum digest"):
        client.open_image(f"oci:{images}/one").blob("sha256:x")
    assert client.open_image_optional(f"oci:{images}/one:nope") is None
    found = client.open_image_optional(f"oci:{images}/one")
    assert found is not None
    assert found.manifest()[0] == stored(images / "one").digest


def test_a_registry_s_errors_keep_their_details(client: Client) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/x/manifests/latest", error(403, "DENIED", "not for you"))
        fake.on("GET", "/v2/y/manifests/latest", error(404, "MANIFEST_UNKNOWN", "manifest unknown"))
        options = OpenOptions(access=PLAIN_HTTP)
        with pytest.raises(WherryError, match="not for you") as denied:
            client.open_image(f"docker://{fake.name}/x", options)
        assert (denied.value.http_status, denied.value.retryable) == (403, False)
        with pytest.raises(ImageNotFoundError, match="manifest unknown"):
            client.open_image(f"docker://{fake.name}/y", options)


def test_a_policy_that_says_no(images: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"default":[{"type":"reject"}]}')
    command = [*SERVER[:3], "--policy", str(policy), SERVER[-1]]
    with Client.spawn(command) as client:
        with pytest.raises(PolicyError, match="is rejected by policy"):
            client.open_image(f"oci:{images}/one")
        assert client.inspect(f"oci:{images}/one").digest, "inspect asks no policy, as skopeo's does not"


def test_a_platform_of_one_s_own(client: Client, images: Path) -> None:
    arm = OpenOptions(platform=PlatformChoice(os="linux", architecture="arm64"))
    with client.open_image(f"oci:{images}/multi", arm) as opened:
        assert json.loads(opened.config())["architecture"] == "arm64"


def test_inspect_copy_and_tags(client: Client, images: Path, tmp_path: Path) -> None:
    image = stored(images / "two")
    steps: list[str] = []
    result = client.copy(
        f"oci:{images}/two", f"oci:{tmp_path}/copied:t", TRUST, lambda step: steps.append(step.name)
    )
    assert (result.digest, result.media_type) == (image.digest, build.OCI_MANIFEST)
    assert result.manifest.encode() == image.raw
    assert {"blob", "config", "manifest"} <= set(steps)
    seen = client.inspect(f"oci:{tmp_path}/copied:t")
    assert (seen.digest, seen.layers) == (image.digest, tuple(item["digest"] for item in image.layers))
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/x/tags/list", Reply(body=b'{"name":"x","tags":["b","a"]}'))
        options = messages.TagsOptions(access=PLAIN_HTTP)
        assert client.list_tags(f"docker://{fake.name}/x", options).tags == ("b", "a")


def test_an_exception_of_the_caller_s_leaves_the_connection_in_order(
    client: Client, images: Path, tmp_path: Path
) -> None:
    def refuse(step: messages.Step) -> None:
        raise KeyError(step.name)

    for _ in range(2):
        with pytest.raises(KeyError, match=r"signatures|blob|manifest|config"):
            client.copy(f"oci:{images}/two", f"oci:{tmp_path}/copied:t", TRUST, refuse)
    result = client.copy(f"oci:{images}/two", f"oci:{tmp_path}/copied:t", TRUST)
    assert result.digest == stored(images / "two").digest
    assert client.inspect(f"oci:{images}/one").digest == stored(images / "one").digest


# At the other end: a legacy server, a liar, nobody


def test_skopeo_s_own_proxy(skopeo_ref: Path, images: Path) -> None:
    image = stored(images / "two")
    with Client.spawn([str(skopeo_ref), "--insecure-policy", "experimental-image-proxy"]) as client:
        assert client.hello is None
        with client.open_image(f"oci:{images}/two") as opened:
            assert opened.manifest() == (image.digest, image.raw)
            assert json.loads(opened.config())["architecture"] == "amd64"
            for layer in opened.layers():
                with opened.blob(layer.digest, layer.size) as stream:
                    assert stream.read() == image.blob(layer.digest)
        with pytest.raises(WherryError, match=r"\Aunknown method: Inspect\Z"):
            client.inspect(f"oci:{images}/two")
        with pytest.raises(WherryError, match="no descriptor found"):
            client.open_image(f"oci:{images}/two:nope")
        assert client.open_image_optional(f"oci:{images}/two:nope") is None


LEGACY_ONLY = f"""
import sys
sys.path[:0] = {[str(ROOT / "proxy")]!r}
import socket
from wherry.protocol import fdpass
sock = socket.socket(fileno=0)
while data := sock.recv(32768):
    if b"Hello" in data:
        sock.send(b'{{"success":false,"error_code":"other","error":"unknown method: Hello"}}')
    elif b"Initialize" in data:
        sock.send(b'{{"success":true,"value":"0.2.8","pipeid":0,"error_code":"","error":""}}')
    else:
        sock.send(b'{{"success":true,"value":9,"pipeid":0,"error_code":"","error":""}}')
"""


def test_a_server_without_hello_is_spoken_to_in_the_legacy_protocol() -> None:
    with Client.spawn([sys.executable, "-c", LEGACY_ONLY]) as client:
        assert client.hello is None
        assert client.open_image("oci:x").handle == 9


LIES = {
    "no JSON": b"hello",
    "another id": b'{"success":true,"value":1,"pipeid":0,"error_code":"","error":"","id":99}',
    "a value of another type": b'{"success":true,"value":"x","pipeid":0,"error_code":"","error":"","id":2}',
    "no value": b'{"success":true,"id":2}',
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES.keys())
def test_a_proxy_that_talks_nonsense(answer: bytes) -> None:
    code = LEGACY_ONLY.split("while")[0] + (
        "sock.recv(32768); sock.send(b'"
        '{"success":true,"id":1,"value":{"protocol":1,"server":"x","legacy":"0.2.8","methods":[],"limits":{}}}'
        f"')\nsock.recv(32768)\nsock.send({answer!r})\nsock.recv(1)"
    )
    with (
        Client.spawn([sys.executable, "-c", code]) as client,
        pytest.raises(ProxyGoneError, match="the proxy"),
    ):
        client.open_image("oci:x")


def test_a_blob_that_ends_too_early_without_a_word() -> None:
    """EOF alone is no success, whatever the reply promised."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wanted = build.digest(b"whole")
    with ours, theirs:
        client = Client(ours)
        data, status = os.pipe(), os.pipe()
        os.write(data[1], b"who")
        fds = (data[0], status[0])
        reply = b'{"success":true,"value":5,"pipeid":0,"error_code":"","error":"","id":1}'
        fdpass.send(theirs, reply, fds)
        response = client.call(messages.OpenBlob(1, wanted, BlobOptions()), extended=True)
        for fd in (*fds, data[1], status[1]):
            os.close(fd)
        from wherry_client._blob import Verifier
        from wherry_client._sync import BlobStream

        with BlobStream(response.fds, Verifier(wanted, 5), tracked=True) as stream:
            assert stream.read(3) == b"who"
            with pytest.raises(ProxyGoneError, match="ended in the middle"):
                stream.read()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ProxyGoneError, match="No such file"):
        Client.spawn([str(tmp_path / "nope")])
    with pytest.raises(ProxyGoneError, match="connecting to"):
        Client.connect(tmp_path / "nope")
    with pytest.raises(ProxyGoneError, match="the proxy"), Client.spawn(["/bin/true"]):
        pass


def test_a_registry_s_image(client: Client, images: Path) -> None:
    image = stored(images / "one")
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image)
        with client.open_image(name, OpenOptions(access=PLAIN_HTTP)) as opened:
            for layer in opened.layers():
                with opened.blob(layer.digest, layer.size) as stream:
                    assert stream.read() == image.blob(layer.digest)
