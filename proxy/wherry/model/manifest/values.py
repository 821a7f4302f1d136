"""What the parsers of this package give: manifests as values that keep the bytes they were parsed from."""

from __future__ import annotations

from msgspec import Struct, field

from wherry.errors import InvalidError, NotYetError
from wherry.model import mediatype
from wherry.model.descriptor import Descriptor
from wherry.model.goquote import quote
from wherry.model.platforms import Platform

LAYER_LIMIT = 4096
INSTANCE_LIMIT = 1000


class Schema1(Struct, frozen=True):
    """What only Docker schema 1 manifests have. `history`: the v1Compatibility texts, newest first as in
    the manifest; `throwaway`: for each of `ImageManifest.layers`, in order, whether it is an empty one."""

    name: str
    tag: str
    architecture: str
    history: tuple[str, ...]
    throwaway: tuple[bool, ...]


class ImageManifest(Struct, frozen=True):
    """The manifest of one image or artifact.

    `media_type`: what it was parsed as; `layers`: the base layer first, for schema 1 with size -1 and
    type ""; `config`: None for schema 1 only.
    """

    raw: bytes
    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    schema1: Schema1 | None = None

    @property
    def is_image(self) -> bool:
        """Whether it is a container image: an OCI manifest may describe any artifact."""
        if self.media_type != mediatype.OCI_MANIFEST:
            return True
        return self.config is not None and self.config.media_type == mediatype.OCI_CONFIG

    def image_config(self) -> Descriptor:
        """The descriptor of the image config.

        Raises InvalidError for an artifact (I10), NotYetError for schema 1, whose config must be made up.
        """
        if self.config is None:
            raise NotYetError(f"the config of an image of type {self.media_type} is not yet built")
        if not self.is_image:
            raise InvalidError(_no_image(self.artifact_type or self.config.media_type))
        return self.config


class Instance(Struct, frozen=True):
    """An entry of an index. `platform`: None where an OCI index does not say one."""

    descriptor: Descriptor
    platform: Platform | None = None
    artifact_type: str = ""


class Index(Struct, frozen=True):
    """An OCI index or a Docker manifest list."""

    raw: bytes
    media_type: str
    instances: tuple[Instance, ...]
    annotations: dict[str, str] = field(default_factory=dict)
    artifact_type: str = ""


def _no_image(artifact_type: str) -> str:
    if artifact_type == mediatype.DOCKER_CONFIG:
        return f"invalid mixed OCI image with Docker v2s2 config ({quote(artifact_type)})"
    return f"unsupported image-specific operation on artifact with type {quote(artifact_type)}"
