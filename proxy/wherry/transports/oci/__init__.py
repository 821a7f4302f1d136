"""oci: images in a directory that follows the OCI image layout.

`oci:DIRECTORY[:NAME]`, as a source also `oci:DIRECTORY:@NUMBER` (the entry of index.json, from 0).
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from wherry.errors import InvalidError
from wherry.transports import paths
from wherry.transports.files import in_thread, locked, opened_folder, opened_if_there
from wherry.transports.oci import layout
from wherry.transports.oci.source import Files, FolderFiles, OciSource, open_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager, ExitStack

    from wherry.interfaces import ImageDestination
    from wherry.model.digest import Digest
    from wherry.protocol.options import ImageAccess
    from wherry.system import System
    from wherry.transports.files import AbsentFolder, Folder


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

    async def delete(self, system: System, access: ImageAccess) -> Digest:
        """Delete the image's entry, and the blobs that no other image of the layout needs (M7)."""
        from wherry.transports.oci.deletion import delete

        async with AsyncExitStack() as stack:
            path = paths.absolute(self.path, system)
            root = stack.enter_context(opened_folder(path, self.path, for_entry=layout.INDEX))
            own = _blobs_in(stack, f"{path}/{layout.BLOBS}", root.shown(layout.BLOBS))
            shared = access.shared_blob_dir
            blobs = _blobs_in(stack, paths.absolute(shared, system), shared) if shared else own
            await stack.enter_async_context(locked(root.fd, root.display))
            return await in_thread(lambda: delete(root, blobs, own, self.name, self.number))


def _blobs_in(stack: AsyncExitStack, path: str, display: str) -> Folder | AbsentFolder:
    return stack.enter_context(opened_if_there(path, display, for_entry=""))


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
