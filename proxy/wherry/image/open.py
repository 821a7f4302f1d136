"""From a source to an image that may be acted on: policy, choice of the instance, manifest, configuration.

The order is skopeo's (its image proxy's OpenImage): the policy is asked about the top-level manifest, then,
for an index, about the chosen instance; one of the two must pass. A plain manifest must pass by itself.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from wherry.errors import CorruptError, InvalidError, NotYetError, context
from wherry.interfaces import Manifest
from wherry.model import digest, imageconfig, mediatype
from wherry.model.manifest import (
    ImageManifest,
    Index,
    choose,
    convert,
    manifest_digest,
    parse,
    parse_index,
)
from wherry.model.strictjson import CONFIG_LIMIT
from wherry.policy import ImageIdentity, Policy, verify, verify_either
from wherry.streams.pump import read_all

if TYPE_CHECKING:
    from wherry.interfaces import ImageSource, Reference, Unverified
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.model.manifest.convert import Converted
    from wherry.protocol.options import PlatformChoice
    from wherry.system import System


class Trust(Protocol):
    """Who decides whether a source's manifests may be used. Raises PolicyError where they may not."""

    async def single(self, given: Unverified) -> Manifest:
        """A manifest by itself."""
        ...

    async def either(self, listed: Unverified, chosen: Unverified) -> Manifest:
        """An instance of an index: it or the index must pass."""
        ...


class Unchecked:
    """The Trust of the commands that skopeo does not check either (inspect)."""

    async def single(self, given: Unverified) -> Manifest:
        return Manifest.unchecked(given)

    async def either(self, listed: Unverified, chosen: Unverified) -> Manifest:
        return Manifest.unchecked(chosen)


class PolicyTrust:
    """Asks a trust policy about the manifests of one source."""

    def __init__(
        self, policy: Policy, require_signed: bool, reference: Reference, source: ImageSource
    ) -> None:
        self._policy = policy
        self._require_signed = require_signed
        self._source = source
        self._identity = ImageIdentity(
            reference.transport,
            reference.policy_identity(),
            tuple(reference.policy_scopes()),
            str(reference),
        )

    async def single(self, given: Unverified) -> Manifest:
        signatures = await self._source.signatures(given.instance)
        return verify(self._policy, given, self._identity, signatures, self._require_signed)

    async def either(self, listed: Unverified, chosen: Unverified) -> Manifest:
        signatures = (
            await self._source.signatures(),
            await self._source.signatures(chosen.instance),
        )
        return verify_either(self._policy, listed, chosen, self._identity, signatures, self._require_signed)


class Image:
    """One image of a source: the chosen instance, as its manifest says.

    Belongs to its source: valid while that is open. `top` is the manifest that the name led to, `manifest`
    that of the instance (the same where the name led to an image).
    """

    def __init__(
        self, source: ImageSource, system: System, top: Unverified, manifest: Manifest, parsed: ImageManifest
    ) -> None:
        self.source = source
        self.top = top
        self.manifest = manifest
        self.parsed = parsed
        self._system = system
        self._config: bytes | None = None
        self._converted: Converted | None = None

    @property
    def digest(self) -> Digest:
        """The digest of the instance's manifest, computed over its bytes."""
        return manifest_digest(self.manifest.raw)

    async def config(self) -> bytes:
        """The image configuration's bytes, checked against the manifest, fetched once.

        Raises InvalidError for an artifact, whose "configuration" is not one, NotYetError for schema 1.
        """
        self.parsed.image_config()
        return await self.config_blob()

    async def config_blob(self) -> bytes:
        """The bytes that the manifest calls its configuration, an artifact's too."""
        if self._config is None:
            if self.parsed.config is None:
                raise NotYetError(
                    f"a configuration for a manifest of type {self.parsed.media_type} is not yet built"
                )
            self._config = await self._fetch_config(self.parsed.config)
        return self._config

    async def _fetch_config(self, wanted: Descriptor) -> bytes:
        async with self.source.blob(wanted) as blob:
            raw = await read_all(blob, self._system.threads, CONFIG_LIMIT, "image configuration")
        found = digest.of(raw, digest.algorithm(wanted.digest))
        if found != wanted.digest:
            text = f"{found} does not match expected {wanted.digest}"
            if self.parsed.media_type == mediatype.DOCKER_SCHEMA2:
                raise CorruptError(f"Download config.json digest {text}")
            raise CorruptError(f"config validation failed: blob digest {text}")
        return raw

    def config_descriptor(self) -> Descriptor:
        """What the manifest says of the image's configuration. Raises InvalidError as `config` does."""
        return self.parsed.image_config()

    async def converted(self) -> Converted:
        """The OCI form of a Docker schema 2 image: its manifest's and configuration's new bytes."""
        if self._converted is None:
            self._converted = convert.to_oci(self.parsed, await self.config())
        return self._converted

    async def oci_manifest(self) -> bytes:
        """The manifest as the proxy's GetManifest gives it: OCI as it is, schema 2 converted."""
        kind = self.parsed.media_type
        if kind == mediatype.OCI_MANIFEST:
            return self.manifest.raw
        if kind == mediatype.DOCKER_SCHEMA2:
            return (await self.converted()).raw
        if kind in (mediatype.DOCKER_SCHEMA1, mediatype.DOCKER_SCHEMA1_SIGNED):
            raise InvalidError(f"unsupported legacy manifest MIME type: {kind}")
        raise InvalidError(f"unsupported manifest MIME type: {kind}")

    async def oci_config(self) -> bytes:
        """The configuration in OCI form, as Go marshals it (GetFullConfig)."""
        return imageconfig.oci_config_json(await self.config())

    async def oci_config_section(self) -> bytes:
        """The `config` member of the OCI form (GetConfig)."""
        return imageconfig.config_section(await self.config())

    def size_of(self, wanted: Digest) -> int:
        """The size in bytes that the manifest gives a blob, or -1 where it does not name it."""
        named = [*self.parsed.layers, *([self.parsed.config] if self.parsed.config else [])]
        for descriptor in named:
            if descriptor.digest == wanted:
                return descriptor.size
        return -1

    async def made_here(self, wanted: Digest) -> bytes | None:
        """The configuration that only the conversion makes: no source could deliver it. None for all else."""
        if self.parsed.media_type != mediatype.DOCKER_SCHEMA2 or self.size_of(wanted) >= 0:
            return None
        made = (await self.converted()).config_raw
        return made if digest.of(made) == wanted else None


async def open_image(
    source: ImageSource, system: System, wanted: PlatformChoice, trust: Trust, choosing: str = ""
) -> Image:
    """Open the image of a source for a platform, if `trust` lets it pass.

    `choosing`: put before the text where an index has no instance for the platform.

    Raises what the source raises, PolicyError, and InvalidError where an index has no fitting instance.
    """
    top = await source.manifest()
    if not mediatype.is_index(mediatype.normalize(top.media_type, top.raw)):
        manifest = await trust.single(top)
    else:
        index = parse_index(top.raw, top.media_type)
        with context(choosing) if choosing else nullcontext():
            chosen = choose(index, wanted, system.platform)
        manifest = await trust.either(top, await source.manifest(chosen))
    parsed = parse(manifest.raw, manifest.media_type)
    if isinstance(parsed, Index):
        raise InvalidError(f"the instance {manifest.instance} is itself an index, which can't be opened")
    return Image(source, system, top, manifest, parsed)
