"""Putting blobs into a repository: mount, upload (distribution-spec, section Pushing Blobs)."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import trio

from wherry.errors import CorruptError, RegistryError, StalledError, WherryError, context, file_error
from wherry.interfaces import WouldBlock
from wherry.model.digest import Digest, hasher
from wherry.registry import origin
from wherry.registry.client import RegistryClient, scope
from wherry.registry.dial import PeerClosedError
from wherry.registry.errors import read_error
from wherry.registry.parts import Part
from wherry.streams.blobs import FileBlob
from wherry.streams.pump import Moved, pump
from wherry.streams.sinks import SocketSink

if TYPE_CHECKING:
    import socket

    from wherry.interfaces import Blob, Progress
    from wherry.model.name import Named
    from wherry.registry.client import Grant
    from wherry.registry.dial import Connection
    from wherry.registry.engine import Exchange
    from wherry.registry.origin import Url
    from wherry.streams.sinks import KernelKind

_OCTETS: Final = ("Content-Type", "application/octet-stream")
ANSWER_GRACE_S: Final = 1.0
CANCEL_S: Final = 2.0
_STALL_FACTOR: Final = 2.0
"""The source may be silent for the idle limit; the registry gets as long on top of it."""


async def mount(client: RegistryClient, name: Named, source: str, digest: Digest) -> bool:
    """Have the registry take a blob from its repository `source`; whether it did.

    Anything but an error of the network counts as a no: the blob is uploaded then.
    """
    query = urlencode({"from": source, "mount": digest})
    scopes = (scope(name.path, "pull,push"), scope(source, "pull"))
    async with client.request("POST", f"{name.path}/blobs/uploads/?{query}", scopes) as answer:
        status = answer.exchange.status
        unwanted = None
        if status == 202:
            with suppress(RegistryError):
                unwanted = _location(answer.exchange)
    if unwanted is not None:
        # It began an upload instead; that session is of no use to us.
        await _Session(client, unwanted, await client.authorize(scopes)).cancel()
    return status == 201


async def upload(
    client: RegistryClient,
    name: Named,
    blob: Blob,
    *,
    digest: Digest | None,
    size: int | None,
    algorithm: str = "sha256",
    part: int | None = None,
    progress: Progress,
) -> Moved:
    """Upload a blob; returns what passed, its size and its digest by `algorithm`, for the caller to compare.

    With `digest` and `size` known it is one PUT, which the registry must refuse where they do not fit; else a
    PATCH, and a PUT that names the digest once it is known. A session that does not end in a blob is deleted.
    What passes is hashed on its way; but a file goes over plain http by the kernel, unseen, if the registry
    says afterwards which digest it found, as it must; else the file is read again. With `part` a blob of a
    known size goes in pieces of that many bytes, or of as many as the registry demands at least
    (OCI-Chunk-Min-Length).
    Raises RegistryError, AuthError, NetworkError, StalledError, CorruptError (more or fewer bytes than
    `size`), and what the blob raises.
    """
    session = await _begin(client, name)
    body = _Body(client, blob, size, algorithm, progress, unseen=digest is not None)
    try:
        if part is not None and size is not None and size > max(part, session.least):
            return await session.patch_in_parts(blob, size, part, algorithm, progress)
        if digest is None or size is None:
            return await session.patch_and_put(body)
        moved, taken = await session.put_whole(body, digest)
        if not taken:
            await session.cancel()
        return moved
    except BaseException:
        await session.cancel()
        raise


async def _begin(client: RegistryClient, name: Named) -> _Session:
    scopes = (scope(name.path, "pull,push"),)
    path = f"{name.path}/blobs/uploads/"
    async with client.request("POST", path, scopes) as answer:
        if answer.exchange.status != 202:
            with context(f"initiating layer upload to /v2/{path} in {client.host}"):
                raise await read_error(answer.exchange)
        with context("determining upload URL"):
            url = _location(answer.exchange)
        least = _least(answer.exchange.header("OCI-Chunk-Min-Length"))
    return _Session(client, url, await client.authorize(scopes), least)


def _least(header: str | None) -> int:
    """Bytes that each part but the last must have."""
    return int(header) if header is not None and re.fullmatch(r"[0-9]{1,18}", header) else 0


def _location(exchange: Exchange) -> Url:
    return origin.location(exchange.header("Location"), exchange.request.url, "upload Location")


class _Session:
    """An upload that a registry has begun; `url` moves on with each of its answers."""

    def __init__(self, client: RegistryClient, url: Url, grant: Grant, least: int = 0) -> None:
        self.least = least
        self._client = client
        self._url = url
        self._grant = grant

    async def put_whole(self, body: _Body, digest: Digest) -> tuple[Moved, bool]:
        """Send all in one PUT: what passed, and whether it can be the blob that was meant."""
        target = self._url.with_query("digest", digest)
        request = self._client.open("PUT", target, grant=self._grant, headers=body.headers, send=body.send)
        async with request as exchange:
            moved = await body.checked(digest if exchange.status == 201 else None, exchange)
            if moved is not None and moved.digests[body.algorithm] != digest:
                return moved, False  # the cause, whatever the registry says of it
            with context(f"uploading layer to {target.shown}"):
                return await body.taken(exchange, 201), True

    async def patch_and_put(self, body: _Body) -> Moved:
        """Send all in one PATCH, then name the digest."""
        with context("uploading layer chunked"):
            request = self._client.open(
                "PATCH", self._url, grant=self._grant, headers=body.headers, send=body.send
            )
            async with request as exchange:
                moved = await body.taken(exchange, 202, 201, 204)
                self._url = _location(exchange)
        await self._finish(moved.digests[body.algorithm])
        return moved

    async def patch_in_parts(
        self, blob: Blob, size: int, part: int, algorithm: str, progress: Progress
    ) -> Moved:
        """Send one PATCH after the other, then name the digest."""
        sums, length = hasher(algorithm), max(part, self.least)
        for start in range(0, size, length):
            piece = Part(blob, min(length, size - start), sums)
            body = _Body(self._client, piece, piece.size, algorithm, progress, hashed=False)
            place = ("Content-Range", f"{start}-{start + piece.size - 1}")
            with context("uploading layer chunked"):
                request = self._client.open(
                    "PATCH", self._url, grant=self._grant, headers=(*body.headers, place), send=body.send
                )
                async with request as exchange:
                    await body.taken(exchange, 202, 201, 204)
                    self._url = _location(exchange)
        if isinstance(more := blob.readinto(memoryview(bytearray(1))), int) and more:
            raise CorruptError(f"the content is longer than {size} bytes")
        found = Digest(f"{algorithm}:{sums.hexdigest()}")
        await self._finish(found)
        return Moved(size, {algorithm: found})

    async def _finish(self, digest: Digest) -> None:
        target = self._url.with_query("digest", digest)
        headers = (_OCTETS, ("Content-Length", "0"))
        async with self._client.open(
            "PUT", target, grant=self._grant, headers=headers, send=_nothing
        ) as exchange:
            if exchange.status != 201:
                with context(f"uploading layer to {target.shown}"):
                    raise await read_error(exchange)

    async def cancel(self) -> None:
        """Delete the session, so that its bytes do not stay.

        Registries end those that are left by themselves: a failure means nothing, and is not waited for long.
        """
        with trio.move_on_after(CANCEL_S, shield=True), suppress(WherryError):
            async with self._client.open("DELETE", self._url, grant=self._grant):
                pass


async def _nothing(_: Connection) -> bool:
    return True


class _Body:
    """The body of an upload: a blob, which the data plane moves into the connection."""

    def __init__(
        self,
        client: RegistryClient,
        blob: Blob,
        size: int | None,
        algorithm: str,
        progress: Progress,
        *,
        unseen: bool = False,
        hashed: bool = True,
    ) -> None:
        framing = ("Transfer-Encoding", "chunked") if size is None else ("Content-Length", str(size))
        self.headers = (_OCTETS, framing)
        self.algorithm = algorithm
        self.moved: Moved | None = None
        self._system = client.system
        self._blob = blob
        self._size = size
        self._report = progress
        self._sent = 0
        self._hashed = hashed
        extent = blob.extent() if unseen and size is not None else None
        self._file = extent if extent and extent.offset is not None and extent.length == size else None

    async def send(self, connection: Connection) -> bool:
        """Move the blob until it ends, or until the server has answered or hung up."""
        stalled = False
        failure: WherryError | None = None
        async with trio.open_nursery() as nursery:

            async def watch_answer() -> None:
                await trio.lowlevel.wait_readable(connection.sock)
                # An honest answer follows the last byte, which our thread may still be counting.
                await trio.sleep(ANSWER_GRACE_S)
                nursery.cancel_scope.cancel()

            async def watch_progress() -> None:
                nonlocal stalled
                before = -1
                while self._sent != before:
                    before = self._sent
                    await trio.sleep(self._system.idle_timeout * _STALL_FACTOR)
                stalled = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch_progress)
            if connection.clear:
                # Under TLS what is readable may be a session ticket, and reading it here while a data thread
                # writes is not safe; there a server that does not want the body hangs up, or stalls.
                nursery.start_soon(watch_answer)
            try:
                self.moved = await self._move(connection)
            except PeerClosedError:
                self.moved = None  # its answer, if there is one, says more than a broken pipe
            except WherryError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if stalled and self.moved is None:
            raise StalledError(f"write tcp {connection.shown}: i/o timeout")
        return self.moved is not None

    async def checked(self, claimed: Digest | None, exchange: Exchange) -> Moved | None:
        """What passed, with its digest: `claimed` where nobody here has seen it and the answer confirms that,
        else what the file says when it is read again."""
        moved = self.moved
        if moved is None or moved.digests:
            return moved
        if claimed is not None and exchange.header("Docker-Content-Digest") == claimed:
            self.moved = Moved(moved.count, {self.algorithm: claimed})
        elif self._file is not None and self._file.offset is not None:
            again = FileBlob(self._file.fd, self._file.offset, self._file.length)
            self.moved = await pump(again, _Nowhere(), self._system.threads, digests=(self.algorithm,))
        return self.moved

    async def _move(self, connection: Connection) -> Moved:
        sink = _UploadSink(connection.sock) if self._size is not None else _ChunkedSink(connection.sock)
        unseen = self._file is not None and connection.clear
        moved = await pump(
            self._blob,
            sink,
            self._system.threads,
            digests=(self.algorithm,) if self._hashed and not unseen else (),
            limit=self._size,
            idle=self._system.idle_timeout,
            progress=self._count,
        )
        if isinstance(sink, _ChunkedSink):
            await connection.send_all(sink.end())
        elif moved.count != self._size:
            found = moved.digests.get(self.algorithm, "a file")
            raise CorruptError(
                f"Size mismatch when copying {found}, expected {self._size}, got {moved.count}"
            )
        return moved

    def _count(self, count: int) -> None:
        self._sent += count
        self._report(count)

    async def taken(self, exchange: Exchange, *statuses: int) -> Moved:
        """What passed, if the registry took it."""
        if exchange.status not in statuses:
            raise await read_error(exchange)
        if self.moved is None:
            raise RegistryError(f"the registry answered {exchange.status} before it had the whole body")
        return self.moved


class _Nowhere:
    """A sink for what only has to be hashed."""

    kernel_kind: KernelKind | None = None
    offset: int | None = None

    def fileno(self) -> int:
        return -1

    def write(self, view: memoryview) -> int | WouldBlock:
        return len(view)

    def advance(self, count: int) -> None:
        pass

    def failure(self, error: OSError) -> WherryError:
        return file_error("write", "nowhere", error)


class _UploadSink(SocketSink):
    """Tells the server's hanging up from the source's."""

    def failure(self, error: OSError) -> WherryError:
        return PeerClosedError(str(super().failure(error)))


class _ChunkedSink(_UploadSink):
    """Frames what is written as chunks (RFC 9112, section 7.1): for blobs of unknown length."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.kernel_kind: KernelKind | None = None
        self._framing = memoryview(b"")
        self._left = 0

    def write(self, view: memoryview) -> int | WouldBlock:
        if not self._left and not self._framing:
            self._framing = memoryview(b"%x\r\n" % len(view))
            self._left = len(view)
        while self._framing:
            count = super().write(self._framing)
            if isinstance(count, WouldBlock):
                return count
            self._framing = self._framing[count:]
            if not self._framing and not self._left:
                return self.write(view)
        moved = super().write(view[: self._left])
        if isinstance(moved, int):
            self._left -= moved
            if not self._left:
                self._framing = memoryview(b"\r\n")
        return moved

    def end(self) -> bytes:
        """What follows the last write."""
        return bytes(self._framing) + b"0\r\n\r\n"
