"""What the transports write, skopeo, umoci and podman read; what they write, the transports read."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images import build
from tests.peers.require import require_peer
from tests.transports.contract import Subject, copy_image, image, make_system, store
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import ImageAccess
from wherry.streams.pump import read_all
from wherry.system import System
from wherry.transports import parse

Command = Callable[..., bytes]


def check(*command: object, cwd: Path) -> bytes:
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout


@pytest.fixture
def world(tmp_path: Path, images: Path) -> System:
    (tmp_path / "images").symlink_to(images)
    return make_system(tmp_path)


@pytest.fixture
def run_skopeo(tmp_path: Path, skopeo: Path) -> Command:
    return lambda *words: check(skopeo, "--insecure-policy", *words, cwd=tmp_path)


@pytest.fixture
def run_umoci(tmp_path: Path) -> Command:
    program = require_peer("umoci")
    return lambda *words: check(program, *words, cwd=tmp_path)


@pytest.fixture
def run_podman(tmp_path: Path) -> Iterator[Command]:
    """podman with a storage of its own."""
    program = require_peer("podman")
    with tempfile.TemporaryDirectory(prefix="p-") as run:  # podman takes no longer path than 50 characters
        base = (program, "--root", tmp_path / "podman", "--runroot", run, "--storage-driver", "vfs")
        try:
            yield lambda *words: check(*base, *words, cwd=tmp_path)
        finally:
            check(*base, "rmi", "--all", "--force", cwd=tmp_path)


def blobs_of(manifest: bytes) -> list[Descriptor]:
    value = json.loads(manifest)
    return [
        Descriptor(item["mediaType"], digest.parse(item["digest"]), item["size"])
        for item in (value["config"], *value["layers"])
    ]


async def assert_complete(system: System, name: str) -> bytes:
    """All blobs of the image are there and are what the manifest says; the manifest."""
    async with parse(name, system).source(system, ImageAccess()) as source:
        raw = (await source.manifest()).raw
        for wanted in blobs_of(raw):
            async with source.blob(wanted) as blob:
                data = await read_all(blob, system.threads, 1 << 26, "blob")
            assert (digest.of(data), len(data)) == (wanted.digest, wanted.size)
    return raw


@pytest.mark.parametrize("source", ["one", "two", "big", "l64"])
@pytest.mark.parametrize("target", ["oci:out:tag", "oci-archive:out.tar:tag", "dir:out"])
async def test_skopeo_reads_what_we_write(
    world: System, tmp_path: Path, run_skopeo: Command, source: str, target: str
) -> None:
    raw = await copy_image(world, f"oci:images/{source}", target)
    run_skopeo("copy", "--preserve-digests", target, "dir:theirs")
    assert (tmp_path / "theirs/manifest.json").read_bytes() == raw
    assert await assert_complete(world, "dir:theirs") == raw
    assert json.loads(run_skopeo("inspect", target))["Digest"] == digest.of(raw)


@pytest.mark.parametrize("source", ["one", "two", "big", "l64"])
@pytest.mark.parametrize("target", ["oci:out:tag", "oci-archive:out.tar:tag", "dir:out"])
async def test_we_read_what_skopeo_writes(
    world: System, images: Path, run_skopeo: Command, source: str, target: str
) -> None:
    run_skopeo("copy", "--preserve-digests", f"oci:images/{source}", target)
    raw = await assert_complete(world, target)
    assert raw == await assert_complete(world, f"oci:{images}/{source}")


async def test_we_read_instances_that_skopeo_writes(world: System, run_skopeo: Command) -> None:
    run_skopeo("copy", "--all", "--preserve-digests", "dir:images/s2list", "dir:out")
    async with parse("dir:out", world).source(world, ImageAccess()) as source:
        entries = json.loads((await source.manifest()).raw)["manifests"]
        assert len(entries) == 3
        for entry in entries:
            instance = digest.parse(entry["digest"])
            assert digest.of((await source.manifest(instance)).raw) == instance


async def test_names_of_both_stay_in_one_layout(world: System, tmp_path: Path, run_skopeo: Command) -> None:
    first = await copy_image(world, "oci:images/one", "oci:out:ours")
    run_skopeo("copy", "oci:images/two", "oci:out:theirs")
    second = await copy_image(world, "oci:images/big", "oci:out:ours")
    run_skopeo("copy", "oci:images/one", "oci:out:theirs")
    assert await assert_complete(world, "oci:out:ours") == second
    assert await assert_complete(world, "oci:out:theirs") == first
    index = json.loads((tmp_path / "out/index.json").read_bytes())
    assert len(index["manifests"]) == 3


async def test_skopeo_overwrites_our_directory_and_we_its(world: System, run_skopeo: Command) -> None:
    await copy_image(world, "oci:images/one", "dir:out")
    run_skopeo("copy", "--preserve-digests", "oci:images/two", "dir:out")
    two = await assert_complete(world, "dir:out")
    await copy_image(world, "oci:images/big", "dir:out")
    assert await assert_complete(world, "dir:out") != two
    run_skopeo("inspect", "dir:out")


async def test_umoci_unpacks_what_we_write(world: System, tmp_path: Path, run_umoci: Command) -> None:
    await copy_image(world, "oci:images/one", "oci:out:tag")
    await copy_image(world, "oci:images/two", "oci:out:other")
    assert set(run_umoci("list", "--layout", "out").decode().split()) == {"tag", "other"}
    run_umoci("unpack", "--rootless", "--image", "out:tag", "bundle")
    assert (tmp_path / "bundle/rootfs/etc/hello").read_bytes() == b"hello, wherry\n"


async def test_umoci_unpacks_our_archive(world: System, tmp_path: Path, run_umoci: Command) -> None:
    await copy_image(world, "oci:images/one", "oci-archive:out.tar:tag")
    with tarfile.open(tmp_path / "out.tar") as archive:
        archive.extractall(tmp_path / "extracted", filter="data")
    run_umoci("unpack", "--rootless", "--image", "extracted:tag", "bundle")
    assert (tmp_path / "bundle/rootfs/etc/hello").read_bytes() == b"hello, wherry\n"


async def test_we_read_what_umoci_writes(world: System, run_umoci: Command) -> None:
    one = await copy_image(world, "oci:images/one", "oci:out:tag")
    run_umoci("tag", "--image", "out:tag", "again")
    run_umoci("new", "--image", "out:empty")
    run_umoci("config", "--image", "out:tag", "--tag", "changed", "--author", "somebody")
    assert await assert_complete(world, "oci:out:again") == one
    assert blobs_of(await assert_complete(world, "oci:out:empty"))[1:] == []
    assert await assert_complete(world, "oci:out:changed") != one
    await copy_image(world, "oci:images/two", "oci:out:tag")
    assert set(run_umoci("list", "--layout", "out").decode().split()) == {"tag", "again", "empty", "changed"}


@pytest.mark.parametrize("target", ["oci:out:tag", "oci-archive:out.tar:tag", "dir:out"])
async def test_podman_pulls_what_we_write(world: System, run_podman: Command, target: str) -> None:
    raw = await copy_image(world, "oci:images/two", target)
    run_podman("pull", target)
    (listed,) = json.loads(run_podman("images", "--format", "json"))
    assert listed["Id"] == digest.encoded(blobs_of(raw)[0].digest)


async def test_we_read_what_podman_saves(world: System, tmp_path: Path, run_podman: Command) -> None:
    subject = Subject(world, "oci:out:tag", tmp_path / "out")
    await store(subject, image(b"saved"))
    name = run_podman("pull", "oci:out:tag").decode().split()[-1]
    run_podman("save", "--format", "oci-archive", "-o", "saved.tar", name)
    run_podman("save", "--format", "oci-dir", "-o", "saved", name)
    archived = await assert_complete(world, "oci-archive:saved.tar")
    assert await assert_complete(world, "oci:saved") == archived
    assert json.loads(archived)["mediaType"] == build.OCI_MANIFEST


async def test_a_copy_of_an_archive_that_gzip_packed(world: System, tmp_path: Path) -> None:
    await copy_image(world, "oci:images/two", "oci-archive:out.tar:tag")
    check("gzip", "out.tar", cwd=tmp_path)
    assert os.listdir(world.scratch) == []
    await assert_complete(world, "oci-archive:out.tar.gz:tag")
    assert os.listdir(world.scratch) == []
