"""Manifests: OCI and Docker, of single images and of indexes; parsed strictly, kept as the bytes they were.

`parse_image`, `parse_index` and `parse` take the bytes and the type that their carrier said ("" where it said
nothing; the bytes decide then) and raise CorruptError or LimitError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import CorruptError, InvalidError
from wherry.model import digest as digests
from wherry.model import mediatype
from wherry.model.manifest import fields, index, oci, schema1, schema2
from wherry.model.manifest.choose import choose
from wherry.model.manifest.convert import Converted, to_oci
from wherry.model.manifest.values import (
    INSTANCE_LIMIT,
    LAYER_LIMIT,
    ImageManifest,
    Index,
    Instance,
    Schema1,
)

if TYPE_CHECKING:
    from wherry.model.digest import Digest

__all__ = [
    "INSTANCE_LIMIT",
    "LAYER_LIMIT",
    "Converted",
    "ImageManifest",
    "Index",
    "Instance",
    "Schema1",
    "choose",
    "manifest_digest",
    "matches_digest",
    "parse",
    "parse_image",
    "parse_index",
    "to_oci",
]


def parse(raw: bytes, media_type: str) -> ImageManifest | Index:
    """A manifest of any kind."""
    value, kind = fields.kind(raw, media_type)
    if mediatype.is_index(kind):
        return index.parse(raw, value, kind)
    if kind == mediatype.OCI_MANIFEST:
        return oci.parse(raw, value)
    if kind == mediatype.DOCKER_SCHEMA2:
        return schema2.parse(raw, value)
    return schema1.parse(raw, value, kind)


def parse_image(raw: bytes, media_type: str) -> ImageManifest:
    """The manifest of one image or artifact; raises InvalidError for an index."""
    found = parse(raw, media_type)
    if isinstance(found, Index):
        raise InvalidError("Treating manifest lists as individual manifests is not implemented")
    return found


def parse_index(raw: bytes, media_type: str) -> Index:
    """An index or manifest list; raises CorruptError for anything else."""
    found = parse(raw, media_type)
    if isinstance(found, ImageManifest):
        raise CorruptError(f"manifest is no index but of type {found.media_type}")
    return found


def manifest_digest(raw: bytes, algorithm: str = "sha256") -> Digest:
    """The digest by which an image is known (M1): of the bytes, or of a signed schema 1 manifest's payload.

    `algorithm`: a key of digest.HEX_LENGTH. Raises CorruptError for damaged signatures.
    """
    if schema1.is_signed(raw):
        raw = schema1.signed_payload(raw)
    return digests.of(raw, algorithm)


def matches_digest(raw: bytes, digest: Digest) -> bool:
    """Whether the bytes are those that `digest` names, computed with its algorithm."""
    if digests.of(raw, digests.algorithm(digest)) == digest:
        return True
    return manifest_digest(raw, digests.algorithm(digest)) == digest
