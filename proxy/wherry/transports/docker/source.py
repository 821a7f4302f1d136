"""Reading an image from a registry. Mirrors (registries.conf) would be tried in `open_source`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from wherry.errors import CorruptError
from wherry.interfaces import Unverified
from wherry.model import digest as digests
from wherry.model.manifest import matches_digest
from wherry.registry import blobs, manifests
from wherry.registry.client import sharing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.interfaces import Blob
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.model.name import DockerName, Named
    from wherry.protocol.options import ImageAccess
    from wherry.registry.client import RegistryClient
    from wherry.system import System


@asynccontextmanager
async def open_source(image: DockerName, system: System, access: ImageAccess) -> AsyncIterator[DockerSource]:
    """Resolve the image's tag or digest once, and hand out a source of what it named then (R-62)."""
    async with sharing(system) as registries:
        client = await registries.for_repository(image.named, access)
        fetched = await manifests.get(client, image.named, image.tag_or_digest)
        top = Unverified(fetched.raw, fetched.media_type)
        if image.named.digest is not None:
            _check_digest(fetched.raw, image.named.digest)
        yield DockerSource(client, image.named, top)


class DockerSource:
    """Implements interfaces.ImageSource; blobs may be read in parallel."""

    def __init__(self, client: RegistryClient, named: Named, top: Unverified) -> None:
        self._client = client
        self._named = named
        self._top = top

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
