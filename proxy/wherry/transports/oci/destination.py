"""Writing an image into an OCI layout's directory.

Blobs and manifests are files named after their digests, so they may be written at any time: nothing refers
to them before `commit` renames index.json. That happens under a flock of the directory, on the index as it is
then: copies into one layout at the same time keep each other's names (D-14).
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from wherry.errors import (
    CorruptError,
    FileMissingError,
    InternalError,
    InvalidError,
    LimitError,
    file_error,
)
from wherry.interfaces import Accepts, Progress, no_progress
from wherry.model import digest, mediatype
from wherry.model.strictjson import MANIFEST_LIMIT
from wherry.transports import paths
from wherry.transports.blobfiles import find_verified, receive
from wherry.transports.files import (
    Folder,
    in_thread,
    locked,
    make_folder,
    opened_folder,
    require_writable,
    sweep,
)
from wherry.transports.oci import layout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.interfaces import Blob, ReuseHints
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.protocol.options import ImageAccess
    from wherry.system import System
    from wherry.transports.oci import OciReference

NO_SIGNATURES: Final = "Pushing signatures for OCI images is not supported"
ACCEPTS: Final = Accepts(
    manifest_types=layout.MANIFEST_TYPES,
    compression="gzip",
    no_signatures_text=NO_SIGNATURES,
    foreign_layers=True,
)


def check_manifest(raw: bytes, media_type: str, instance: Digest | None) -> Digest:
    """The digest of a manifest that a layout takes; raises InvalidError, LimitError, CorruptError."""
    # Docker's types too: a copy that may not change the manifest stores it as it is (reference C4, K5).
    if media_type not in mediatype.MANIFESTS:
        raise InvalidError(f"An OCI layout does not hold manifests of type {media_type}")
    if len(raw) > MANIFEST_LIMIT:
        raise LimitError(f"manifest: exceeded maximum allowed size of {MANIFEST_LIMIT} bytes")
    found = digest.of(raw, "sha256" if instance is None else digest.algorithm(instance))
    if instance not in (None, found):
        raise CorruptError(f"Manifest does not match provided manifest digest {instance}")
    return found


def read_index(root: Folder) -> layout.Json:
    """The index as it is now, or a new one. Blocks."""
    try:
        raw = root.read(layout.INDEX, layout.INDEX_LIMIT)
    except FileMissingError:
        return layout.new_index()
    return layout.parse_index(raw, root.shown(layout.INDEX))


def read_layout(root: Folder) -> bytes | None:
    """The oci-layout file, checked, or None where there is none. Blocks."""
    try:
        raw = root.read(layout.LAYOUT, layout.INDEX_LIMIT)
    except FileMissingError:
        return None
    layout.check_layout(raw, root.shown(layout.LAYOUT))
    return raw


class _BlobFolders:
    """The directories of blobs, one for each algorithm, made when they are first needed."""

    def __init__(self, path: str, display: str, stack: AsyncExitStack) -> None:
        self._path = path
        self._display = display
        self._stack = stack
        self._opened: dict[str, Folder] = {}
        self._lock = trio.Lock()

    async def get(self, algorithm: str) -> Folder:
        async with self._lock:
            if algorithm not in self._opened:
                self._opened[algorithm] = await in_thread(lambda: self._open(algorithm))
        return self._opened[algorithm]

    def _open(self, algorithm: str) -> Folder:
        path, shown = f"{self._path}/{algorithm}", paths.joined(self._display, algorithm)
        make_folder(path, shown)
        folder = self._stack.enter_context(opened_folder(path, shown))
        sweep(folder)
        require_writable(folder)
        return folder

    async def sync(self) -> None:
        for folder in self._opened.values():
            await in_thread(folder.sync)


class OciDestination:
    """An ImageDestination. What `put_blob` and `put_manifest` verified stays for the next try, whatever
    happens; an entry of index.json for it is made by `commit` alone."""

    accepts = ACCEPTS

    def __init__(self, root: Folder, blobs: _BlobFolders, name: str, system: System) -> None:
        self._root = root
        self._blobs = blobs
        self._name = name
        self._system = system
        self._known: dict[Digest, int] = {}
        self._top: tuple[str, Digest, int] | None = None

    async def reuse_blob(self, wanted: Descriptor, hints: ReuseHints) -> Descriptor | None:
        size = self._known.get(wanted.digest)
        if size is None:
            folder = await self._blobs.get(digest.algorithm(wanted.digest))
            size = await find_verified(folder, digest.encoded(wanted.digest), wanted, self._system)
        if size is None:
            return None
        self._known[wanted.digest] = size
        return msgspec.structs.replace(wanted, size=size)

    async def put_blob(
        self, blob: Blob, expected: Descriptor | None, progress: Progress = no_progress
    ) -> Descriptor:
        folder = await self._blobs.get("sha256" if expected is None else digest.algorithm(expected.digest))
        stored = await receive(blob, folder, digest.encoded, expected, self._system, progress)
        self._known[stored.digest] = stored.size
        return stored

    async def put_manifest(self, raw: bytes, media_type: str, instance: Digest | None = None) -> None:
        found = check_manifest(raw, media_type, instance)
        folder = await self._blobs.get(digest.algorithm(found))
        await in_thread(lambda: folder.replace(digest.encoded(found), raw))
        if instance is None:
            self._top = (media_type, found, len(raw))

    async def put_signatures(self, signatures: Sequence[bytes], instance: Digest | None = None) -> None:
        if signatures:
            raise InvalidError(NO_SIGNATURES)

    async def commit(self) -> None:
        if self._top is None:
            raise InternalError("commit without a manifest")
        media_type, found, size = self._top
        await self._blobs.sync()
        async with locked(self._root.fd, self._root.display):
            await in_thread(lambda: self._write_index(media_type, found, size))

    def _write_index(self, media_type: str, found: Digest, size: int) -> None:
        index = layout.added(read_index(self._root), media_type, found, size, self._name)
        raw = layout.index_bytes(index)
        if len(raw) > layout.INDEX_LIMIT:
            raise LimitError(f"{self._root.shown(layout.INDEX)}: would exceed {layout.INDEX_LIMIT} bytes")
        if read_layout(self._root) is None:
            self._root.replace(layout.LAYOUT, layout.LAYOUT_BYTES)
        self._root.replace(layout.INDEX, raw)
        self._root.sync()


@asynccontextmanager
async def open_destination(
    reference: OciReference, system: System, access: ImageAccess
) -> AsyncIterator[OciDestination]:
    """Make the directories and find out whether they can be written, before anything is fetched (D-15).

    An existing index is read and checked, so a broken one fails now.
    """
    async with AsyncExitStack() as stack:
        path = paths.absolute(reference.path, system)
        root = await in_thread(lambda: _open_root(path, reference.path, stack))
        blobs_path, shown = f"{path}/{layout.BLOBS}", root.shown(layout.BLOBS)
        if access.shared_blob_dir:
            blobs_path, shown = paths.absolute(access.shared_blob_dir, system), access.shared_blob_dir
            await in_thread(lambda: _make_shared(blobs_path, shown))
        blobs = _BlobFolders(blobs_path, shown, stack)
        await blobs.get("sha256")
        yield OciDestination(root, blobs, reference.name, system)


def _open_root(path: str, display: str, stack: AsyncExitStack) -> Folder:
    if not display:
        raise FileMissingError("mkdir : no such file or directory")
    make_folder(path, display)
    root = stack.enter_context(opened_folder(path, display, for_entry=layout.INDEX))
    read_index(root)
    read_layout(root)
    make_folder(f"{path}/{layout.BLOBS}", root.shown(layout.BLOBS))
    sweep(root)
    require_writable(root, layout.INDEX, layout.LAYOUT)
    return root


def _make_shared(path: str, display: str) -> None:
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError as error:
        raise file_error("mkdir", display, error) from error
