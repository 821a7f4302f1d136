"""docker: against real registries, Debian's skopeo, and servers that misbehave."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.fakes.registry import MANIFEST_TYPE, FakeRegistry, Reply, Seen, error
from tests.fakes.token_server import running_token_server
from tests.peers.require import require_peer
from tests.peers.servers import Registry, running_registry
from tests.transports.contract import ONE, Contract, Subject, blob_bytes, make_system, store
from wherry.errors import (
    AuthError,
    CorruptError,
    ImageNotFoundError,
    InvalidError,
    LimitError,
    NetworkError,
    NotFoundError,
    NotYetError,
    RegistryError,
    WherryError,
)
from wherry.interfaces import ListsTags, Manifest, Reference, ReuseHints
from wherry.model import digest, manifest
from wherry.model.descriptor import Descriptor
from wherry.model.digest import Digest
from wherry.protocol.options import Credentials, ImageAccess, PlatformChoice
from wherry.registry.client import Registries
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import read_all
from wherry.streams.threads import DataThreads
from wherry.system import System
from wherry.transports import directory, docker

INSECURE = ImageAccess(tls_verify=False)
LOGIN = ImageAccess(tls_verify=False, credentials=Credentials("alice", "s3cret"))
BEARER = "Bearer t0ken"
LAYER = os.urandom(200_000)
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


@pytest.fixture
def system() -> System:
    return System(platform=PlatformChoice("linux", "amd64"), threads=DataThreads(), user_agent="tests/1")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    """Another port of the same host, hence another origin."""
    with FakeRegistry() as running:
        yield running


def sha(data: bytes) -> Digest:
    return digest.of(data)


def described(data: bytes, media_type: str = LAYER_TYPE) -> Descriptor:
    return Descriptor(media_type, sha(data), len(data))


def image(*layers: bytes) -> bytes:
    def entry(data: bytes, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "digest": sha(data), "size": len(data)}

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": entry(CONFIG, "application/vnd.oci.image.config.v1+json"),
            "layers": [entry(layer, LAYER_TYPE) for layer in layers],
        }
    ).encode()


def serve(fake: FakeRegistry, *layers: bytes) -> str:
    """Put an image with these layers at x:latest; returns its digest."""
    for data in (CONFIG, *layers):
        fake.on("GET", f"/v2/x/blobs/{sha(data)}", Reply(body=data))
    return fake.manifest("x", "latest", image(*layers))


def reference(fake: FakeRegistry, rest: str, system: System) -> Reference:
    return docker.parse(f"//{fake.name}/{rest}", system)


async def fetch(fake: FakeRegistry, wanted: Descriptor, system: System, into: Path, access=INSECURE) -> None:  # type: ignore[no-untyped-def]
    """Copy one blob of x:latest to a directory image, which verifies it."""
    target = directory.parse(str(into), system)
    async with (
        reference(fake, "x", system).source(system, access) as source,
        target.destination(system, ImageAccess()) as destination,
        source.blob(wanted) as blob,
    ):
        await destination.put_blob(blob, wanted)


def files_of(folder: Path, least: int) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= least]


def basic_challenge(fake: FakeRegistry) -> None:
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))


def bearer_challenge(fake: FakeRegistry, realm: str = "", token: bytes = b'{"token":"t0ken"}') -> None:
    realm = realm or f"{fake.url}/token"
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}))
    fake.on("GET", "/token", Reply(body=token))


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown", "canonical"),
    [
        ("//busybox", "docker://busybox:latest", "docker.io/library/busybox:latest"),
        ("//localhost:5000/a/b:c", "docker://localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("//quay.io/a@sha256:" + "a" * 64, "docker://quay.io/a@sha256:" + "a" * 64, None),
        ("//h.example/a@@unknown-digest@@", "docker://h.example/a@@unknown-digest@@", "h.example/a"),
    ],
)
def test_names(text: str, shown: str, canonical: str | None, system: System) -> None:
    parsed = docker.parse(text, system)
    assert str(parsed) == shown
    assert docker.parse(shown.removeprefix("docker:"), system) == parsed
    assert isinstance(parsed, ListsTags)
    if canonical is not None:
        assert parsed.docker_reference() == canonical


def test_policy_scopes(system: System) -> None:
    parsed = docker.parse("//r.example.com:5000/a/b:c", system)
    assert parsed.policy_identity() == "r.example.com:5000/a/b:c"
    assert tuple(parsed.policy_scopes()) == (
        "r.example.com:5000/a/b",
        "r.example.com:5000/a",
        "r.example.com:5000",
        "*.example.com",
        "*.com",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo", "docker: image reference foo does not start with //"),
        ("//a:b@sha256:" + "a" * 64, "Docker references with both a tag and digest are currently not supp"),
        ("//UPPER", "repository name must be lowercase"),
    ],
)
def test_names_that_are_none(text: str, message: str, system: System) -> None:
    with pytest.raises(InvalidError, match=re.escape(message)):
        docker.parse(text, system)


def test_naming_an_image_imports_no_http() -> None:
    script = (
        "import sys; from wherry.transports import docker; docker.parse('//a/b', None); "
        "print(sorted({'httpx', 'h11', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = json.loads(done.stdout.replace("'", '"'))
    assert "httpx" not in heavy
    assert "h11" not in heavy


async def test_an_image_that_is_pushed_by_digest_can_not_be_read(system: System) -> None:
    parsed = docker.parse("//h.example/a@@unknown-digest@@", system)
    with pytest.raises(
        InvalidError, match=r'reading images from docker: reference "//h.example/a@@unknown-dig'
    ):
        async with parsed.source(system, INSECURE):
            pass


async def test_an_authfile_is_not_built_yet(system: System) -> None:
    with pytest.raises(NotYetError, match="--authfile is not yet built"):
        async with docker.parse("//h.example/a", system).source(system, ImageAccess(authfile="/x")):
            pass


# --- real registries --------------------------------------------------------------------------------


def skopeo_run(*arguments: str) -> str:
    return subprocess.run(["skopeo", *arguments], check=True, capture_output=True, text=True).stdout


def access_to(registry: Registry) -> ImageAccess:
    if registry.cert_dir is None:
        return INSECURE
    return ImageAccess(
        credentials=Credentials(registry.username, registry.password), cert_dir=str(registry.cert_dir)
    )


def skopeo_flags(registry: Registry, side: str) -> list[str]:
    if registry.cert_dir is None:
        return [f"--{side}tls-verify=false"]
    return [f"--{side}creds={registry.creds}", f"--{side}cert-dir={registry.cert_dir}"]


@pytest.fixture(params=["http", "tls"])
def real(
    request: pytest.FixtureRequest, registry: Registry, tls_registry: Registry, skopeo: Path
) -> Registry:
    return registry if request.param == "http" else tls_registry


async def test_pulls_what_skopeo_pushed(real: Registry, images: Path, system: System) -> None:
    flags = skopeo_flags(real, "dest-")
    skopeo_run("copy", *flags, f"oci:{images}/l64", real.docker("pull/l64:a"))
    parsed = docker.parse(real.docker("pull/l64:a").removeprefix("docker:"), system)
    async with parsed.source(system, access_to(real)) as source:
        top = Manifest.unchecked(await source.manifest())
        parsed_manifest = manifest.parse_image(top.raw, top.media_type)
        assert len(parsed_manifest.layers) == 64
        got: dict[str, bytes] = {}

        async def take(wanted: Descriptor) -> None:
            async with source.blob(wanted) as blob:
                assert blob.size == wanted.size
                got[wanted.digest] = await read_all(blob, system.threads, 1 << 24, "layer")

        async with trio.open_nursery() as nursery:
            for layer in [parsed_manifest.config, *parsed_manifest.layers]:
                nursery.start_soon(take, layer)
        assert all(sha(data) == name for name, data in got.items())
        assert await source.manifest() is await source.manifest()
        assert not await source.signatures()


async def test_skopeo_reads_what_was_pushed(
    real: Registry, images: Path, system: System, tmp_path: Path
) -> None:
    raw, blobs = load(images / "one")
    target = docker.parse(real.docker("push/one:t").removeprefix("docker:"), system)
    async with target.destination(system, access_to(real)) as destination:
        for data in blobs:
            wanted = described(data)
            assert await destination.reuse_blob(wanted, ReuseHints()) is None
            assert await destination.put_blob(BytesBlob(data), wanted) == wanted
            assert await destination.reuse_blob(wanted, ReuseHints()) == wanted
        await destination.put_manifest(raw, MANIFEST_TYPE)
        with pytest.raises(NotFoundError, match=r"reading manifest t in .*push/one: manifest unknown"):
            async with target.source(system, access_to(real)):
                pass
        await destination.commit()
    skopeo_run("copy", *skopeo_flags(real, "src-"), real.docker("push/one:t"), f"dir:{tmp_path}/out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == raw
    assert await target.repository_tags(system, access_to(real)) == ["t"]


def written(folder: Path) -> bytes:
    return (folder / "manifest.json").read_bytes()


def load(layout: Path) -> tuple[bytes, list[bytes]]:
    """The manifest of a layout's one image, and its blobs, the config last."""
    entry = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]

    def blob(name: str) -> bytes:
        return (layout / "blobs" / name.replace(":", "/")).read_bytes()

    raw = blob(entry)
    value = json.loads(raw)
    return raw, [blob(entry["digest"]) for entry in [*value["layers"], value["config"]]]


async def test_blobs_of_unknown_size_or_digest(real: Registry, system: System) -> None:
    """A PATCH in chunks, whose digest is known at its end only."""
    target = docker.parse(real.docker("push/stream:t").removeprefix("docker:"), system)
    data = os.urandom(700_000)
    async with target.destination(system, access_to(real)) as destination:
        stored = await destination.put_blob(_Endless(data), None)
        assert (stored.digest, stored.size) == (sha(data), len(data))
        assert await destination.reuse_blob(stored, ReuseHints()) == stored
        empty = described(b"")
        assert await destination.put_blob(BytesBlob(b""), empty) == empty
        wanted = Descriptor(LAYER_TYPE, sha(b"abc"), -1)
        assert (await destination.put_blob(BytesBlob(b"abc"), wanted)).size == 3


class _Endless(BytesBlob):
    """A blob that does not say how long it is."""

    @property
    def size(self) -> None:  # type: ignore[override]
        return None


async def test_mounts_from_another_repository(real: Registry, system: System) -> None:
    data = os.urandom(5000)
    wanted = described(data)
    first = docker.parse(real.docker("mount/from:t").removeprefix("docker:"), system)
    async with first.destination(system, access_to(real)) as destination:
        await destination.put_blob(BytesBlob(data), wanted)
    second = docker.parse(real.docker("mount/to:t").removeprefix("docker:"), system)
    async with second.destination(system, access_to(real)) as destination:
        assert await destination.reuse_blob(wanted, ReuseHints("mount/nothing")) is None
        assert await destination.reuse_blob(wanted, ReuseHints("mount/from")) == wanted
        assert await destination.reuse_blob(wanted, ReuseHints()) == wanted


async def test_index_and_push_by_digest(real: Registry, images: Path, system: System) -> None:
    """Instances first; the index under the digest that is not known before."""
    raw, blobs = load(images / "one")
    entry = {"mediaType": MANIFEST_TYPE, "digest": sha(raw), "size": len(raw)}
    index_type = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": index_type, "manifests": [entry]}).encode()
    target = docker.parse(real.docker("push/index@@unknown-digest@@").removeprefix("docker:"), system)
    async with target.destination(system, access_to(real)) as destination:
        for data in blobs:
            await destination.put_blob(BytesBlob(data), described(data))
        await destination.put_manifest(raw, MANIFEST_TYPE, sha(raw))
        await destination.put_manifest(index, index_type)
        await destination.commit()
    found = docker.parse(real.docker(f"push/index@{sha(index)}").removeprefix("docker:"), system)
    async with found.source(system, access_to(real)) as source:
        assert (await source.manifest()).raw == index
        assert (await source.manifest(sha(raw))).raw == raw


async def test_a_bearer_token_server(skopeo: Path, images: Path, system: System, tmp_path: Path) -> None:
    require_peer("docker-registry")
    with running_token_server({"alice": "s3cret"}) as tokens:
        tokens.write_bundle(tmp_path / "bundle.pem")
        auth = {
            "token": {
                "realm": tokens.realm,
                "service": "registry",
                "issuer": tokens.issuer,
                "rootcertbundle": str(tmp_path / "bundle.pem"),
            }
        }
        with running_registry(tmp_path / "registry", auth=auth) as registry:
            login = ["--dest-tls-verify=false", "--dest-creds=alice:s3cret"]
            skopeo_run("copy", *login, f"oci:{images}/one", registry.docker("private/one:a"))
            tokens.asked.clear()
            parsed = docker.parse(f"//{registry.name}/private/one:a", system)
            async with parsed.source(system, LOGIN) as source:
                raw = (await source.manifest()).raw
                for layer in manifest.parse_image(raw, MANIFEST_TYPE).layers:
                    async with source.blob(layer) as blob:
                        assert sha(await read_all(blob, system.threads, 1 << 24, "layer")) == layer.digest
            assert tokens.asked == [
                {"account": ["alice"], "scope": ["repository:private/one:pull"], "service": ["registry"]}
            ]
            with pytest.raises(
                AuthError, match=r"reading manifest a in .*private/one: requested access to the resource"
            ):
                async with parsed.source(system, INSECURE):
                    pass
            wrong = ImageAccess(tls_verify=False, credentials=Credentials("alice", "wrong"))
            with pytest.raises(AuthError, match="unable to retrieve auth token: invalid username/password: "):
                async with parsed.source(system, wrong):
                    pass
            async with parsed.destination(system, LOGIN) as destination:
                await destination.put_blob(BytesBlob(b"abc"), described(b"abc"))


async def test_a_registry_without_the_password(tls_registry: Registry, system: System) -> None:
    parsed = docker.parse(tls_registry.docker("a/b").removeprefix("docker:"), system)
    with pytest.raises(AuthError, match=r"reading manifest latest in .*: authentication required") as caught:
        async with parsed.source(system, ImageAccess(cert_dir=str(tls_registry.cert_dir))):
            pass
    assert (caught.value.code, caught.value.http_status) == ("other", 401)


async def test_a_certificate_that_nobody_vouches_for(tls_registry: Registry, system: System) -> None:
    parsed = docker.parse(tls_registry.docker("a/b").removeprefix("docker:"), system)
    text = "pinging container registry localhost.*: Get .*: tls: failed to verify certificate: x509: "
    with pytest.raises(NetworkError, match=f"{text}certificate signed by unknown authority") as caught:
        async with parsed.source(system, ImageAccess()):
            pass
    assert caught.value.code == "other"
    login = Credentials(tls_registry.username, tls_registry.password)
    with pytest.raises(NotFoundError, match="reading manifest latest"):
        async with parsed.source(system, ImageAccess(tls_verify=False, credentials=login)):
            pass


async def test_connections_and_tokens_are_shared_where_the_owner_says_so(
    fake: FakeRegistry, system: System
) -> None:
    import msgspec

    bearer_challenge(fake)
    serve(fake)
    parsed = reference(fake, "x", system)
    async with Registries(system) as registries:
        shared = msgspec.structs.replace(system, registries=registries)
        for _ in range(3):
            async with parsed.source(shared, INSECURE):
                pass
        assert len(fake.asked("GET", "/v2/")) == len(fake.asked("GET", "/token")) == 1
        before = fake.connections
        async with parsed.source(shared, LOGIN):
            pass
        assert fake.connections > before  # another user, another connection
    assert len(fake.asked("GET", "/v2/")) == 2


class TestContract(Contract):
    @pytest.fixture
    def subject(self, real: Registry, tmp_path: Path) -> Subject:
        repository = f"contract/{uuid.uuid4().hex}"
        return Subject(make_system(tmp_path), real.docker(f"{repository}:tag"), access=access_to(real))

    async def test_contract_missing_blob(self, subject: Subject) -> None:
        """Its text is skopeo's, which does not name the blob."""
        await store(subject, ONE)
        async with subject.source() as source:
            with pytest.raises(NotFoundError, match=r"^fetching blob: blob unknown to registry$"):
                await blob_bytes(subject, source, described(b"missing"))


# --- what skopeo says ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("access", "scheme"), [(INSECURE, "http"), (ImageAccess(), "https")], ids=["http", "https"]
)
async def test_nobody_listens(access: ImageAccess, scheme: str, system: System) -> None:
    text = (
        "fetching manifest y in 127.0.0.1:1/x: pinging container registry 127.0.0.1:1: "
        f'Get "{scheme}://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    with pytest.raises(NetworkError, match=f"^{re.escape(text)}$") as caught:
        async with docker.parse("//127.0.0.1:1/x:y", system).source(system, access):
            pass
    assert caught.value.code == "retryable"


@pytest.mark.parametrize(
    ("reply", "kind", "code", "text"),
    [
        (error(404, "MANIFEST_UNKNOWN"), ImageNotFoundError, "other", "manifest unknown"),
        (
            error(404, "MANIFEST_UNKNOWN", "Unknown manifest"),
            ImageNotFoundError,
            "other",
            "manifest unknown: Unknown manifest",
        ),
        (error(404, "NAME_UNKNOWN"), NotFoundError, "other", "name unknown"),
        (Reply(404, body=b"<html>nothing"), NotFoundError, "other", 'StatusCode: 404, "<html>nothing"'),
        (Reply(404), NotFoundError, "other", 'StatusCode: 404, ""'),
        (
            Reply(404, body=b"0123456789" * 6),
            NotFoundError,
            "other",
            'StatusCode: 404, "' + "0123456789" * 5 + '..."',
        ),
        (Reply(401), AuthError, "other", "authentication required"),
        (error(403, "DENIED"), AuthError, "other", "denied"),
        (Reply(503, reason="Away"), RegistryError, "retryable", "received unexpected HTTP status: 503 Away"),
        (Reply(500, reason="Oh"), RegistryError, "other", "received unexpected HTTP status: 500 Oh"),
        (Reply(429, body=b"slow"), RegistryError, "retryable", 'StatusCode: 429, "slow"'),
        (Reply(204, reason="No"), RegistryError, "other", "received unexpected HTTP status: 204 No"),
    ],
)
async def test_a_manifest_that_is_refused(
    fake: FakeRegistry, system: System, reply: Reply, kind: type[WherryError], code: str, text: str
) -> None:
    fake.on("GET", "/v2/x/manifests/latest", reply)
    wanted = f"reading manifest latest in {fake.name}/x: {text}"
    with pytest.raises(WherryError, match=f"^{re.escape(wanted)}$") as caught:
        async with reference(fake, "x", system).source(system, INSECURE):
            pass
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.http_status == reply.status


async def test_a_blob_that_is_unknown_is_not_worth_another_try(fake: FakeRegistry, system: System) -> None:
    serve(fake)
    missing = described(b"missing")
    reply = Reply(404, body=b'{"errors":[{"code":"BLOB_UNKNOWN","message":"","detail":{"digest":"d"}}]}')
    fake.on("GET", f"/v2/x/blobs/{missing.digest}", reply)
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        with pytest.raises(NotFoundError, match=r"^fetching blob: blob unknown: $") as caught:
            async with source.blob(missing):
                pass
    assert caught.value.code == "other"


async def test_what_is_sent(fake: FakeRegistry, system: System) -> None:
    serve(fake)
    async with reference(fake, "x", system).source(system, INSECURE):
        pass
    (seen,) = fake.asked("GET", "/v2/x/manifests/latest")
    assert seen.values("Accept") == [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
    ]
    assert seen.header("User-Agent") == "tests/1"
    assert seen.header("Docker-Distribution-Api-Version") == "registry/2.0"
    assert seen.header("Host") == fake.name
    assert seen.header("Accept-Encoding") == "identity"
    assert {name for name, _ in seen.headers} == {
        *("Host", "Accept", "User-Agent", "Docker-Distribution-Api-Version", "Accept-Encoding")
    }


# --- hostile registries -------------------------------------------------------------------------------


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


def accept_upload(fake: FakeRegistry, location: str, *, at: FakeRegistry | None = None) -> None:
    """A session at `location`; the upload itself is taken at /upload of `at`."""
    headers = {"Location": location} if location else {}
    fake.on("POST", "/v2/x/blobs/uploads/", Reply(202, headers))
    (at or fake).on("PUT", "/upload", Reply(201))


async def push(fake: FakeRegistry, system: System, data: bytes = b"hello", access=LOGIN) -> None:  # type: ignore[no-untyped-def]
    async with reference(fake, "x", system).destination(system, access) as destination:
        await destination.put_blob(BytesBlob(data), described(data))


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
        await destination.put_manifest(image(), MANIFEST_TYPE, sha(image()))
    assert not [seen for seen in fake.seen if "manifests" in seen.path]


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
