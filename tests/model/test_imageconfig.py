"""Configs as skopeo reads and writes them (golden/configs.json: its own output)."""

from __future__ import annotations

import json

import pytest

from tests.model import record
from tests.model.configs import CONFIGS, EVERYTHING
from wherry.errors import CorruptError, InvalidError, LimitError
from wherry.model import gojson, imageconfig, manifest, mediatype

GOLDEN = json.loads((record.HERE / "golden" / "configs.json").read_text())
CASES = [pytest.param(*case, id=case[0].decode()[:60]) for case in zip(CONFIGS, GOLDEN, strict=True)]
ACCEPTED = [case for case in CASES if "converted" in case.values[1]]  # type: ignore[operator]
REFUSED = [case for case in CASES if "converted" not in case.values[1]]  # type: ignore[operator]

TYPES = {"docker": mediatype.DOCKER_SCHEMA2, "oci": mediatype.OCI_MANIFEST}


@pytest.mark.parametrize(("config", "golden"), ACCEPTED)
def test_oci_config_is_gos(config: bytes, golden: dict[str, str]) -> None:
    converted = imageconfig.oci_config_json(config)
    assert converted == golden["converted"].encode()
    assert gojson.dumps_indent(json.loads(converted)) + "\n" == golden["config"]


@pytest.mark.parametrize(("config", "golden"), REFUSED)
def test_types_that_go_refuses(config: bytes, golden: dict[str, str]) -> None:
    with pytest.raises(InvalidError, match=r".") as caught:
        imageconfig.oci_config_json(config)
    assert golden["config_error"].endswith(str(caught.value))


@pytest.mark.parametrize(("config", "golden"), ACCEPTED)
def test_schema2_becomes_skopeos_oci_manifest(config: bytes, golden: dict[str, str]) -> None:
    given = manifest.parse_image(record.manifest(config, record.SCHEMA2), mediatype.DOCKER_SCHEMA2)
    converted = manifest.to_oci(given, config)
    assert converted.raw == golden["manifest"].encode()
    assert converted.config_raw == golden["converted"].encode()


@pytest.mark.parametrize("kind", ["docker", "oci"])
@pytest.mark.parametrize(("config", "golden"), CASES)
def test_what_inspect_shows(config: bytes, golden: dict[str, object], kind: str) -> None:
    expected = golden[f"inspect_{kind}"]
    if isinstance(expected, str):
        with pytest.raises(InvalidError, match=r".") as caught:
            imageconfig.inspect_fields(config, TYPES[kind])
        assert str(caught.value) == expected
        return
    shown = imageconfig.inspect_fields(config, TYPES[kind])
    assert {
        "Created": shown.created,
        "DockerVersion": shown.docker_version,
        "Labels": shown.labels,
        "Architecture": shown.architecture,
        "Os": shown.os,
        "Env": None if shown.env is None else list(shown.env),
    } == expected


def test_config_section_is_the_member_of_the_whole() -> None:
    whole = json.loads(imageconfig.oci_config_json(EVERYTHING))
    assert imageconfig.config_section(EVERYTHING) == gojson.dumps(whole["config"])
    assert imageconfig.config_section(b"{}") == b"{}"


@pytest.mark.parametrize("created", ["2020-01-02 03:04:05Z", "", "2020-01-02T03:04:05", "x"])
def test_no_time_at_all(created: str) -> None:
    # skopeo goes on to say what it expected; the closed list of differences covers the tail.
    with pytest.raises(InvalidError, match=f'^parsing time "{created}" as "2006-01-02T15:04:05Z07:00"'):
        imageconfig.oci_config_json(json.dumps({"created": created}).encode())


def test_schema1_inspect_takes_the_newest_entry() -> None:
    shown = imageconfig.inspect_fields(
        b'{"created":"2015-02-12T01:40:46.4Z","docker_version":"1.3.2","os":"linux","config":{"Env":["a=b"]}}',
        mediatype.DOCKER_SCHEMA1_SIGNED,
    )
    assert (shown.created, shown.docker_version, shown.os, shown.env, shown.labels) == (
        "2015-02-12T01:40:46.4Z",
        "1.3.2",
        "linux",
        ("a=b",),
        None,
    )


def test_k9_a_config_over_its_limit() -> None:
    fits = b'{"author":"' + b"a" * (4 * 1024 * 1024 - 13) + b'"}'
    assert imageconfig.inspect_fields(fits, mediatype.OCI_MANIFEST).author.startswith("aaa")
    with pytest.raises(
        LimitError, match=r"^image configuration exceeded maximum allowed size of 4194304 bytes$"
    ):
        imageconfig.oci_config_json(fits + b" ")


def test_repeated_members_are_refused() -> None:
    with pytest.raises(CorruptError, match=r'^image configuration has the key "os" twice$'):
        imageconfig.oci_config_json(b'{"os":"linux","os":"windows"}')
    assert imageconfig.inspect_fields(b'{"os":"linux"}', mediatype.OCI_MANIFEST).os == "linux"
