"""Deleting an image of an OCI layout: its entry in index.json, and the blobs that no other image needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.errors import FileMissingError, InvalidError, LimitError
from wherry.model import digest, mediatype
from wherry.model.goquote import quote
from wherry.model.manifest import parse_image, parse_index
from wherry.model.strictjson import MANIFEST_LIMIT
from wherry.transports.files import AbsentFolder
from wherry.transports.oci import layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.model.digest import Digest
    from wherry.transports.files import Folder

_NESTED: Final = 3
"""Indexes within indexes that are followed (design.md, section 5)."""


def delete(
    root: Folder,
    blobs: Folder | AbsentFolder,
    own_blobs: Folder | AbsentFolder,
    name: str,
    number: int | None,
) -> Digest:
    """Delete the image that `name` or `number` means; its manifest's digest. Blocks; `root` is locked.

    `blobs`: where manifests are read from; `own_blobs`: where blobs are removed, which is nowhere else than
    in the layout itself: who else uses a shared directory can't be known. The entry goes first, then the
    blobs, so that an interruption leaves blobs too many, never too few. A blob that another writer found
    here a moment ago, and means to keep, may go: layouts have no lock for that.

    Raises ImageNotFoundError, InvalidError as `layout.pick`; CorruptError, FileError, and InvalidError for an
    image, this or another, whose blobs can't be known.
    """
    index = layout.parse_index(root.read(layout.INDEX, layout.INDEX_LIMIT), root.shown(layout.INDEX))
    entries = layout.entries(index)
    wanted = layout.pick(index, name, number)
    position = number if number is not None else entries.index(wanted)
    found = layout.entry_digest(wanted)
    used = set(_uses(blobs, [wanted]))
    kept = set(_uses(blobs, [*entries[:position], *entries[position + 1 :]]))
    root.replace(layout.INDEX, layout.index_bytes(layout.without(index, position)))
    root.sync()
    if not isinstance(own_blobs, AbsentFolder):
        for unused in sorted(used - kept):
            own_blobs.remove(layout.blob_name(unused))
    return found


def _uses(blobs: Folder | AbsentFolder, entries: Sequence[layout.Entry]) -> Iterator[Digest]:
    """The blobs of images, their manifests among them."""
    for entry in entries:
        yield from _uses_of(blobs, entry.media_type, layout.entry_digest(entry), 0)


def _uses_of(blobs: Folder | AbsentFolder, media_type: str, found: Digest, depth: int) -> Iterator[Digest]:
    yield found
    if media_type not in mediatype.MANIFESTS:
        raise InvalidError(f"unsupported mediaType in index: {quote(media_type)}")
    try:
        raw = blobs.read(layout.blob_name(found), MANIFEST_LIMIT)
    except FileMissingError:
        if not depth:
            raise
        return  # an instance that was left out when its index was copied
    if not mediatype.is_index(media_type):
        image = parse_image(raw, media_type)
        yield from (layer.digest for layer in image.layers)
        if image.config is not None:
            yield image.config.digest
        return
    if depth >= _NESTED:
        raise LimitError(f"index {found}: more than {_NESTED} indexes within each other")
    for instance in parse_index(raw, media_type).instances:
        descriptor = instance.descriptor
        yield from _uses_of(blobs, descriptor.media_type, digest.parse(descriptor.digest), depth + 1)
