"""What the blob-info cache knows of the two places of a copy, and what the copy adds to it (N9, N10)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import trio
from msgspec import structs

from wherry.errors import InvalidError
from wherry.image.blobcache import Scope
from wherry.interfaces import Located
from wherry.model import name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from wherry.image.blobcache import BlobCache
    from wherry.interfaces import ImageDestination, ImageSource, ReuseHints
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest


class Place(NamedTuple):
    """A repository, as the cache names it."""

    scope: Scope
    location: str


def place(side: ImageSource | ImageDestination) -> Place | None:
    """The place of an image; None where its blobs can't be reused from elsewhere."""
    if not isinstance(side, Located):
        return None
    return Place(Scope("docker", side.location.domain), side.location.name)


class KnownBlobs:
    """The cache, for one copy; both places may be None."""

    def __init__(self, cache: BlobCache, source: Place | None, destination: Place | None) -> None:
        self._cache = cache
        self._source = source
        self._destination = destination
        self._repositories: dict[Digest, tuple[str, ...]] = {}

    async def look_up(self, wanted: Iterable[Digest]) -> None:
        """Read what is known of these blobs, at once: before they are asked for one by one."""
        there = self._destination
        if there is None:
            return
        missing = [digest for digest in dict.fromkeys(wanted) if digest not in self._repositories]
        found = await self._cache.candidates(there.scope, missing)
        for digest in missing:
            locations = (each.location for each in found.get(digest, ()))
            self._repositories[digest] = tuple(
                path for text in locations if text is not None and (path := _other(text, there)) is not None
            )

    def hints(self, digest: Digest, given: ReuseHints) -> ReuseHints:
        """`given`, and where else in the destination's registry the blob was seen."""
        repositories = self._repositories.get(digest, ())
        return structs.replace(given, repositories=repositories) if repositories else given

    def was_read(self, blob: Descriptor) -> None:
        """The source had the blob, and gave what its digest says; a foreign layer came from elsewhere."""
        if self._source is not None and not blob.urls:
            self._cache.note_location(self._source.scope, blob.digest, self._source.location)

    def is_there(self, digest: Digest) -> None:
        """The destination has the blob."""
        if self._destination is not None:
            self._cache.note_location(self._destination.scope, digest, self._destination.location)

    async def save(self) -> None:
        """Write what the copy has added since it was saved last."""
        await self._cache.save()

    @asynccontextmanager
    async def saving(self) -> AsyncIterator[None]:
        """Save beside what the block does: the disk takes its time."""
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.save)
            try:
                yield
            except Exception as error:
                failure = error  # raised below: the nursery would wrap it in a group
        if failure is not None:
            raise failure


def _other(location: str, here: Place) -> str | None:
    """The path of another repository of the same registry; None for anything else that the file may say."""
    try:
        named = name.parse_normalized(location)
    except InvalidError:
        return None
    same_registry = named.domain == here.scope.name
    return named.path if same_registry and named.name != here.location else None
