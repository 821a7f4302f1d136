"""One copy, from two names to a committed destination, in skopeo's order of checks (skopeo-reference C19).

The destination is opened before the source, the policy is asked before the configuration is read, and nothing
is visible at the destination before `commit`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from wherry import transports
from wherry.copy.index import copy_index
from wherry.copy.known import KnownBlobs, place
from wherry.copy.single import Copier, confirming
from wherry.copy.transfer import Transfer
from wherry.errors import context
from wherry.image.blobcache import BlobCache, cache_path
from wherry.interfaces import ReuseHints
from wherry.model import mediatype, name
from wherry.model.manifest import Index, choose, manifest_digest, parse_index
from wherry.protocol.messages import CopyResult

if TYPE_CHECKING:
    from wherry.copy.single import Written
    from wherry.copy.transfer import Tell
    from wherry.interfaces import ImageSource, Progress, Reference, Unverified
    from wherry.policy import Policy
    from wherry.protocol.messages import CopyOptions
    from wherry.system import System


async def copy(
    source_name: str,
    destination_name: str,
    system: System,
    options: CopyOptions,
    policy: Policy,
    tell: Tell,
    progress: Progress,
) -> CopyResult:
    """Copy an image, or with `options.instances` a whole index. Raises WherryError with skopeo's texts."""
    with context(f"Invalid source name {source_name}"):
        source_reference = transports.parse(source_name, system)
    with context(f"Invalid destination name {destination_name}"):
        destination_reference = transports.parse(destination_name, system)
    async with AsyncExitStack() as stack:
        with context(f"initializing destination {destination_reference}"):
            destination = await stack.enter_async_context(
                destination_reference.destination(system, options.destination)
            )
        with context(f"initializing source {source_reference}"):
            source = await stack.enter_async_context(source_reference.source(system, options.source))
        hints = reuse_hints(source_reference, destination_reference)
        cache = BlobCache(cache_path(system), system.wall)
        known = KnownBlobs(cache, place(source), place(destination))
        stack.push_async_callback(known.save)
        transfer = Transfer(source, destination, hints, known, options.parallel, tell, progress)
        copier = Copier(
            system=system,
            source_reference=source_reference,
            destination_reference=destination_reference,
            source=source,
            destination=destination,
            options=options,
            policy=policy,
            transfer=transfer,
            tell=tell,
        )
        if options.verify_push:
            confirming(destination, destination_reference)
        written = await _copy_opened(source_reference, source, copier, system, options)
        async with known.saving():
            written = await copier.commit(written)
    return CopyResult(
        digest=manifest_digest(written.raw),
        media_type=written.media_type,
        manifest=written.raw.decode("utf-8", "replace"),
        copied_blobs=transfer.tally.copied,
        reused_blobs=transfer.tally.reused,
        copied_bytes=transfer.tally.bytes,
    )


async def _copy_opened(
    reference: Reference, source: ImageSource, copier: Copier, system: System, options: CopyOptions
) -> Written:
    with context(f"determining manifest MIME type for {reference}"):
        given = await source.manifest()
    with context(f"initializing image from source {reference}"):
        media_type = mediatype.normalize(given.media_type, given.raw)
    if not mediatype.is_index(media_type):
        return await copier.image(given)
    with context(f"parsing primary manifest as list for {reference}"):
        index = parse_index(given.raw, media_type)
    if options.instances != "system":
        return await copy_index(copier, given, index)
    with context(f"choosing an image from manifest list {reference}"):
        chosen = choose(index, options.platform, system.platform)
    return await _copy_chosen(copier, source, index, chosen)


async def _copy_chosen(copier: Copier, source: ImageSource, index: Index, chosen: str) -> Written:
    with context("copying system image from manifest list"):
        descriptor = next(i.descriptor for i in index.instances if i.descriptor.digest == chosen)
        given: Unverified = await source.manifest(descriptor.digest)
        return await copier.image(given)


def reuse_hints(source: Reference, destination: Reference) -> ReuseHints:
    """A source in the same registry as the destination can lend its blobs (cross-repository mount)."""
    if source.transport != "docker" or destination.transport != "docker":
        return ReuseHints()
    there = name.parse_normalized(source.docker_reference())
    here = name.parse_normalized(destination.docker_reference())
    return ReuseHints(mount_from=there.path if there.domain == here.domain else None)
