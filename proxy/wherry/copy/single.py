"""Copying one image: policy, signatures, plan, layers, configuration, manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wherry.copy.plan import PlanOptions, plan
from wherry.errors import InvalidError, context
from wherry.image.open import Image, PolicyTrust
from wherry.model import name
from wherry.model.manifest import manifest_digest, parse_image
from wherry.protocol.messages import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.copy.transfer import Tell, Transfer
    from wherry.interfaces import ImageDestination, ImageSource, Reference, Unverified
    from wherry.model.digest import Digest
    from wherry.policy import Policy
    from wherry.protocol.messages import CopyOptions
    from wherry.system import System


@dataclass(frozen=True, kw_only=True)
class Copier:
    """What every image of one copy needs."""

    system: System
    source_reference: Reference
    destination_reference: Reference
    source: ImageSource
    destination: ImageDestination
    options: CopyOptions
    policy: Policy
    transfer: Transfer
    tell: Tell

    async def image(self, given: Unverified, instance: Digest | None = None) -> tuple[bytes, str]:
        """Copy one image and hand its manifest to the destination; the bytes and type of that manifest.

        `instance`: the digest by which an index that is copied whole names it.
        """
        image = await self._open(given)
        if instance is None:
            self.check_pinned(given.raw)
        signatures = await self.signatures(given)
        fixed = self.fixed(signatures)
        chosen = plan(
            image.parsed,
            self.destination.accepts,
            PlanOptions(format=self.options.format, fixed=fixed),
        )
        await self.transfer.layers(chosen)
        await self.transfer.config(image, chosen)
        raw = (await image.converted()).raw if chosen.convert else image.manifest.raw
        await self.tell(Step("manifest"))
        written = manifest_digest(raw) if instance is not None else None
        with context("writing manifest"):
            await self.destination.put_manifest(raw, chosen.manifest_type, written)
        if signatures:
            await self.tell(Step("store-signatures"))
            with context("writing signatures"):
                await self.destination.put_signatures(signatures, written)
        return raw, chosen.manifest_type

    async def _open(self, given: Unverified) -> Image:
        trust = PolicyTrust(
            self.policy, self.options.policy.require_signed, self.source_reference, self.source
        )
        with context("Source image rejected"):
            manifest = await trust.single(given)
        with context(f"initializing image from source {self.source_reference}"):
            parsed = parse_image(manifest.raw, manifest.media_type)
        return Image(self.source, self.system, given, manifest, parsed)

    async def signatures(self, given: Unverified, step: str = "signatures") -> Sequence[bytes]:
        """The signatures to be copied along; a destination that can't hold them refuses the copy."""
        if self.options.remove_signatures:
            return ()
        await self.tell(Step(step))
        with context("reading signatures"):
            found = await self.source.signatures(given.instance)
        if found:
            await self.tell(Step("check-signatures"))
            if not self.destination.accepts.signatures:
                text = self.destination.accepts.no_signatures_text
                raise InvalidError(f"Can not copy signatures to {self.destination_reference}: {text}")
        return found

    def fixed(self, signatures: Sequence[bytes]) -> str:
        """Why the manifest may not be changed, "" if it may (K5)."""
        if signatures:
            return "Would invalidate signatures"
        if self._pinned() is not None:
            return "Destination specifies a digest"
        if self.options.preserve_digests:
            return "Instructed to preserve digests"
        return ""

    def check_pinned(self, raw: bytes) -> None:
        """A destination named by digest takes only the manifest of that digest."""
        pinned = self._pinned()
        if pinned is not None and manifest_digest(raw, pinned.partition(":")[0]) != pinned:
            raise InvalidError("Digest of source image's manifest would not match destination reference")

    def _pinned(self) -> Digest | None:
        text = self.destination_reference.docker_reference()
        return name.parse_normalized(text).digest if text else None
