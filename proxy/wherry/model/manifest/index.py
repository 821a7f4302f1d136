"""OCI image indexes (image-spec image-index.md) and Docker manifest lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import CorruptError
from wherry.model import mediatype
from wherry.model.manifest import fields
from wherry.model.manifest.values import INSTANCE_LIMIT, Index, Instance
from wherry.model.platforms import Platform

if TYPE_CHECKING:
    from wherry.model.manifest.fields import Object

_PLATFORM_KEYS = ("architecture", "os", "os.version", "os.features", "variant", "features")


def parse(raw: bytes, value: Object, media_type: str) -> Index:
    """An index of its bytes and its parsed JSON; raises CorruptError or LimitError."""
    fields.check_unambiguous(value, media_type, ("manifests",))
    fields.check_version(value, 2)
    entries = fields.array(value, "manifests", "manifest", INSTANCE_LIMIT)
    docker = media_type == mediatype.DOCKER_LIST
    return Index(
        raw=raw,
        media_type=media_type,
        instances=tuple(
            _instance(entry, f"manifest.manifests[{position}]", docker)
            for position, entry in enumerate(entries)
        ),
        annotations=fields.annotation_map(value, "manifest"),
        artifact_type=fields.text(value, "artifactType", "manifest"),
    )


def _instance(entry: Object, where: str, docker: bool) -> Instance:
    platform = entry.get("platform")
    if platform is None and docker:
        platform = {}
    return Instance(
        descriptor=fields.descriptor(entry, where),
        platform=None if platform is None else _platform(platform, f"{where}.platform"),
        artifact_type=fields.text(entry, "artifactType", where),
    )


def _platform(value: object, where: str) -> Platform:
    if not isinstance(value, dict):
        raise CorruptError(f"{where} is not an object")
    fields.check_case(value, _PLATFORM_KEYS, where)
    return Platform(
        os=fields.text(value, "os", where),
        architecture=fields.text(value, "architecture", where),
        variant=fields.text(value, "variant", where),
        os_version=fields.text(value, "os.version", where),
        os_features=fields.texts(value, "os.features", where),
        features=fields.texts(value, "features", where),
    )
