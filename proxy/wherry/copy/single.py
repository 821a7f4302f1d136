"""Copying one image: policy, signatures, plan, layers, configuration, manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wherry.copy.plan import PlanOptions, in_other_format, plan
from wherry.errors import InvalidError, ManifestRejectedError, RegistryError, context
from wherry.image.open import Image, PolicyTrust
from wherry.interfaces import ConfirmsWrites
from wherry.model import name
from wherry.model.manifest import manifest_digest, parse_image
from wherry.protocol.messages import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.copy.plan import CopyPlan
    from wherry.copy.transfer import Tell, Transfer
    from wherry.interfaces import ImageDestination, ImageSource, Reference, Unverified
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.policy import Policy
    from wherry.protocol.messages import CopyOptions
    from wherry.system import System


class Formats:
    """The formats that one image's manifest may be written in, one after the other as they are refused."""

    def __init__(self, image: Image, chosen: CopyPlan) -> None:
        self.image = image
        self.chosen = chosen
        self._left = list(chosen.others)
        self._refusals: list[str] = []

    async def refused(self, error: ManifestRejectedError) -> None:
        """Go on to the next format; raises what there is to tell where there is none."""
        if not self._left and not self._refusals:
            raise error
        self._refusals.append(f"{self.chosen.manifest_type}({error})")
        while self._left:
            manifest_type = self._left.pop(0)
            try:
                chosen = in_other_format(self.chosen, self.image.parsed, manifest_type)
                if chosen.convert:
                    await self.image.converted()
            except InvalidError as reason:
                self._refusals.append(f"{manifest_type}({reason})")
                continue
            self.chosen = chosen
            return
        attempts = ", ".join(self._refusals)
        raise RegistryError(
            f"Uploading manifest failed, attempted the following formats: {attempts}",
            http_status=error.http_status,
            errcode=error.errcode,
        ) from error


class Written(NamedTuple):
    """A manifest that the destination was given; `formats` the others that it may be written in."""

    raw: bytes
    media_type: str
    formats: Formats | None = None


def confirming(destination: ImageDestination, reference: Reference) -> ConfirmsWrites:
    """The destination, as one that can tell what it has; raises InvalidError where it can't."""
    if not isinstance(destination, ConfirmsWrites):
        raise InvalidError(
            f"what is written to {reference.transport}: can't be verified by asking a registry"
        )
    return destination


def _sent(raw: bytes, chosen: CopyPlan) -> list[Descriptor]:
    """The blobs that a manifest names and that were to be written: not the foreign layers left where they
    are."""
    parsed = parse_image(raw, chosen.manifest_type)
    skipped = {item.blob.digest for item in chosen.layers if item.skip}
    config = [parsed.config] if parsed.config is not None else []
    return [*config, *(layer for layer in parsed.layers if layer.digest not in skipped)]


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

    async def image(self, given: Unverified, instance: Digest | None = None) -> Written:
        """Copy one image and hand its manifest to the destination.

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
        formats = Formats(image, chosen)
        written = await self._in_turn(formats, instance)
        if signatures:
            await self.tell(Step("store-signatures"))
            digest = manifest_digest(written.raw) if instance is not None else None
            with context("writing signatures"):
                await self.destination.put_signatures(signatures, digest)
        return written

    async def commit(self, written: Written) -> Written:
        """Make what was written visible; where the destination refuses the manifest only now, in another
        format."""
        while True:
            try:
                with context(self.destination.accepts.commit_text):
                    await self.destination.commit()
                break
            except ManifestRejectedError as error:
                if written.formats is None:
                    raise
                await written.formats.refused(error)
                written = await self._in_turn(written.formats, None)
        if self.options.verify_push:
            await self._confirming.confirm_manifest(written.raw)
        return written

    async def _in_turn(self, formats: Formats, instance: Digest | None) -> Written:
        """Write configuration and manifest, in the first format that is taken."""
        while True:
            try:
                return await self._write(formats, instance)
            except ManifestRejectedError as error:
                await formats.refused(error)

    async def _write(self, formats: Formats, instance: Digest | None) -> Written:
        image, chosen = formats.image, formats.chosen
        await self.transfer.config(image, chosen)
        raw = (await image.converted()).raw if chosen.convert else image.manifest.raw
        await self.tell(Step("manifest"))
        with context("writing manifest"):
            if self.options.verify_push:
                await self._confirming.confirm_blobs(_sent(raw, chosen))
            digest = manifest_digest(raw) if instance is not None else None
            await self.destination.put_manifest(raw, chosen.manifest_type, digest)
        return Written(raw, chosen.manifest_type, formats)

    @property
    def _confirming(self) -> ConfirmsWrites:
        return confirming(self.destination, self.destination_reference)

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
