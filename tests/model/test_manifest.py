"""Manifests of every kind: what is read from them, their digests, artifacts, guessing of types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.model.indexes import FIXTURES
from tests.model.manifests import descriptor, docker_list, dumps, oci, schema1, schema2
from wherry.errors import CorruptError, InvalidError, NotYetError
from wherry.model import manifest, mediatype
from wherry.model.digest import of
from wherry.model.platforms import Platform

EMPTY = descriptor(b"{}", mediatype.OCI_EMPTY)


def fixture(name: str) -> bytes:
    path = FIXTURES / name
    if not path.exists():
        pytest.skip("../shared/fixtures is not there")
    return path.read_bytes()


def test_an_image_keeps_its_bytes_and_members() -> None:
    layer = descriptor(urls=["https://x/y"], annotations={"k": "v"}, data="e30=", unknown=1)
    raw = dumps(oci(layers=[layer], annotations={"a": "b"}, subject=descriptor(), extra={"x": 1}))
    parsed = manifest.parse_image(raw, mediatype.OCI_MANIFEST)
    assert parsed.raw == raw
    assert parsed.annotations == {"a": "b"}
    assert parsed.layers[0].urls == ("https://x/y",)
    assert parsed.layers[0].annotation("k") == "v"
    assert parsed.image_config() == parsed.config


def test_lists_that_go_wrote_as_null() -> None:
    parsed = manifest.parse_image(dumps(oci(layers=None, annotations=None)), "")
    assert (parsed.layers, parsed.annotations) == ((), {})


@pytest.mark.parametrize(
    ("config", "artifact_type", "text"),
    [
        (
            descriptor(media_type="application/x"),
            "",
            'unsupported image-specific operation on artifact with type "application/x"',
        ),
        (
            EMPTY,
            "application/y",
            'unsupported image-specific operation on artifact with type "application/y"',
        ),
        (
            descriptor(media_type=mediatype.DOCKER_CONFIG),
            "",
            f'invalid mixed OCI image with Docker v2s2 config ("{mediatype.DOCKER_CONFIG}")',
        ),
    ],
)
def test_i10_artifacts_are_read_but_are_no_images(config: object, artifact_type: str, text: str) -> None:
    parsed = manifest.parse_image(dumps(oci(config=config, artifactType=artifact_type)), "")
    assert not parsed.is_image
    with pytest.raises(InvalidError, match=r"^(unsupported image-specific|invalid mixed)") as caught:
        parsed.image_config()
    assert str(caught.value) == text


def test_schema2_knows_its_types_only() -> None:
    odd = dumps(schema2(layers=[descriptor(media_type=mediatype.OCI_LAYER)]))
    with pytest.raises(
        CorruptError,
        match=f'^unsupported docker v2s2 media type: "{mediatype.OCI_LAYER}"$'.replace("+", r"\+"),
    ):
        manifest.parse(odd, mediatype.DOCKER_SCHEMA2)
    bare = dumps(schema2(mediaType=None))
    with pytest.raises(CorruptError, match=r'^unsupported docker v2s2 media type: ""$'):
        manifest.parse(bare, mediatype.DOCKER_SCHEMA2)


def test_the_platforms_of_a_list() -> None:
    full = {"os": "windows", "architecture": "arm", "variant": "v7", "os.version": "10", "os.features": ["w"]}
    entries = [descriptor(b"m", mediatype.DOCKER_SCHEMA2, platform=full), descriptor(b"n")]
    parsed = manifest.parse_index(dumps(docker_list(manifests=entries)), "")
    assert parsed.instances[0].platform == Platform("windows", "arm", "v7", "10", ("w",))
    assert parsed.instances[1].platform == Platform()  # Docker's lists have no entries without one
    bare = manifest.parse_index(
        dumps(docker_list(manifests=entries) | {"mediaType": mediatype.OCI_INDEX}), ""
    )
    assert bare.instances[1].platform is None


def schema1_of(*entries: tuple[str, str, str, bool]) -> bytes:
    """Newest first: blob, id, parent, throwaway."""
    history = [
        {"v1Compatibility": json.dumps({"id": identity, "parent": parent, "throwaway": throwaway})}
        for _, identity, parent, throwaway in entries
    ]
    blobs = [{"blobSum": of(blob.encode())} for blob, *_ in entries]
    return dumps(schema1(fsLayers=blobs, history=history))


A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_i11_schema1_lists_its_layers_base_first_without_sizes() -> None:
    parsed = manifest.parse_image(schema1_of(("2", B, A, True), ("1", A, "", False)), "")
    assert [(layer.digest, layer.size, layer.media_type) for layer in parsed.layers] == [
        (of(b"1"), -1, ""),
        (of(b"2"), -1, ""),
    ]
    assert parsed.schema1 is not None
    assert parsed.schema1.throwaway == (False, True)
    assert json.loads(parsed.schema1.history[0])["id"] == B
    with pytest.raises(NotYetError, match=r"is not yet built$"):
        parsed.image_config()


def test_schema1_entries_of_one_id_count_once() -> None:
    parsed = manifest.parse_image(schema1_of(("3", B, A, False), ("2", B, A, False), ("1", A, "", False)), "")
    assert [layer.digest for layer in parsed.layers] == [of(b"1"), of(b"2")]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (schema1_of(), "no FSLayers in manifest"),
        (dumps(schema1(history=[])), "length of history not equal to number of layers"),
        (schema1_of(("1", "x", "", False)), 'image ID "x" is invalid'),
        (schema1_of(("1", A, B, False)), "Invalid parent ID in the base layer of the image"),
        (schema1_of(("2", B, C, False), ("1", A, "", False)), f'Invalid parent ID. Expected {A}, got "{C}"'),
        (
            schema1_of(("3", A, B, False), ("2", B, A, False), ("1", A, "", False)),
            f"ID {A} appears multiple times in manifest",
        ),
        (dumps(schema1(schemaVersion=2)), "unsupported schema version 2"),
    ],
)
def test_schema1_chains_that_skopeo_refuses(raw: bytes, text: str) -> None:
    with pytest.raises(CorruptError, match=r".") as caught:
        manifest.parse(raw, mediatype.DOCKER_SCHEMA1_SIGNED)
    assert str(caught.value) == text


# skopeo manifest-digest FILE, of the files in ../shared/fixtures/manifests
DIGESTS = {
    "v2s2.manifest.json": "sha256:20bf21ed457b390829cdbeec8795a7bea1626991fda603e0d01b4e7f60427e55",
    "v2s1.manifest.json": "sha256:7364fea9d84ee548ab67d4c46c6006289800c98de3fbf8c0a97138dfcc23f000",
    "v2s1-unsigned.manifest.json": "sha256:7364fea9d84ee548ab67d4c46c6006289800c98de3fbf8c0a97138dfcc23f000",
}


@pytest.mark.parametrize(("name", "digest"), DIGESTS.items())
def test_m1_digests_of_fixtures(name: str, digest: str) -> None:
    assert manifest.manifest_digest(fixture(name)) == digest


def test_m1_a_file_that_is_no_manifest() -> None:
    assert manifest.manifest_digest(b"\xff\x00 not json", "sha512") == of(b"\xff\x00 not json", "sha512")


@pytest.mark.parametrize(
    ("signatures", "text"),
    [
        (3, "error unmarshalling signatures: manifest.signatures is not an array"),
        ([], "missing signature key"),
        ([{"protected": "e30"}], "missing formatted length"),
        ([{"protected": "eyJmb3JtYXRMZW5ndGgiOjF9"}], "missing formatted tail"),
        ([{"protected": "!"}], "base64 decode error: "),
        ([{"protected": "eyJmb3JtYXRMZW5ndGgiOjk5OTk5LCJmb3JtYXRUYWlsIjoiZlEifQ"}], "invalid format length"),
        ([{"protected": "eyJmb3JtYXRMZW5ndGgiOi0xLCJmb3JtYXRUYWlsIjoiZlEifQ"}], "invalid format length"),
        (
            [
                {"protected": "eyJmb3JtYXRMZW5ndGgiOjEsImZvcm1hdFRhaWwiOiJmUSJ9"},
                {"protected": "eyJmb3JtYXRMZW5ndGgiOjIsImZvcm1hdFRhaWwiOiJmUSJ9"},
            ],
            "conflicting format length",
        ),
    ],
)
def test_damaged_signatures_give_no_digest(signatures: object, text: str) -> None:
    with pytest.raises(CorruptError, match=f"^{text}"):
        manifest.manifest_digest(dumps(schema1(signatures=signatures)))


def test_a_signed_manifest_is_known_by_what_was_signed() -> None:
    raw = dumps(schema1(signatures=[{"protected": "eyJmb3JtYXRMZW5ndGgiOjEsImZvcm1hdFRhaWwiOiJmUSJ9"}]))
    assert manifest.manifest_digest(raw) == of(b"{}")
    assert manifest.matches_digest(raw, of(b"{}"))
    assert mediatype.guess(raw) == mediatype.DOCKER_SCHEMA1_SIGNED


# c/image's GuessMIMEType on its own fixtures (K8)
GUESSES = {
    "v2s2.manifest.json": mediatype.DOCKER_SCHEMA2,
    "v2list.manifest.json": mediatype.DOCKER_LIST,
    "v2s1.manifest.json": mediatype.DOCKER_SCHEMA1_SIGNED,
    "v2s1-unsigned.manifest.json": mediatype.DOCKER_SCHEMA1,
    "v2s1-invalid-signatures.manifest.json": mediatype.DOCKER_SCHEMA1_SIGNED,
    "v2s2nomime.manifest.json": mediatype.DOCKER_SCHEMA2,
    "unknown-version.manifest.json": "",
    "non-json.manifest.json": "",
    "ociv1.manifest.json": mediatype.OCI_MANIFEST,
    "ociv1.artifact.json": mediatype.OCI_MANIFEST,
    "ociv1.image.index.json": mediatype.OCI_INDEX,
    "ociv1nomime.manifest.json": mediatype.OCI_MANIFEST,
    "ociv1nomime.artifact.json": mediatype.OCI_MANIFEST,
    "ociv1nomime.image.index.json": mediatype.OCI_INDEX,
}


@pytest.mark.parametrize(("name", "media_type"), GUESSES.items())
def test_k8_guesses_of_fixtures(name: str, media_type: str) -> None:
    assert mediatype.guess(fixture(name)) == media_type


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        ({"schemaVersion": 2}, mediatype.OCI_MANIFEST),
        ({"schemaVersion": 2, "config": {"mediaType": mediatype.DOCKER_CONFIG}}, mediatype.DOCKER_SCHEMA2),
        ({"schemaVersion": 2, "manifests": [{}]}, mediatype.OCI_INDEX),
        ({"schemaVersion": 2, "manifests": [{}], "config": {"mediaType": "x"}}, "x"),
        ({"schemaVersion": 1, "mediaType": mediatype.OCI_INDEX}, mediatype.OCI_INDEX),
        ({"schemaVersion": 1, "mediaType": mediatype.DOCKER_SCHEMA1}, mediatype.DOCKER_SCHEMA1),
        ({"schemaVersion": 1, "signatures": None}, mediatype.DOCKER_SCHEMA1),
        ({"schemaVersion": True}, ""),
        ({"schemaVersion": "2"}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_k8_guesses(value: object, media_type: str) -> None:
    assert mediatype.guess(dumps(value)) == media_type


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("*.json")) or [Path("none")], ids=lambda path: path.name
)
def test_every_fixture_is_read_or_refused_with_a_reason(path: Path) -> None:
    raw = fixture(path.name)
    # Refused on purpose: no JSON, no type, an empty digest, signatures that are none, no type of its own.
    refused = {
        "non-json.manifest.json",
        "unknown-version.manifest.json",
        "ociv1.artifact.json",
        "ociv1nomime.artifact.json",
        "v2s1-invalid-signatures.manifest.json",
        "v2s2nomime.manifest.json",
    }
    if path.name in refused:
        with pytest.raises(CorruptError, match=r"recognizable|digest format|no FSLayers|v2s2 media type"):
            manifest.parse(raw, "")
    else:
        assert manifest.parse(raw, "").raw == raw


@pytest.mark.parametrize(
    ("docker", "converted"),
    [
        (mediatype.DOCKER_LAYER, mediatype.OCI_LAYER),
        (mediatype.DOCKER_LAYER_GZIP, mediatype.OCI_LAYER_GZIP),
        (mediatype.DOCKER_FOREIGN, mediatype.OCI_FOREIGN),
        (mediatype.DOCKER_FOREIGN_GZIP, mediatype.OCI_FOREIGN_GZIP),
    ],
)
def test_k4_layer_types_both_ways(docker: str, converted: str) -> None:
    assert mediatype.layer_to_oci(docker) == converted
    assert mediatype.layer_to_docker(converted) == docker


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (
            mediatype.OCI_LAYER_ZSTD,
            'Error during manifest conversion: "{}": zstd compression is not officially supported '
            "for docker images",
        ),
        (
            mediatype.OCI_FOREIGN_ZSTD,
            'Error during manifest conversion: "{}": zstd compression is not supported for docker images',
        ),
        (
            f"{mediatype.OCI_LAYER}+encrypted",
            'during manifest conversion: encrypted layers ("{}") are not supported in docker images',
        ),
        ("x/y", 'Unknown media type during manifest conversion: "{}"'),
    ],
)
def test_k4_layers_that_docker_cannot_have(layer: str, text: str) -> None:
    with pytest.raises(InvalidError, match=r"manifest conversion") as caught:
        mediatype.layer_to_docker(layer)
    assert str(caught.value) == text.format(layer)


def test_k4_a_layer_that_oci_cannot_have() -> None:
    given = manifest.parse_image(dumps(schema2(layers=[descriptor(media_type=mediatype.DOCKER_CONFIG)])), "")
    with pytest.raises(
        InvalidError,
        match=f'^Unknown media type during manifest conversion: "{mediatype.DOCKER_CONFIG}"$'.replace(
            "+", r"\+"
        ),
    ):
        manifest.to_oci(given, b"{}")


def test_conversion_leaves_oci_alone_and_schema1_for_later() -> None:
    raw = dumps(oci())
    assert manifest.to_oci(manifest.parse_image(raw, ""), b"{} ") == manifest.Converted(raw, b"{} ")
    with pytest.raises(NotYetError, match=r"is not yet built$"):
        manifest.to_oci(manifest.parse_image(dumps(schema1()), ""), b"")
