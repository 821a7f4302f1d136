"""What this machine can do at best, so that the factor left is visible: hashes, pipes, loopback."""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable

from benchmarks.fixtures import Fixture

_CHUNK = 1 << 20
_SET_PIPE_SIZE = 1031


def measure(image: Fixture, rounds: int) -> dict[str, dict[str, float]]:
    """Floor by name: megabytes a second, and CPU seconds a gigabyte of the side that would be the server."""
    path = image.layout / "blobs" / image.layers[0].digest.replace(":", "/")
    floors: dict[str, Callable[[int, int], tuple[float, float]]] = {
        "sha256": _sha256,
        "read": _read,
        "file → pipe, splice, reading sink": _splice,
        "file → pipe, read and write, reading sink": _read_write,
        "file → sha256 → pipe, reading sink": _hash_write,
        "loopback → memory, recv_into 1 MiB": _loopback,
    }
    result = {}
    with path.open("rb") as blob:
        size = os.fstat(blob.fileno()).st_size
        for name, run in floors.items():
            samples = [run(blob.fileno(), size) for _ in range(rounds + 1)][1:]
            wall = statistics.median(sample[0] for sample in samples)
            cpu = statistics.median(sample[1] for sample in samples)
            result[name] = {"mb_s": round(size / wall / 1e6), "cpu_s_gb": round(cpu / size * 1e9, 3)}
    return result


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.thread_time(), time.perf_counter()
    work()
    return time.perf_counter() - wall, time.thread_time() - cpu


def _sha256(fd: int, size: int) -> tuple[float, float]:
    data, done = os.pread(fd, _CHUNK, 0), hashlib.sha256()

    def work() -> None:
        for _ in range(max(1, size // len(data))):
            done.update(data)

    return _timed(work)


def _read(fd: int, size: int) -> tuple[float, float]:
    buffer = memoryview(bytearray(_CHUNK))

    def work() -> None:
        at = 0
        while count := os.preadv(fd, [buffer], at):
            at += count

    return _timed(work)


def _to_pipe(move: Callable[[int], None]) -> tuple[float, float]:
    reader, writer = os.pipe()
    _enlarge(writer)
    sink = threading.Thread(target=_drain, args=(reader,))
    sink.start()

    def work() -> None:
        move(writer)
        os.close(writer)
        sink.join()

    try:
        return _timed(work)
    finally:
        os.close(reader)


def _enlarge(writer: int) -> None:
    import fcntl

    fcntl.fcntl(writer, _SET_PIPE_SIZE, _CHUNK)


def _drain(reader: int) -> None:
    buffer = memoryview(bytearray(_CHUNK))
    while os.readv(reader, [buffer]):
        pass


def _splice(fd: int, size: int) -> tuple[float, float]:
    def move(writer: int) -> None:
        at = 0
        while at < size:
            at += os.splice(fd, writer, min(_CHUNK, size - at), offset_src=at)

    return _to_pipe(move)


def _read_write(fd: int, size: int) -> tuple[float, float]:
    return _to_pipe(lambda writer: _chunks(fd, lambda chunk: _write_all(writer, chunk)))


def _hash_write(fd: int, size: int) -> tuple[float, float]:
    done = hashlib.sha256()

    def take(writer: int, chunk: memoryview) -> None:
        done.update(chunk)
        _write_all(writer, chunk)

    return _to_pipe(lambda writer: _chunks(fd, lambda chunk: take(writer, chunk)))


def _chunks(fd: int, take: Callable[[memoryview], None]) -> None:
    buffer, at = memoryview(bytearray(_CHUNK)), 0
    while count := os.preadv(fd, [buffer], at):
        take(buffer[:count])
        at += count


def _write_all(writer: int, chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[os.write(writer, chunk) :]


def _loopback(fd: int, size: int) -> tuple[float, float]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = threading.Thread(target=_send_file, args=(listener, fd, size))
        sender.start()
        with socket.create_connection(listener.getsockname()) as sock:
            buffer = memoryview(bytearray(_CHUNK))

            def work() -> None:
                while sock.recv_into(buffer):
                    pass

            try:
                return _timed(work)
            finally:
                sender.join()


def _send_file(listener: socket.socket, fd: int, size: int) -> None:
    sock, _ = listener.accept()
    with sock:
        at = 0
        while at < size:
            at += os.sendfile(sock.fileno(), fd, at, size - at)
