"""Reading an image from a registry, or from a mirror of it (containers-registries.conf(5))."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import trio

from wherry.config.access import configured_source
from wherry.errors import CorruptError, StalledError, WherryError, context
from wherry.interfaces import Unverified
from wherry.model import digest as digests
from wherry.model.manifest import matches_digest
from wherry.registry import blobs, manifests
from wherry.registry.client import sharing
from wherry.registry.retry import one_try

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from wherry.interfaces import Blob
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.model.name import DockerName, Named
    from wherry.protocol.options import ImageAccess
    from wherry.registry.client import RegistryClient
    from wherry.registry.retry import Budget
    from wherry.system import System


MIRROR_LIMIT_S: Final = 30.0
"""For all that a mirror is asked while an image is opened: one that hangs must not hold up the others."""


@asynccontextmanager
async def open_source(image: DockerName, system: System, access: ImageAccess) -> AsyncIterator[DockerSource]:
    """Resolve the image's tag or digest once, and hand out a source of what it named then (R-62).

    The mirrors that registries.conf names are asked first, in their order; the first place that has the image
    serves its blobs too. Raises what the last place, the registry itself, failed with, and tells of all.
    """
    async with sharing(system) as registries:
        with context("loading registries configuration"):
            config = registries.configuration()
        places = config.pull_sources(image.named)
        failures: list[str] = []
        for place in places:
            try:
                with _limited(MIRROR_LIMIT_S if place.is_mirror else math.inf):
                    reached = await configured_source(place, image.named, access, system, config)
                    client = registries.client(place.named.domain, reached)
                    # Where there is another place, none is waited for.
                    budget = None if place is places[-1] else one_try()
                    source = DockerSource(client, place.named, await _top(client, place.named, budget))
                break
            except WherryError as error:
                if not place.is_mirror:
                    _add_mirrors(error, place.named, failures)
                    raise
                failures.append(f"[{place.named}: {error}]")
        yield source


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise StalledError(f"no manifest within {seconds:g} seconds")


async def _top(client: RegistryClient, named: Named, budget: Budget | None) -> Unverified:
    fetched = await manifests.get(client, named, named.digest or named.tag, budget)
    if named.digest is not None:
        _check_digest(fetched.raw, named.digest)
    return Unverified(fetched.raw, fetched.media_type)


def _add_mirrors(error: WherryError, primary: Named, failures: Sequence[str]) -> None:
    """Put the errors of its mirrors before the registry's own (R3)."""
    if failures:
        listed = "\n".join(failures)
        error.args = (f"(Mirrors also failed: {listed}): {primary}: {error}", *error.args[1:])


class DockerSource:
    """Implements interfaces.ImageSource; blobs may be read in parallel."""

    def __init__(self, client: RegistryClient, named: Named, top: Unverified) -> None:
        self._client = client
        self._named = named
        self._top = top

    @property
    def location(self) -> Named:
        """As interfaces.Located."""
        return self._named

    async def manifest(self, instance: Digest | None = None) -> Unverified:
        """As interfaces.ImageSource; instances are fetched by their digest each time."""
        if instance is None:
            return self._top
        fetched = await manifests.get(self._client, self._named, instance)
        _check_digest(fetched.raw, instance)
        return Unverified(fetched.raw, fetched.media_type, instance)

    async def signatures(self, instance: Digest | None = None) -> Sequence[bytes]:
        """None: where signatures lie is a matter of registries.d, which is not read yet."""
        return ()

    @asynccontextmanager
    async def blob(self, wanted: Descriptor) -> AsyncIterator[Blob]:
        """As interfaces.ImageSource; a foreign layer comes from its URLs, without our credentials (N12)."""
        digests.parse(wanted.digest)
        if wanted.urls:
            async with blobs.open_external(self._client, wanted.urls) as external:
                if external is not None:
                    yield external
                    return
        async with blobs.open_blob(self._client, self._named, wanted.digest) as found:
            yield found


def _check_digest(raw: bytes, wanted: Digest) -> None:
    if not matches_digest(raw, wanted):
        raise CorruptError(f"Manifest does not match provided manifest digest {wanted}")
