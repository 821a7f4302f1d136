"""Manifests that a registry refuses, or says it took: other formats (K1), and --verify-push (R-69, R-70).

The texts are those of skopeo 1.22 for the same registry, but for the formats that wherry can't make yet.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_cli_run import EXAMPLES, Ended, wherry
from tests.fakes.registry import FakeRegistry, Reply, Seen, error
from tests.peers.servers import Registry

SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
UNSIGNED = "application/vnd.docker.distribution.manifest.v1+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = "/v2/x/manifests/t"
HELLO = f"oci:{EXAMPLES}/hello:latest"


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Store:
    """What a registry does with blobs and manifests: takes them, and has them from then on."""

    def __init__(self, fake: FakeRegistry, home: Path) -> None:
        self.fake = fake
        self.home = home
        self.lost: str | None = None
        fake.on("POST", "/v2/x/blobs/uploads/", Reply(202, {"Location": "/u"}))
        fake.on("PUT", "/u", self.take)

    def take(self, seen: Seen) -> Reply:
        digest = sha(seen.body)
        if digest != self.lost:
            self.fake.on("HEAD", f"/v2/x/blobs/{digest}", Reply(body=seen.body))
        return Reply(201)

    def manifest(self, *refused: str, code: str = "MANIFEST_INVALID", message: str = "") -> None:
        """Take manifests, but for those of a type among `refused`."""

        def put(seen: Seen) -> Reply:
            if seen.header("Content-Type") in refused:
                return error(400, code, message)
            digest = sha(seen.body)
            self.fake.on("HEAD", MANIFEST, Reply(headers={"Docker-Content-Digest": digest}))
            return Reply(201, {"Docker-Content-Digest": digest})

        self.fake.on("PUT", MANIFEST, put)

    def copy(self, source: str, *options: str) -> Ended:
        name = f"docker://{self.fake.name}/x:t"
        argv = ("copy", "--dest-tls-verify=false", *options, source, name)
        return wherry("--insecure-policy", *argv, cwd=self.home)

    @property
    def offered(self) -> list[str | None]:
        return [seen.header("Content-Type") for seen in self.fake.asked("PUT", MANIFEST)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with FakeRegistry() as fake:
        yield Store(fake, tmp_path)


def not_yet(source: str, wanted: str) -> str:
    return f"{wanted}(converting a manifest of type {source} to {wanted} is not yet built in wherry)"


@pytest.mark.parametrize(
    ("code", "message"),
    [("MANIFEST_INVALID", ""), ("TAG_INVALID", "x"), ("UNSUPPORTED", "Invalid JSON syntax here")],
)
def test_k1_schema2_becomes_oci(store: Store, images: Path, code: str, message: str) -> None:
    store.manifest(SCHEMA2, code=code, message=message)
    ended = store.copy(f"dir:{images}/s2dir")
    assert (ended.status, ended.stderr) == (0, "")
    assert store.offered == [SCHEMA2, OCI]
    taken = json.loads(store.fake.asked("PUT", MANIFEST)[1].body)
    config = taken["config"]["digest"]
    assert config in {sha(seen.body) for seen in store.fake.asked("PUT", "/u")}
    steps = ended.stdout.splitlines()
    assert steps[-4:] == [
        f"Copying config {json.loads(store.fake.asked('PUT', MANIFEST)[0].body)['config']['digest']}",
        "Writing manifest to image destination",
        f"Copying config {config}",
        "Writing manifest to image destination",
    ]


def test_k1_no_format_is_left(store: Store, images: Path) -> None:
    store.manifest(SCHEMA2, OCI)
    refusal = f"writing manifest: uploading manifest t to {store.fake.name}/x: manifest invalid"
    ended = store.copy(f"dir:{images}/s2dir", "-q")
    assert ended.status == 1
    assert ended.error == (
        "Uploading manifest failed, attempted the following formats: "
        f"{SCHEMA2}({refusal}), {not_yet(SCHEMA2, SCHEMA1)}, {OCI}({refusal}), {not_yet(SCHEMA2, UNSIGNED)}"
    )
    assert store.offered == [SCHEMA2, OCI]


def test_k1_formats_that_can_t_be_made_yet_are_named(store: Store) -> None:
    store.manifest(OCI)
    ended = store.copy(HELLO, "-q")
    assert ended.status == 1
    listed = ", ".join(not_yet(OCI, wanted) for wanted in (SCHEMA2, SCHEMA1, UNSIGNED))
    assert ended.error == (
        "Uploading manifest failed, attempted the following formats: "
        f"{OCI}(writing manifest: uploading manifest t to {store.fake.name}/x: manifest invalid), {listed}"
    )


@pytest.mark.parametrize(
    ("options", "code", "message", "text"),
    [
        ((), "UNSUPPORTED", "no", "unsupported: no"),
        ((), "DENIED", "", "denied"),
        (("--preserve-digests",), "MANIFEST_INVALID", "", "manifest invalid"),
        (("--format=v2s2",), "MANIFEST_INVALID", "", "manifest invalid"),
    ],
)
def test_k1_other_refusals_are_final(
    store: Store, images: Path, options: tuple[str, ...], code: str, message: str, text: str
) -> None:
    store.manifest(SCHEMA2, code=code, message=message)
    ended = store.copy(f"dir:{images}/s2dir", "-q", *options)
    assert ended.error == f"writing manifest: uploading manifest t to {store.fake.name}/x: {text}"
    assert store.offered == [SCHEMA2]


def test_k1_an_instance_in_another_format_changes_its_list(
    store: Store, images: Path, tmp_path: Path
) -> None:
    """An instance is refused while the list is still open, so the list names what was written instead."""
    folder = tmp_path / "list"
    shutil.copytree(images / "s2dir", folder)
    raw = (folder / "manifest.json").read_bytes()
    (folder / f"{sha(raw)[7:]}.manifest.json").write_bytes(raw)
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"mediaType": SCHEMA2, "digest": sha(raw), "size": len(raw), "platform": platform}
    listing = {"schemaVersion": 2, "mediaType": LIST, "manifests": [entry]}
    (folder / "manifest.json").write_text(json.dumps(listing))
    converted = json.loads(wherry_oci(images, tmp_path))["manifests"][0]["digest"]
    store.manifest()
    store.fake.on("PUT", f"/v2/x/manifests/{sha(raw)}", error(400, "MANIFEST_INVALID"))
    store.fake.on("PUT", f"/v2/x/manifests/{converted}", Reply(201))
    ended = store.copy(f"dir:{folder}", "-q", "--all")
    assert (ended.status, ended.stderr) == (0, "")
    (written,) = json.loads(store.fake.asked("PUT", MANIFEST)[0].body)["manifests"]
    assert (written["digest"], written["mediaType"]) == (converted, OCI)


def wherry_oci(images: Path, tmp_path: Path) -> bytes:
    """index.json of the image in OCI form."""
    wherry("--insecure-policy", "copy", "-q", f"dir:{images}/s2dir", f"oci:{tmp_path}/oci:x")
    return (tmp_path / "oci" / "index.json").read_bytes()


def test_r69_a_web_server_is_no_registry(store: Store) -> None:
    store.fake.on("PUT", MANIFEST, Reply(200))
    ended = store.copy(HELLO, "-q")
    assert ended.status == 1
    assert "writing manifest: uploading manifest t to " in ended.error
    assert (
        "received unexpected HTTP status: 200 OK, and no Docker-Content-Digest says what was stored"
        in ended.error
    )


def test_r70_a_lost_blob_is_noticed_before_the_manifest(store: Store) -> None:
    store.manifest()
    layers = [path for path in (EXAMPLES / "hello" / "blobs" / "sha256").iterdir()]
    store.lost = (
        f"sha256:{min(path.name for path in layers if path.read_bytes()[:2] == bytes.fromhex('1f8b'))}"
    )
    ended = store.copy(HELLO, "-q", "--verify-push")
    assert ended.status == 1
    assert ended.error == (
        f"writing manifest: verifying the push: {store.fake.name} took blob {store.lost} and has it no more "
        f"in {store.fake.name}/x"
    )
    assert not store.offered, "no tag for an image that is not there"
    assert store.copy(HELLO, "-q").status == 0, "without the flag nobody asks"


def test_r70_a_blob_of_another_size_is_noticed(store: Store) -> None:
    store.manifest()
    store.fake.on("PUT", "/u", lambda seen: short(store.fake, seen))
    ended = store.copy(HELLO, "-q", "--verify-push")
    assert "verifying the push" in ended.error
    assert " has 1 bytes of blob sha256:" in ended.error


def short(fake: FakeRegistry, seen: Seen) -> Reply:
    fake.on("HEAD", f"/v2/x/blobs/{sha(seen.body)}", Reply(body=b"x"))
    return Reply(201)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (error(404, "MANIFEST_UNKNOWN"), "StatusCode: 404"),
        (
            Reply(headers={"Docker-Content-Digest": sha(b"another")}),
            f'the registry says that it stored "{sha(b"another")}", not sha256:',
        ),
    ],
)
def test_r69_another_manifest_under_the_tag_is_noticed(store: Store, answer: Reply, text: str) -> None:
    def put(_: Seen) -> Reply:
        store.fake.on("HEAD", MANIFEST, answer)
        return Reply(201)

    store.fake.on("PUT", MANIFEST, put)
    ended = store.copy(HELLO, "-q", "--verify-push")
    assert ended.status in (1, 2)
    assert f"verifying the push of manifest t to {store.fake.name}/x: " in ended.error
    assert text in ended.error or "manifest unknown" in ended.error


def test_r69_a_registry_that_says_no_digest_is_asked_for_the_bytes(store: Store) -> None:
    def put(seen: Seen) -> Reply:
        store.fake.on("HEAD", MANIFEST, Reply())
        store.fake.on("GET", MANIFEST, Reply(body=seen.body), Reply(body=seen.body + b" "))
        return Reply(201)

    store.fake.on("PUT", MANIFEST, put)
    assert store.copy(HELLO, "-q", "--verify-push").status == 0
    store.fake.on("PUT", MANIFEST, lambda _: Reply(201))
    ended = store.copy(HELLO, "-q", "--verify-push")
    assert "the registry has sha256:" in ended.error


def test_r70_verified_pushes_to_a_real_registry(registry: Registry, images: Path, tmp_path: Path) -> None:
    for source in (HELLO, f"dir:{images}/s2dir"):
        name = registry.docker("verify/push:t")
        argv = ("copy", "-q", "--verify-push", "--dest-tls-verify=false", source, name)
        ended = wherry("--insecure-policy", *argv, cwd=tmp_path)
        assert ended == (0, "", "")


def test_verify_push_needs_a_registry(tmp_path: Path) -> None:
    ended = wherry("--insecure-policy", "copy", "--verify-push", HELLO, f"dir:{tmp_path}/d")
    assert ended.error == "what is written to dir: can't be verified by asking a registry"
