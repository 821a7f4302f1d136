"""Reading an image of an OCI layout, be it a directory or the members of an archive."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from wherry.errors import CorruptError, FileMissingError
from wherry.interfaces import Unverified
from wherry.model import digest
from wherry.model.strictjson import MANIFEST_LIMIT
from wherry.transports.oci import layout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.interfaces import Blob
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.transports.files import AbsentFolder, Folder


class Files(Protocol):
    """Where the files of a layout are read from; names are relative, `/` between their components."""

    def shown(self, name: str) -> str:
        """The name for error texts."""
        ...

    async def read(self, name: str, limit: int) -> bytes:
        """All of a file; FileMissingError, LimitError over `limit` bytes, CorruptError if it is no file."""
        ...

    def blob(self, name: str) -> AbstractAsyncContextManager[Blob]: ...


class FolderFiles:
    """Files below a directory that the caller keeps open; `below` a path in it, or ""."""

    def __init__(self, folder: Folder | AbsentFolder, below: str = "") -> None:
        self._folder = folder
        self._below = f"{below}/" if below else ""

    def shown(self, name: str) -> str:
        return self._folder.shown(self._below + name)

    async def read(self, name: str, limit: int) -> bytes:
        return await self._folder.read_soon(self._below + name, limit)

    def blob(self, name: str) -> AbstractAsyncContextManager[Blob]:
        return self._folder.blob(self._below + name)


class OciSource:
    """An ImageSource. The index was read once, when it was opened (D-10); blobs are found by digest.

    Made by `open_source`. There are no signatures in a layout, and nothing is ever fetched from elsewhere:
    the URLs of foreign layers are not followed (R-66).
    """

    def __init__(self, blobs: Files, index: layout.Json, entry: layout.Entry) -> None:
        self._blobs = blobs
        self._index = index
        self._entry = entry
        self._top: bytes | None = None

    async def manifest(self, instance: Digest | None = None) -> Unverified:
        if instance is not None:
            return Unverified(await self._read(instance), self._media_type(instance), instance)
        if self._top is None:
            self._top = await self._read_top()
        return Unverified(self._top, self._entry.media_type)

    async def signatures(self, instance: Digest | None = None) -> Sequence[bytes]:
        return ()

    @asynccontextmanager
    async def blob(self, wanted: Descriptor) -> AsyncIterator[Blob]:
        async with AsyncExitStack() as stack:
            try:
                blob = await stack.enter_async_context(self._blobs.blob(layout.blob_name(wanted.digest)))
            except FileMissingError as error:
                if not wanted.urls:
                    raise
                raise FileMissingError(
                    f"{error} (a foreign layer: its URLs are not fetched for a local image)"
                ) from None
            yield blob

    def _media_type(self, instance: Digest) -> str:
        for entry in layout.entries(self._index):
            if entry.digest == instance:
                return entry.media_type
        return ""

    async def _read_top(self) -> bytes:
        wanted = layout.entry_digest(self._entry)
        raw = await self._read(wanted)
        if self._entry.size is not None and self._entry.size != len(raw):
            raise CorruptError(
                f"manifest {wanted}: index.json says {self._entry.size} bytes, it has {len(raw)}"
            )
        return raw

    async def _read(self, wanted: Digest) -> bytes:
        raw = await self._blobs.read(layout.blob_name(wanted), MANIFEST_LIMIT)
        if digest.of(raw, digest.algorithm(wanted)) != wanted:
            raise CorruptError(f"Manifest does not match provided manifest digest {wanted}")
        return raw


async def open_source(files: Files, blobs: Files, name: str, number: int | None) -> OciSource:
    """Read the layout's index, once, and pick the image that `name` or `number` means (layout.pick).

    A missing `oci-layout` is tolerated, as skopeo does; one of another major version is not (D-09).
    """
    index = layout.parse_index(await files.read(layout.INDEX, layout.INDEX_LIMIT), files.shown(layout.INDEX))
    try:
        raw = await files.read(layout.LAYOUT, layout.INDEX_LIMIT)
    except FileMissingError:
        pass
    else:
        layout.check_layout(raw, files.shown(layout.LAYOUT))
    return OciSource(blobs, index, layout.pick(index, name, number))
