"""dir: one image in a directory of plain files, with its signatures (containers-transports(5)).

`manifest.json` is the image, `HEX` its blobs, `HEX.manifest.json` the instances of a list, `signature-N` and
`HEX.signature-N` the signatures of either, `version` the format's version. `HEX` becomes `ALGORITHM-HEX` for
digests other than sha256.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import Struct

from wherry.errors import CorruptError, FileMissingError, InvalidError, LimitError, context
from wherry.interfaces import Unverified
from wherry.model import digest
from wherry.model.goquote import quote
from wherry.model.manifest import matches_digest
from wherry.model.strictjson import MANIFEST_LIMIT, SIGNATURE_LIMIT
from wherry.transports import paths
from wherry.transports.files import AbsentFolder, Folder, in_thread, opened_if_there

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.interfaces import Blob, ImageDestination
    from wherry.model.descriptor import Descriptor
    from wherry.model.digest import Digest
    from wherry.protocol.options import ImageAccess
    from wherry.system import System

MANIFEST: Final = "manifest.json"
VERSION: Final = "version"
SIGNATURES_TOTAL: Final = 16 << 20
"""Bytes of all signatures of a manifest together that are read."""

_VERSION: Final = re.compile(rb"Directory Transport Version: (0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\n")
_SUPPORTED: Final = (1, 2)
_HEX: Final = "(?:[0-9a-f]{64}|sha384-[0-9a-f]{96}|sha512-[0-9a-f]{128})"
_OURS: Final = re.compile(rf"{_HEX}|{_HEX}\.manifest\.json|(?:{_HEX}\.)?signature-[1-9][0-9]*")
_SIGNATURE: Final = re.compile(rf"(?:{_HEX}\.)?signature-[1-9][0-9]*")


def version_bytes(minor: int) -> bytes:
    """The `version` file of format 1.minor: 1 with sha256 alone, 2 with other digests."""
    return b"Directory Transport Version: 1.%d\n" % minor


def parse_version(raw: bytes) -> tuple[int, int] | None:
    """Major and minor, or None for what is no version file."""
    found = _VERSION.fullmatch(raw)
    return (int(found[1]), int(found[2])) if found else None


def is_signature(name: str) -> bool:
    """Whether a file of this name is a signature."""
    return _SIGNATURE.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Whether a file of this name belongs to the format, so that it may go when nothing refers to it."""
    return _OURS.fullmatch(name) is not None


def check_version(raw: bytes, version: tuple[int, int], resolved: str) -> None:
    """Raise InvalidError for a version newer than 1.2."""
    if version > _SUPPORTED:
        text = quote(raw.decode(errors="surrogateescape"))
        raise InvalidError(f"unsupported directory transport version {text} at {resolved}")


def file_name(wanted: Digest) -> str:
    """The name of a blob, and the start of its instance's and signatures' names."""
    algorithm, encoded = digest.algorithm(wanted), digest.encoded(wanted)
    return encoded if algorithm == "sha256" else f"{algorithm}-{encoded}"


def manifest_name(instance: Digest | None) -> str:
    """Where a manifest is kept."""
    return MANIFEST if instance is None else f"{file_name(instance)}.manifest.json"


def signature_name(number: int, instance: Digest | None) -> str:
    """Where a signature is kept; numbers start at 1."""
    name = f"signature-{number}"
    return name if instance is None else f"{file_name(instance)}.{name}"


class DirReference(Struct, frozen=True):
    """A directory as the user wrote it, and `resolved` for policies."""

    transport: ClassVar[str] = "dir"

    path: str
    resolved: str

    def __str__(self) -> str:
        return f"dir:{self.path}"

    def docker_reference(self) -> str:
        return ""

    def policy_identity(self) -> str:
        return self.resolved

    def policy_scopes(self) -> Sequence[str]:
        return paths.scopes(self.resolved)

    @asynccontextmanager
    async def source(self, system: System, access: ImageAccess) -> AsyncIterator[DirSource]:
        path = paths.absolute(self.path, system)
        with ExitStack() as stack:
            with context(f"reading version file {quote(paths.joined(self.path, VERSION))}"):
                folder = stack.enter_context(opened_if_there(path, self.path, for_entry=VERSION))
            yield await in_thread(lambda: _open_source(folder, self.resolved))

    def destination(
        self, system: System, access: ImageAccess
    ) -> AbstractAsyncContextManager[ImageDestination]:
        from wherry.transports.directory_destination import open_destination

        return open_destination(self, system)


def parse(text: str, system: System) -> DirReference:
    """Raises InvalidError, FileMissingError, FileError with skopeo's texts."""
    return DirReference(text, paths.resolve(text, system))


def _check_source_version(folder: Folder | AbsentFolder, resolved: str) -> None:
    """A missing version is fine: the first ones wrote none."""
    try:
        with context(f"reading version file {quote(folder.shown(VERSION))}"):
            raw = folder.read(VERSION, MANIFEST_LIMIT)
    except FileMissingError:
        return
    version = parse_version(raw)
    if version is None:
        raise CorruptError(f"invalid version file content: {quote(raw.decode(errors='surrogateescape'))}")
    check_version(raw, version, resolved)


def _open_source(folder: Folder | AbsentFolder, resolved: str) -> DirSource:
    """Read the manifest and its signatures now, so that they stay what they are.

    Where there is no manifest, that is said when it is asked for, as skopeo does.
    """
    _check_source_version(folder, resolved)
    try:
        top = folder.read(MANIFEST, MANIFEST_LIMIT)
    except FileMissingError:
        return DirSource(folder, None, ())
    return DirSource(folder, top, _read_signatures(folder, None))


def _read_signatures(folder: Folder | AbsentFolder, instance: Digest | None) -> Sequence[bytes]:
    found: list[bytes] = []
    while True:
        name = signature_name(len(found) + 1, instance)
        try:
            found.append(folder.read(name, SIGNATURE_LIMIT))
        except FileMissingError:
            return found
        if sum(map(len, found)) > SIGNATURES_TOTAL:
            raise LimitError(f"{folder.shown(name)}: there are too many signatures")


class DirSource:
    """An ImageSource. The folder is the caller's, who keeps it open; see `open_source`.

    A blob may be gone when it is asked for: another writer replaced the image meanwhile.
    """

    def __init__(self, folder: Folder | AbsentFolder, top: bytes | None, signatures: Sequence[bytes]) -> None:
        self._folder = folder
        self._top = top
        self._signatures = signatures

    async def manifest(self, instance: Digest | None = None) -> Unverified:
        if instance is None:
            if self._top is None:
                self._top = await self._read(MANIFEST, MANIFEST_LIMIT)
            return Unverified(self._top)
        raw = await self._read(manifest_name(instance), MANIFEST_LIMIT)
        if not matches_digest(raw, instance):
            raise CorruptError(f"Manifest does not match provided manifest digest {instance}")
        return Unverified(raw, instance=instance)

    async def signatures(self, instance: Digest | None = None) -> Sequence[bytes]:
        """The contents of the signature files, in their order, up to the first number that is missing."""
        if instance is None and self._top is not None:
            return self._signatures
        return await in_thread(lambda: _read_signatures(self._folder, instance))

    @asynccontextmanager
    async def blob(self, wanted: Descriptor) -> AsyncIterator[Blob]:
        async with self._folder.blob(file_name(wanted.digest)) as blob:
            yield blob

    async def _read(self, name: str, limit: int) -> bytes:
        return await self._folder.read_soon(name, limit)
