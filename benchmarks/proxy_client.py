"""A client of the legacy protocol and sinks for blobs: the same for every server, and nobody's code."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from benchmarks.fixtures import Layer

_PACKET = 32768
_BUFFER = 1 << 20
_STOP_SECONDS = 20.0


class ReplyError(Exception):
    """The server answered with an error, or with what was not asked for."""


class Proxy:
    """A connection to a proxy that was started for it. Calls from several threads wait for each other."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._sock = sock
        self._turn = threading.Lock()
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def call(self, method: str, *args: object) -> tuple[Any, int, list[int]]:
        """(value, pipe id, fds); raises ReplyError with the server's text."""
        with self._turn:
            self._sock.send(json.dumps({"method": method, "args": args}).encode())
            data, fds, _, _ = socket.recv_fds(self._sock, _PACKET, 4)
        if not data:
            raise ReplyError(f"{method}: the proxy is gone")
        reply = json.loads(data)
        if not reply["success"]:
            raise ReplyError(f"{method}: {reply['error']}")
        return reply["value"], reply["pipeid"], fds

    def open_image(self, reference: str) -> int:
        return int(self.call("OpenImage", reference)[0])

    def manifest(self, image: int) -> bytes:
        """GetManifest, all of its pipe, FinishPipe: a manifest fits in a pipe, so in this order."""
        _, pipe, (fd,) = self.call("GetManifest", image)
        with os.fdopen(fd, "rb") as reader:
            self.call("FinishPipe", pipe)
            return reader.read()


@contextmanager
def started(argv: Sequence[str]) -> Iterator[Proxy]:
    """Start `argv` with a socket as its standard input; its exit status after Shutdown must be 0."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        try:
            yield Proxy(ours, process)
            ours.send(b'{"method":"Shutdown","args":[]}')
            status = process.wait(_STOP_SECONDS)
            if status:
                raise ReplyError(f"{argv[0]} ended with status {status}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


# --- sinks: each takes the data fd, closes it, and returns how many bytes came

Sink = Callable[[int, int], int]
_buffers = threading.local()


def reading_sink(fd: int, size: int) -> int:
    """Read up to `size` bytes (all, where it is negative) into memory that is not looked at."""
    buffer = getattr(_buffers, "view", None)
    if buffer is None:
        buffer = _buffers.view = memoryview(bytearray(_BUFFER))
    total = 0
    while size < 0 or total < size:
        count = os.readv(fd, [buffer])
        if not count:
            break
        total += count
    return total


def splicing_sink(fd: int, size: int) -> int:
    """Let the kernel throw the bytes away: a consumer that costs nothing."""
    total = 0
    with open(os.devnull, "wb", buffering=0) as null:
        while size < 0 or total < size:
            count = os.splice(fd, null.fileno(), _BUFFER)
            if not count:
                break
            total += count
    return total


class HashingSink:
    """Checks what comes, for the warm-up round: a server that is quick and wrong must not win."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __call__(self, fd: int, size: int) -> int:
        total, digest = 0, hashlib.sha256()
        while size < 0 or total < size:
            chunk = os.read(fd, _BUFFER)
            if not chunk:
                break
            digest.update(chunk)
            total += len(chunk)
        if self._layer.digest != f"sha256:{digest.hexdigest()}":
            raise ReplyError(f"{self._layer.digest}: the proxy sent other bytes")
        return total


# --- whole blobs


def get_blob(proxy: Proxy, image: int, layer: Layer, sink: Sink) -> None:
    """GetBlob: skopeo keeps the pipe open until FinishPipe, so exactly the blob's size is read before it."""
    _, pipe, (fd,) = proxy.call("GetBlob", image, layer.digest, layer.size)
    try:
        _same(sink(fd, layer.size), layer)
        proxy.call("FinishPipe", pipe)
    finally:
        os.close(fd)


def get_raw_blob(proxy: Proxy, image: int, layer: Layer, sink: Sink) -> None:
    """GetRawBlob: read to the end; then the error pipe must be empty."""
    _, _, (data, errors) = proxy.call("GetRawBlob", image, layer.digest)
    try:
        count = sink(data, -1)
        if said := os.read(errors, _PACKET):
            raise ReplyError(said.decode())
        _same(count, layer)
    finally:
        os.close(data)
        os.close(errors)


def _same(count: int, layer: Layer) -> None:
    if count != layer.size:
        raise ReplyError(f"{layer.digest}: {count} of {layer.size} bytes came")


METHODS = {"GetBlob": get_blob, "GetRawBlob": get_raw_blob}
SINKS: dict[str, Sink] = {"read": reading_sink, "splice": splicing_sink}


def get_layers(
    proxy: Proxy, image: int, layers: Sequence[Layer], method: str, parallel: int, sink: Sink | None
) -> None:
    """Get all the layers, `parallel` at once, largest first; `sink` None checks each layer's digest."""
    get = METHODS[method]

    def one(layer: Layer) -> None:
        get(proxy, image, layer, sink or HashingSink(layer))

    ordered = sorted(layers, key=lambda layer: -layer.size)
    if parallel == 1:
        for layer in ordered:
            one(layer)
        return
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(one, ordered))
