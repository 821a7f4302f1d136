"""Deleting images of an OCI layout: which blobs go, which stay, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.transports.contract import make_system
from wherry.errors import (
    CorruptError,
    FileMissingError,
    ImageNotFoundError,
    InvalidError,
    LimitError,
    WherryError,
)
from wherry.interfaces import Deletable, DeletesTags
from wherry.model import mediatype
from wherry.protocol.options import ImageAccess
from wherry.transports import oci

Json = dict[str, Any]


class Layout:
    """A layout that is put together by hand."""

    def __init__(self, path: Path, blobs: Path | None = None) -> None:
        self.path = path
        self.blobs = (blobs or path / "blobs") / "sha256"
        self.blobs.mkdir(parents=True)
        (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.entries: list[Json] = []

    def blob(self, data: bytes, media_type: str) -> Json:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(self, *layers: bytes) -> Json:
        value = {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": self.blob(b'{"layers":%d}' % len(layers), mediatype.OCI_CONFIG),
            "layers": [self.blob(layer, mediatype.OCI_LAYER) for layer in layers],
        }
        return self.blob(json.dumps(value).encode(), mediatype.OCI_MANIFEST)

    def index(self, *manifests: Json) -> Json:
        value = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": manifests}
        return self.blob(json.dumps(value).encode(), mediatype.OCI_INDEX)

    def name(self, entry: Json, *names: str) -> None:
        for name in names:
            annotations = {"org.opencontainers.image.ref.name": name, "kept": "yes"}
            self.entries.append({**entry, "annotations": annotations})
        value = {"schemaVersion": 2, "kept": "yes", "manifests": self.entries}
        (self.path / "index.json").write_text(json.dumps(value))

    def there(self) -> set[str]:
        return {path.name for path in self.blobs.iterdir()}

    def listed(self) -> list[str]:
        index = json.loads((self.path / "index.json").read_bytes())
        assert index["kept"] == "yes", "members that we do not know survive"
        return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


async def delete(layout: Layout, rest: str, access: ImageAccess | None = None) -> str:
    system = make_system(layout.path.parent)
    reference = oci.parse(f"{layout.path}{rest}", system)
    assert isinstance(reference, Deletable)
    return await reference.delete(system, access or ImageAccess())


def named(digest: str) -> str:
    return digest.removeprefix("sha256:")


async def test_what_others_need_stays(layout: Layout) -> None:
    first, second = layout.image(b"shared", b"one"), layout.image(b"shared", b"two", b"three")
    layout.name(first, "first")
    layout.name(second, "second")
    before = layout.there()
    assert await delete(layout, ":first") == first["digest"]
    assert layout.listed() == ["second"]
    gone = {named(first["digest"]), *(hashlib.sha256(data).hexdigest() for data in (b"one", b'{"layers":2}'))}
    assert layout.there() == before - gone
    await delete(layout, "")
    assert (layout.there(), layout.listed()) == (set(), [])


async def test_another_name_of_the_same_image_keeps_its_blobs(layout: Layout) -> None:
    layout.name(layout.image(b"layer"), "a", "b")
    before = layout.there()
    await delete(layout, ":a")
    assert (layout.there(), layout.listed()) == (before, ["b"])


async def test_by_number(layout: Layout) -> None:
    layout.name(layout.image(b"layer"), "a", "b", "c")
    await delete(layout, ":@1")
    assert layout.listed() == ["a", "c"]


async def test_an_index_and_what_it_alone_names(layout: Layout) -> None:
    shared, own = layout.image(b"shared"), layout.image(b"own", b"layers")
    left_out = {"mediaType": mediatype.OCI_MANIFEST, "digest": f"sha256:{'a' * 64}", "size": 3}
    layout.name(shared, "shared")
    kept = layout.there() - {named(own["digest"])}
    layout.name(layout.index(shared, layout.index(own), left_out), "index")
    await delete(layout, ":index")
    assert layout.listed() == ["shared"]
    assert layout.there() == kept - {hashlib.sha256(data).hexdigest() for data in (b"own", b"layers", CONFIG)}


CONFIG = b'{"layers":2}'


async def test_a_shared_directory_of_blobs_keeps_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout", tmp_path / "shared")
    layout.name(layout.image(b"layer"), "a")
    before = layout.there()
    stray = tmp_path / "layout" / "blobs" / "sha256" / hashlib.sha256(b"layer").hexdigest()
    stray.write_bytes(b"layer")
    await delete(layout, ":a", ImageAccess(shared_blob_dir=str(tmp_path / "shared")))
    assert (layout.there(), layout.listed()) == (before, [])
    assert not stray.exists(), "what lies in the layout itself is its own"


REFUSED = [
    (":none", ImageNotFoundError, 'no descriptor found for reference "none"'),
    ("", InvalidError, "more than one image in oci, choose an image"),
    (":strange", InvalidError, "matches unsupported manifest MIME types"),
    (":@7", InvalidError, "index 7 is too large, only 2 entries available"),
    (":good", InvalidError, 'unsupported mediaType in index: "text/strange"'),
]


@pytest.mark.parametrize(("rest", "kind", "text"), REFUSED)
async def test_what_is_refused_changes_nothing(
    layout: Layout, rest: str, kind: type[WherryError], text: str
) -> None:
    layout.name(layout.image(b"layer"), "good")
    layout.name(layout.blob(b"?", "text/strange"), "strange")
    before, index = layout.there(), (layout.path / "index.json").read_bytes()
    with pytest.raises(kind, match=text):
        await delete(layout, rest)
    assert (layout.there(), (layout.path / "index.json").read_bytes()) == (before, index)


async def test_a_broken_neighbour_keeps_everything(layout: Layout) -> None:
    layout.name(layout.image(b"layer"), "good")
    layout.name(layout.blob(b"{", mediatype.OCI_MANIFEST), "broken")
    with pytest.raises(CorruptError, match=r"unexpected end of JSON input|JSON"):
        await delete(layout, ":good")
    assert layout.listed() == ["good", "broken"]
    missing = layout.blob(b"x", mediatype.OCI_MANIFEST)
    (layout.blobs / named(missing["digest"])).unlink()
    layout.entries.pop()
    layout.name(missing, "missing")
    with pytest.raises(FileMissingError, match="no such file or directory"):
        await delete(layout, ":good")


async def test_indexes_are_not_followed_for_ever(layout: Layout) -> None:
    entry = layout.image(b"layer")
    for _ in range(4):
        entry = layout.index(entry)
    layout.name(entry, "deep")
    with pytest.raises(LimitError, match="more than 3 indexes within each other"):
        await delete(layout, ":deep")


async def test_no_layout(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    with pytest.raises(FileMissingError, match=r"open .*/none/index.json: no such file or directory"):
        await oci.parse(f"{tmp_path}/none:x", system).delete(system, ImageAccess())
    assert not isinstance(oci.parse(f"{tmp_path}/none:x", system), DeletesTags)
