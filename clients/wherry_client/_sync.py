"""The blocking client: no event loop, no threads; one request at a time on one connection."""

from __future__ import annotations

import io
import os
import selectors
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from wherry import __version__
from wherry.errors import ProxyGoneError, WherryError
from wherry.model import digest as digests
from wherry.protocol import fdpass, messages
from wherry.protocol.framing import REPLY_LIMIT
from wherry_client import _session, _spawn
from wherry_client._blob import Verifier, check_error_pipe, check_status
from wherry_client._session import Response, TagsResult

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from wherry.protocol.messages import (
        CopyOptions,
        CopyResult,
        DeleteOptions,
        DeleteResult,
        Event,
        InspectOptions,
        InspectResult,
        LayerInfo,
        Method,
        OpenOptions,
        ServerHello,
        Step,
        TagsOptions,
    )

T = TypeVar("T")
_CHUNK = 1 << 20


class Client:
    """A connection to a wherry proxy, or to skopeo's own, which then speaks the legacy protocol only.

    Use it as a context manager; leaving it closes every image and ends a proxy that it started. Not for use
    by several threads at once. Errors are the types of `wherry.errors`.
    """

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        self.sock = sock
        self._process = process
        self._next = 1
        self._hello: ServerHello | None = None

    @classmethod
    def spawn(cls, command: Sequence[str] | None = None) -> Client:
        """Start a private proxy: `command`, or this installation's own."""
        return cls(*_spawn.start(command))

    @classmethod
    def connect(cls, path: str | os.PathLike[str]) -> Client:
        """Connect to a proxy's SEQPACKET socket. Raises ProxyGoneError where nobody listens there."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(os.fspath(path))
        except OSError as error:
            sock.close()
            raise ProxyGoneError(f"connecting to {os.fspath(path)}: {error.strerror}") from None
        return cls(sock)

    @property
    def hello(self) -> ServerHello | None:
        """What the server said of itself; None for a server that knows the legacy protocol only."""
        return self._hello

    def __enter__(self) -> Client:
        try:
            self._greet()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self.sock.close()
        if self._process is not None:
            _spawn.stop(self._process)

    def _greet(self) -> None:
        hello = messages.Hello(
            messages.ClientHello(messages.EXTENDED_VERSIONS, f"wherry-client/{__version__}")
        )
        try:
            response = self.call(hello, extended=True)
        except WherryError as error:
            if str(error) != "unknown method: Hello":
                raise
            self.call(messages.Initialize())
            return
        self._hello = _session.convert(response.value, messages.ServerHello)

    def call(
        self,
        method: Method[Any],
        on_event: Callable[[Event], None] | None = None,
        *,
        extended: bool | None = None,
    ) -> Response:
        """Send one request and wait for its reply; the fds of the Response are the caller's to close.

        Raises the reply's error, or ProxyGoneError where the connection ends instead.
        """
        number = self.send(method, extended=extended)
        try:
            return self.wait_reply(number, on_event)
        except WherryError:
            raise
        except BaseException:
            # Raised by on_event, or a KeyboardInterrupt: the reply is dropped when it comes.
            if number is not None:
                with suppress(ProxyGoneError):
                    self.send(messages.Cancel(number))
            raise

    def send(self, method: Method[Any], *, extended: bool | None = None) -> int | None:
        """Send a request without waiting for its reply; its id, None for a legacy one."""
        number = None
        if extended or (extended is None and self._hello is not None):
            number = self._next
            self._next += 1
        try:
            fdpass.send(self.sock, _session.encode(method, number))
        except OSError as error:
            raise ProxyGoneError(f"the proxy is gone: {error.strerror}") from None
        return number

    def wait_reply(self, number: int | None, on_event: Callable[[Event], None] | None) -> Response:
        """The reply to a request that was sent; events that come before it go to `on_event`.

        Raises the reply's error, ProxyGoneError where the connection ends or another request is answered.
        """
        while True:
            message = self._receive()
            if not isinstance(message, Response):
                if on_event is not None and message.id == number:
                    on_event(message)
                continue
            if number is not None and message.number is not None and message.number < number:
                fdpass.close_all(message.fds)  # Of a request whose caller left by an exception.
                continue
            if message.number != number and message.error is None:
                fdpass.close_all(message.fds)
                raise ProxyGoneError(f"the proxy answered request {message.number}, not {number}")
            if message.error is not None:
                raise message.error
            return message

    def _receive(self) -> Response | Event:
        try:
            packet = fdpass.receive(self.sock, REPLY_LIMIT, take_fds=True)
        except OSError as error:
            raise ProxyGoneError(f"the proxy is gone: {error.strerror}") from None
        if not packet.data:
            raise ProxyGoneError("the proxy closed the connection in the middle of a request")
        return _session.decode(packet.data, packet.fds)

    def open_image(self, reference: str, options: OpenOptions | None = None) -> Image:
        """Open an image as the policy allows. Raises ImageNotFoundError, PolicyError and others."""
        if options is None:
            value = self.call(messages.OpenImage(reference)).value
        else:
            value = self.call(messages.OpenImageWith(reference, options)).value
        return Image(self, _session.convert(value, int))

    def open_image_optional(self, reference: str) -> Image | None:
        """As open_image, but None where the image certainly does not exist."""
        handle = _session.convert(self.call(messages.OpenImageOptional(reference)).value, int)
        return Image(self, handle) if handle else None

    def inspect(self, reference: str, options: InspectOptions | None = None) -> InspectResult:
        """What `skopeo inspect` shows; no policy is asked."""
        given = options or messages.InspectOptions()
        return _session.parse(self.document(messages.Inspect(reference, given)), messages.InspectResult)

    def list_tags(self, reference: str, options: TagsOptions | None = None) -> TagsResult:
        """The tags of `docker://REPOSITORY`, all at once."""
        response = self.call(messages.ListTags(reference, options or messages.TagsOptions()))
        data, status = _session.fds_of(response, 2)
        try:
            listed = _read_to_end(data)
            check_status(_read_to_end(status), len(listed), "a list")
        finally:
            os.close(data)
            os.close(status)
        pages = (_session.parse(line, tuple[str, ...]) for line in listed.splitlines())
        found = tuple(tag for page in pages for tag in page)
        return TagsResult(_session.convert(response.value, str), found)

    def delete(self, reference: str, options: DeleteOptions | None = None) -> DeleteResult:
        """Delete an image and all its tags, or with `options.tag_only` the tag that `reference` names."""
        method = messages.Delete(reference, options or messages.DeleteOptions())
        return _session.convert(self.call(method).value, messages.DeleteResult)

    def copy(
        self,
        source: str,
        destination: str,
        options: CopyOptions | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> CopyResult:
        """Copy an image; `on_step` is called for each step as it begins."""

        def told(event: Event) -> None:
            if event.step is not None and on_step is not None:
                on_step(event.step)

        response = self.call(messages.Copy(source, destination, options or messages.CopyOptions()), told)
        if response.fds:
            return _session.parse(_drain(response), messages.CopyResult)
        return _session.convert(response.value, messages.CopyResult)

    def document(self, method: Method[Any]) -> bytes:
        """Call a method whose reply is a document, and read it whole."""
        response = self.call(method)
        data = _drain(response)
        announced = _session.convert(response.value, messages.Document)
        if len(data) != announced.bytes:
            raise ProxyGoneError(f"the proxy sent {len(data)} of a document's {announced.bytes} bytes")
        return data

    def piped(self, method: Method[Any]) -> tuple[Any, bytes]:
        """Call a legacy method that answers by a FinishPipe pipe: (value, the bytes)."""
        response = self.call(method)
        return response.value, _finish(self, response)


class Image:
    """An open image of a Client; a context manager that closes it."""

    def __init__(self, client: Client, handle: int) -> None:
        self._client = client
        self.handle = handle

    def __enter__(self) -> Image:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the image on the server; blobs that are being read run to their end."""
        self._client.call(messages.CloseImage(self.handle))

    def manifest(self) -> tuple[str, bytes]:
        """(digest of the original manifest, its bytes in OCI form)."""
        return self._client.piped(messages.GetManifest(self.handle))

    def config(self) -> bytes:
        """The configuration in OCI form."""
        return self._client.piped(messages.GetFullConfig(self.handle))[1]

    def raw_manifest(self) -> tuple[str, bytes]:
        """(digest, bytes as they are); needs the extended protocol."""
        response = self._client.call(messages.GetRawManifest(self.handle))
        return response.value, _drain(response)

    def raw_config(self) -> tuple[str, bytes]:
        """(digest, bytes as they are); needs the extended protocol."""
        response = self._client.call(messages.GetRawConfig(self.handle))
        return response.value, _drain(response)

    def layers(self) -> tuple[LayerInfo, ...]:
        """Digest, size and media type of each layer."""
        data = self._client.piped(messages.GetLayerInfoPiped(self.handle))[1]
        return _session.parse(data, tuple[messages.LayerInfo, ...])

    def blob(self, digest: str, size: int = -1) -> BlobStream:
        """A blob as a verified stream; `size` in bytes, -1 where it is not known."""
        wanted = digests.parse(digest)
        if self._client.hello is not None:
            options = messages.BlobOptions(size=size, verify=False)
            response = self._client.call(messages.OpenBlob(self.handle, digest, options))
            return BlobStream(_session.fds_of(response, 2), Verifier(wanted, size), tracked=True)
        response = self._client.call(messages.GetRawBlob(self.handle, digest))
        known = size if size >= 0 else response.value
        return BlobStream(_session.fds_of(response, 2), Verifier(wanted, known), tracked=False)


class BlobStream(io.RawIOBase):
    """A blob being read. The read that reaches its end verifies it, and raises if it is not what was asked.

    Close it (or use it as a context manager); closing it early stops the transfer.
    """

    def __init__(self, fds: tuple[int, ...], verifier: Verifier, *, tracked: bool) -> None:
        super().__init__()
        self._data, self._verdict = fds
        self._verifier = verifier
        self._tracked = tracked
        self._finished = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; 0 at the verified end. Raises CorruptError, ProxyGoneError or the server's error."""
        if self._finished:
            return 0
        view = memoryview(buffer).cast("B")
        count = os.readv(self._data, [view])
        if count:
            self._verifier.update(view[:count])
            return count
        self._finish()
        return 0

    def _finish(self) -> None:
        verdict = _read_to_end(self._verdict)
        if self._tracked:
            check_status(verdict, self._verifier.count)
        else:
            check_error_pipe(verdict)
        self._verifier.finish()
        self._finished = True

    def close(self) -> None:
        if not self.closed:
            os.close(self._data)
            os.close(self._verdict)
        super().close()


def _read_to_end(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, _CHUNK):
        chunks.append(chunk)
    return b"".join(chunks)


def _drain(response: Response) -> bytes:
    (fd,) = _session.fds_of(response, 1)
    try:
        return _read_to_end(fd)
    finally:
        os.close(fd)


def _finish(client: Client, response: Response) -> bytes:
    """Read a FinishPipe pipe while FinishPipe waits: its payload may be larger than the pipe.

    The request goes out first and its reply is awaited beside the data, so neither side waits for the other.
    """
    (reader,) = _session.fds_of(response, 1)
    chunks: list[bytes] = []
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(reader, selectors.EVENT_READ)
            selector.register(client.sock, selectors.EVENT_READ)
            number = client.send(messages.FinishPipe(response.pipe))
            verdict: Response | None = None
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if reader in ready:
                    chunk = os.read(reader, _CHUNK)
                    if not chunk:
                        break
                    chunks.append(chunk)
                elif verdict is None:
                    verdict = client.wait_reply(number, None)
                    selector.unregister(client.sock)
    finally:
        os.close(reader)
    if verdict is None:
        client.wait_reply(number, None)
    return b"".join(chunks)
