"""Choice of an instance (K7), against what skopeo chose (golden/chosen.json)."""

from __future__ import annotations

import json

import pytest

from tests.model import record
from tests.model.indexes import FROM_FIXTURES, all_indexes, made
from wherry.errors import InvalidError
from wherry.model import manifest, mediatype
from wherry.model.digest import of
from wherry.model.manifest import choose
from wherry.model.platforms import PlatformChoice, host_platform, wanted_platforms

GOLDEN: dict[str, dict[str, str]] = json.loads((record.HERE / "golden" / "chosen.json").read_text())
HOST = PlatformChoice(os="linux", architecture="amd64")
CASES = [(name, asked, chosen) for name, table in GOLDEN.items() for asked, chosen in table.items()]


@pytest.mark.parametrize(("name", "asked", "chosen"), CASES)
def test_skopeos_choice(name: str, asked: str, chosen: str) -> None:
    indexes = all_indexes()
    if name in FROM_FIXTURES and name not in indexes:
        pytest.skip("../shared/fixtures is not there")
    index = manifest.parse_index(indexes[name], "")
    architecture, variant, os = asked.split("/")
    wanted = PlatformChoice(os=os, architecture=architecture, variant=variant)
    if chosen.startswith("sha256:"):
        assert choose(index, wanted, HOST) == chosen
        return
    with pytest.raises(InvalidError, match=r"^no image found in ") as caught:
        choose(index, wanted, HOST)
    assert str(caught.value) == chosen


def test_gzip_can_be_preferred() -> None:
    index = manifest.parse_index(made(mediatype.OCI_INDEX, True), "")
    assert choose(index, PlatformChoice(), HOST) == of(b"6")
    assert choose(index, PlatformChoice(), HOST, prefer_gzip=True) == of(b"5")


def test_the_hosts_variant_counts_only_with_its_architecture() -> None:
    index = manifest.parse_index(made(mediatype.OCI_INDEX, True), "")
    host = host_platform("armv7l")
    assert choose(index, PlatformChoice(), host) == of(b"2")
    assert choose(index, PlatformChoice(architecture="arm"), host) == of(b"3")


@pytest.mark.parametrize(
    ("machine", "architecture", "variant"),
    [
        ("x86_64", "amd64", ""),
        ("aarch64", "arm64", "v8"),
        ("armv7l", "arm", "v7"),
        ("armv6l", "arm", "v6"),
        ("i686", "386", ""),
        ("ppc64le", "ppc64le", ""),
        ("s390x", "s390x", ""),
        ("riscv64", "riscv64", ""),
        ("loongarch64", "loong64", ""),
        ("amd64", "amd64", ""),
    ],
)
def test_host_platform(machine: str, architecture: str, variant: str) -> None:
    expected = PlatformChoice(os="linux", architecture=architecture, variant=variant)
    assert host_platform(machine) == expected


def test_wanted_platforms_go_from_the_most_capable_to_the_least() -> None:
    wanted = wanted_platforms(PlatformChoice(architecture="arm", variant="v7"), HOST)
    assert [platform.variant for platform in wanted] == ["v7", "v6", "v5", ""]
    wanted = wanted_platforms(PlatformChoice(architecture="arm"), HOST)
    assert [platform.variant for platform in wanted] == ["", "v8", "v7", "v6", "v5"]
