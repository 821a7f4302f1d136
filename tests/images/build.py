"""Small fixture images, byte for byte the same on every machine.

``python tests/images/build.py OUTDIR`` (or ``build(Path)``) writes them all. Their digests are pinned in
``digests.json``; golden files recorded from skopeo depend on them, so a change here means recording again.

Only the standard library is used, and nothing that varies between hosts: gzip and zstd streams are written
with stored blocks by hand (a compressor's output changes between zlib versions), tar headers carry mtime 0
and uid 0, and JSON is dumped by one function.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import sys
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
S2_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
S2_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
S2_CONFIG = "application/vnd.docker.container.image.v1+json"
S2_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
S2_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
REF_NAME = "org.opencontainers.image.ref.name"
CREATED = "2026-01-02T03:04:05.678901234Z"

Json = dict[str, Any]


# --- bytes -----------------------------------------------------------------------------------------


def dump(value: object, indent: int | None = None) -> bytes:
    """JSON as bytes; compact unless ``indent`` is given; non-ASCII characters stay raw UTF-8."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, indent=indent, separators=separators, ensure_ascii=False).encode()


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def noise(size: int, seed: bytes) -> bytes:
    """``size`` incompressible bytes that depend on ``seed`` alone."""
    return hashlib.shake_256(seed).digest(size)


def tar(files: dict[str, bytes]) -> bytes:
    """A ustar archive of regular files; a name that ends in ``/`` is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode = 0o755 if name.endswith("/") else 0o644
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gzip(data: bytes) -> bytes:
    """A gzip member of stored deflate blocks, mtime 0."""
    out = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    chunks = [data[i : i + 65535] for i in range(0, len(data), 65535)] or [b""]
    for number, chunk in enumerate(chunks, 1):
        out.append(struct.pack("<BHH", number == len(chunks), len(chunk), len(chunk) ^ 0xFFFF) + chunk)
    out.append(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))
    return b"".join(out)


def zstd(data: bytes) -> bytes:
    """A zstd frame of raw blocks: single segment, 4-byte content size, no checksum."""
    out = [b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data))]
    chunks = [data[i : i + 131072] for i in range(0, len(data), 131072)] or [b""]
    for number, chunk in enumerate(chunks, 1):
        header = (number == len(chunks)) | len(chunk) << 3
        out.append(struct.pack("<I", header)[:3] + chunk)
    return b"".join(out)


COMPRESSORS = {"": lambda data: data, "gzip": gzip, "zstd": zstd}


# --- images ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One layer: ``blob`` as stored, ``diff_id`` of the tar inside, and the descriptor's extra members."""

    blob: bytes
    diff_id: str
    compression: str = "gzip"
    extra: Json = field(default_factory=dict)

    def descriptor(self, media_type: str, algorithm: str = "sha256") -> Json:
        return descriptor(media_type, self.blob, algorithm) | self.extra


def layer(files: dict[str, bytes], compression: str = "gzip", **extra: Any) -> Layer:
    plain = tar(files)
    return Layer(COMPRESSORS[compression](plain), digest(plain), compression, extra)


def descriptor(media_type: str, data: bytes, algorithm: str = "sha256", **extra: Any) -> Json:
    return {"mediaType": media_type, "digest": digest(data, algorithm), "size": len(data)} | extra


def config(layers: list[Layer], arch: str = "amd64", os: str = "linux", **more: Any) -> Json:
    """A config with the members that the spec requires, and ``more``."""
    rootfs = {"type": "layers", "diff_ids": [item.diff_id for item in layers]}
    return {"created": CREATED, "architecture": arch, "os": os, **more, "rootfs": rootfs}


# Every member of the OCI config, and some that only Docker or nobody knows; text that Go escapes as HTML.
RICH: Json = {
    "author": "A. Ünïcode <a@example.com> & \u2028co",
    "config": {
        "User": "1000:1000",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Env": ["PATH=/usr/bin:/bin", "LT=<&>", "SNOW=☃"],
        "Entrypoint": ["/bin/entry"],
        "Cmd": ["--flag", "a b"],
        "Volumes": {"/data": {}, "/cache": {}},
        "WorkingDir": "/srv",
        "Labels": {"z": "last", "a": "first", "m<": "\u2029"},
        "StopSignal": "SIGTERM",
        "ArgsEscaped": True,
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30000000000},
        "OnBuild": ["RUN true"],
        "Shell": ["/bin/sh", "-c"],
        "Hostname": "fixture",
    },
    "docker_version": "20.10.0",
    "container": "0" * 64,
    "com.example.custom": {"kept": [1, 2.5, None]},
}
HISTORY = [
    {"created": CREATED, "created_by": "ADD <layer> & more", "comment": "one", "author": "me"},
    {"created": "2026-01-02T03:04:05Z", "created_by": "ENV A=b", "empty_layer": True},
]


def oci_manifest(layers: list[Layer], conf: bytes, algorithm: str = "sha256", **more: Any) -> Json:
    def media_type(item: Layer) -> str:
        base = OCI_FOREIGN if "urls" in item.extra else OCI_TAR
        return f"{base}+{item.compression}" if item.compression else base

    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, conf, algorithm),
        "layers": [item.descriptor(media_type(item), algorithm) for item in layers],
    } | more


def s2_manifest(layers: list[Layer], conf: bytes) -> Json:
    def media_type(item: Layer) -> str:
        base = S2_FOREIGN if "urls" in item.extra else S2_LAYER
        return f"{base}.{item.compression}" if item.compression else base

    return {
        "schemaVersion": 2,
        "mediaType": S2_MANIFEST,
        "config": descriptor(S2_CONFIG, conf),
        "layers": [item.descriptor(media_type(item)) for item in layers],
    }


def platform(data: bytes, media_type: str, arch: str, variant: str = "", **extra: Any) -> Json:
    """An entry of an index or a manifest list."""
    where = {"architecture": arch, "os": "linux"} | ({"variant": variant} if variant else {})
    return descriptor(media_type, data) | extra | {"platform": where}


class OciLayout:
    """Writes ``oci:`` layouts. Blobs are named by their digest unless a test wants a lie (``put``)."""

    def __init__(self, root: Path, algorithm: str = "sha256") -> None:
        self.root, self.algorithm = root, algorithm
        self.entries: list[Json] = []
        (root / "blobs" / algorithm).mkdir(parents=True)
        (root / "oci-layout").write_bytes(dump({"imageLayoutVersion": "1.0.0"}))

    def put(self, data: bytes, name: str = "") -> None:
        """Stores a blob; ``name`` is another blob's digest when it shall be corrupt."""
        algorithm, _, hexa = (name or digest(data, self.algorithm)).partition(":")
        (self.root / "blobs" / algorithm / hexa).write_bytes(data)

    def image(self, layers: list[Layer], conf: Json, *, indent: int | None = None, **more: Any) -> bytes:
        """Stores an image's blobs and returns its manifest."""
        raw = dump(conf)
        manifest = dump(oci_manifest(layers, raw, self.algorithm, **more), indent)
        for data in (raw, manifest, *(item.blob for item in layers if "urls" not in item.extra)):
            self.put(data)
        return manifest

    def tag(self, data: bytes, name: str = "latest", media_type: str = OCI_MANIFEST) -> None:
        annotations = {"annotations": {REF_NAME: name}} if name else {}
        self.entries.append(descriptor(media_type, data, self.algorithm) | annotations)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.entries}
        (self.root / "index.json").write_bytes(dump(index))


def dir_image(root: Path, manifest: bytes, *blobs: bytes, instances: tuple[bytes, ...] = ()) -> None:
    """Writes a ``dir:`` image; ``instances`` are the manifests a list names."""
    root.mkdir(parents=True)
    (root / "version").write_bytes(b"Directory Transport Version: 1.1\n")
    (root / "manifest.json").write_bytes(manifest)
    for blob in blobs:
        (root / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
    for instance in instances:
        (root / f"{hashlib.sha256(instance).hexdigest()}.manifest.json").write_bytes(instance)


# --- the catalogue ---------------------------------------------------------------------------------

ONE = layer({"etc/": b"", "etc/hello": b"hello, wherry\n"})
TWO = layer({"srv/": b"", "srv/data": noise(3000, b"two")})
PLAIN = layer({"plain": b"not compressed\n"}, "")
ZSTD = layer({"zstd": b"zstandard\n"}, "zstd")
BIG = layer({"big": noise(3 << 20, b"big")})
FOREIGN = layer({"foreign": b"elsewhere\n"}, urls=["https://example.com/layer?a=1&b=2"])


def _simple(out: Path, name: str, layers: list[Layer], conf: Json | None = None, **more: Any) -> bytes:
    layout = OciLayout(out / name)
    manifest = layout.image(layers, config(layers) if conf is None else conf, **more)
    layout.tag(manifest)
    return manifest


def _oci(out: Path) -> None:
    rich = config([ONE], **RICH, history=HISTORY)
    _simple(out, "one", [ONE], rich, indent=3, annotations={"com.example.note": "a <b> & ☃"})
    _simple(out, "two", [ONE, TWO])
    _simple(out, "plain", [PLAIN])
    _simple(out, "zstd", [ZSTD])
    _simple(out, "big", [BIG])
    _simple(out, "foreign", [FOREIGN, ONE])
    _simple(out, "sparse", [], {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}})
    _simple(out, "emptyconfig", [], {})
    small = [layer({f"file{i}": b"%d\n" % i}) for i in range(64)]
    _simple(out, "l64", small)
    _simple(out, "l400", [small[i % 8] for i in range(400)])
    _simple(out, "l3000", [small[i % 8] for i in range(3000)])

    tags = OciLayout(out / "twotags")
    tags.tag(tags.image([ONE], config([ONE])), "first")
    tags.tag(tags.image([TWO], config([TWO])), "second")

    untagged = OciLayout(out / "untagged")
    untagged.tag(untagged.image([ONE], config([ONE])), "")

    long = OciLayout(out / "sha512", "sha512")
    long.tag(long.image([ONE], config([ONE])))

    multi = OciLayout(out / "multi")
    amd64 = multi.image([ONE], config([ONE]))
    packed = multi.image([ZSTD], config([ZSTD]))
    arm64 = multi.image([TWO], config([TWO], "arm64", variant="v8"))
    arm = multi.image([PLAIN], config([PLAIN], "arm", variant="v7"))
    zstd_note = {"io.github.containers.compression.zstd": "true"}
    index = dump(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                platform(amd64, OCI_MANIFEST, "amd64"),
                platform(packed, OCI_MANIFEST, "amd64", annotations=zstd_note),
                platform(arm64, OCI_MANIFEST, "arm64", "v8"),
                platform(arm, OCI_MANIFEST, "arm", "v7"),
            ],
        }
    )
    multi.put(index)
    multi.tag(index, "latest", OCI_INDEX)

    artifact = OciLayout(out / "artifact")
    payload = b'{"answer":42}\n'
    manifest = dump(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.thing.v1",
            "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [descriptor("application/vnd.example.thing.data.v1+json", payload)],
        }
    )
    for blob in (b"{}", payload, manifest):
        artifact.put(blob)
    artifact.tag(manifest)


def _broken(out: Path) -> None:
    """Layouts with exactly one lie each."""

    def start(name: str) -> tuple[OciLayout, Json, bytes]:
        layout = OciLayout(out / name)
        conf = config([ONE])
        manifest = layout.image([ONE], conf)
        layout.tag(manifest)
        return layout, conf, manifest

    flipped = ONE.blob[:-1] + bytes([ONE.blob[-1] ^ 1])
    start("badlayer")[0].put(flipped, digest(ONE.blob))
    start("shortlayer")[0].put(ONE.blob[:100], digest(ONE.blob))
    start("longlayer")[0].put(ONE.blob + b"!", digest(ONE.blob))
    layout, conf, _ = start("badconfig")
    layout.put(dump(conf | {"os": "plan9"}), digest(dump(conf)))
    layout, _, manifest = start("badmanifest")
    layout.put(manifest + b"\n", digest(manifest))
    layout, conf, _ = start("noconfig")
    (layout.root / "blobs/sha256" / digest(dump(conf))[7:]).unlink()
    layout = start("nolayer")[0]
    (layout.root / "blobs/sha256" / digest(ONE.blob)[7:]).unlink()
    layout, _, manifest = start("nomanifest")
    (layout.root / "blobs/sha256" / digest(manifest)[7:]).unlink()
    layout = start("badindex")[0]
    (layout.root / "index.json").write_bytes(b"{nonsense")
    odd = OciLayout(out / "oddtype")
    thing = dump({"schemaVersion": 2, "mediaType": "application/x-odd", "config": {}, "layers": []})
    odd.put(thing)
    odd.tag(thing, media_type="application/x-odd")


def schema1(signed: bool) -> bytes:
    """A schema1 manifest; ``signed`` adds a JWS whose structure is right and whose signature is not."""
    history = {"id": "1" * 64, "created": CREATED, "architecture": "amd64", "os": "linux", "config": {}}
    body = {
        "schemaVersion": 1,
        "name": "wire/s1",
        "tag": "latest",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": digest(ONE.blob)}],
        "history": [{"v1Compatibility": dump(history).decode()}],
    }
    text = dump(body, 3)
    if not signed:
        return text

    def b64(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    # The P-256 generator point: a valid public key that nobody chose.
    x = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    y = bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + x + y
    kid = base64.b32encode(hashlib.sha256(spki).digest()[:30]).decode()
    kid = ":".join(kid[i : i + 4] for i in range(0, len(kid), 4))
    protected = {"formatLength": len(text) - 2, "formatTail": b64(b"\n}"), "time": "2026-01-02T03:04:05Z"}
    jwk = {"crv": "P-256", "kid": kid, "kty": "EC", "x": b64(x), "y": b64(y)}
    signature = {
        "header": {"jwk": jwk, "alg": "ES256"},
        "signature": b64(bytes(64)),
        "protected": b64(dump(protected)),
    }
    return text[:-2] + b',\n   "signatures": ' + dump([signature]) + b"\n}"


def _dir(out: Path) -> None:
    def image(name: str, layers: list[Layer], conf: Json) -> bytes:
        raw = dump(conf)
        manifest = dump(s2_manifest(layers, raw), 3)
        dir_image(out / name, manifest, raw, *(item.blob for item in layers))
        return manifest

    image("s2dir", [ONE, TWO], config([ONE, TWO], **RICH, history=[HISTORY[0], *HISTORY]))
    image("s2types", [PLAIN, ZSTD, FOREIGN], config([PLAIN, ZSTD, FOREIGN]))
    odd = s2_manifest([ONE], dump(config([ONE])))
    odd["layers"][0]["mediaType"] = "application/x-<odd>"
    dir_image(out / "s2odd", dump(odd), dump(config([ONE])), ONE.blob)

    conf = dump(config([ONE]))
    dir_image(out / "ocidir", dump(oci_manifest([ONE], conf)), conf, ONE.blob)

    blobs: list[bytes] = []
    instances: list[Json] = []
    manifests: list[bytes] = []
    for item, arch, variant in ((ONE, "amd64", ""), (TWO, "arm64", "v8"), (PLAIN, "arm", "v7")):
        raw = dump(config([item], arch))
        manifest = dump(s2_manifest([item], raw))
        blobs += [raw, item.blob]
        manifests.append(manifest)
        instances.append(platform(manifest, S2_MANIFEST, arch, variant))
    listing = {"schemaVersion": 2, "mediaType": S2_LIST, "manifests": instances}
    dir_image(out / "s2list", dump(listing, 3), *blobs, instances=tuple(manifests))

    dir_image(out / "s1dir", schema1(signed=False), ONE.blob)
    dir_image(out / "s1signed", schema1(signed=True), ONE.blob)


def _archives(out: Path) -> None:
    for source in ("one", "multi", "twotags"):
        root = out / source
        files: dict[str, bytes] = {}
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            files |= {f"{name}/": b""} if path.is_dir() else {name: path.read_bytes()}
        (out / f"{source}.tar").write_bytes(tar(files))
    (out / "one.tar.gz").write_bytes(gzip((out / "one.tar").read_bytes()))
    (out / "notatar.tar").write_bytes(b"this is no archive\n" * 100)


def build(out: Path) -> None:
    """Writes every fixture image below ``out``, which must not hold one yet."""
    out.mkdir(parents=True, exist_ok=True)
    _oci(out)
    _broken(out)
    _dir(out)
    _archives(out)


def digests(out: Path) -> dict[str, str]:
    """One sha256 per fixture image: over the names and bytes of its files."""
    found: dict[str, str] = {}
    for top in sorted(out.iterdir()):
        paths = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
        tree = hashlib.sha256()
        for path in paths:
            name = str(path.relative_to(out)).encode()
            tree.update(b"%d:%s" % (len(name), name) + hashlib.sha256(path.read_bytes()).digest())
        found[top.name] = tree.hexdigest()
    return found


if __name__ == "__main__":
    build(Path(sys.argv[1]))
