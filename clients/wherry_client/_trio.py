"""The client for trio: many requests at once on one connection, answered in any order."""

from __future__ import annotations

import os
import socket
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

from wherry import __version__
from wherry.errors import NotYetError, ProxyGoneError, WherryError
from wherry.model import digest as digests
from wherry.protocol import fdpass, messages
from wherry.protocol.framing import REPLY_LIMIT
from wherry_client import _session, _spawn
from wherry_client._blob import Verifier, check_status
from wherry_client._session import Response, TagsResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from wherry.protocol.messages import (
        CopyOptions,
        CopyResult,
        DeleteOptions,
        DeleteResult,
        Event,
        InspectOptions,
        LayerInfo,
        Method,
        OpenOptions,
        ServerHello,
        Step,
        TagsOptions,
    )

_CHUNK = 1 << 20


class _Waiting:
    """A request in flight: its reply, when it comes, and who hears its events."""

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self.on_event = on_event
        self.done = trio.Event()
        self.response: Response | None = None
        self.raised: Exception | None = None
        """What `on_event` raised: the call's to raise, not the reading task's."""


class AsyncClient:
    """A connection to a wherry proxy, in the extended protocol. Made by `over`, `spawn` or `connect`.

    Errors are the types of `wherry.errors`. Cancelling a call cancels the request on the server.
    """

    def __init__(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        self._sock = sock
        self._nursery = nursery
        self._next = 1
        self._waiting: dict[int, _Waiting] = {}
        self._ended: ProxyGoneError | None = None
        self._hello: ServerHello | None = None

    @classmethod
    @asynccontextmanager
    async def over(cls, sock: socket.socket) -> AsyncIterator[AsyncClient]:
        """Speak over a connected SEQPACKET socket, which stays the caller's to close."""
        sock.setblocking(False)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            client = cls(sock, nursery)
            nursery.start_soon(client._read)
            try:
                await client._greet()
                yield client
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            # Raised here, so that the nursery does not wrap the caller's own exception in a group.
            raise failure

    @classmethod
    @asynccontextmanager
    async def spawn(cls, command: Sequence[str] | None = None) -> AsyncIterator[AsyncClient]:
        """Start a private proxy: `command`, or this installation's own; it ends with the block."""
        sock, process = _spawn.start(command)
        try:
            with sock:
                async with cls.over(sock) as client:
                    yield client
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_spawn.stop, process)

    @classmethod
    @asynccontextmanager
    async def connect(cls, path: str | os.PathLike[str]) -> AsyncIterator[AsyncClient]:
        """Connect to a proxy's SEQPACKET socket. Raises ProxyGoneError where nobody listens there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            try:
                sock.connect(os.fspath(path))
            except OSError as error:
                raise ProxyGoneError(f"connecting to {os.fspath(path)}: {error.strerror}") from None
            async with cls.over(sock) as client:
                yield client

    @property
    def hello(self) -> ServerHello:
        """What the server said of itself."""
        if self._hello is None:
            raise ProxyGoneError("the proxy has not answered Hello")
        return self._hello

    async def _greet(self) -> None:
        hello = messages.ClientHello(
            messages.EXTENDED_VERSIONS, f"wherry-client/{__version__}", want=("progress",)
        )
        try:
            response = await self.call(messages.Hello(hello))
        except WherryError as error:
            if str(error) != "unknown method: Hello":
                raise
            raise NotYetError(
                "this proxy has no extended protocol, and AsyncClient is not yet built for the legacy one: "
                "use Client"
            ) from None
        self._hello = _session.convert(response.value, messages.ServerHello)

    # Requests and replies

    async def call(self, method: Method[Any], on_event: Callable[[Event], None] | None = None) -> Response:
        """Send one request and wait for its reply; the fds of the Response are the caller's to close.

        Raises the reply's error, or ProxyGoneError where the connection ends instead.
        """
        if self._ended is not None:
            raise ProxyGoneError(str(self._ended))
        number = self._next
        self._next += 1
        waiting = self._waiting[number] = _Waiting(on_event)
        try:
            await self._send(_session.encode(method, number))
            try:
                await waiting.done.wait()
                if waiting.raised is not None:
                    raise waiting.raised
            except BaseException:
                await self._abandon(number, waiting)
                raise
        finally:
            self._waiting.pop(number, None)
        response = waiting.response
        if response is None:
            raise ProxyGoneError(str(self._ended or "the proxy closed the connection"))
        if response.error is not None:
            raise response.error
        return response

    async def _abandon(self, number: int, waiting: _Waiting) -> None:
        """Tell the server that nobody waits any more, and take what its reply may still bring."""
        if self._ended is None and waiting.response is None:
            waiting.on_event, waiting.done = None, trio.Event()
            with trio.move_on_after(1, shield=True), suppress(ProxyGoneError):
                await self._send(_session.encode(messages.Cancel(number), self._next))
                self._next += 1
                await waiting.done.wait()
        if waiting.response is not None:
            fdpass.close_all(waiting.response.fds)

    async def _send(self, data: bytes) -> None:
        while True:
            try:
                fdpass.send(self._sock, data)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._sock)
            except OSError as error:
                raise ProxyGoneError(f"the proxy is gone: {error.strerror}") from None
            else:
                return

    async def _read(self) -> None:
        """Hand replies and events to those who wait for them, until the connection ends."""
        try:
            while True:
                try:
                    packet = fdpass.receive(self._sock, REPLY_LIMIT, take_fds=True)
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self._sock)
                    continue
                except OSError as error:
                    self._ended = ProxyGoneError(f"the proxy is gone: {error.strerror}")
                    return
                if not packet.data:
                    self._ended = ProxyGoneError("the proxy closed the connection")
                    return
                self._deliver(_session.decode(packet.data, packet.fds))
        except ProxyGoneError as error:
            self._ended = error
        finally:
            for waiting in self._waiting.values():
                waiting.done.set()

    def _deliver(self, message: Response | Event) -> None:
        if isinstance(message, Response):
            number = message.number
            if number is None and self._hello is None:
                number = 1  # A legacy server's answer to Hello.
            waiting = self._waiting.get(number) if number is not None else None
            if waiting is None:
                fdpass.close_all(message.fds)
            else:
                waiting.response = message
                waiting.done.set()
        else:
            waiting = self._waiting.get(message.id)
            if waiting is not None and waiting.on_event is not None:
                try:
                    waiting.on_event(message)
                except Exception as error:
                    waiting.raised = error
                    waiting.done.set()

    # Methods

    async def open_image(self, reference: str, options: OpenOptions | None = None) -> AsyncImage:
        """Open an image as the policy allows. Raises ImageNotFoundError, PolicyError and others."""
        method: Method[Any] = messages.OpenImage(reference)
        if options is not None:
            method = messages.OpenImageWith(reference, options)
        return AsyncImage(self, _session.convert((await self.call(method)).value, int))

    async def inspect(self, reference: str, options: InspectOptions | None = None) -> bytes:
        """The document that `options.view` asks for; of the view "summary" an InspectResult's JSON."""
        return await self.document(messages.Inspect(reference, options or messages.InspectOptions()))

    async def list_tags(self, reference: str, options: TagsOptions | None = None) -> TagsResult:
        """The tags of `docker://REPOSITORY`, all at once."""
        async with self.tags(reference, options) as (repository, pages):
            found = [tag async for page in pages for tag in page]
        return TagsResult(repository, tuple(found))

    @asynccontextmanager
    async def tags(
        self, reference: str, options: TagsOptions | None = None
    ) -> AsyncIterator[tuple[str, AsyncIterator[tuple[str, ...]]]]:
        """The repository's name, and its tags as they come, some at a time: the iteration ends only after the
        last one. Raises the server's error, at any time, and ProxyGoneError."""
        response = await self.call(messages.ListTags(reference, options or messages.TagsOptions()))
        data, status = _session.fds_of(response, 2)
        async with (
            trio.lowlevel.FdStream(data) as stream,
            trio.lowlevel.FdStream(status) as verdict,
            aclosing(_lines(stream, verdict)) as pages,
        ):
            yield _session.convert(response.value, str), pages

    async def delete(self, reference: str, options: DeleteOptions | None = None) -> DeleteResult:
        """Delete an image and all its tags, or with `options.tag_only` the tag that `reference` names."""
        method = messages.Delete(reference, options or messages.DeleteOptions())
        return _session.convert((await self.call(method)).value, messages.DeleteResult)

    async def copy(
        self,
        source: str,
        destination: str,
        options: CopyOptions | None = None,
        on_step: Callable[[Step], None] | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> CopyResult:
        """Copy an image. `on_step` is called for each step as it begins, `on_progress` with the bytes so
        far."""

        def told(event: Event) -> None:
            if event.step is not None:
                if on_step is not None:
                    on_step(event.step)
            elif event.event == "progress" and on_progress is not None:
                on_progress(event.bytes)

        method = messages.Copy(source, destination, options or messages.CopyOptions())
        response = await self.call(method, told)
        if response.fds:
            return _session.parse(await _drain(response), messages.CopyResult)
        return _session.convert(response.value, messages.CopyResult)

    async def document(self, method: Method[Any]) -> bytes:
        """Call a method whose reply is a document, and read it whole."""
        response = await self.call(method)
        data = await _drain(response)
        announced = _session.convert(response.value, messages.Document)
        if len(data) != announced.bytes:
            raise ProxyGoneError(f"the proxy sent {len(data)} of a document's {announced.bytes} bytes")
        return data

    async def piped(self, method: Method[Any]) -> tuple[Any, bytes]:
        """Call a legacy method that answers by a FinishPipe pipe: (value, the bytes)."""
        response = await self.call(method)
        verdicts: list[WherryError] = []

        async def finish() -> None:
            try:
                await self.call(messages.FinishPipe(response.pipe))
            except WherryError as error:
                verdicts.append(error)

        # Beside each other: the write end stays open until FinishPipe, which waits for the payload to be
        # read.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish)
            data = await _drain(response)
        if verdicts:
            raise verdicts[0]
        return response.value, data


class AsyncImage:
    """An open image of an AsyncClient; an async context manager that closes it."""

    def __init__(self, client: AsyncClient, handle: int) -> None:
        self._client = client
        self.handle = handle

    async def __aenter__(self) -> AsyncImage:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.move_on_after(1, shield=True):
            await self.close()

    async def close(self) -> None:
        """Release the image on the server; blobs that are being read run to their end."""
        await self._client.call(messages.CloseImage(self.handle))

    async def manifest(self) -> tuple[str, bytes]:
        """(digest of the original manifest, its bytes in OCI form)."""
        return await self._client.piped(messages.GetManifest(self.handle))

    async def config(self) -> bytes:
        """The configuration in OCI form."""
        return (await self._client.piped(messages.GetFullConfig(self.handle)))[1]

    async def raw_manifest(self) -> tuple[str, bytes]:
        """(digest, bytes as they are)."""
        response = await self._client.call(messages.GetRawManifest(self.handle))
        return response.value, await _drain(response)

    async def raw_config(self) -> tuple[str, bytes]:
        """(digest, bytes as they are)."""
        response = await self._client.call(messages.GetRawConfig(self.handle))
        return response.value, await _drain(response)

    async def layers(self) -> tuple[LayerInfo, ...]:
        """Digest, size and media type of each layer."""
        data = (await self._client.piped(messages.GetLayerInfoPiped(self.handle)))[1]
        return _session.parse(data, tuple[messages.LayerInfo, ...])

    @asynccontextmanager
    async def blob(self, digest: str, size: int = -1) -> AsyncIterator[AsyncIterator[bytes]]:
        """A blob's verified chunks: the iteration ends only if all bytes came and are what was asked for."""
        wanted = digests.parse(digest)
        options = messages.BlobOptions(size=size, verify=False)
        response = await self._client.call(messages.OpenBlob(self.handle, digest, options))
        data, status = _session.fds_of(response, 2)
        async with trio.lowlevel.FdStream(data) as stream, trio.lowlevel.FdStream(status) as verdict:
            yield _chunks(stream, verdict, Verifier(wanted, size))


async def _chunks(
    data: trio.lowlevel.FdStream, status: trio.lowlevel.FdStream, verifier: Verifier
) -> AsyncIterator[bytes]:
    while chunk := await data.receive_some(_CHUNK):
        verifier.update(chunk)
        yield chunk
    check_status(await _read_to_end(status), verifier.count)
    verifier.finish()


async def _lines(
    data: trio.lowlevel.FdStream, status: trio.lowlevel.FdStream
) -> AsyncGenerator[tuple[str, ...], None]:
    count, rest = 0, bytearray()
    while chunk := await data.receive_some(_CHUNK):
        count += len(chunk)
        rest += chunk
        if b"\n" in chunk:
            *lines, tail = rest.split(b"\n")
            rest = tail
            for line in lines:
                yield _session.parse(bytes(line), tuple[str, ...])
    check_status(await _read_to_end(status), count, "a list")


async def _read_to_end(stream: trio.lowlevel.FdStream) -> bytes:
    chunks = []
    while chunk := await stream.receive_some(_CHUNK):
        chunks.append(chunk)
    return b"".join(chunks)


async def _drain(response: Response) -> bytes:
    (fd,) = _session.fds_of(response, 1)
    async with trio.lowlevel.FdStream(fd) as stream:
        return await _read_to_end(stream)
