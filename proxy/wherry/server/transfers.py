"""Blobs on their way to a client: one task each, which opens the blob, moves it and reports how it ended."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import trio

from wherry.errors import CorruptError, ProxyGoneError, ReaderGoneError, WherryError
from wherry.model import digest as digests
from wherry.model.descriptor import Descriptor
from wherry.model.gojson import dumps
from wherry.protocol.framing import clip, error_detail
from wherry.protocol.messages import BlobStatus
from wherry.server.bugs import told
from wherry.server.pipes import Pipe, PipeTable, make_pipe, make_pipes, write_bytes
from wherry.streams.blobs import BytesBlob
from wherry.streams.pipes import PipeBudget, size_pipe
from wherry.streams.pump import Moved, pump
from wherry.streams.sinks import PipeSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.interfaces import Blob
    from wherry.model.digest import Digest
    from wherry.protocol.messages import BlobOptions, ErrorDetail
    from wherry.server.images import HeldImage
    from wherry.server.settings import Log
    from wherry.system import System

_CUT = "proxy terminated"


@contextmanager
def _sized(fd: int, expected: int | None, budget: PipeBudget) -> Iterator[None]:
    """Enlarge a pipe as long as the block moves payload through it."""
    taken = size_pipe(fd, expected, budget)
    try:
        yield
    finally:
        budget.give_back(taken)


@contextmanager
def _promised() -> Iterator[list[int]]:
    """The readers' ends of a reply, closed where it will never be sent: the request failed or was cancelled
    while its transfer began."""
    ends: list[int] = []
    try:
        yield ends
    except BaseException:
        for fd in ends:
            os.close(fd)
        raise


class Transfers:
    """Starts transfers of one connection in its nursery; they end with it. `log` is told of bugs."""

    def __init__(self, nursery: trio.Nursery, system: System, pipes: PipeTable, log: Log) -> None:
        self._nursery = nursery
        self._system = system
        self._pipes = pipes
        self._log = log
        self._budget = PipeBudget()

    async def document(self, data: bytes) -> tuple[int, Pipe]:
        """A FinishPipe pipe with these bytes: (reader's end, pipe). Inline where the pipe takes them."""
        reader, pipe = self._pipes.add()
        try:
            taken = os.write(pipe.fd, data) if data else 0
        except BlockingIOError:
            taken = 0
        if taken == len(data):
            self._pipes.written(pipe)
        else:
            self._nursery.start_soon(self._rest, pipe, data[taken:])
        return reader, pipe

    async def _rest(self, pipe: Pipe, data: bytes) -> None:
        await self._into(pipe, BytesBlob(data))

    async def _into(
        self,
        pipe: Pipe,
        blob: Blob,
        algorithms: tuple[str, ...] = (),
        check: Callable[[Moved], None] | None = None,
    ) -> None:
        """Move a blob into a FinishPipe pipe; what goes wrong is FinishPipe's to tell."""
        try:
            moved = await pump(
                blob,
                PipeSink(pipe.fd),
                self._system.threads,
                digests=algorithms,
                idle=self._system.idle_timeout,
            )
            if check is not None:
                check(moved)
        except WherryError as error:
            pipe.error = error
            if isinstance(error, ReaderGoneError):
                pipe.close()
        except Exception as bug:
            pipe.error = told(self._log, "GetBlob", bug)
        finally:
            self._pipes.written(pipe)

    async def verified(self, held: HeldImage, wanted: Digest, size: int) -> tuple[int, int, Pipe]:
        """GetBlob: (size, reader's end, pipe). Raises what opening the blob raises."""
        with _promised() as ends:
            opened: tuple[int, int, Pipe] = await self._nursery.start(
                self._verified, held, wanted, size, ends
            )
        return opened

    async def _verified(
        self,
        held: HeldImage,
        wanted: Digest,
        size: int,
        ends: list[int],
        *,
        task_status: trio.TaskStatus[tuple[int, int, Pipe]],
    ) -> None:
        with held.in_use() as image:
            async with image.source.blob(_descriptor(wanted, size)) as blob:
                reader, pipe = self._pipes.add()
                ends.append(reader)
                task_status.started((size if blob.size is None else blob.size, reader, pipe))
                name = digests.algorithm(wanted)

                def check(moved: Moved) -> None:
                    if moved.digests[name] != wanted:
                        raise CorruptError(f"corrupted blob, expecting {wanted}")
                    if moved.count != size:
                        raise CorruptError(f"expected {size} bytes in blob, got {moved.count}")

                with _sized(pipe.fd, blob.size, self._budget):
                    await self._into(pipe, blob, (name,), check)

    async def raw(self, held: HeldImage, wanted: Digest, hint: int) -> tuple[int, int, int]:
        """GetRawBlob: (size, reader's end of the data, reader's end of the error pipe)."""
        with _promised() as ends:
            opened: tuple[int, int, int] = await self._nursery.start(self._raw, held, wanted, hint, ends)
        return opened

    async def _raw(
        self,
        held: HeldImage,
        wanted: Digest,
        hint: int,
        ends: list[int],
        *,
        task_status: trio.TaskStatus[tuple[int, int, int]],
    ) -> None:
        with held.in_use() as image:
            async with image.source.blob(_descriptor(wanted, hint)) as blob:
                (reader, data), (error_reader, errors) = make_pipes()
                ends += (reader, error_reader)
                task_status.started((hint if blob.size is None else blob.size, reader, error_reader))
                try:
                    with _sized(data, blob.size, self._budget):
                        await pump(blob, PipeSink(data), self._system.threads, idle=self._system.idle_timeout)
                except WherryError as error:
                    _report(errors, error)
                except Exception as bug:
                    _report(errors, told(self._log, "GetRawBlob", bug))
                except trio.Cancelled:
                    _report(errors, ProxyGoneError(_CUT))
                    raise
                finally:
                    # The error first: a client that sees the data end must find the verdict there.
                    os.close(errors)
                    os.close(data)

    async def tracked(self, held: HeldImage, wanted: Digest, options: BlobOptions) -> tuple[int, int, int]:
        """OpenBlob: (size, reader's end of the data, reader's end of the status)."""
        with _promised() as ends:
            opened: tuple[int, int, int] = await self._nursery.start(
                self._tracked, held, wanted, options, ends
            )
        return opened

    async def _tracked(
        self,
        held: HeldImage,
        wanted: Digest,
        options: BlobOptions,
        ends: list[int],
        *,
        task_status: trio.TaskStatus[tuple[int, int, int]],
    ) -> None:
        with held.in_use() as image:
            async with image.source.blob(_descriptor(wanted, options.size)) as blob:
                (reader, data), (status_reader, status) = make_pipes()
                ends += (reader, status_reader)
                task_status.started((options.size if blob.size is None else blob.size, reader, status_reader))
                try:
                    with _sized(data, blob.size, self._budget):
                        verdict = await self._checked(blob, data, wanted, options)
                    _tell(status, verdict)
                except trio.Cancelled:
                    _tell(status, BlobStatus(0, error=_detail(ProxyGoneError(_CUT))))
                    raise
                finally:
                    os.close(status)
                    os.close(data)

    async def _checked(self, blob: Blob, data: int, wanted: Digest, options: BlobOptions) -> BlobStatus:
        name = digests.algorithm(wanted)
        try:
            moved = await pump(
                blob,
                PipeSink(data),
                self._system.threads,
                digests=(name,) if options.verify else (),
                idle=self._system.idle_timeout,
            )
            if 0 <= options.size != moved.count:
                raise CorruptError(f"expected {options.size} bytes in blob, got {moved.count}")
            if options.verify and moved.digests[name] != wanted:
                raise CorruptError(f"corrupted blob, expecting {wanted}, got {moved.digests[name]}")
        except WherryError as error:
            return BlobStatus(0, error=_detail(error))
        except Exception as bug:
            return BlobStatus(0, error=_detail(told(self._log, "OpenBlob", bug)))
        return BlobStatus(moved.count, moved.digests.get(name, ""), options.verify)

    async def lines(
        self, listed: AbstractAsyncContextManager[tuple[str, AsyncIterator[Sequence[str]]]]
    ) -> tuple[str, int, int]:
        """ListTags: (what is listed, reader's end of the lines, reader's end of the status). Raises what
        beginning raises, up to the first line."""
        with _promised() as ends:
            opened: tuple[str, int, int] = await self._nursery.start(self._lines, listed, ends)
        return opened

    async def _lines(
        self,
        listed: AbstractAsyncContextManager[tuple[str, AsyncIterator[Sequence[str]]]],
        ends: list[int],
        *,
        task_status: trio.TaskStatus[tuple[str, int, int]],
    ) -> None:
        async with listed as (name, parts):
            first = await anext(parts, None)
            (reader, data), (status_reader, status) = make_pipes()
            ends += (reader, status_reader)
            task_status.started((name, reader, status_reader))
            try:
                _tell(status, await self._written(first, parts, data))
            except trio.Cancelled:
                _tell(status, BlobStatus(0, error=_detail(ProxyGoneError(_CUT))))
                raise
            finally:
                os.close(status)
                os.close(data)

    async def _written(
        self, part: Sequence[str] | None, parts: AsyncIterator[Sequence[str]], data: int
    ) -> BlobStatus:
        count = 0
        try:
            while part is not None:
                line = msgspec.json.encode(part) + b"\n"
                await write_bytes(line, data, self._system.threads)
                count += len(line)
                part = await anext(parts, None)
        except WherryError as error:
            return BlobStatus(0, error=_detail(error))
        except Exception as bug:
            return BlobStatus(0, error=_detail(told(self._log, "ListTags", bug)))
        return BlobStatus(count)

    async def closing(self, data: bytes) -> int:
        """A pipe of these bytes that closes behind them: the reader's end."""
        reader, writer = make_pipe()
        self._nursery.start_soon(self._closing, data, writer)
        return reader

    async def _closing(self, data: bytes, writer: int) -> None:
        try:
            await write_bytes(data, writer, self._system.threads)
        except ReaderGoneError:
            return  # The client does not want the rest; nobody is left to be told.
        finally:
            os.close(writer)


def _descriptor(wanted: Digest, size: int) -> Descriptor:
    return Descriptor("", wanted, size)


def _detail(error: WherryError) -> ErrorDetail:
    return msgspec.structs.replace(error_detail(error), message=clip(str(error)))


def _tell(fd: int, status: BlobStatus) -> None:
    _write_once(fd, dumps(msgspec.to_builtins(status)) + b"\n")


def _report(fd: int, error: WherryError) -> None:
    """The error pipe's one JSON object, as skopeo writes it: no newline."""
    _write_once(fd, dumps({"code": error.code, "message": clip(str(error))}))


def _write_once(fd: int, data: bytes) -> None:
    try:
        os.write(fd, data)  # Under 8 KiB into an empty pipe: never partial.
    except BrokenPipeError:
        return  # The client closed this end too: it does not want to know.
