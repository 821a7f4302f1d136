"""Conversion of manifests and configs between formats, byte for byte as skopeo does it (K3, K4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from wherry.errors import NotYetError
from wherry.model import digest as digests
from wherry.model import gojson, imageconfig, mediatype
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from wherry.model.descriptor import Descriptor
    from wherry.model.manifest.values import ImageManifest


class Converted(Struct, frozen=True):
    """A new manifest and the bytes of the config that it names."""

    raw: bytes
    config_raw: bytes
    media_type: str = mediatype.OCI_MANIFEST


def to_oci(manifest: ImageManifest, config_raw: bytes) -> Converted:
    """The image as an OCI image; an OCI manifest stays as it is.

    `config_raw`: the bytes of the manifest's config, which the caller has checked against its digest.
    Raises InvalidError for a layer type or a config that OCI has no form for, NotYetError for schema 1.
    """
    if manifest.media_type == mediatype.OCI_MANIFEST:
        return Converted(manifest.raw, config_raw)
    if manifest.media_type != mediatype.DOCKER_SCHEMA2:
        raise NotYetError(
            f"conversion of a manifest of type {quote(manifest.media_type)} to "
            f"{quote(mediatype.OCI_MANIFEST)} is not yet built"
        )
    converted = imageconfig.oci_config_json(config_raw)
    value = {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": {
            "mediaType": mediatype.OCI_CONFIG,
            "digest": digests.of(converted),
            "size": len(converted),
        },
        "layers": [_layer(layer) for layer in manifest.layers],
    }
    return Converted(gojson.dumps(value), converted)


def _layer(layer: Descriptor) -> dict[str, object]:
    value: dict[str, object] = {
        "mediaType": mediatype.layer_to_oci(layer.media_type),
        "digest": layer.digest,
        "size": layer.size,
    }
    if layer.urls:
        value["urls"] = layer.urls
    return value
