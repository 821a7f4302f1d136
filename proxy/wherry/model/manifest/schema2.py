"""Docker image manifests, version 2, schema 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import CorruptError
from wherry.model import mediatype
from wherry.model.goquote import quote
from wherry.model.manifest import fields
from wherry.model.manifest.values import LAYER_LIMIT, ImageManifest

if TYPE_CHECKING:
    from wherry.model.manifest.fields import Object

# What skopeo lets a manifest and its layers be; odd, but layers of other types occur and must fail alike.
_SUPPORTED = frozenset(
    {
        mediatype.DOCKER_LIST,
        mediatype.DOCKER_SCHEMA1,
        mediatype.DOCKER_SCHEMA1_SIGNED,
        mediatype.DOCKER_CONFIG,
        mediatype.DOCKER_FOREIGN,
        mediatype.DOCKER_FOREIGN_GZIP,
        mediatype.DOCKER_LAYER_GZIP,
        mediatype.DOCKER_SCHEMA2,
        mediatype.DOCKER_LAYER,
        mediatype.DOCKER_LAYER_ZSTD,
    }
)


def parse(raw: bytes, value: Object) -> ImageManifest:
    """A schema 2 manifest of its bytes and its parsed JSON; raises CorruptError or LimitError.

    Unlike in OCI, the manifest's own `mediaType` and its layers' must be there and be known.
    """
    fields.check_unambiguous(value, mediatype.DOCKER_SCHEMA2, ("config", "layers"))
    fields.check_version(value, 2)
    _check_type(fields.text(value, "mediaType", "manifest"))
    entries = fields.array(value, "layers", "manifest", LAYER_LIMIT)
    layers = tuple(
        fields.descriptor(layer, f"manifest.layers[{position}]") for position, layer in enumerate(entries)
    )
    for layer in layers:
        _check_type(layer.media_type)
    return ImageManifest(
        raw=raw,
        media_type=mediatype.DOCKER_SCHEMA2,
        config=fields.descriptor(value.get("config"), "manifest.config"),
        layers=layers,
    )


def _check_type(media_type: str) -> None:
    if media_type not in _SUPPORTED:
        raise CorruptError(f"unsupported docker v2s2 media type: {quote(media_type)}")
