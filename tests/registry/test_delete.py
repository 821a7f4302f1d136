"""Deleting images and tags: requests, refusals, and what real registries make of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from tests.fakes.registry import FakeRegistry, Reply, error
from tests.peers.require import require_named, require_peer
from tests.peers.servers import running_cuelabs, running_registry
from wherry.errors import AuthError, CorruptError, LimitError, NotFoundError, RegistryError, WherryError
from wherry.interfaces import no_progress
from wherry.model import digest as digests
from wherry.model import mediatype
from wherry.model.name import Named
from wherry.protocol.options import ImageAccess
from wherry.registry import manifests
from wherry.registry.client import Registries, RegistryClient
from wherry.registry.deletion import delete_image, delete_tag
from wherry.registry.tags import list_tags
from wherry.registry.uploads import upload
from wherry.streams.blobs import BytesBlob
from wherry.system import System

CONFIG = b"{}"
RAW = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": {"mediaType": mediatype.OCI_CONFIG, "digest": digests.of(CONFIG), "size": len(CONFIG)},
        "layers": [],
    }
).encode()
DIGEST = digests.of(RAW)
OTHER = digests.of(b"another manifest")
MANIFESTS = "/v2/x/manifests"
INSECURE = ImageAccess(tls_verify=False)


@pytest.fixture
def impatient(system: System) -> System:
    """Whose pauses between tries are short."""
    return structs.replace(system, retries=structs.replace(system.retries, pause=0.01))


@pytest.fixture
async def client(fake: FakeRegistry, impatient: System) -> AsyncIterator[RegistryClient]:
    async with Registries(impatient) as registries:
        yield registries.client(fake.name, INSECURE)


def named(server: str, *, tag: str = "a", digest: digests.Digest | None = None) -> Named:
    return Named(server, "x", "" if digest else tag, digest)


def tagged(fake: FakeRegistry, tags: dict[str, str]) -> None:
    """Let the registry list tags, and say their digests."""
    fake.on("GET", "/v2/x/tags/list", Reply(body=json.dumps({"tags": list(tags)}).encode()))
    for tag, digest in tags.items():
        fake.on("HEAD", f"{MANIFESTS}/{tag}", Reply(headers={"Docker-Content-Digest": digest}))


async def test_the_digest_of_a_tag_is_deleted(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.manifest("x", "a", RAW)
    fake.on("DELETE", f"{MANIFESTS}/{DIGEST}", Reply(202))
    assert await delete_image(client, named(fake.name), "a") == DIGEST
    (asked,) = fake.asked("GET", f"{MANIFESTS}/a")
    assert asked.values("Accept") == list(mediatype.REQUESTED)
    assert [seen.method for seen in fake.seen if seen.path != "/v2/"] == ["GET", "DELETE"]


async def test_an_answer_that_is_lost_is_no_failure(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on("GET", f"{MANIFESTS}/a", Reply(503), Reply(body=RAW))
    lost = Reply(raw=b"", end="cut")
    fake.on("DELETE", f"{MANIFESTS}/{DIGEST}", lost, lost, Reply(503), error(404, "MANIFEST_UNKNOWN"))
    assert await delete_image(client, named(fake.name), "a") == DIGEST
    assert len(fake.asked("DELETE", f"{MANIFESTS}/{DIGEST}")) == 4


async def test_deleting_asks_for_all_actions(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="s"'}))
    fake.on("GET", "/token", Reply(body=b'{"token":"t"}'))
    fake.manifest("x", "a", RAW)
    fake.on("DELETE", f"{MANIFESTS}/{DIGEST}", Reply(202))
    await delete_image(client, named(fake.name), "a")
    (token,) = fake.asked("GET", "/token")
    assert token.target == "/token?scope=repository%3Ax%3A%2A&service=s"
    assert fake.asked("DELETE", f"{MANIFESTS}/{DIGEST}")[0].header("Authorization") == "Bearer t"


REFUSALS = [
    (
        Reply(404),
        None,
        NotFoundError,
        r"^Unable to delete .*/x:a\. Image may not exist or is not stored with a v2 Schema in a v2 registry$",
    ),
    (error(403, "DENIED"), None, AuthError, r"^deleting .*/x:a: denied$"),
    (error(500, "UNKNOWN"), None, RegistryError, r"^deleting .*/x:a: received unexpected HTTP status: 500"),
    (Reply(body=b"x" * (4 << 20 | 1)), None, LimitError, r"^deleting .*/x:a: exceeded maximum allowed size"),
    (Reply(body=RAW), error(405, "UNSUPPORTED"), RegistryError, r"^deleting .*/x:a: unsupported$"),
    (Reply(body=RAW), error(404, "MANIFEST_UNKNOWN"), NotFoundError, r"^deleting .*/x:a: manifest unknown$"),
    (Reply(body=RAW), Reply(200), RegistryError, r"^deleting .*/x:a: received unexpected HTTP status: 200"),
]


@pytest.mark.parametrize(("found", "deleted", "kind", "text"), REFUSALS, ids=[r[3][:60] for r in REFUSALS])
async def test_refusals(
    fake: FakeRegistry,
    client: RegistryClient,
    found: Reply,
    deleted: Reply | None,
    kind: type[WherryError],
    text: str,
) -> None:
    fake.on("GET", f"{MANIFESTS}/a", found)
    if deleted is not None:
        fake.on("DELETE", f"{MANIFESTS}/{DIGEST}", deleted)
    with pytest.raises(kind, match=text) as caught:
        await delete_image(client, named(fake.name), "a")
    # As skopeo: 2 only for the code that says that the manifest is not there.
    assert caught.value.exit_status == (2 if caught.value.errcode == "MANIFEST_UNKNOWN" else 1)
    assert bool(fake.asked("DELETE", f"{MANIFESTS}/{DIGEST}")) == (deleted is not None)


async def test_another_manifest_than_the_digest_s_is_not_deleted(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.on("GET", f"{MANIFESTS}/{OTHER}", Reply(body=RAW))
    with pytest.raises(CorruptError, match=f"Manifest does not match provided manifest digest {OTHER}"):
        await delete_image(client, named(fake.name, digest=OTHER), OTHER)
    assert not [seen for seen in fake.seen if seen.method == "DELETE"]


async def test_a_tag_alone(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.manifest("x", "a", RAW)
    fake.on("DELETE", f"{MANIFESTS}/a", Reply(202))
    assert await delete_tag(client, named(fake.name), "a") == DIGEST
    assert [seen.target for seen in fake.seen if seen.method == "DELETE"] == [f"{MANIFESTS}/a"]


NO_TAGS = (error(400, "UNSUPPORTED"), error(405, "UNSUPPORTED"), Reply(404), Reply(501))


@pytest.mark.parametrize("refusal", NO_TAGS, ids=lambda reply: str(reply.status))
async def test_a_shared_digest_is_not_deleted_in_place_of_a_tag(
    fake: FakeRegistry, client: RegistryClient, refusal: Reply
) -> None:
    fake.manifest("x", "a", RAW)
    fake.on("DELETE", f"{MANIFESTS}/a", refusal)
    tagged(fake, {"a": DIGEST, "b": DIGEST, "c": OTHER, "d": DIGEST})
    text = f"/x:a is not deleted: .* can't delete a tag alone, and the digest {DIGEST} is shared with the "
    with pytest.raises(RegistryError, match=f"{text}tags b, d$"):
        await delete_tag(client, named(fake.name), "a")
    assert not fake.asked("DELETE", f"{MANIFESTS}/{DIGEST}")


async def test_many_sharing_tags_are_told_in_short(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.manifest("x", "a", RAW)
    fake.on("DELETE", f"{MANIFESTS}/a", Reply(405))
    tagged(fake, dict.fromkeys(["a", *(f"t{number}" for number in range(30))], DIGEST))
    with pytest.raises(RegistryError, match=r"with the tags t0, t1, .*, t9 and 20 more$"):
        await delete_tag(client, named(fake.name), "a")


@pytest.mark.parametrize("digest_said", [True, False])
async def test_an_unshared_digest_is_deleted_in_place_of_its_tag(
    fake: FakeRegistry, client: RegistryClient, digest_said: bool
) -> None:
    fake.manifest("x", "a", RAW)
    fake.manifest("x", "c", RAW + b"\n")
    tagged(fake, {"a": DIGEST, "c": OTHER, "gone": OTHER})
    fake.on("HEAD", f"{MANIFESTS}/gone", Reply(404))
    if not digest_said:
        fake.on("HEAD", f"{MANIFESTS}/c", Reply())
    fake.on("DELETE", f"{MANIFESTS}/a", Reply(405))
    fake.on("DELETE", f"{MANIFESTS}/{DIGEST}", Reply(202))
    assert await delete_tag(client, named(fake.name), "a") == DIGEST
    assert len(fake.asked("DELETE", f"{MANIFESTS}/{DIGEST}")) == 1


@pytest.mark.parametrize(
    ("path", "reply", "text"),
    [
        ("/v2/x/tags/list", error(403, "DENIED"), f"^finding other tags of {DIGEST}: .*denied"),
        (
            f"{MANIFESTS}/b",
            Reply(500),
            f"^finding other tags of {DIGEST}: received unexpected HTTP status: 500",
        ),
    ],
)
async def test_where_sharing_can_t_be_known_nothing_is_deleted(
    fake: FakeRegistry, client: RegistryClient, path: str, reply: Reply, text: str
) -> None:
    fake.manifest("x", "a", RAW)
    tagged(fake, {"a": DIGEST, "b": OTHER})
    fake.on("DELETE", f"{MANIFESTS}/a", Reply(405))
    fake.on("GET" if path.endswith("list") else "HEAD", path, reply)
    with pytest.raises(WherryError, match=text):
        await delete_tag(client, named(fake.name), "a")
    assert not fake.asked("DELETE", f"{MANIFESTS}/{DIGEST}")


async def test_a_refusal_of_a_tag_s_deletion_is_final(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.manifest("x", "a", RAW)
    fake.on("DELETE", f"{MANIFESTS}/a", error(403, "DENIED"))
    with pytest.raises(AuthError, match=r"^deleting .*/x:a: denied$"):
        await delete_tag(client, named(fake.name), "a")
    assert not fake.asked("GET", "/v2/x/tags/list")


# --- real registries


@pytest.fixture(params=["docker-registry 2.8", "distribution 3", "cuelabs"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, bool]]:
    """A registry's name, and whether it deletes tags alone."""
    kind = str(request.param)
    if kind == "docker-registry 2.8":
        require_peer("docker-registry")
        with running_registry(tmp_path) as running:
            yield running.name, False
        return
    variable = {"distribution 3": "DISTRIBUTION_V3", "cuelabs": "CUELABS_REGISTRY"}[kind]
    program = require_named(variable)
    if kind == "cuelabs":
        with running_cuelabs(program) as running:
            yield running.name, True
        return
    with running_registry(tmp_path, program=program) as running:
        yield running.name, True


async def test_real_registries(peer: tuple[str, bool], system: System) -> None:
    name, deletes_tags = peer
    async with Registries(system) as registries:
        client = registries.client(name, INSECURE)
        repository = Named(name, "x")
        await upload(
            client,
            repository,
            BytesBlob(CONFIG),
            digest=digests.of(CONFIG),
            size=len(CONFIG),
            progress=no_progress,
        )
        for tag in ("a", "b", "c"):
            await manifests.put(client, repository, tag, RAW, mediatype.OCI_MANIFEST)
        if deletes_tags:
            await delete_tag(client, named(name), "a")
        else:
            with pytest.raises(RegistryError, match=r"is shared with the tags (b, c|c, b)$"):
                await delete_tag(client, named(name), "a")
            await delete_image(client, named(name), "a")
            await manifests.put(client, repository, "b", RAW, mediatype.OCI_MANIFEST)
            await manifests.put(client, repository, "c", RAW, mediatype.OCI_MANIFEST)
        assert set(await list_tags(client, repository)) == {"b", "c"}
        assert await delete_image(client, named(name, tag="b"), "b") == DIGEST
        for tag in ("b", "c"):
            with pytest.raises(NotFoundError, match=re.escape(f"Unable to delete {name}/x:{tag}. ")):
                await delete_image(client, named(name, tag=tag), tag)
    assert hashlib.sha256(RAW).hexdigest() == DIGEST[7:]
