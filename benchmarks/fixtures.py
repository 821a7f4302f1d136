"""Images to measure with: the same bytes on every machine, made once, in OCI layouts under $BENCH_DIR.

Layers are tars of seeded text, ELF-like records and noise, so that gzip finds about what it finds in real
images. The compressor is the host's zlib; only its output's size may differ between hosts, by little.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

GENERATION = "1"
"""Part of the directory's name: change it with anything that changes the bytes."""

MIB = 1 << 20
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Recipe:
    """An image: the sizes of its layers' tars in bytes, and whether they are compressed."""

    name: str
    tars: tuple[int, ...]
    gzip: bool = True


def recipes(quick: bool) -> tuple[Recipe, ...]:
    """one: a single large layer; ten; l64: 64 small layers; one_plain: an uncompressed one."""
    scale = 8 if quick else 1
    ten = (110, 80, 60, 40, 30, 20, 12, 8, 4, 2)
    l64 = (27 * MIB, *(int(MIB * (0.1 + 2.9 * ((i * 37) % 63) / 63)) for i in range(63)))
    return (
        Recipe("one", (450 * MIB // scale,)),
        Recipe("ten", tuple(size * MIB // scale for size in ten)),
        Recipe("l64", tuple(max(64 << 10, size // scale) for size in l64)),
        Recipe("one_plain", (233 * MIB // scale,), gzip=False),
    )


@dataclass(frozen=True)
class Layer:
    """A layer's descriptor."""

    digest: str
    size: int


@dataclass(frozen=True)
class Fixture:
    """An image in an OCI layout of its own, tagged `latest`."""

    name: str
    layout: Path
    digest: str
    layers: tuple[Layer, ...]

    @property
    def oci(self) -> str:
        return f"oci:{self.layout}:latest"

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


def build(folder: Path, quick: bool) -> dict[str, Fixture]:
    """Make the images that are missing under `folder`, on all cores; all of them, by name."""
    root = folder / f"images-{GENERATION}{'-quick' if quick else ''}"
    root.mkdir(parents=True, exist_ok=True)
    wanted = recipes(quick)
    missing = [recipe for recipe in wanted if not (root / recipe.name / "index.json").exists()]
    jobs = [(root, recipe, number) for recipe in missing for number in range(len(recipe.tars))]
    jobs.sort(key=lambda job: -job[1].tars[job[2]])
    for recipe in missing:
        shutil.rmtree(root / recipe.name, ignore_errors=True)
        (root / recipe.name / "blobs/sha256").mkdir(parents=True)
    done: dict[tuple[str, int], tuple[Layer, str]] = {}
    if jobs:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for (_, recipe, number), made in zip(jobs, pool.map(_layer, jobs), strict=True):
                done[recipe.name, number] = made
    for recipe in missing:
        _finish(root / recipe.name, [done[recipe.name, number] for number in range(len(recipe.tars))])
    return {recipe.name: _load(root / recipe.name) for recipe in wanted}


# --- bytes

_WORDS = 4096
_POOL = 4 * MIB
_LONGEST = 2 * MIB


@lru_cache
def _text() -> bytes:
    """Text of words that are drawn as in real text: few often, many seldom."""
    seed = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(seed.choices(letters, range(26, 0, -1), k=seed.randint(2, 11))) for _ in range(_WORDS)]
    weights = [1 / (rank + 3) for rank in range(_WORDS)]
    return " ".join(seed.choices(words, weights, k=_POOL // 4)).encode()[:_POOL]


@lru_cache
def _records() -> bytes:
    """Records like a symbol table's: fields that grow, flags, a few noisy bytes."""
    seed = random.Random(2)
    out = bytearray()
    address = 0x400000
    for _ in range(_POOL // 24):
        address += seed.choice((16, 32, 48, 160))
        size = seed.randrange(0, 512, 8)
        out += struct.pack("<IBBHQQ", seed.getrandbits(20), seed.choice((1, 2, 18)), 0, 11, address, size)
    return bytes(out)


def tar_files(size: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files whose tar has about `size` bytes."""
    dice = random.Random(seed)
    pools = {"txt": _text(), "so": _records()}
    left, number = size, 0
    while left > 0:
        length = min(left, int(dice.paretovariate(0.9) * 8192), _LONGEST)
        kind = dice.choices(("txt", "so", "bin"), (70, 25, 5))[0]
        if kind == "bin":
            data = dice.randbytes(length)
        else:
            pool = pools[kind]
            start = dice.randrange(len(pool) - length + 1)
            changed = bytearray(pool[start : start + length])
            for _ in range(length // 1024):  # so that a slice which comes again is not the same
                changed[dice.randrange(length)] = dice.getrandbits(8)
            data = bytes(changed)
        yield f"usr/lib/d{number % 61}/f{number}.{kind}", data
        left -= length + 1024
        number += 1


class _Writer:
    """Writes a layer: the tar's bytes come in, the blob's go to the file, both are hashed."""

    def __init__(self, out: BinaryIO, gzip: bool) -> None:
        self._out = out
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if gzip else None
        self.diff, self.blob = hashlib.sha256(), hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.diff.update(data)
        self._put(self._gzip.compress(data) if self._gzip else data)
        return len(data)

    def finish(self) -> None:
        if self._gzip:
            self._put(self._gzip.flush())

    def _put(self, data: bytes) -> None:
        self.blob.update(data)
        self._out.write(data)
        self.size += len(data)


def _layer(job: tuple[Path, Recipe, int]) -> tuple[Layer, str]:
    root, recipe, number = job
    blobs = root / recipe.name / "blobs/sha256"
    temporary = blobs / f"making-{number}"
    with temporary.open("wb") as out:
        writer = _Writer(out, recipe.gzip)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.USTAR_FORMAT, bufsize=MIB) as archive:  # type: ignore[call-overload]
            seed = zlib.crc32(f"{recipe.name}/{number}".encode())
            for name, data in tar_files(recipe.tars[number], seed):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        writer.finish()
    temporary.rename(blobs / writer.blob.hexdigest())
    return Layer(f"sha256:{writer.blob.hexdigest()}", writer.size), f"sha256:{writer.diff.hexdigest()}"


def _finish(layout: Path, made: list[tuple[Layer, str]]) -> None:
    gzip = made[0][0].digest != made[0][1]
    config = {
        "created": "2026-01-01T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in made]},
    }
    media_type = f"{_LAYER}+gzip" if gzip else _LAYER
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _store(layout, _CONFIG, config),
        "layers": [{"mediaType": media_type, "digest": it.digest, "size": it.size} for it, _ in made],
    }
    entry = _store(layout, _MANIFEST, manifest)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def _store(layout: Path, media_type: str, value: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(value, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _load(layout: Path) -> Fixture:
    digest = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
    manifest = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())
    layers = tuple(Layer(layer["digest"], layer["size"]) for layer in manifest["layers"])
    return Fixture(layout.name, layout, digest, layers)
