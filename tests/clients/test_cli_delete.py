"""`delete` on the command line; texts and statuses are what skopeo 1.22 printed for the same calls."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.clients.test_cli_run import EXAMPLES, wherry
from tests.fakes.registry import FakeRegistry, Reply
from tests.peers.servers import Registry
from wherry.errors import InvalidError
from wherry.protocol.messages import DeleteOptions
from wherry.protocol.options import ImageAccess
from wherry_client import AsyncClient, Client

NOWHERE = "0" * 64
TEXTS = [
    (("dir:x",), "Deleting images not implemented for dir: images"),
    (("oci-archive:x",), "Deleting images not implemented for oci: images"),
    (
        ("docker-archive:x",),
        'Invalid source name docker-archive:x: The transport "docker-archive:" is not yet built',
    ),
    (("docker://h/a@@unknown-digest@@",), "Docker reference without a tag or digest cannot be deleted"),
    (("oci:nolayout:x",), "open nolayout/index.json: no such file or directory"),
    ((), "Usage: delete imageReference"),
    (("a", "b"), "Usage: delete imageReference"),
    (
        ("nothing",),
        'Invalid source name nothing: Invalid image name "nothing", expected colon-separated '
        "transport:reference",
    ),
    (("foo:bar",), 'Invalid source name foo:bar: Invalid image name "foo:bar", unknown transport "foo"'),
    (("--tag-only", "oci:x:y"), "oci: images have no tags that could be deleted alone"),
    (
        ("--tag-only", f"docker://h/a@sha256:{NOWHERE}"),
        f"docker://h/a@sha256:{NOWHERE} names no tag that could be deleted",
    ),
]


@pytest.mark.parametrize(("arguments", "text"), TEXTS, ids=[" ".join(case[0]) for case in TEXTS])
def test_refusals(arguments: tuple[str, ...], text: str, tmp_path: Path) -> None:
    ended = wherry("delete", *arguments, cwd=tmp_path)
    assert (ended.status, ended.stdout, ended.error) == (1, "", text)


def test_an_image_of_a_layout(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "hello", tmp_path / "hello")
    ended = wherry("delete", "oci:hello:nope", cwd=tmp_path)
    assert (ended.status, ended.error) == (2, 'no descriptor found for reference "nope"')
    assert wherry("delete", "oci:hello:latest", cwd=tmp_path) == (0, "", "")
    assert json.loads((tmp_path / "hello/index.json").read_bytes()) == {"schemaVersion": 2, "manifests": []}
    left = [path.name for path in (tmp_path / "hello").rglob("*") if path.is_file()]
    assert sorted(left) == ["index.json", "oci-layout"]


def test_an_image_of_a_registry(registry: Registry, tmp_path: Path) -> None:
    one, two = (registry.docker(f"delete/cli:{tag}") for tag in "ab")
    for name in (one, two):
        argv = ("copy", "-q", "--dest-tls-verify=false", f"oci:{EXAMPLES}/hello:latest", name)
        assert wherry("--insecure-policy", *argv, cwd=tmp_path) == (0, "", "")
    kept = wherry("delete", "--tls-verify=false", "--tag-only", one)
    assert kept.status == 1
    assert kept.error.endswith("is shared with the tags b")
    assert wherry("delete", "--tls-verify=false", one) == (0, "", "")
    ended = wherry("delete", "--tls-verify=false", two)
    assert ended.status == 1
    assert ended.error == (
        f"Unable to delete {two.removeprefix('docker://')}. "
        "Image may not exist or is not stored with a v2 Schema in a v2 registry"
    )


def test_it_is_tried_again(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        digest = fake.manifest("x", "a", b'{"schemaVersion":2}')
        fake.on("DELETE", f"/v2/x/manifests/{digest}", Reply(503), Reply(202))
        name = f"docker://{fake.name}/x:a"
        ended = wherry("delete", "--tls-verify=false", "--retry-times=2", "--retry-delay=10ms", name)
        assert ended.status == 0
        assert len(fake.asked("DELETE", f"/v2/x/manifests/{digest}")) == 2


def test_the_blocking_client() -> None:
    with FakeRegistry() as fake, Client.spawn() as client:
        digest = fake.manifest("x", "a", b'{"schemaVersion":2}')
        fake.on("DELETE", "/v2/x/manifests/a", Reply(202))
        options = DeleteOptions(access=ImageAccess(tls_verify=False), tag_only=True)
        assert client.delete(f"docker://{fake.name}/x:a", options).digest == digest


async def test_the_client_for_trio() -> None:
    async with AsyncClient.spawn() as client:
        with pytest.raises(InvalidError, match=r"^Deleting images not implemented for dir: images$"):
            await client.delete("dir:/nowhere")
