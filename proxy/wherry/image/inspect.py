"""What skopeo inspect shows of an image (skopeo-inspect(1), skopeo-reference I rows)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from wherry import transports
from wherry.errors import InvalidError, WherryError, context
from wherry.image.open import Image, Unchecked, open_image
from wherry.interfaces import ListsTags
from wherry.model import digest, imageconfig, mediatype, name
from wherry.model.goquote import quote
from wherry.model.manifest import ImageManifest, manifest_digest
from wherry.protocol.messages import InspectedLayer, InspectOptions, InspectResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.interfaces import ImageSource, Reference
    from wherry.system import System


_CHOOSING = "choosing image instance"


async def inspect(text: str, system: System, options: InspectOptions) -> bytes:
    """The document that `options.view` asks for, of the image that `text` names.

    Raises what opening and reading the image raise, with skopeo's prefixes.
    """
    async with AsyncExitStack() as stack:
        with context(f"Error parsing image name {quote(text)}"):
            reference = transports.parse(text, system)
            source = await stack.enter_async_context(reference.source(system, options.access))
        return await _view(reference, source, system, options)


async def _view(reference: Reference, source: ImageSource, system: System, options: InspectOptions) -> bytes:
    with context("Error retrieving manifest for image"):
        given = await source.manifest()
    if options.view == "manifest":
        return given.raw
    with context("Error parsing manifest for image"):
        image = await open_image(source, system, options.platform, Unchecked(), _CHOOSING)
    if options.view == "raw-config":
        with context("Error reading configuration blob"):
            return await image.config_blob()
    if options.view == "config":
        with context("Error reading OCI-formatted configuration data"):
            return await image.oci_config()
    return msgspec.json.encode(await _summary(reference, image, system, options))


async def _summary(
    reference: Reference, image: Image, system: System, options: InspectOptions
) -> InspectResult:
    parsed = image.parsed
    seen = await _configuration(image)
    tags: tuple[str, ...] | None = ()
    if options.tags and isinstance(reference, ListsTags):
        tags = await _tags(reference, system, options)
    return InspectResult(
        name=_repository(reference.docker_reference()),
        tag=parsed.schema1.tag if parsed.schema1 is not None else "",
        digest=manifest_digest(image.top.raw, _algorithm(parsed, options.digest_algorithm)),
        repo_tags=tags,
        created=seen.created,
        docker_version=seen.docker_version,
        labels=seen.labels,
        architecture=seen.architecture,
        os=seen.os,
        layers=_layer_digests(parsed),
        layers_data=tuple(_layers(parsed)),
        env=seen.env,
    )


async def _configuration(image: Image) -> imageconfig.InspectConfig:
    """The configuration's share of the summary; schema 1 keeps it in the manifest."""
    schema1 = image.parsed.schema1
    if schema1 is not None:
        return imageconfig.inspect_fields(schema1.history[0].encode(), image.parsed.media_type)
    return imageconfig.inspect_fields(await image.config(), image.parsed.media_type)


async def _tags(reference: ListsTags, system: System, options: InspectOptions) -> tuple[str, ...] | None:
    """The repository's tags, None where the registry does not let us list them (I8)."""
    try:
        return tuple(await reference.repository_tags(system, options.access))
    except WherryError as error:
        nowhere = error.errcode == "UNKNOWN" and str(error).endswith(": 404 page not found")
        if error.errcode == "DENIED" or nowhere:
            return None
        error.args = (f"Error determining repository tags: {error}",)
        raise


def _repository(text: str) -> str:
    return name.parse_normalized(text).name if text else ""


def _algorithm(parsed: ImageManifest, wanted: str) -> str:
    if wanted and wanted not in digest.HEX_LENGTH:
        raise InvalidError(
            f"Error computing manifest digest: digest algorithm {quote(wanted)} is not available"
        )
    if wanted:
        return wanted
    return digest.algorithm(parsed.config.digest) if parsed.config is not None else "sha256"


def _layer_digests(parsed: ImageManifest) -> tuple[str, ...]:
    return tuple(layer.digest for layer in parsed.layers)


def _layers(parsed: ImageManifest) -> Sequence[InspectedLayer]:
    legacy = parsed.media_type in (mediatype.DOCKER_SCHEMA1, mediatype.DOCKER_SCHEMA1_SIGNED)
    return [
        InspectedLayer(
            media_type="" if legacy else layer.media_type,
            digest=layer.digest,
            size=-1 if legacy else layer.size,
            annotations=dict(layer.annotations) or None,
        )
        for layer in parsed.layers
    ]
