"""docker: its names, real registries, and what skopeo says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import trio

from tests.fakes.registry import MANIFEST_TYPE, FakeRegistry, Reply, error
from tests.fakes.token_server import running_token_server
from tests.peers.require import require_peer
from tests.peers.servers import Registry, running_registry
from tests.transports.contract import ONE, Contract, Subject, blob_bytes, make_system, store
from tests.transports.docker_images import (
    INSECURE,
    LAYER_TYPE,
    LOGIN,
    bearer_challenge,
    described,
    reference,
    serve,
    sha,
)
from wherry.errors import (
    AuthError,
    ImageNotFoundError,
    InvalidError,
    NetworkError,
    NotFoundError,
    RegistryError,
    WherryError,
)
from wherry.interfaces import ListsTags, Manifest, ReuseHints
from wherry.model import manifest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import Credentials, ImageAccess
from wherry.registry.client import Registries
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import read_all
from wherry.system import System
from wherry.transports import docker

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


async def test_an_authfile_that_can_not_be_read(system: System) -> None:
    """tests/config/test_auth.py has the rest."""
    text = r'^getting username and password: reading JSON file "/dev/null": it is not a regular file$'
    with pytest.raises(InvalidError, match=text):
        async with docker.parse("//h.example/a", system).source(system, ImageAccess(authfile="/dev/null")):
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
        before = {seen.connection for seen in fake.seen}
        async with parsed.source(shared, LOGIN):
            pass
        assert len(before) == 1
        assert before.isdisjoint(seen.connection for seen in fake.asked("GET", "/token")[1:])
        assert fake.asked("GET", "/v2/x/manifests/latest")[-1].connection not in before
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
