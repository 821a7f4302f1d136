"""Editing an index: new digests for instances that a copy changed, and a Docker list as an OCI index (K6).

An index that keeps its type keeps everything that we do not know, too; a converted one has what the reference
puts into it (c/image's OCI1IndexFromComponents).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct

from wherry.errors import NotYetError
from wherry.model import gojson, mediatype
from wherry.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.model.manifest.values import Index, Instance


class ListEdit(Struct, frozen=True):
    """What an instance has become: its manifest's digest, size in bytes and type."""

    digest: Digest
    size: int
    media_type: str


def edit_index(index: Index, edits: Mapping[int, ListEdit], media_type: str) -> bytes:
    """New bytes for an index: `edits` by position of the instance, as a list of type `media_type`.

    Raises NotYetError for an OCI index that would have to become a Docker list.
    """
    if media_type == index.media_type:
        return _edited(index, edits)
    if media_type != mediatype.OCI_INDEX:
        raise NotYetError(f"converting an index of type {index.media_type} to {media_type} is not yet built")
    manifests = [_component(instance, edits.get(n)) for n, instance in enumerate(index.instances)]
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}
    return gojson.dumps(document)


def _edited(index: Index, edits: Mapping[int, ListEdit]) -> bytes:
    document = json.loads(index.raw)
    for position, edit in edits.items():
        entry = document["manifests"][position]
        entry["digest"], entry["size"], entry["mediaType"] = edit.digest, edit.size, edit.media_type
    return gojson.dumps(document)


def _component(instance: Instance, edit: ListEdit | None) -> dict[str, object]:
    descriptor = instance.descriptor
    component: dict[str, object] = {
        "mediaType": edit.media_type if edit else descriptor.media_type,
        "digest": edit.digest if edit else descriptor.digest,
        "size": edit.size if edit else descriptor.size,
    }
    if descriptor.urls:
        component["urls"] = descriptor.urls
    platform = instance.platform
    if platform is not None:
        members: dict[str, object] = {"architecture": platform.architecture, "os": platform.os}
        if platform.os_version:
            members["os.version"] = platform.os_version
        if platform.os_features:
            members["os.features"] = platform.os_features
        if platform.variant:
            members["variant"] = platform.variant
        component["platform"] = members
    return component
