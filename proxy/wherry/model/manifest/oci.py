"""OCI image manifests (image-spec manifest.md): of images and of artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.model import mediatype
from wherry.model.manifest import fields
from wherry.model.manifest.values import LAYER_LIMIT, ImageManifest

if TYPE_CHECKING:
    from wherry.model.manifest.fields import Object


def parse(raw: bytes, value: Object) -> ImageManifest:
    """An OCI manifest of its bytes and its parsed JSON; raises CorruptError or LimitError."""
    fields.check_unambiguous(value, mediatype.OCI_MANIFEST, ("config", "layers"))
    fields.check_version(value, 2)
    layers = fields.array(value, "layers", "manifest", LAYER_LIMIT)
    return ImageManifest(
        raw=raw,
        media_type=mediatype.OCI_MANIFEST,
        config=fields.descriptor(value.get("config"), "manifest.config"),
        layers=tuple(
            fields.descriptor(layer, f"manifest.layers[{position}]") for position, layer in enumerate(layers)
        ),
        annotations=fields.annotation_map(value, "manifest"),
        artifact_type=fields.text(value, "artifactType", "manifest"),
    )
