"""Indexes and the platforms asked of them (golden/chosen.json: what skopeo chose, recorded by record.py)."""

from __future__ import annotations

import json
from pathlib import Path

from wherry.model.digest import of

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "manifests"
FROM_FIXTURES = (
    "oci1.index.zstd-selection.json",
    "oci1.index.zstd-selection2.json",
    "ocilist-variants.json",
    "schema2list-variants.json",
    "schema2list.json",
)
ZSTD = {"io.github.containers.compression.zstd": "true"}
ENTRIES = (
    ({"os": "linux", "architecture": "arm", "variant": "v5"}, {}),
    (None, {}),
    ({"os": "linux", "architecture": "arm", "variant": "v7"}, {}),
    ({"os": "linux", "architecture": "arm"}, {}),
    ({"os": "linux", "architecture": "arm", "variant": "v6"}, {}),
    ({"os": "linux", "architecture": "amd64"}, {}),
    ({"os": "linux", "architecture": "amd64"}, ZSTD),
    ({"os": "linux", "architecture": "amd64"}, ZSTD),
    (
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"io.github.containers.compression.zstd": "1"},
    ),
    ({"os": "windows", "architecture": "amd64", "os.version": "10.0.1"}, {}),
    ({"os": "windows", "architecture": "amd64", "os.version": "10.0.2"}, {}),
    ({"os": "linux", "architecture": "mips", "variant": "x"}, {}),
)
# architecture, variant, os: each is given, so that the machine that records does not matter.
ASKED = (
    ("amd64", "", "linux"),
    ("amd64", "v3", "linux"),
    ("amd64", "", "windows"),
    ("arm", "", "linux"),
    ("arm", "v8", "linux"),
    ("arm", "v7", "linux"),
    ("arm", "v6", "linux"),
    ("arm", "v5", "linux"),
    ("arm", "v4", "linux"),
    ("arm64", "", "linux"),
    ("arm64", "v8", "linux"),
    ("arm64", "v9", "linux"),
    ("mips", "", "linux"),
    ("mips", "x", "linux"),
    ("s390x", "", "linux"),
    ("ppc64le", "", "linux"),
    ("", "", "freebsd"),
)


def made(media_type: str, with_bare: bool) -> bytes:
    """An index of ENTRIES; without `with_bare`, the entry that names no platform is left out."""
    manifests = []
    for position, (platform, noted) in enumerate(ENTRIES):
        entry: dict[str, object] = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": of(str(position).encode()),
            "size": 7,
        }
        if platform is not None:
            entry["platform"] = platform
        elif not with_bare:
            continue
        if noted:
            entry["annotations"] = noted
        manifests.append(entry)
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).encode()


def all_indexes() -> dict[str, bytes]:
    """Ours, and those of the shared fixtures where they are."""
    index, docker = (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
    found = {
        "oci with a bare entry": made(index, True),
        "oci": made(index, False),
        "docker with a bare entry": made(docker, True),
        "docker": made(docker, False),
    }
    for name in FROM_FIXTURES:
        if (FIXTURES / name).exists():
            found[name] = (FIXTURES / name).read_bytes()
    return found
