"""docker: an image in a registry (T1). Naming one imports no HTTP: that waits until it is opened."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from wherry.errors import InvalidError, context
from wherry.model import name
from wherry.model.goquote import quote
from wherry.model.name import DockerName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.interfaces import ImageDestination, ImageSource
    from wherry.model.digest import Digest
    from wherry.protocol.options import ImageAccess
    from wherry.system import System


class DockerReference(Struct, frozen=True):
    """`docker://host[:port]/path[:tag|@digest]`; implements interfaces.Reference, ListsTags, Deletable
    and DeletesTags."""

    transport: ClassVar[str] = "docker"

    image: DockerName

    def __str__(self) -> str:
        return f"docker:{self.image}"

    def docker_reference(self) -> str:
        return str(self.image.named)

    def policy_identity(self) -> str:
        return name.policy_identity(self.image.named)

    def policy_scopes(self) -> Sequence[str]:
        return name.policy_namespaces(self.image.named)

    @asynccontextmanager
    async def source(self, system: System, access: ImageAccess) -> AsyncIterator[ImageSource]:
        """Open the image: its top-level manifest is fetched before the source is handed out."""
        if self.image.unknown_digest:
            raise InvalidError(
                f"reading images from docker: reference {quote(str(self.image))} without a tag or digest "
                "is not supported"
            )
        from wherry.transports.docker.source import open_source

        async with open_source(self.image, system, access) as opened:
            yield opened

    @asynccontextmanager
    async def destination(self, system: System, access: ImageAccess) -> AsyncIterator[ImageDestination]:
        """Nothing is sent to the registry until the first blob."""
        from wherry.transports.docker.destination import open_destination

        async with open_destination(self.image, system, access) as opened:
            yield opened

    async def repository_tags(self, system: System, access: ImageAccess) -> Sequence[str]:
        from wherry.registry.client import sharing
        from wherry.registry.tags import list_tags

        async with sharing(system) as registries:
            named = self.image.named
            with context("failed to create client"):
                client = await registries.for_repository(named, access)
            return await list_tags(client, named, system.warn)

    @asynccontextmanager
    async def tag_pages(
        self, system: System, access: ImageAccess
    ) -> AsyncIterator[AsyncIterator[Sequence[str]]]:
        from wherry.registry.client import sharing
        from wherry.registry.tags import tag_pages

        async with sharing(system) as registries:
            named = self.image.named
            with context("failed to create client"):
                client = await registries.for_repository(named, access)
            async with aclosing(tag_pages(client, named, system.warn)) as pages:
                yield pages

    async def delete(self, system: System, access: ImageAccess) -> Digest:
        """Delete the image's manifest, and with it all tags of its digest (M7)."""
        from wherry.registry.client import sharing
        from wherry.registry.deletion import delete_image

        if self.image.unknown_digest:
            raise InvalidError("Docker reference without a tag or digest cannot be deleted")
        async with sharing(system) as registries:
            named = self.image.named
            client = await registries.for_repository(named, access)
            return await delete_image(client, named, self.image.tag_or_digest)

    async def delete_tag(self, system: System, access: ImageAccess) -> Digest:
        """Delete the tag alone, where the registry can."""
        from wherry.registry.client import sharing
        from wherry.registry.deletion import delete_tag

        named = self.image.named
        if self.image.unknown_digest or named.digest is not None:
            raise InvalidError(f"{self} names no tag that could be deleted")
        async with sharing(system) as registries:
            client = await registries.for_repository(named, access)
            return await delete_tag(client, named, self.image.tag_or_digest)


def parse(text: str, system: System) -> DockerReference:
    """The reference of `//host/path:tag`; raises InvalidError with skopeo's texts (T1)."""
    return DockerReference(name.parse_docker_transport(text))
