"""Manifests that others made up to be misread (hostile-cases R-06 to R-08, R-31, R-48 to R-64)."""

from __future__ import annotations

import re

import pytest

from tests.model.manifests import descriptor, docker_list, dumps, index, oci, schema1, schema2
from wherry.errors import CorruptError, InvalidError, LimitError, WherryError
from wherry.model import manifest, mediatype
from wherry.model.digest import of

ENTRY = [descriptor(b"m", mediatype.OCI_MANIFEST)]
CONFIG = descriptor(b"{}", mediatype.OCI_CONFIG)
KINDS = {
    mediatype.OCI_MANIFEST: oci,
    mediatype.DOCKER_SCHEMA2: schema2,
    mediatype.DOCKER_SCHEMA1: schema1,
    mediatype.OCI_INDEX: index,
    mediatype.DOCKER_LIST: docker_list,
}


def refused(raw: bytes, media_type: str, error: type[WherryError], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}") as caught:
        manifest.parse(raw, media_type)
    assert caught.value.code == "other"


@pytest.mark.parametrize("media_type", KINDS)
def test_the_valid_ones_pass(media_type: str) -> None:
    raw = dumps(KINDS[media_type]())
    parsed = manifest.parse(raw, media_type)
    assert (parsed.raw, parsed.media_type) == (raw, media_type)
    assert manifest.parse(raw, "") == parsed


def test_r07_a_negative_size() -> None:
    raw = dumps(oci(layers=[descriptor(size=-1)]))
    refused(raw, mediatype.OCI_MANIFEST, CorruptError, "manifest.layers[0].size is negative: -1")
    assert manifest.parse(dumps(oci(layers=[descriptor(size=0)])), "")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (b"9223372036854775808", "manifest has an integer out of range: 9223372036854775808"),
        (b"1e400", "manifest has a number out of range: 1e400"),
        (b"1.5", "manifest.layers[0].size is not an integer"),
        (b"5.0", "manifest.layers[0].size is not an integer"),
        (b'"12"', "manifest.layers[0].size is not an integer"),
        (b"true", "manifest.layers[0].size is not an integer"),
        (b"null", "manifest.layers[0].size is missing"),
    ],
)
def test_r08_sizes_that_are_no_int64(size: bytes, text: str) -> None:
    raw = dumps(oci(layers=[descriptor(size=4711)]))
    refused(raw.replace(b"4711", size), mediatype.OCI_MANIFEST, CorruptError, text)
    largest = manifest.parse_image(raw.replace(b"4711", b"9223372036854775807"), "")
    assert largest.layers[0].size == 2**63 - 1


def test_r31_more_layers_than_anyone_has() -> None:
    layers = [descriptor()] * 4097
    refused(
        dumps(oci(layers=layers)),
        mediatype.OCI_MANIFEST,
        LimitError,
        "manifest.layers has 4097 entries, more than 4096",
    )
    assert len(manifest.parse_image(dumps(oci(layers=layers[1:])), "").layers) == 4096


def test_k9_a_manifest_over_its_limit() -> None:
    raw = dumps(oci())
    padded = raw + b" " * (4 * 1024 * 1024 - len(raw))
    assert manifest.parse(padded, mediatype.OCI_MANIFEST)
    text = "manifest exceeded maximum allowed size of 4194304 bytes"
    refused(padded + b" ", mediatype.OCI_MANIFEST, LimitError, text)


@pytest.mark.parametrize("media_type", [mediatype.OCI_INDEX, mediatype.DOCKER_LIST])
@pytest.mark.parametrize("body", [oci, schema2])
def test_r48_sent_as_an_index_but_an_image(media_type: str, body: object) -> None:
    raw = dumps(body())  # type: ignore[operator]
    shown = '[]string{"config", "layers"}'
    text = f"rejecting ambiguous manifest, unexpected fields {shown} in supposedly {media_type}"
    refused(raw, media_type, CorruptError, text)
    assert manifest.parse(raw, "")


@pytest.mark.parametrize("media_type", [mediatype.OCI_MANIFEST, mediatype.DOCKER_SCHEMA2])
@pytest.mark.parametrize("body", [index, docker_list])
def test_r48_sent_as_an_image_but_an_index(media_type: str, body: object) -> None:
    raw = dumps(body())  # type: ignore[operator]
    text = (
        f'rejecting ambiguous manifest, unexpected fields []string{{"manifests"}} in supposedly {media_type}'
    )
    refused(raw, media_type, CorruptError, text)
    assert manifest.parse(raw, "")


@pytest.mark.parametrize(
    ("media_type", "added", "shown"),
    [
        (mediatype.OCI_MANIFEST, {"manifests": ENTRY}, '"manifests"'),
        (mediatype.OCI_MANIFEST, {"fsLayers": [], "history": []}, '"fsLayers", "history"'),
        (mediatype.DOCKER_SCHEMA2, {"manifests": ENTRY}, '"manifests"'),
        (mediatype.DOCKER_SCHEMA2, {"fsLayers": [], "history": []}, '"fsLayers", "history"'),
        (mediatype.OCI_INDEX, {"layers": []}, '"layers"'),
        (mediatype.OCI_INDEX, {"config": CONFIG}, '"config"'),
        (mediatype.OCI_INDEX, {"fsLayers": []}, '"fsLayers"'),
        (mediatype.DOCKER_LIST, {"layers": []}, '"layers"'),
        (mediatype.DOCKER_LIST, {"config": CONFIG}, '"config"'),
        (mediatype.DOCKER_SCHEMA1, {"layers": []}, '"layers"'),
        (mediatype.DOCKER_SCHEMA1, {"manifests": []}, '"manifests"'),
        (mediatype.DOCKER_SCHEMA1, {"config": CONFIG}, '"config"'),
    ],
)
def test_r49_two_kinds_at_once(media_type: str, added: dict[str, object], shown: str) -> None:
    text = f"rejecting ambiguous manifest, unexpected fields []string{{{shown}}} in supposedly {media_type}"
    refused(dumps(KINDS[media_type](**added)), media_type, CorruptError, text)
    # null is how Go writes a list that is not there
    assert manifest.parse(dumps(KINDS[media_type](**dict.fromkeys(added))), media_type)


def test_r49_hidden_behind_another_case() -> None:
    text = 'manifest has the key "Manifests", which differs from "manifests" in case'
    refused(dumps(oci(Manifests=ENTRY)), mediatype.OCI_MANIFEST, CorruptError, text)
    assert manifest.parse(dumps(oci(Other=ENTRY)), mediatype.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("media_type", "said"),
    [
        (mediatype.OCI_MANIFEST, mediatype.DOCKER_SCHEMA2),
        (mediatype.DOCKER_SCHEMA2, mediatype.OCI_MANIFEST),
        (mediatype.OCI_INDEX, mediatype.DOCKER_LIST),
        (mediatype.DOCKER_LIST, mediatype.OCI_INDEX),
        (mediatype.OCI_MANIFEST, "text/html"),
    ],
)
def test_r50_the_body_says_another_type(media_type: str, said: str) -> None:
    text = f'rejecting ambiguous manifest, its mediaType is "{said}" in supposedly {media_type}'
    refused(dumps(KINDS[media_type](mediaType=said)), media_type, CorruptError, text)
    assert manifest.parse(dumps(KINDS[media_type](mediaType=media_type)), media_type)


@pytest.mark.parametrize(
    "sent", ["", "text/html", "text/plain", "application/json", "application/octet-stream"]
)
def test_r51_no_type_that_helps(sent: str) -> None:
    for media_type, make in KINDS.items():
        assert manifest.parse(dumps(make()), sent).media_type == media_type
    with pytest.raises(CorruptError, match=r"^manifest has no recognizable media type"):
        manifest.parse(b'{"schemaVersion":3}', sent)
    with pytest.raises(CorruptError, match=r"^manifest has no recognizable media type"):
        manifest.parse(b"<html>", sent)


def test_r51_parameters_of_the_type_are_ignored() -> None:
    sent = f"{mediatype.OCI_MANIFEST.upper()}; charset=utf-8"
    assert manifest.parse(dumps(oci()), sent).media_type == mediatype.OCI_MANIFEST


@pytest.mark.parametrize("key", ["layers", "config", "mediaType", "digest", "size"])
def test_r52_a_key_twice(key: str) -> None:
    raw = dumps(oci())
    twice = raw.replace(f'"{key}": '.encode(), f'"{key}": null, "{key}": '.encode(), 1)
    assert twice != raw
    refused(twice, mediatype.OCI_MANIFEST, CorruptError, f'manifest has the key "{key}" twice')
    assert manifest.parse(raw, mediatype.OCI_MANIFEST)


def test_r52_a_key_twice_but_for_case() -> None:
    raw = dumps(oci()).replace(b'"layers": ', b'"Layers": [], "layers": ')
    text = 'manifest has keys that differ from "layers" in case only'
    refused(raw, mediatype.OCI_MANIFEST, CorruptError, text)
    # Annotations are a map: both keys are kept, by Go too.
    annotated = manifest.parse_image(dumps(oci(annotations={"a": "1", "A": "2"})), "")
    assert annotated.annotations == {"a": "1", "A": "2"}


@pytest.mark.parametrize("depth", [65, 20_000])
def test_r54_nested_too_deep(depth: int) -> None:
    text = "manifest is nested deeper than 64 levels"
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        nested = opening * (depth - 1) + "1" + closing * (depth - 1)
        raw = dumps(oci(x=4711)).replace(b"4711", nested.encode())
        refused(raw, mediatype.OCI_MANIFEST, LimitError, text)
    fits = dumps(oci(x=4711)).replace(b"4711", b"[" * 63 + b"]" * 63)
    assert manifest.parse(fits, mediatype.OCI_MANIFEST)


@pytest.mark.parametrize("brackets", ['"[[[["', '"\\"{{{{"'])
def test_r54_brackets_in_strings_do_not_count(brackets: str) -> None:
    raw = dumps(oci(x=[])).replace(b"[]", f"[{','.join([brackets] * 100)}]".encode(), 1)
    assert manifest.parse(raw, mediatype.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("9" * 5000, f"manifest has an integer out of range: {'9' * 64}…"),
        ("NaN", "manifest is not valid JSON: NaN is not a number"),
        ("Infinity", "manifest is not valid JSON: Infinity is not a number"),
        ("-Infinity", "manifest is not valid JSON: -Infinity is not a number"),
        ("1e400", "manifest has a number out of range: 1e400"),
        ("-9223372036854775809", "manifest has an integer out of range: -9223372036854775809"),
        ("01", "manifest is not valid JSON: "),
        ("+1", "manifest is not valid JSON: "),
    ],
)
def test_r55_numbers(number: str, text: str) -> None:
    raw = dumps(oci(x=4711))
    refused(raw.replace(b"4711", number.encode()), mediatype.OCI_MANIFEST, CorruptError, text)
    assert manifest.parse(raw.replace(b"4711", b"-1.5e3"), mediatype.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda raw: raw.replace(b"4711", b'"\xff"'), "manifest is not valid UTF-8 (byte "),
        (lambda raw: raw.replace(b"4711", b'"\xed\xa0\x80"'), "manifest is not valid UTF-8 (byte "),
        (lambda raw: raw.replace(b"4711", b'"\\ud800"'), "manifest contains a lone surrogate"),
        (lambda raw: raw.replace(b"4711", b'{"\\udfff":1}'), "manifest contains a lone surrogate"),
        (lambda raw: raw.replace(b"4711", b'"\\u0000"'), "manifest contains a NUL character"),
        (lambda raw: raw.replace(b"4711", b'"\x00"'), "manifest contains a NUL byte"),
        (lambda raw: raw + b"\x00", "manifest contains a NUL byte"),
        (lambda raw: b"\xef\xbb\xbf" + raw, "manifest starts with a byte order mark"),
        (lambda raw: raw + b"{}", "manifest is not valid JSON: trailing data after the value"),
        (lambda raw: raw[:-1], "manifest is not valid JSON: "),
    ],
)
def test_r56_text_that_is_no_text(change: object, text: str) -> None:
    raw = dumps(oci(x=4711))
    refused(change(raw), mediatype.OCI_MANIFEST, CorruptError, text)  # type: ignore[operator]
    fine = raw.replace(b"4711", b'"\\ud83d\\ude00 \xc3\xa9 \\\\ud800 \\\\u0000"') + b" \n"
    assert manifest.parse(fine, mediatype.OCI_MANIFEST)


BAD_DIGESTS = {
    "sha256:../../x": "invalid checksum digest length",
    "sha256:../" + "a" * 61: "invalid checksum digest format",
    "": "invalid checksum digest format",
    "sha256:": "invalid checksum digest format",
    "a" * 64: "invalid checksum digest format",
}
ODD_DIGESTS = {
    "sha256:" + "A" * 64: "invalid checksum digest format",
    "sha256:" + "a" * 63: "invalid checksum digest length",
    "sha256:" + "a" * 65: "invalid checksum digest length",
    "sha512:" + "a" * 64: "invalid checksum digest length",
    "md5:" + "a" * 32: "unsupported digest algorithm",
    "sha256+b64u:" + "a" * 64: "unsupported digest algorithm",
    "SHA256:" + "a" * 64: "invalid checksum digest format",
    "sha256:" + "a" * 63 + "\n": "invalid checksum digest format",
}


def everywhere(digest: object) -> list[tuple[bytes, str]]:
    """Manifests with this digest in each place that has one."""
    bad = descriptor(digest=digest)
    blob = [{"blobSum": digest}]
    return [
        (dumps(oci(config=bad)), "manifest.config.digest"),
        (dumps(oci(layers=[descriptor(), bad])), "manifest.layers[1].digest"),
        (dumps(schema2(layers=[bad | {"mediaType": mediatype.DOCKER_LAYER}])), "manifest.layers[0].digest"),
        (dumps(index(manifests=[bad])), "manifest.manifests[0].digest"),
        (dumps(docker_list(manifests=[bad])), "manifest.manifests[0].digest"),
        (dumps(schema1(fsLayers=blob)), "manifest.fsLayers[0].blobSum"),
    ]


@pytest.mark.parametrize(("digest", "text"), BAD_DIGESTS.items())
def test_r57_digests_that_are_paths(digest: str, text: str) -> None:
    for raw, where in everywhere(digest):
        refused(raw, "", CorruptError, f"{where}: {text}")
    refused(
        dumps(oci(layers=[descriptor(digest=7)])),
        "",
        CorruptError,
        "manifest.layers[0].digest is not a string",
    )


@pytest.mark.parametrize(("digest", "text"), ODD_DIGESTS.items())
def test_r58_digests_of_other_kinds(digest: str, text: str) -> None:
    for raw, where in everywhere(digest):
        refused(raw, "", CorruptError, f"{where}: {text}")
    for name in ("sha256", "sha384", "sha512"):
        for raw, _ in everywhere(of(b"x", name)):
            assert manifest.parse(raw, "") is not None


def test_r60_r63_bytes_that_a_digest_does_not_name() -> None:
    raw = dumps(oci())
    for name in ("sha256", "sha384", "sha512"):
        assert manifest.matches_digest(raw, of(raw, name))
        assert not manifest.matches_digest(raw + b" ", of(raw, name))


def test_r64_more_entries_than_a_list_may_have() -> None:
    entries = [descriptor(b"m", mediatype.OCI_INDEX)] * 1001
    text = "manifest.manifests has 1001 entries, more than 1000"
    refused(dumps(index(manifests=entries)), mediatype.OCI_INDEX, LimitError, text)
    assert len(manifest.parse_index(dumps(index(manifests=entries[1:])), "").instances) == 1000


def test_an_index_is_no_image_and_an_image_no_index() -> None:
    with pytest.raises(
        InvalidError, match=r"^Treating manifest lists as individual manifests is not implemented$"
    ):
        manifest.parse_image(dumps(index()), "")
    with pytest.raises(
        CorruptError, match=r"^manifest is no index but of type application/vnd.oci.image.manifest"
    ):
        manifest.parse_index(dumps(oci()), "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "manifest is not a JSON object"),
        (oci(layers={}), "manifest.layers is not an array"),
        (oci(layers=[1]), "manifest.layers[0] is not an object"),
        (oci(config=None), "manifest.config is missing"),
        (oci(config=[]), "manifest.config is not an object"),
        (oci(schemaVersion=3), "unsupported schema version 3"),
        (oci(annotations={"a": 1}), "manifest.annotations.a is not a string"),
        (oci(layers=[descriptor(urls="x")]), "manifest.layers[0].urls is not an array of strings"),
        (oci(layers=[descriptor(Size=1)]), "manifest.layers[0] has the key"),
    ],
)
def test_members_of_the_wrong_type(value: object, text: str) -> None:
    with pytest.raises(CorruptError, match=f"^{re.escape(text)}|differ from"):
        manifest.parse(dumps(value), mediatype.OCI_MANIFEST)
