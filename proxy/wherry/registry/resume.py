"""A body that goes on where it was cut: by a Range request, within one transfer (RFC 9110, section 14).

Nothing is kept but the number of bytes that were handed out; whoever hashes them goes on hashing. That the
rest belongs to the same bytes only the digest can tell, so a blob is resumed only for readers who know it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import trio

from wherry.errors import (
    NetworkError,
    OperationCancelledError,
    RegistryError,
    StalledError,
    WherryError,
    context,
)
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wherry.interfaces import Extent, WouldBlock
    from wherry.registry.client import RegistryClient
    from wherry.registry.engine import Exchange

MUCH: Final = 1 << 20
"""Bytes of progress after which a transfer's budget of tries is as new."""

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class ResumingBlob:
    """Implements interfaces.Blob and Resumable over one response after another; `release` when done.

    `ask` makes the request for the bytes from an offset on, and returns a response of status 200 or 206 whose
    body is not encoded; it is asked again as `client.persist` does.
    """

    def __init__(
        self, client: RegistryClient, opened: Exchange, ask: Callable[[int], Awaitable[Exchange]]
    ) -> None:
        self._client = client
        self._exchange = opened
        self._ask = ask
        self._size = opened.body.size
        self._position = 0
        self._resumed_at: int | None = None
        self._budget = client.budget(stalls=1)
        self._aborted = False

    @property
    def size(self) -> int | None:
        return self._size

    def extent(self) -> Extent | None:
        return self._exchange.body.extent()

    def advance(self, count: int) -> None:
        self._position += count
        self._exchange.body.advance(count)

    def fileno(self) -> int:
        return self._exchange.body.fileno()

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        moved = self._exchange.body.readinto(buffer)
        if isinstance(moved, int):
            self._position += moved
        return moved

    def abort(self) -> None:
        self._aborted = True
        self._exchange.body.abort()

    def release(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        self._exchange.release()

    async def resume(self, cause: WherryError) -> None:
        """As interfaces.Resumable. Raises `cause`, with what happened on the way, where there is no going on:
        twice in a row without a byte of progress, without budget, or no answer that fits (R-44, R-45)."""
        if isinstance(cause, StalledError):
            cause.args = (f"reading {self._exchange.request.url.shown}: {cause}",)
        if self._aborted or not isinstance(cause, NetworkError | StalledError) or not cause.retryable:
            raise cause
        pause = self._pause(cause)
        if pause is None:
            raise cause
        self._exchange.release()
        self.warn(f"{cause}; going on at byte {self._position} in {pause:.1f} s")
        await trio.sleep(pause)
        with context(f"{cause} (while reconnecting)"):
            exchange = await self._client.persist(lambda: self._ask(self._position), self._budget)
        try:
            self._check(exchange, cause)
            if self._aborted:
                raise OperationCancelledError("the read was cancelled")
        except BaseException:
            exchange.release()
            raise
        self._exchange = exchange
        self._resumed_at = self._position

    def warn(self, text: str) -> None:
        self._client.system.warn(text)

    def _pause(self, cause: WherryError) -> float | None:
        if self._position == self._resumed_at:
            return None
        if self._position - (self._resumed_at or 0) >= MUCH:
            self._budget.renew()
        elif self._position != (self._resumed_at or 0):
            self._budget.moved()
        return self._budget.pause(cause)

    def _check(self, exchange: Exchange, cause: WherryError) -> None:
        """Whether a response holds exactly what is missing."""
        if not self._position:
            # Nothing was handed out: the whole body will do.
            if exchange.status != 200 or exchange.body.size != self._size:
                raise RegistryError(f"{cause} (after reconnecting, the content has another length)")
            return
        if exchange.status != 206:
            raise NetworkError(
                f"{cause} (after reconnecting, server did not process a Range: header, "
                f"status {exchange.status})",
                http_status=exchange.status,
            )
        with context(f"{cause} (after reconnecting)"):
            total = content_range(exchange.header_values("Content-Range"), self._position)
        left = None if total is None else total - self._position
        if self._size not in (None, total) and total is not None:
            raise RegistryError(
                f"{cause} (after reconnecting, the content has {total} bytes, not {self._size})"
            )
        wanted = left if self._size is None else self._size - self._position
        if exchange.body.size is not None and wanted is not None and exchange.body.size != wanted:
            raise RegistryError(
                f"{cause} (after reconnecting, {exchange.body.size} bytes follow instead of {wanted})"
            )


def content_range(headers: list[str], start: int) -> int | None:
    """The complete length that the Content-Range of a 206 answer names, None for `*`.

    Raises RegistryError unless it is one range, from `start` to the end (R-44).
    """
    if len(headers) != 1:
        raise RegistryError(f"{len(headers)} Content-Range headers instead of one")
    found = _CONTENT_RANGE.fullmatch(headers[0])
    if found is None:
        raise RegistryError(f"invalid Content-Range header: {quote(headers[0][:100])}")
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if first != start or last < first or (total is not None and last + 1 != total):
        raise RegistryError(f"asked from byte {start} on, got unexpected Content-Range {quote(headers[0])}")
    return total if total is not None else last + 1
