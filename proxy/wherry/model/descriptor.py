"""Content descriptors (OCI image-spec, descriptor.md; Docker schema 2 uses the same members)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from wherry.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping


class Descriptor(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a manifest says of a blob: its type, its digest and its size in bytes (-1: not known)."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)

    def annotation(self, name: str) -> str | None:
        """The annotation's value, or None where there is none."""
        annotations: Mapping[str, str] = self.annotations
        return annotations.get(name)
