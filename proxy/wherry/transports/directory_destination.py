"""Writing an image into a directory (dir:), all or nothing.

Blobs and instances are files named after their digests and are added beside those of the old image; `commit`
renames manifest.json and then removes what the new image does not refer to. Signatures have fixed names, so
where they change, the whole directory is exchanged instead. Until then a reader finds the old image complete.

One writer at a time: the directory is locked, because a commit removes what it does not know.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from wherry.errors import (
    CorruptError,
    FileError,
    FileMissingError,
    InternalError,
    InvalidError,
    LimitError,
    context,
    file_error,
)
from wherry.interfaces import Accepts, Progress, no_progress
from wherry.model import digest
from wherry.model.goquote import quote
from wherry.model.manifest import matches_digest
from wherry.model.strictjson import MANIFEST_LIMIT, SIGNATURE_LIMIT
from wherry.transports import directory as names
from wherry.transports.blobfiles import find_verified, receive
from wherry.transports.exchange import exchange, prefix_for
from wherry.transports.files import (
    Folder,
    in_thread,
    locked,
    make_folder,
    opened_folder,
    require_writable,
    sweep,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.interfaces import Blob, ReuseHints
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.system import System

ACCEPTS: Final = Accepts(signatures=True)
NOT_AN_IMAGE: Final = "not a containers image directory, don't want to overwrite important data"


class DirDestination:
    """An ImageDestination. Blobs and instances that were verified stay for the next try, whatever happens."""

    accepts = ACCEPTS

    def __init__(self, folder: Folder, resolved: str, system: System) -> None:
        self._folder = folder
        self._resolved = resolved
        self._system = system
        self._kept: dict[str, int] = {}  # names of files that the new image refers to, and their sizes
        self._signatures: dict[str, bytes] = {}
        self._top: bytes | None = None
        self._minor = 1

    async def reuse_blob(self, wanted: Descriptor, hints: ReuseHints) -> Descriptor | None:
        name = names.file_name(wanted.digest)
        size = self._kept.get(name)
        if size is None:
            size = await find_verified(self._folder, name, wanted, self._system)
        if size is None:
            return None
        self._keep(name, size, wanted.digest)
        return msgspec.structs.replace(wanted, size=size)

    async def put_blob(
        self, blob: Blob, expected: Descriptor | None, progress: Progress = no_progress
    ) -> Descriptor:
        stored = await receive(blob, self._folder, names.file_name, expected, self._system, progress)
        self._keep(names.file_name(stored.digest), stored.size, stored.digest)
        return stored

    async def put_manifest(self, raw: bytes, media_type: str, instance: Digest | None = None) -> None:
        if len(raw) > MANIFEST_LIMIT:
            raise LimitError(f"manifest: exceeded maximum allowed size of {MANIFEST_LIMIT} bytes")
        if instance is None:
            self._top = raw
            return
        if not matches_digest(raw, instance):
            raise CorruptError(f"Manifest does not match provided manifest digest {instance}")
        name = names.manifest_name(instance)
        await in_thread(lambda: self._folder.replace(name, raw))
        self._keep(name, len(raw), instance)

    async def put_signatures(self, signatures: Sequence[bytes], instance: Digest | None = None) -> None:
        if any(len(signature) > SIGNATURE_LIMIT for signature in signatures):
            raise LimitError(f"signature: exceeded maximum allowed size of {SIGNATURE_LIMIT} bytes")
        for number, signature in enumerate(signatures, 1):
            self._signatures[names.signature_name(number, instance)] = signature
        if instance is not None and signatures:
            self._note_algorithm(instance)

    async def commit(self) -> None:
        if self._top is None:
            raise InternalError("commit without a manifest")
        top = self._top
        await in_thread(lambda: self._commit(top))

    def _keep(self, name: str, size: int, wanted: Digest) -> None:
        self._kept[name] = size
        self._note_algorithm(wanted)

    def _note_algorithm(self, wanted: Digest) -> None:
        if digest.algorithm(wanted) != "sha256":
            self._minor = 2

    def _commit(self, top: bytes) -> None:
        present = _entries(self._folder)
        old_signatures = {name for name in present if names.is_signature(name)}
        changed = names.MANIFEST in present and not self._signatures_are(old_signatures)
        if not (changed and self._exchange(top, present)):
            self._commit_in_place(top, old_signatures)

    def _signatures_are(self, present: set[str]) -> bool:
        if present != set(self._signatures):
            return False
        try:
            return all(self._folder.read(name, SIGNATURE_LIMIT) == self._signatures[name] for name in present)
        except (CorruptError, FileError, LimitError):
            return False

    def _exchange(self, top: bytes, present: Sequence[str]) -> bool:
        if f"{self._system.cwd}/".startswith(f"{self._resolved.rstrip('/')}/"):
            return False  # the caller would be left standing in the directory that is removed
        carried = [name for name in present if name in self._kept or not _replaced(name)]

        def fill(new: Folder) -> None:
            for name, signature in self._signatures.items():
                new.replace(name, signature)
            new.replace(names.VERSION, names.version_bytes(self._minor))
            new.replace(names.MANIFEST, top)

        return exchange(self._resolved, self._folder, carried, fill)

    def _commit_in_place(self, top: bytes, old_signatures: set[str]) -> None:
        """The rename of manifest.json is what counts.

        Where an exchange was impossible, signatures change before it: whoever reads at that moment finds
        signatures that do not match, and refuses the image; never one that is accepted wrongly.
        """
        for name, signature in self._signatures.items():
            self._folder.replace(name, signature)
        for name in old_signatures - set(self._signatures):
            self._folder.remove(name)
        wanted = names.version_bytes(self._minor)
        if self._minor == 2:  # what 1.2 describes includes the old image
            self._folder.replace(names.VERSION, wanted)
        self._folder.sync()
        self._folder.replace(names.MANIFEST, top)
        self._folder.sync()
        if self._folder.read(names.VERSION, MANIFEST_LIMIT) != wanted:
            self._folder.replace(names.VERSION, wanted)
        for name in _entries(self._folder):
            if names.is_ours(name) and name not in self._kept and name not in self._signatures:
                self._folder.remove(name)


def _replaced(name: str) -> bool:
    """Whether a file of the old image goes with it."""
    return name in (names.MANIFEST, names.VERSION) or names.is_ours(name)


def _entries(folder: Folder) -> list[str]:
    try:
        return sorted(os.listdir(folder.fd))
    except OSError as error:
        raise file_error("open", folder.display or ".", error) from error


@asynccontextmanager
async def open_destination(reference: names.DirReference, system: System) -> AsyncIterator[DirDestination]:
    """Make the directory, or take one that is empty or has an image, and lock it.

    Another writer is waited for. Raises InvalidError for a directory with anything else in it (D-13),
    FileError where nothing can be written (D-15).
    """
    async with AsyncExitStack() as stack:
        resolved = reference.resolved
        folder = await _open_locked(resolved, stack)
        made_version = await in_thread(lambda: _prepare(folder, resolved))
        try:
            yield DirDestination(Folder(folder.fd, reference.path), resolved, system)
        finally:
            if made_version:
                _forget_version(folder)


async def _open_locked(resolved: str, stack: AsyncExitStack) -> Folder:
    while True:
        with context(f"unable to create directory {quote(resolved)}"):
            make_folder(resolved, resolved)
        attempt = AsyncExitStack()
        async with attempt:
            folder = attempt.enter_context(opened_folder(resolved, resolved))
            await attempt.enter_async_context(locked(folder.fd, resolved))
            if _is_at(resolved, folder):
                stack.push_async_exit(attempt.pop_all())
                return folder
        # Another writer exchanged the directory while we waited for it.


def _is_at(path: str, folder: Folder) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(folder.fd))
    except OSError:
        return False


def _prepare(folder: Folder, resolved: str) -> bool:
    """Check what is in the directory; whether it was empty, and got its version file now.

    It gets one before the first blob, so that a try that was cut off is recognised by the next one.
    """
    sweep(folder)
    _sweep_beside(resolved)
    empty = not _entries(folder)
    if not empty:
        _check_image(folder, resolved)
    require_writable(folder, names.MANIFEST, names.VERSION)
    if empty:
        folder.replace(names.VERSION, names.version_bytes(1))
    return empty


def _sweep_beside(resolved: str) -> None:
    parent = resolved.rpartition("/")[0] or "/"
    with suppress(FileError), opened_folder(parent, parent) as folder:
        sweep(folder, prefix_for(resolved))


def _check_image(folder: Folder, resolved: str) -> None:
    try:
        raw = folder.read(names.VERSION, MANIFEST_LIMIT)
    except (FileMissingError, CorruptError, LimitError):
        raise InvalidError(NOT_AN_IMAGE) from None
    version = names.parse_version(raw)
    if version is None:
        raise InvalidError(NOT_AN_IMAGE)
    names.check_version(raw, version, resolved)


def _forget_version(folder: Folder) -> None:
    """Leave an empty directory empty when nothing came into it."""
    if _entries(folder) == [names.VERSION]:
        folder.remove(names.VERSION)
