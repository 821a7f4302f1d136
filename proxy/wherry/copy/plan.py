"""What a copy of one image will do, decided before anything moves: a pure function of manifest, destination
and
options.

The rules are skopeo-reference K1-K6 and section 2.4. What wherry can't do yet (compressing a layer,
converting to Docker's formats) is refused here, before a byte is read or written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, structs

from wherry.errors import InvalidError, NotYetError
from wherry.model import mediatype
from wherry.model.descriptor import Descriptor

if TYPE_CHECKING:
    from wherry.interfaces import Accepts
    from wherry.model.manifest import ImageManifest

Format = Literal["", "oci", "v2s2", "v2s1"]

_FORMATS = {
    "oci": mediatype.OCI_MANIFEST,
    "v2s2": mediatype.DOCKER_SCHEMA2,
    "v2s1": mediatype.DOCKER_SCHEMA1_SIGNED,
}


_UNCOMPRESSED = (
    mediatype.OCI_LAYER,
    mediatype.OCI_FOREIGN,
    mediatype.DOCKER_LAYER,
    mediatype.DOCKER_FOREIGN,
)


class PlanOptions(Struct, frozen=True, kw_only=True):
    """What decides besides manifest and destination. `fixed`: why the manifest may not change, "" if it
    may."""

    format: Format = ""
    fixed: str = ""


class CopyBlob(Struct, frozen=True):
    """One layer: copied as it is, unless the destination keeps its URLs instead (`skip`)."""

    blob: Descriptor
    skip: bool = False


class CopyPlan(Struct, frozen=True):
    """`convert`: the manifest is converted to `manifest_type`, so its digest changes; `because` says why.

    `others`: the types to try, in this order, where the destination does not take that one after all.
    """

    layers: tuple[CopyBlob, ...]
    config: Descriptor | None
    manifest_type: str
    convert: bool
    because: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def plan(parsed: ImageManifest, accepts: Accepts, options: PlanOptions) -> CopyPlan:
    """Decide over one image. Raises InvalidError for what can't be, NotYetError for what is not built yet."""
    manifest_type, because = _choose_type(parsed.media_type, accepts, options)
    convert = _must_convert(parsed.media_type, manifest_type)
    layers = tuple(_layer(layer, accepts, options) for layer in parsed.layers)
    others = () if options.format or options.fixed else _others(manifest_type, accepts)
    return CopyPlan(layers, parsed.config, manifest_type, convert, because, others)


def in_other_format(chosen: CopyPlan, parsed: ImageManifest, manifest_type: str) -> CopyPlan:
    """The plan for the same blobs under one of its `others`; raises NotYetError."""
    convert = _must_convert(parsed.media_type, manifest_type)
    return structs.replace(
        chosen, manifest_type=manifest_type, convert=convert, because=(f"{chosen.manifest_type} was refused",)
    )


def _must_convert(source: str, wanted: str) -> bool:
    if wanted == source:
        return False
    if (source, wanted) != (mediatype.DOCKER_SCHEMA2, mediatype.OCI_MANIFEST):
        raise NotYetError(f"converting a manifest of type {source} to {wanted} is not yet built in wherry")
    return True


def _others(chosen: str, accepts: Accepts) -> tuple[str, ...]:
    """The rest of K1: what most registries took first, then the destination's own order."""
    wanted = (mediatype.DOCKER_SCHEMA2, mediatype.DOCKER_SCHEMA1_SIGNED, *accepts.manifest_types)
    images = (t for t in wanted if t in accepts.manifest_types and not mediatype.is_index(t))
    return tuple(t for t in dict.fromkeys(images) if t != chosen)


def _choose_type(source: str, accepts: Accepts, options: PlanOptions) -> tuple[str, tuple[str, ...]]:
    """The first candidate of K1: the type that --format forces, the source's, then the destination's
    wishes."""
    if options.format:
        forced = _FORMATS[options.format]
        if _same_type(source, forced):
            return source, ()
        if options.fixed:
            # skopeo does not try a conversion either: the manifest is written as it is, or refused there.
            return source, ()
        return forced, (f"--format {options.format} asks for it",)
    if options.fixed or not accepts.manifest_types or source in accepts.manifest_types:
        return source, ()
    wanted = accepts.manifest_types[0]
    return wanted, (f"the destination takes no {source}",)


def _same_type(source: str, forced: str) -> bool:
    legacy = (mediatype.DOCKER_SCHEMA1, mediatype.DOCKER_SCHEMA1_SIGNED)
    return source == forced or (source in legacy and forced in legacy)


def _layer(layer: Descriptor, accepts: Accepts, options: PlanOptions) -> CopyBlob:
    if layer.urls and accepts.foreign_layers and mediatype.is_foreign(layer.media_type):
        return CopyBlob(layer, skip=True)
    if accepts.compression == "gzip" and layer.media_type in _UNCOMPRESSED:
        if options.fixed:
            return CopyBlob(layer)
        raise NotYetError(
            f"the destination wants the uncompressed layer {layer.digest} compressed, which is not yet built "
            "in wherry"
        )
    if accepts.compression == "none":
        raise InvalidError("decompressing layers is not yet built in wherry")
    return CopyBlob(layer)
