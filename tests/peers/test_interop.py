"""What `wherry copy` writes, skopeo, umoci and podman read; what they write, wherry reads.

Each case also runs with a current skopeo in wherry's place, where $SKOPEO_REF names one: it is then known to
hold for the reference too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.require import require_peer, require_skopeo_ref
from tests.peers.servers import Registry

HELLO_LAYOUT = Path(__file__).parents[2] / "docs" / "examples" / "hello"
HELLO = f"oci:{HELLO_LAYOUT}:latest"

Command = Callable[..., bytes]


def check(*command: str | Path, **more: Any) -> bytes:
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout


def ours() -> list[str]:
    return [sys.executable, "-m", "wherry_cli"]


def reference() -> list[str]:
    return [str(require_skopeo_ref())]


@pytest.fixture(params=[ours, reference], ids=["wherry", "skopeo_ref"])
def wherry(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """The command under test, with a home of its own and no policy but the one that accepts."""
    program = request.param()
    home = tmp_path / "home"
    home.mkdir()
    environ = {"PATH": os.environ["PATH"], "TMPDIR": os.environ["TMPDIR"], "HOME": str(home)}
    environ["CONTAINERS_REGISTRIES_CONF"] = "/dev/null"  # nor the machine's mirrors
    return lambda *words: check(*program, "--insecure-policy", *words, env=environ)


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Command]:
    """podman with a storage of its own."""
    program = require_peer("podman")
    with tempfile.TemporaryDirectory(prefix="p-") as run:  # podman takes no longer path than 50 characters
        base = (program, "--root", tmp_path / "podman", "--runroot", run, "--storage-driver", "vfs")
        yield lambda *words: check(*base, *words)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def stored(layout: Path) -> bytes:
    """The bytes of the only manifest of an OCI layout."""
    [entry] = json.loads((layout / "index.json").read_bytes())["manifests"]
    return (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()


def raw(skopeo: Path, reference: str, *options: str) -> bytes:
    return check(skopeo, "inspect", "--raw", *options, reference)


def repository(tmp_path: Path) -> str:
    """A repository of this test's own in the session's registry."""
    return "interop/" + re.sub(r"[^a-z0-9]+", "-", tmp_path.name.lower()).strip("-")


@pytest.fixture(params=["oci", "dir", "oci-archive", "docker"])
def place(request: pytest.FixtureRequest, tmp_path: Path, registry: Registry) -> str:
    """Somewhere to write an image to."""
    return {
        "oci": f"oci:{tmp_path}/layout:tag",
        "dir": f"dir:{tmp_path}/dir",
        "oci-archive": f"oci-archive:{tmp_path}/archive.tar:tag",
        "docker": registry.docker(f"{repository(tmp_path)}:tag"),
    }[str(request.param)]


def options(place: str, side: str) -> list[str]:
    return [f"--{side}tls-verify=false"] if place.startswith("docker:") else []


def test_skopeo_reads_what_was_written(wherry: Command, skopeo: Path, place: str, tmp_path: Path) -> None:
    wherry("copy", *options(place, "dest-"), HELLO, place)
    assert raw(skopeo, place, *options(place, "")) == stored(HELLO_LAYOUT)
    # and every blob of it: skopeo verifies them while it copies
    check(skopeo, "--insecure-policy", "copy", *options(place, "src-"), place, f"dir:{tmp_path}/read-back")
    assert (tmp_path / "read-back" / "manifest.json").read_bytes() == stored(HELLO_LAYOUT)


def test_what_skopeo_wrote_is_read(wherry: Command, skopeo: Path, place: str, tmp_path: Path) -> None:
    check(skopeo, "--insecure-policy", "copy", *options(place, "dest-"), HELLO, place)
    assert wherry("inspect", "--raw", *options(place, ""), place) == stored(HELLO_LAYOUT)
    wherry("copy", *options(place, "src-"), place, f"oci:{tmp_path}/read-back:tag")
    assert stored(tmp_path / "read-back") == stored(HELLO_LAYOUT)


def test_an_index_is_copied_whole(
    wherry: Command, skopeo: Path, images: Path, place: str, tmp_path: Path
) -> None:
    # --preserve-digests: one instance's layer is not compressed, and would be
    index = stored(images / "multi")
    wherry("copy", "--all", "--preserve-digests", *options(place, "dest-"), f"oci:{images}/multi", place)
    assert raw(skopeo, place, *options(place, "")) == index
    wherry(
        "copy", "--all", "--preserve-digests", *options(place, "src-"), place, f"oci:{tmp_path}/read-back:tag"
    )
    assert stored(tmp_path / "read-back") == index
    blobs = tmp_path / "read-back" / "blobs"
    for entry in json.loads(index)["manifests"]:
        manifest = json.loads((blobs / entry["digest"].replace(":", "/")).read_bytes())
        for item in (manifest["config"], *manifest["layers"]):
            assert digest((blobs / item["digest"].replace(":", "/")).read_bytes()) == item["digest"]


def test_a_schema2_list_keeps_its_digest_through_a_registry(
    wherry: Command, skopeo: Path, images: Path, registry: Registry, tmp_path: Path
) -> None:
    there = registry.docker(f"{repository(tmp_path)}:tag")
    wherry("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"dir:{images}/s2list", there)
    listing = (images / "s2list" / "manifest.json").read_bytes()
    assert raw(skopeo, there, "--tls-verify=false") == listing
    wherry("copy", "--all", "--preserve-digests", "--src-tls-verify=false", there, f"dir:{tmp_path}/back")
    assert (tmp_path / "back" / "manifest.json").read_bytes() == listing


def test_schema2_becomes_oci_in_a_layout(wherry: Command, skopeo: Path, images: Path, tmp_path: Path) -> None:
    wherry("copy", f"dir:{images}/s2dir", f"oci:{tmp_path}/layout:tag")
    before = json.loads((images / "s2dir" / "manifest.json").read_bytes())
    after = json.loads(raw(skopeo, f"oci:{tmp_path}/layout:tag"))
    assert after["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [layer["digest"] for layer in after["layers"]] == [layer["digest"] for layer in before["layers"]]
    check(skopeo, "--insecure-policy", "copy", f"oci:{tmp_path}/layout:tag", f"dir:{tmp_path}/read-back")


def test_umoci_unpacks_what_was_written(wherry: Command, tmp_path: Path) -> None:
    umoci = require_peer("umoci")
    wherry("copy", HELLO, f"oci:{tmp_path}/layout:tag")
    assert check(umoci, "ls", "--layout", tmp_path / "layout").split() == [b"tag"]
    rootless = ["--rootless"] if os.getuid() else []
    check(umoci, "unpack", *rootless, "--image", f"{tmp_path}/layout:tag", tmp_path / "bundle")
    files = tmp_path / "bundle" / "rootfs" / "usr"
    assert (files / "share/hello/hello.txt").read_text().startswith("A wherry is a light boat")
    assert not (files / "share/hello/ballast").exists(), "the second layer takes it away"
    assert os.readlink(files / "bin/hello.txt") == "../share/hello/hello.txt"


def test_what_umoci_wrote_is_read(wherry: Command, skopeo: Path, tmp_path: Path) -> None:
    umoci, layout = require_peer("umoci"), tmp_path / "layout"
    (tmp_path / "file").write_text("from umoci\n")
    check(umoci, "init", "--layout", layout)
    check(umoci, "new", "--image", f"{layout}:tag")
    rootless = ["--rootless"] if os.getuid() else []
    check(umoci, "insert", *rootless, "--image", f"{layout}:tag", tmp_path / "file", "/etc/file")
    wherry("copy", f"oci:{layout}:tag", f"dir:{tmp_path}/dir")
    assert (tmp_path / "dir" / "manifest.json").read_bytes() == raw(skopeo, f"oci:{layout}:tag")
    seen = json.loads(wherry("inspect", f"oci:{layout}:tag"))
    assert seen["Digest"] == digest(raw(skopeo, f"oci:{layout}:tag"))


def test_podman_loads_what_was_written(wherry: Command, podman: Command, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    wherry("copy", HELLO, f"oci-archive:{archive}:localhost/hello:1")
    podman("load", "--input", archive)
    [image] = json.loads(podman("image", "inspect", "localhost/hello:1"))
    assert image["Digest"] == digest(stored(HELLO_LAYOUT))
    assert image["Config"]["Entrypoint"] == ["/usr/bin/hello"]


def test_what_podman_saved_is_read(wherry: Command, podman: Command, tmp_path: Path) -> None:
    podman("pull", "--quiet", HELLO)
    [image] = json.loads(podman("images", "--format", "json"))
    archive = tmp_path / "archive.tar"
    podman("save", "--quiet", "--format", "oci-archive", "--output", archive, image["Id"])
    seen = json.loads(wherry("inspect", f"oci-archive:{archive}"))
    assert seen["Labels"]["org.opencontainers.image.title"] == "hello"
    wherry("copy", f"oci-archive:{archive}", f"oci:{tmp_path}/layout:tag")
    manifest = json.loads(stored(tmp_path / "layout"))
    assert len(manifest["layers"]) == 3
    assert seen["Digest"] == digest(stored(tmp_path / "layout"))
