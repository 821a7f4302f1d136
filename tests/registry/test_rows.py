"""Rows of hostile-cases.md that no other file here is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.registry import FakeRegistry, Reply
from tests.transports.docker_images import CONFIG, INSECURE, LAYER, described, fetch, image, reference, serve
from wherry.errors import CorruptError, InvalidError, WherryError
from wherry.image.open import Unchecked, open_image
from wherry.interfaces import Manifest
from wherry.model import mediatype, name
from wherry.model.descriptor import Descriptor
from wherry.model.manifest import parse
from wherry.system import System

MANIFEST = "/v2/x/manifests/latest"


@pytest.mark.parametrize("wrong", [len(LAYER) - 1, len(LAYER) + 1, 0])
async def test_r06_a_layer_of_another_size_than_its_descriptor_says(
    fake: FakeRegistry, system: System, tmp_path: Path, wrong: int
) -> None:
    serve(fake, LAYER)
    right = described(LAYER)
    with pytest.raises(CorruptError, match=rf"longer than {wrong} bytes|expected {wrong}, got {len(LAYER)}"):
        await fetch(fake, Descriptor(right.media_type, right.digest, wrong), system, tmp_path / "wrong")
    await fetch(fake, right, system, tmp_path / "right")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(200, body=b""), "manifest"),
        (Reply(204), "received unexpected HTTP status: 204"),
        (Reply(206, {"Content-Range": "bytes 0-1/2"}, b"{}"), "received unexpected HTTP status: 206"),
        (Reply(202, body=b"{}"), "received unexpected HTTP status: 202"),
    ],
)
async def test_r68_answers_that_hold_no_manifest(
    fake: FakeRegistry, system: System, reply: Reply, text: str
) -> None:
    fake.on("GET", MANIFEST, reply)

    async def manifest() -> bytes:
        async with reference(fake, "x", system).source(system, INSECURE) as source:
            given = Manifest.unchecked(await source.manifest())
            parse(given.raw, given.media_type)
            return given.raw

    with pytest.raises(WherryError, match=text) as caught:
        await manifest()
    assert caught.value.code == "other"
    serve(fake, LAYER)
    assert await manifest() == image(LAYER)


SCHEMA1 = {
    "schemaVersion": 1,
    "name": "x",
    "tag": "latest",
    "architecture": "amd64",
    "fsLayers": [{"blobSum": f"sha256:{'a' * 64}"}],
    "history": [{"v1Compatibility": json.dumps({"id": "b" * 64, "throwaway": False})}],
}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, None),
        ({"fsLayers": []}, "layer|history"),
        ({"history": []}, "history"),
        ({"history": [{"v1Compatibility": "{"}]}, "JSON|v1Compatibility"),
        ({"fsLayers": [{"blobSum": "sha256:../../x"}]}, "digest"),
    ],
)
async def test_r67_docker_schema_1(
    fake: FakeRegistry, system: System, changed: dict[str, object], text: str | None
) -> None:
    """A whole one can be looked at; the proxy has no OCI form of it, and says so."""
    raw = json.dumps(SCHEMA1 | changed).encode()
    fake.manifest("x", "latest", raw, mediatype.DOCKER_SCHEMA1)
    async with reference(fake, "x", system).source(system, INSECURE) as source:
        if text is not None:
            with pytest.raises(WherryError, match=text):
                await open_image(source, system, system.platform, Unchecked())
            return
        opened = await open_image(source, system, system.platform, Unchecked())
        legacy = (
            r"^unsupported legacy manifest MIME type: application/vnd\.docker\.distribution\.manifest\.v1"
        )
        with pytest.raises(InvalidError, match=legacy):
            await opened.oci_manifest()


@pytest.mark.parametrize(
    ("text", "domain", "path"),
    [
        ("//host:5000/a", "host:5000", "a"),
        ("//localhost/a", "localhost", "a"),
        ("//HOST.io/a", "HOST.io", "a"),
        ("//busybox", "docker.io", "library/busybox"),
        (f"//h.io/{'a' * 250}", "h.io", "a" * 250),
        (f"//h.io/{'a' * 251}", None, "more than 255 characters"),
        (f"//h.io/{'a' * 5000}", None, "more than 255 characters"),
        ("//user:pass@host/a", None, "invalid reference format"),
        ("//user@host/a", None, "invalid reference format"),
        ("//host:port/a", None, "invalid reference format"),
        ("//host:5000/A", None, "lowercase"),
        ("//LOCALHOST/a", None, "lowercase"),
        ("//../..:5000/x", None, "invalid reference format"),
        ("//höst.example/a", None, "invalid reference format"),
        ("//host/a b", None, "invalid reference format"),
        ("//host/a?x=y", None, "invalid reference format"),
        ("//host/a#b", None, "invalid reference format"),
        ("//host//a", None, "invalid reference format"),
        ("//[::1/a", None, "invalid reference format"),
        ("//::1/a", None, "invalid reference format"),
        ("//", None, "invalid reference format"),
        ("/host/a", None, "does not start with //"),
    ],
)
def test_r80_names_of_registries(text: str, domain: str | None, path: str) -> None:
    if domain is not None:
        named = name.parse_docker_transport(text).named
        assert (named.domain, named.path) == (domain, path)
    else:
        with pytest.raises(InvalidError, match=path):
            name.parse_docker_transport(text)


def test_the_fixtures_are_what_they_seem() -> None:
    assert parse(image(LAYER), mediatype.OCI_MANIFEST).config == described(
        CONFIG, "application/vnd.oci.image.config.v1+json"
    )
