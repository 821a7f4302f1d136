"""Writing an image to a registry: blobs as they come, manifests at the end.

All-or-old holds as far as a registry can: a tag moves by the last request of all, and blobs and instances
that nothing refers to are the registry's to collect.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from wherry.errors import (
    AuthError,
    CorruptError,
    InternalError,
    NotFoundError,
    NotYetError,
    RegistryError,
)
from wherry.interfaces import Accepts, no_progress
from wherry.model import digest as digests
from wherry.model import mediatype
from wherry.model.manifest import manifest_digest, matches_digest
from wherry.registry import blobs, confirm, manifests, parts, uploads
from wherry.registry.client import scope, sharing
from wherry.registry.retry import may_pass
from wherry.transports.blobfiles import algorithm_for, received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from wherry.errors import WherryError
    from wherry.interfaces import Blob, Progress, ReuseHints
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.model.name import DockerName, Named
    from wherry.protocol.options import ImageAccess
    from wherry.registry.client import RegistryClient
    from wherry.system import System

_TOO_LONG: Final = 413
ACCEPTS: Final = Accepts(
    manifest_types=(
        mediatype.OCI_MANIFEST,
        mediatype.DOCKER_SCHEMA2,
        mediatype.OCI_INDEX,
        mediatype.DOCKER_LIST,
        mediatype.DOCKER_SCHEMA1_SIGNED,
        mediatype.DOCKER_SCHEMA1,
    ),
    compression="gzip",
    foreign_layers=True,
    commit_text="writing manifest",
    no_signatures_text="Storing signatures in registries is not yet built",
)


@asynccontextmanager
async def open_destination(
    image: DockerName, system: System, access: ImageAccess
) -> AsyncIterator[DockerDestination]:
    """A destination for one image; leaving without `commit` leaves the tag as it was."""
    async with sharing(system) as registries:
        yield DockerDestination(await registries.for_repository(image.named, access), image)


class DockerDestination:
    """Implements interfaces.ImageDestination; blobs may be written in parallel."""

    def __init__(self, client: RegistryClient, image: DockerName) -> None:
        self._client = client
        self._image = image
        self._top: tuple[bytes, str] | None = None
        self._part: int | None = None
        """Bytes of a request that this registry seems to take; None as long as it refused none."""

    @property
    def accepts(self) -> Accepts:
        return ACCEPTS

    @property
    def location(self) -> Named:
        """As interfaces.Located."""
        return self._image.named

    @property
    def _named(self) -> Named:
        return self._image.named

    async def reuse_blob(self, wanted: Descriptor, hints: ReuseHints) -> Descriptor | None:
        """A blob that the repository has, or that its registry mounts from where `hints` says.

        The registry's word is taken for its digest; a size that differs from the one wanted is not reused.
        """
        scopes = (scope(self._named.path, "pull,push"),)
        size = await blobs.exists(self._client, self._named, wanted.digest, scopes)
        if size is not None:
            return msgspec.structs.replace(wanted, size=size) if wanted.size in (-1, size) else None
        source, here = hints.mount_from, self._named.path
        if source is not None and source != here and await self._mount(source, wanted):
            return wanted
        for repository in hints.repositories:
            if repository in (source, here) or not await self._is_in(repository, wanted):
                continue
            if await self._mount(repository, wanted):
                return wanted
        return None

    async def _mount(self, repository: str, wanted: Descriptor) -> bool:
        """A refusal, of the token or of the mount, only means that the blob has to be sent."""
        with suppress(RegistryError, AuthError, NotFoundError):
            return await uploads.mount(self._client, self._named, repository, wanted.digest)
        return False

    async def _is_in(self, repository: str, wanted: Descriptor) -> bool:
        """Asked before a mount from where the blob may be gone: a mount that fails begins an upload, which
        few registries let us end."""
        scopes = (scope(self._named.path, "pull,push"), scope(repository, "pull"))
        there = msgspec.structs.replace(self._named, path=repository)
        with suppress(RegistryError, AuthError, NotFoundError):
            size = await blobs.exists(self._client, there, wanted.digest, scopes)
            return size is not None and wanted.size in (-1, size)
        return False

    async def put_blob(
        self, blob: Blob, expected: Descriptor | None, progress: Progress = no_progress
    ) -> Descriptor:
        """As interfaces.ImageDestination: hashed while it passes, whatever the registry checks."""
        size = blob.size if expected is None or expected.size < 0 else expected.size
        moved = await uploads.upload(
            self._client,
            self._named,
            blob,
            digest=None if expected is None else expected.digest,
            size=size,
            algorithm=algorithm_for(expected),
            part=self._part,
            progress=progress,
        )
        return received(moved, expected)

    def another_try(self, blob: Descriptor) -> Callable[[WherryError], float | None]:
        """As interfaces.TriesAgain: within the registry's budget for one operation."""
        budget = self._client.budget()
        sent_in = self._part

        def pause(error: WherryError) -> float | None:
            nonlocal sent_in
            if error.http_status == _TOO_LONG:
                if sent_in == self._part:
                    self._part = parts.smaller(blob.size, sent_in) or sent_in
                again = sent_in != self._part
                sent_in = self._part
                return 0.0 if again else None
            seconds = budget.pause(error) if may_pass(error) else None
            if seconds is not None:
                self._client.system.warn(f"{error}; trying again in {seconds:.1f} s")
            return seconds

        return pause

    async def put_manifest(self, raw: bytes, media_type: str, instance: Digest | None = None) -> None:
        """Put an instance by its digest, where nobody sees it; keep the image's own manifest for `commit`."""
        if instance is None:
            self._top = (raw, media_type)
            return
        if not matches_digest(raw, instance):
            raise CorruptError(f"Manifest does not match provided manifest digest {instance}")
        await manifests.put(self._client, self._named, instance, raw, media_type)

    async def put_signatures(self, signatures: Sequence[bytes], instance: Digest | None = None) -> None:
        if signatures:
            raise NotYetError(ACCEPTS.no_signatures_text)

    async def commit(self) -> None:
        """Put the image under its name. Raises ManifestRejectedError where the registry may take another
        format: then `put_manifest` and `commit` may be called again."""
        if self._top is None:
            raise InternalError("commit without a manifest")
        raw, media_type = self._top
        await manifests.put(self._client, self._named, self._target(raw), raw, media_type)

    async def confirm_blobs(self, wanted: Sequence[Descriptor]) -> None:
        """As interfaces.ConfirmsWrites: a HEAD for each (R-70)."""
        await confirm.confirm_blobs(self._client, self._named, wanted)

    async def confirm_manifest(self, raw: bytes) -> None:
        await confirm.confirm_manifest(self._client, self._named, self._target(raw), raw)

    def _target(self, raw: bytes) -> str:
        digest = self._named.digest
        if self._image.unknown_digest:
            return manifest_digest(raw)
        if digest is not None and not matches_digest(raw, digest):
            # The registry would say so too; here nothing has been sent.
            raise RegistryError(
                f"the image's manifest has the digest {manifest_digest(raw, digests.algorithm(digest))}, "
                f"it can't be stored as {digest}"
            )
        return self._image.tag_or_digest
