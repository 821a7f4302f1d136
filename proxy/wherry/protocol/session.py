"""The state of a connection, without its socket: which requests are legacy, which extended, which are
refused.

Legacy requests are answered in order. A request is extended when `Hello` was answered and it has an `id`;
before that an `id` is an unknown member like any other, which skopeo ignores too.
"""

from __future__ import annotations

from msgspec import Struct

from wherry.errors import InvalidError, LimitError, WherryError
from wherry.protocol.framing import REQUEST_LIMIT
from wherry.protocol.messages import BY_NAME, LEGACY_NAMES
from wherry.protocol.requests import Request, decode


class Call(Struct, frozen=True):
    """A request to be handled; `number` is its id where it is extended, else None (answer in order)."""

    request: Request
    number: int | None = None


class Refusal(Struct, frozen=True):
    """A request that is answered with an error at once."""

    error: WherryError
    number: int | None = None


class End(Struct, frozen=True):
    """Shutdown: no reply, the connection ends."""


class Session:
    """Decides over packets; the caller reports `greeted` and `answered`."""

    def __init__(self, inflight_limit: int) -> None:
        self._limit = inflight_limit
        self._extended = False
        self._inflight: set[int] = set()

    def take(self, data: bytes, *, truncated: bool = False) -> Call | Refusal | End:
        """Decide what a packet is. A Call with a number counts as in flight until `answered`."""
        if truncated:
            return Refusal(LimitError(f"invalid request: the request has more than {REQUEST_LIMIT} bytes"))
        if not data:
            return Refusal(InvalidError("invalid request: an empty packet"))
        try:
            request = decode(data)
        except InvalidError as error:
            return Refusal(error)
        if request.method == "Shutdown":
            return End()
        if request.method == "Hello" or (self._extended and request.id is not None):
            return self._numbered(request)
        if request.method not in LEGACY_NAMES:
            return Refusal(InvalidError(f"unknown method: {request.method}"))
        return Call(request)

    def _numbered(self, request: Request) -> Call | Refusal:
        number = request.id
        if number is None:
            return Refusal(InvalidError("Hello needs an id: a whole number from 1 to 2^53-1"))
        if number in self._inflight:
            return Refusal(InvalidError(f"request {number} is already in flight"), number)
        if request.method not in BY_NAME:
            return Refusal(InvalidError(f"unknown method: {request.method}"), number)
        if len(self._inflight) >= self._limit and request.method != "Cancel":
            text = f"{self._limit} requests are in flight on this connection, which is the limit"
            return Refusal(LimitError(text), number)
        self._inflight.add(number)
        return Call(request, number)

    def greeted(self) -> None:
        """Hello was answered: from now on requests with an id are extended."""
        self._extended = True

    def answered(self, number: int) -> None:
        """The request's reply is on its way: its id may be used again."""
        self._inflight.discard(number)
