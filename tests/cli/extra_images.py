"""Images the command-line recordings need beside tests/images: one odd property each, same bytes every time.

``python tests/cli/extra_images.py OUTDIR`` writes one directory (an OCI layout or a dir: image) per image.
Nothing here comes from wherry: the bytes are what skopeo and wherry are both shown.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
REF_NAME = "org.opencontainers.image.ref.name"
ZSTD_NOTE = {"io.github.containers.compression.zstd": "true"}


def digest_of(data: bytes) -> str:
    """The sha256 digest of data, as a string."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(value: Any) -> bytes:
    """JSON as our images store it: compact, UTF-8, keys in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Layer:
    """One layer: its compressed bytes and the digest of the tar inside."""

    data: bytes
    diff_id: str

    @property
    def digest(self) -> str:
        """The digest of the compressed bytes."""
        return digest_of(self.data)


def gzipped(data: bytes) -> bytes:
    """A gzip stream of one stored block: a compressor's output would change between zlib versions."""
    assert len(data) < 1 << 16
    block = b"\x01" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data
    head = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"
    return head + block + struct.pack("<II", zlib.crc32(data), len(data))


def layer(text: str) -> Layer:
    """A gzip layer with one file that holds text; times and owners are zero."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("file.txt")
        entry.size = len(text.encode())
        tar.addfile(entry, io.BytesIO(text.encode()))
    return Layer(gzipped(plain.getvalue()), digest_of(plain.getvalue()))


def config_of(layers: list[Layer], **fields: Any) -> bytes:
    """An image configuration for layers; fields override or add keys."""
    config: dict[str, Any] = {"created": "2024-05-06T07:08:09Z", "architecture": "amd64", "os": "linux"}
    config |= fields
    config["rootfs"] = {"type": "layers", "diff_ids": [one.diff_id for one in layers]}
    return encode({key: value for key, value in config.items() if value is not None})


def descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    """A descriptor of data."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)} | more


class Blobs:
    """The blobs of one image, by digest, filled while its manifests are written."""

    def __init__(self) -> None:
        self.by_digest: dict[str, bytes] = {}

    def add(self, data: bytes) -> bytes:
        """Keep data and hand it back."""
        self.by_digest[digest_of(data)] = data
        return data

    def oci(self, layers: list[Layer], config: bytes, /, **more: Any) -> bytes:
        """An OCI manifest over layers and config, kept; more adds top-level keys or replaces layers."""
        for one in layers:
            self.add(one.data)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, self.add(config)),
            "layers": [descriptor(OCI_LAYER, one.data) for one in layers],
        }
        return self.add(encode(manifest | more))

    def schema2(self, layers: list[Layer], config: bytes, /, **more: Any) -> bytes:
        """A Docker schema2 manifest, kept; indented as docker push writes it."""
        for one in layers:
            self.add(one.data)
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(DOCKER_CONFIG, self.add(config)),
            "layers": [descriptor(DOCKER_LAYER, one.data) for one in layers],
        }
        return self.add(json.dumps(manifest | more, indent=3).encode())


def write_layout(where: Path, blobs: Blobs, entries: list[dict[str, Any]]) -> None:
    """An OCI image layout with these index entries."""
    store = where / "blobs" / "sha256"
    store.mkdir(parents=True)
    for name, data in blobs.by_digest.items():
        (store / name.partition(":")[2]).write_bytes(data)
    (where / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    (where / "index.json").write_bytes(encode({"schemaVersion": 2, "manifests": entries}))


def write_dir(where: Path, blobs: Blobs, top: bytes) -> None:
    """A dir: image whose manifest is top; other manifests get the instance name."""
    where.mkdir(parents=True)
    (where / "version").write_bytes(b"Directory Transport Version: 1.1\n")
    (where / "manifest.json").write_bytes(top)
    for name, data in blobs.by_digest.items():
        if data == top:
            continue
        instance = data[:1] == b"{" and b'"schemaVersion"' in data
        (where / (name.partition(":")[2] + (".manifest.json" if instance else ""))).write_bytes(data)


def entry(manifest: bytes, name: str | None = None, **more: Any) -> dict[str, Any]:
    """An index.json entry for manifest under name."""
    notes = {} if name is None else {"annotations": {REF_NAME: name}}
    return descriptor(more.pop("mediaType", OCI_MANIFEST), manifest) | notes | more


RICH_CONFIG: dict[str, Any] = {
    "created": "2024-05-06T07:08:09.120000000+02:00",
    "author": "Zoë <zoe@example.com> & co",
    "architecture": "amd64",
    "variant": "v2",
    "os": "linux",
    "os.version": "10.0.1",
    "os.features": ["f1", "f2"],
    "config": {
        "User": "1000:1000",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Env": ["PATH=/usr/bin:/bin", 'HTML=<a href="x">&amp;</a>', "UNI=grüße 日本\u2028\u2029", "TAB=a\tb"],
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo", "<hi>"],
        "Volumes": {"/data": {}, "/cache": {}},
        "WorkingDir": "/srv",
        "Labels": {
            "z.last": "1",
            "a.first": "x & y",
            "html": "<b>bold</b>",
            "uni": "日本語 \u2028 é",
            "quote": 'say "hi" \\ / \x7f \x01',
            "": "empty key",
        },
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30},
        "ArgsEscaped": True,
    },
    "container": "0123456789ab",
    "docker_version": "24.0.7",
    "x-unknown": {"kept": [1, 2.50]},
    "history": [
        {"created": "2024-05-06T07:08:09Z", "created_by": "ADD file:1 in /"},
        {
            "created": "2024-05-06T07:08:10.5Z",
            "created_by": "ENV A=<b>",
            "comment": "c & d",
            "empty_layer": True,
        },
        {"author": "me", "empty_layer": False},
    ],
}


def rich(out: Path) -> None:
    """Every field of a configuration, characters Go escapes, annotations on layers and manifest."""
    layers, blobs = [layer("rich one"), layer("rich two")], Blobs()
    described = [
        descriptor(OCI_LAYER, layers[0].data, annotations={"b": "2", "a": "<1>", "org.example": "é"}),
        descriptor(OCI_LAYER, layers[1].data),
    ]
    manifest = blobs.oci(
        layers, config_of(layers, **RICH_CONFIG), layers=described, annotations={"made.by": "<hand> & é"}
    )
    write_layout(out / "rich", blobs, [entry(manifest, "latest")])


def rich_schema2(out: Path) -> None:
    """The same configuration as a Docker schema2 image in dir: form, layers repeated."""
    layers, blobs = [layer("rich one"), layer("rich two"), layer("rich one")], Blobs()
    manifest = blobs.schema2(layers, config_of(layers, **RICH_CONFIG))
    write_dir(out / "rich-s2", blobs, manifest)


def bare(out: Path) -> None:
    """Configurations with little in them: no creation time, no config, no layers, null lists, odd times."""
    one = [layer("bare")]
    variants: dict[str, tuple[list[Layer], bytes]] = {
        "nocreated": (one, config_of(one, created=None)),
        "nolayers": ([], config_of([])),
        "emptyconfig": (one, b"{}"),
        "nulls": (one, config_of(one, config={"Env": None, "Labels": {}, "Cmd": []}, history=[])),
        "zerotime": (one, config_of(one, created="0001-01-01T00:00:00Z")),
        "badtime": (one, config_of(one, created="yesterday")),
        "badjson": (one, b"this is not JSON"),
        "arrayconfig": (one, b"[]"),
        "windows": (one, config_of(one, os="windows", architecture="arm64", **{"os.version": "10.0.2"})),
    }
    for name, (layers, config) in variants.items():
        blobs = Blobs()
        write_layout(out / name, blobs, [entry(blobs.oci(layers, config), "latest")])


def index_image(out: Path) -> None:
    """An OCI index: variants, a zstd twin, an entry without platform, annotations; and one without amd64."""
    blobs, entries = Blobs(), []
    wanted: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = [
        ("gzip amd64", {"architecture": "amd64", "os": "linux"}, {"annotations": {"note": "<first>"}}),
        ("zstd amd64", {"architecture": "amd64", "os": "linux"}, {"annotations": ZSTD_NOTE}),
        ("arm v6", {"architecture": "arm", "os": "linux", "variant": "v6"}, {}),
        ("arm v7", {"architecture": "arm", "os": "linux", "variant": "v7"}, {}),
        ("arm64 v8", {"architecture": "arm64", "os": "linux", "variant": "v8"}, {}),
        ("windows", {"architecture": "amd64", "os": "windows", "os.version": "10.0.1"}, {}),
        ("no platform", None, {}),
    ]
    for text, platform, more in wanted:
        layers = [layer(text)]
        manifest = blobs.oci(layers, config_of(layers, **(platform or {})))
        entries.append(entry(manifest, None, **({"platform": platform} if platform else {}), **more))
    top = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": {"k": "<v>"}}
    index = blobs.add(encode(top))
    write_layout(out / "index", blobs, [entry(index, "latest", mediaType=OCI_INDEX)])
    foreign = [one for one in entries if one.get("platform", {}).get("architecture", "").startswith("arm")]
    other = blobs.add(encode(top | {"manifests": foreign}))
    write_layout(out / "armindex", blobs, [entry(other, "latest", mediaType=OCI_INDEX)])
    empty = Blobs()
    nothing = empty.add(encode(top | {"manifests": []}))
    write_layout(out / "emptyindex", empty, [entry(nothing, "latest", mediaType=OCI_INDEX)])


def docker_list(out: Path) -> None:
    """A Docker manifest list in dir: form, and one without amd64."""
    blobs = Blobs()
    entries: list[dict[str, Any]] = []
    for arch, variant in (("s390x", None), ("amd64", None), ("arm", "v7"), ("amd64", None)):
        layers = [layer(f"list {arch} {len(entries)}")]
        platform = {"architecture": arch, "os": "linux"} | ({"variant": variant} if variant else {})
        manifest = blobs.schema2(layers, config_of(layers, **platform))
        entries.append(descriptor(DOCKER_MANIFEST, manifest) | {"platform": platform})
    top = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}
    write_dir(out / "list", blobs, json.dumps(top, indent=3).encode())
    other = [one for one in entries if one["platform"]["architecture"] != "amd64"]
    write_dir(out / "armlist", blobs, json.dumps(top | {"manifests": other}, indent=3).encode())


def artifact(out: Path) -> None:
    """OCI artifacts: an empty config, a config of an own type, an artifactType on an image config."""
    for name, kind, config_type in (
        ("artifact", "application/x.example+text", "application/vnd.oci.empty.v1+json"),
        ("oldartifact", None, "application/x.example.config+json"),
        ("typedimage", "application/x.example+text", OCI_CONFIG),
    ):
        blobs, data = Blobs(), b"{}" if config_type != OCI_CONFIG else config_of([])
        payload = blobs.add(b"hello artifact\n")
        manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        manifest |= {"artifactType": kind} if kind else {}
        manifest["config"] = descriptor(config_type, blobs.add(data))
        manifest["layers"] = [descriptor("text/plain", payload, annotations={"title": "hello.txt"})]
        top = blobs.add(encode(manifest))
        write_layout(out / name, blobs, [entry(top, "latest")])


def layouts(out: Path) -> None:
    """Layouts with several, no, equally named and broken entries."""
    blobs, entries = Blobs(), []
    for name in ("one", "two", None):
        layers = [layer(f"several {name}")]
        entries.append(entry(blobs.oci(layers, config_of(layers)), name))
    write_layout(out / "several", blobs, entries)
    write_layout(out / "untagged", blobs, entries[2:])
    write_layout(out / "twice", blobs, [entries[0], entries[1] | {"annotations": {REF_NAME: "one"}}])
    write_layout(out / "noentries", Blobs(), [])
    write_layout(out / "noblobs", Blobs(), entries[:1])
    odd = Blobs()
    image = odd.oci([], config_of([]))
    write_layout(out / "oddtype", odd, [entry(image, "latest", mediaType="application/x.unknown+json")])
    broken = out / "brokenindex"
    write_layout(broken, Blobs(), [])
    (broken / "index.json").write_bytes(b"{broken")
    (out / "nolayoutfile").mkdir()
    (out / "nolayoutfile" / "index.json").write_bytes((out / "several" / "index.json").read_bytes())


def faulty(out: Path) -> None:
    """Images whose blobs are missing, of the wrong content, or of the wrong size."""
    layers = [layer("good"), layer("bad")]
    for name in ("badlayer", "shortlayer", "nolayer", "noconfig", "badconfig", "badmanifest"):
        blobs = Blobs()
        config = config_of(layers)
        manifest = blobs.oci(layers, config)
        where = out / name
        write_layout(where, blobs, [entry(manifest, "latest")])
        store = where / "blobs" / "sha256"
        bad = store / layers[1].digest.partition(":")[2]
        settings = store / digest_of(config).partition(":")[2]
        if name == "badlayer":
            bad.write_bytes(bytes(byte ^ 1 for byte in layers[1].data))
        elif name == "shortlayer":
            bad.write_bytes(layers[1].data[:-1])
        elif name == "nolayer":
            bad.unlink()
        elif name == "noconfig":
            settings.unlink()
        elif name == "badconfig":
            settings.write_bytes(config.replace(b"amd64", b"amd46"))
        else:
            (store / digest_of(manifest).partition(":")[2]).write_bytes(manifest.replace(b":2,", b": 2,"))


def directories(out: Path) -> None:
    """dir: images: OCI, with a signature, of a future version, without a manifest, with a foreign layer."""
    layers = [layer("dir one"), layer("dir two")]
    for name in ("ocidir", "signed", "futuredir", "noversion"):
        blobs = Blobs()
        write_dir(out / name, blobs, blobs.oci(layers, config_of(layers)))
    (out / "signed" / "signature-1").write_bytes(b"\x90\x0dnot a real signature")
    (out / "futuredir" / "version").write_bytes(b"Directory Transport Version: 1.3\n")
    (out / "noversion" / "version").unlink()
    (out / "nomanifest").mkdir()
    (out / "nomanifest" / "version").write_bytes(b"Directory Transport Version: 1.1\n")
    (out / "garbage").mkdir()
    (out / "garbage" / "manifest.json").write_bytes(b"not a manifest\n")
    blobs = Blobs()
    top = blobs.schema2(layers, config_of(layers, docker_version="20.10.1"))
    write_dir(out / "s2", blobs, top)
    foreign = Blobs()
    described = [
        descriptor(OCI_FOREIGN, layers[0].data, urls=["http://127.0.0.1:1/layer"]),
        descriptor(OCI_LAYER, layers[1].data),
    ]
    image = foreign.oci(layers, config_of(layers), layers=described)
    write_layout(out / "foreign", foreign, [entry(image, "latest")])


def schema1(out: Path) -> None:
    """A Docker schema1 image without signatures, in dir: form; the tag it names is not latest."""
    layers = [layer("schema1 a"), layer("schema1 b")]
    blobs = Blobs()
    for one in layers:
        blobs.add(one.data)
    child: dict[str, Any] = {
        "id": "b" * 64,
        "parent": "a" * 64,
        "created": "2020-01-02T03:04:05.6Z",
        "architecture": "amd64",
    }
    child |= {"os": "linux", "docker_version": "1.9.1", "config": {"Env": ["A=1"], "Labels": {"l": "<m>"}}}
    parent: dict[str, Any] = {
        "id": "a" * 64,
        "created": "2020-01-02T03:04:05Z",
        "architecture": "amd64",
        "os": "linux",
    }
    manifest = {
        "schemaVersion": 1,
        "name": "example/old",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": layers[1].digest}, {"blobSum": layers[0].digest}],
        "history": [{"v1Compatibility": encode(one).decode()} for one in (child, parent)],
    }
    write_dir(out / "s1", blobs, json.dumps(manifest, indent=3).encode())


def build(out: Path) -> None:
    """Write every extra image below out, which must not exist or be empty."""
    out.mkdir(parents=True, exist_ok=True)
    for make in (
        rich,
        rich_schema2,
        bare,
        index_image,
        docker_list,
        artifact,
        layouts,
        faulty,
        directories,
        schema1,
    ):
        make(out)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
