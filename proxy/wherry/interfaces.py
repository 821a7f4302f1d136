"""The interfaces between layers: what a transport gives, what it takes, and what the data plane moves.

Protocols, not base classes: a transport inherits nothing. Obligations are in the docstrings; the contract
suite (tests/transports/contract.py) checks them for every transport.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

from wherry.model.digest import Digest

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wherry.errors import WherryError
    from wherry.model.descriptor import Descriptor
    from wherry.model.name import Named
    from wherry.protocol.options import ImageAccess
    from wherry.system import System

Progress = Callable[[int], None]
"""Called with the number of payload bytes moved since the last call; from any thread; must not block."""


def no_progress(count: int) -> None:
    """The Progress of who does not want to know."""


class WouldBlock(Enum):
    """Instead of a count: nothing can be moved now, wait for `fileno()` to become ready this way."""

    READ = "read"
    WRITE = "write"


class Extent(NamedTuple):
    """Bytes that the kernel can move without us seeing them.

    `offset` is None for a stream (a socket), whose bytes are taken from where it stands. `length` is the
    exact number of bytes behind `prefix`; `prefix` was already read from the stream and comes first.
    """

    fd: int
    offset: int | None
    length: int
    prefix: bytes = b""


class Blob(Protocol):
    """Bytes opened by a source, consumed once, from start to end, by the data plane; never by the event loop.

    Either all of it is taken by `readinto`, or by the kernel from `extent()`, which the mover reports by
    `advance`; the two may follow each other (extent() always tells of what is left).
    A blob does not check its digest. It does check its own framing: a body that ends early raises
    NetworkError from `readinto`, it never looks like an end.
    """

    @property
    def size(self) -> int | None:
        """Bytes in all, or None where the source does not know."""
        ...

    def extent(self) -> Extent | None:
        """What is left, where the kernel can move it; None where only `readinto` will do (TLS, chunked)."""
        ...

    def advance(self, count: int) -> None:
        """The kernel moved `count` bytes out of `extent()` (its prefix counted)."""
        ...

    def fileno(self) -> int:
        """What to wait for after WouldBlock; -1 for a source that never blocks (memory, a regular file)."""
        ...

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        """Fill `buffer` from its start; the number of bytes, 0 at the end. Called in data threads."""
        ...

    def abort(self) -> None:
        """Stop now: called from the event loop, at any time, takes effect at once, may be called twice."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A Blob that may be able to go on after its source failed."""

    async def resume(self, cause: WherryError) -> None:
        """Continue with the byte behind the last one that was taken.

        Called by the mover, in the event loop and between two reads, with what `readinto` raised, or with a
        StalledError where the source was silent for too long. Raises where there is no going on.
        """
        ...


class Unverified(Struct, frozen=True):
    """A manifest as a source gave it: nothing was checked except that it matches a digest asked for.

    `media_type` is what the transport said ("" where it says nothing); `instance` the digest asked for.
    """

    raw: bytes
    media_type: str = ""
    instance: Digest | None = None


class Manifest(Struct, frozen=True):
    """A manifest that may be acted on. `wherry.policy` makes it of an Unverified one; nobody else may.

    The one way around is `unchecked`, for the commands that skopeo does not check either (inspect, list-tags,
    delete).
    """

    raw: bytes
    media_type: str
    instance: Digest | None = None

    @classmethod
    def unchecked(cls, given: Unverified) -> Manifest:
        """Take a manifest without asking the policy."""
        return cls(given.raw, given.media_type, given.instance)


class ImageSource(Protocol):
    """An image opened for reading, at one moment: a tag that moves later does not change it."""

    async def manifest(self, instance: Digest | None = None) -> Unverified:
        """The top-level manifest, or with `instance` that of the digest, whose bytes are checked to match it.

        Raises ImageNotFoundError, NotFoundError, CorruptError, LimitError (over 4 MiB), NetworkError, …
        The top-level bytes are the same at every call.
        """
        ...

    async def signatures(self, instance: Digest | None = None) -> Sequence[bytes]:
        """The simple-signing signatures of the top-level manifest or of an instance; empty where none are."""
        ...

    def blob(self, wanted: Descriptor) -> AbstractAsyncContextManager[Blob]:
        """Open a blob by its digest. Its bytes are not checked; `wanted.size` is a hint (-1: unknown)."""
        ...


class ReuseHints(Struct, frozen=True):
    """Where else the wanted bytes may be found, in repositories of the same registry.

    `mount_from`: the one that they come from, which has them; `repositories`: others, which may have them,
    the most promising first.
    """

    mount_from: str | None = None
    repositories: tuple[str, ...] = ()


class Accepts(Struct, frozen=True):
    """What a destination takes, as data, so that planning stays pure.

    `manifest_types`: in its order of preference, empty: any. `compression`: what it wants layers to be
    ("gzip": compress what is not compressed; "keep"; "none": decompress). `commit_text`: what `commit` does,
    for the texts of its errors.
    """

    manifest_types: tuple[str, ...] = ()
    compression: Literal["keep", "gzip", "zstd", "none"] = "keep"
    signatures: bool = False
    no_signatures_text: str = ""
    indexes: bool = True
    foreign_layers: bool = False
    parallel_blobs: int = 6
    commit_text: str = "committing the finished image"


class ImageDestination(Protocol):
    """An image being written. All-or-old: until `commit` nothing visible changes, and leaving without it
    rolls back; the old image survives every failure. Blobs already verified may stay for the next try.
    """

    @property
    def accepts(self) -> Accepts: ...

    async def reuse_blob(self, wanted: Descriptor, hints: ReuseHints) -> Descriptor | None:
        """The descriptor of bytes that are already there (checked as far as the transport can), or None."""
        ...

    async def put_blob(
        self, blob: Blob, expected: Descriptor | None, progress: Progress = no_progress
    ) -> Descriptor:
        """Store a blob and verify it while it passes: digest and size of `expected`, or CorruptError."""
        ...

    async def put_manifest(self, raw: bytes, media_type: str, instance: Digest | None = None) -> None:
        """Hand over a manifest, top-level or of an instance; visible after `commit` only."""
        ...

    async def put_signatures(self, signatures: Sequence[bytes], instance: Digest | None = None) -> None: ...

    async def commit(self) -> None: ...


class Reference(Protocol):
    """A parsed image name: immutable; parsing str(reference) gives an equal one."""

    transport: ClassVar[str]

    def __str__(self) -> str:
        """`transport:rest`, as skopeo prints it (transports.ImageName)."""
        ...

    def docker_reference(self) -> str:
        """The canonical Docker reference (`docker.io/library/busybox:latest`), or "" where there is none."""
        ...

    def policy_identity(self) -> str:
        """What policy.json's most specific scope for this image is; "" where it has none (then default)."""
        ...

    def policy_scopes(self) -> Sequence[str]:
        """Less specific scopes, most specific first, without the identity and without ""."""
        ...

    def source(self, system: System, access: ImageAccess) -> AbstractAsyncContextManager[ImageSource]: ...

    def destination(
        self, system: System, access: ImageAccess
    ) -> AbstractAsyncContextManager[ImageDestination]: ...


@runtime_checkable
class Located(Protocol):
    """A source or destination whose blobs lie in a repository of a registry, where others may reuse them."""

    @property
    def location(self) -> Named:
        """The repository that blobs are read from (of a mirror, where one is used) or written to."""
        ...


@runtime_checkable
class TriesAgain(Protocol):
    """A destination that a blob may be sent to again, from its start, after failures that may pass."""

    def another_try(self, blob: Descriptor) -> Callable[[WherryError], float | None]:
        """For one blob: after how many seconds to send it again after an error; None where that is no use."""
        ...


@runtime_checkable
class ConfirmsWrites(Protocol):
    """A destination that can be asked whether it has what it said it took (`--verify-push`)."""

    async def confirm_blobs(self, blobs: Sequence[Descriptor]) -> None:
        """Raise RegistryError where one of them is not there, or has another size."""
        ...

    async def confirm_manifest(self, raw: bytes) -> None:
        """After `commit`: raise RegistryError or CorruptError unless the image's name stands for `raw`."""
        ...


@runtime_checkable
class ListsTags(Protocol):
    """A reference whose repository can list its tags."""

    async def repository_tags(self, system: System, access: ImageAccess) -> Sequence[str]:
        """Tags in the server's order."""
        ...

    def tag_pages(
        self, system: System, access: ImageAccess
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[str]]]:
        """The same, as they come: some at a time."""
        ...


@runtime_checkable
class Deletable(Protocol):
    """A reference whose image can be deleted."""

    async def delete(self, system: System, access: ImageAccess) -> Digest:
        """Delete the image, and every other name of it that can't stay without it; its manifest's digest."""
        ...


@runtime_checkable
class DeletesTags(Protocol):
    """A reference whose tag can be deleted alone."""

    async def delete_tag(self, system: System, access: ImageAccess) -> Digest:
        """Delete the tag, and no other; the digest that it named. Raises RegistryError where it can't be."""
        ...


class ReferenceParser(Protocol):
    """What a transport's module offers: `parse`, of the text behind `transport:`."""

    def parse(self, text: str, system: System) -> Reference: ...
