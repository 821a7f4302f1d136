"""Uploads in parts: what registries demand at least, and what they, or proxies before them, take at most."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fakes.registry import FakeRegistry, Reply, Seen
from tests.registry.test_push_faults import push, sha
from tests.transports.contract import make_system
from wherry.errors import CorruptError, RegistryError
from wherry.interfaces import no_progress
from wherry.model import digest as digests
from wherry.model.name import Named
from wherry.protocol.options import ImageAccess
from wherry.registry.client import Registries
from wherry.registry.parts import smaller
from wherry.registry.uploads import upload
from wherry.streams.blobs import BytesBlob
from wherry.system import System

MIB = 1 << 20
DATA = os.urandom(10_500)
START = "/v2/x/blobs/uploads/"


@pytest.mark.parametrize(
    ("size", "before", "wanted"),
    [
        (100 * MIB, None, 64 * MIB),
        (64 * MIB, None, 16 * MIB),
        (100 * MIB, 64 * MIB, 16 * MIB),
        (2 * MIB, 64 * MIB, MIB),
        (100 * MIB, MIB, None),
        (MIB, None, None),
        (-1, None, None),
    ],
)
def test_sizes(size: int, before: int | None, wanted: int | None) -> None:
    assert smaller(size, before) == wanted


def moving(fake: FakeRegistry, **headers: str) -> None:
    """Let sessions move to another URL with each part."""

    def patch(seen: Seen) -> Reply:
        return Reply(202, {"Location": f"/u?step={int(seen.target.partition('=')[2]) + 1}"})

    fake.on("POST", START, Reply(202, {"Location": "/u?step=0", **headers}))
    fake.on("PATCH", "/u", patch)
    fake.on("PUT", "/u", Reply(201))


async def send(fake: FakeRegistry, system: System, data: bytes = DATA, size: int = len(DATA)) -> str:
    async with Registries(system) as registries:
        moved = await upload(
            registries.client(fake.name, ImageAccess(tls_verify=False)),
            Named(fake.name, "x"),
            BytesBlob(data),
            digest=digests.of(DATA),
            size=size,
            part=4000,
            progress=no_progress,
        )
    assert moved.count == size
    return moved.digests["sha256"]


@pytest.mark.parametrize(
    ("least", "ranges"),
    [
        ("", ["0-3999", "4000-7999", "8000-10499"]),
        ("100", ["0-3999", "4000-7999", "8000-10499"]),
        ("6000", ["0-5999", "6000-10499"]),
        ("nonsense", ["0-3999", "4000-7999", "8000-10499"]),
    ],
)
async def test_parts(fake: FakeRegistry, system: System, least: str, ranges: list[str]) -> None:
    moving(fake, **({"OCI-Chunk-Min-Length": least} if least else {}))
    assert await send(fake, system) == digests.of(DATA)
    patches = fake.asked("PATCH", "/u")
    assert [seen.header("Content-Range") for seen in patches] == ranges
    assert [seen.target for seen in patches] == [f"/u?step={number}" for number in range(len(ranges))]
    assert b"".join(seen.body for seen in patches) == DATA
    (put,) = fake.asked("PUT", "/u")
    assert put.target == f"/u?step={len(ranges)}&digest=sha256%3A{digests.of(DATA)[7:]}"
    assert put.body == b""


async def test_a_blob_that_is_one_part_goes_whole(fake: FakeRegistry, system: System) -> None:
    moving(fake, **{"OCI-Chunk-Min-Length": "10500"})
    await send(fake, system)
    assert not fake.asked("PATCH", "/u")
    assert fake.asked("PUT", "/u")[0].body == DATA


@pytest.mark.parametrize(
    ("data", "text"), [(DATA[:9000], "unexpected EOF, 1500 bytes before"), (DATA + b"x", "longer than 10500")]
)
async def test_another_length(fake: FakeRegistry, system: System, data: bytes, text: str) -> None:
    moving(fake)
    with pytest.raises(CorruptError, match=text):
        await send(fake, system, data)
    assert not fake.asked("PUT", "/u")
    assert len(fake.asked("DELETE", "/u")) == 1


async def test_a_part_that_is_refused(fake: FakeRegistry, system: System) -> None:
    moving(fake)
    fake.on("PATCH", "/u", Reply(202, {"Location": "/u?step=1"}), Reply(416))
    with pytest.raises(RegistryError, match=r"^uploading layer chunked: StatusCode: 416"):
        await send(fake, system)
    assert len(fake.asked("DELETE", "/u")) == 1


def layout(folder: Path, *layers: bytes) -> str:
    """A layout with one image of these layers."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        (blobs / sha(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": sha(data), "size": len(data)}

    prefix = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{prefix}.manifest.v1+json",
        "config": blob(b"{}", f"{prefix}.config.v1+json"),
        "layers": [blob(data, f"{prefix}.layer.v1.tar+gzip") for data in layers],
    }
    entry = blob(json.dumps(manifest).encode(), f"{prefix}.manifest.v1+json")
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{folder}"


@pytest.mark.parametrize("limit", [5 * MIB, MIB, MIB // 2])
async def test_a_proxy_that_refuses_long_requests(fake: FakeRegistry, tmp_path: Path, limit: int) -> None:
    """413 comes before the body is read, as from nginx; parts shrink until they pass, or none is left."""
    small, large = os.urandom(1000), os.urandom(6 * MIB + 7)
    source = layout(tmp_path / "layout", large, small)
    sessions: dict[str, bytes] = {}
    stored: dict[str, bytes] = {}

    def begin(_: Seen) -> Reply:
        path = f"/u{len(sessions)}"
        sessions[path] = b""
        for method in ("PATCH", "PUT"):
            fake.on(method, path, take)
        return Reply(202, {"Location": path})

    def take(seen: Seen) -> Reply:
        if int(seen.header("Content-Length") or 0) > limit:
            return Reply(413, end="close")
        sessions[seen.path] += seen.body
        fake.on("PATCH", seen.path, take)
        fake.on("PUT", seen.path, take)
        if seen.method == "PUT":
            stored[sha(sessions[seen.path])] = sessions[seen.path]
            return Reply(201)
        return Reply(202, {"Location": seen.path})

    fake.on("POST", START, begin)
    for data in (small, large, b"{}"):
        fake.on("HEAD", f"/v2/x/blobs/{sha(data)}", Reply(404))
    fake.on("PUT", "/v2/x/manifests/t", Reply(201))
    system = make_system(tmp_path)
    if limit < MIB:
        with pytest.raises(RegistryError, match="StatusCode: 413"):
            await push(system, fake.name, source=source)
        return
    await push(system, fake.name, source=source)
    assert stored == {sha(data): data for data in (small, large, b"{}")}
    lengths = [int(seen.header("Content-Length") or 0) for seen in fake.seen if seen.method == "PATCH"]
    assert max(length for length in lengths if length <= limit) == (4 * MIB if limit > MIB else MIB)
