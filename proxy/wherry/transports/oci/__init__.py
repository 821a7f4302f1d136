"""oci: images in a directory that follows the OCI image layout.

`oci:DIRECTORY[:NAME]`, as a source also `oci:DIRECTORY:@NUMBER` (the entry of index.json, from 0).
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from wherry.errors import InvalidError
from wherry.transports import paths
from wherry.transports.files import opened_folder, opened_if_there
from wherry.transports.oci import layout
from wherry.transports.oci.source import Files, FolderFiles, OciSource, open_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager, ExitStack

    from wherry.interfaces import ImageDestination
    from wherry.protocol.options import ImageAccess
    from wherry.system import System


class OciReference(Struct, frozen=True):
    """A layout as the user wrote its path, `resolved` for policies; and a name, a number or neither."""

    transport: ClassVar[str] = "oci"

    path: str
    resolved: str
    name: str = ""
    number: int | None = None

    def __str__(self) -> str:
        return f"oci:{self.path}:{self.name if self.number is None else f'@{self.number}'}"

    def docker_reference(self) -> str:
        return ""

    def policy_identity(self) -> str:
        """The directory, without the name: `DIRECTORY` and `DIRECTORY:NAME` may be the same image."""
        return self.resolved

    def policy_scopes(self) -> Sequence[str]:
        return paths.scopes(self.resolved)

    @asynccontextmanager
    async def source(self, system: System, access: ImageAccess) -> AsyncIterator[OciSource]:
        async with AsyncExitStack() as stack:
            path = paths.absolute(self.path, system)
            folder = stack.enter_context(opened_folder(path, self.path, for_entry=layout.INDEX))
            blobs: Files = FolderFiles(folder, layout.BLOBS)
            if access.shared_blob_dir:
                blobs = shared_blobs(stack, access.shared_blob_dir, system)
            yield await open_source(FolderFiles(folder), blobs, self.name, self.number)

    def destination(
        self, system: System, access: ImageAccess
    ) -> AbstractAsyncContextManager[ImageDestination]:
        from wherry.transports.oci.destination import open_destination

        if self.number is not None:
            raise InvalidError(f"Destination reference must not contain a manifest index @{self.number}")
        return open_destination(self, system, access)


def shared_blobs(stack: ExitStack | AsyncExitStack, path: str, system: System) -> Files:
    """The directory of blobs that several layouts share, held open by `stack`; it may be missing."""
    where = paths.absolute(path, system)
    return FolderFiles(stack.enter_context(opened_if_there(where, path, for_entry="")))


def parse(text: str, system: System) -> OciReference:
    """Raises InvalidError, FileMissingError, FileError with skopeo's texts."""
    path, _, name = text.partition(":")
    number = None
    if name.startswith("@"):
        number = layout.parse_source_index(name[1:])
        name = ""
    resolved = paths.resolve(path, system)
    layout.check_name(name)
    return OciReference(path, resolved, name, number)
