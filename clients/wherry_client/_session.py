"""The client's side of the protocol without a socket: ids, replies, events, errors."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from wherry.errors import (
    AuthError,
    CorruptError,
    FileError,
    ImageNotFoundError,
    InternalError,
    InvalidError,
    LimitError,
    NetworkError,
    NotFoundError,
    OperationCancelledError,
    PolicyError,
    ProxyGoneError,
    RegistryError,
    StalledError,
    WherryError,
)
from wherry.model.goquote import quote
from wherry.protocol.fdpass import close_all
from wherry.protocol.messages import ErrorDetail, Event, Method

T = TypeVar("T")

_KINDS: Final[dict[str, type[WherryError]]] = {
    "not_found": NotFoundError,
    "auth": AuthError,
    "policy": PolicyError,
    "network": NetworkError,
    "timeout": StalledError,
    "registry": RegistryError,
    "corrupt": CorruptError,
    "invalid": InvalidError,
    "limit": LimitError,
    "cancelled": OperationCancelledError,
    "internal": FileError,
}


class Response(Struct, frozen=True):
    """A reply as it came: the value, and what came beside it. `number` is None for a legacy reply."""

    value: Any = None
    pipe: int = 0
    fds: tuple[int, ...] = ()
    number: int | None = None
    error: WherryError | None = None


class TagsResult(Struct, frozen=True):
    """A repository and its tags, in the registry's order."""

    repository: str
    tags: tuple[str, ...]


class _Wire(Struct, frozen=True):
    """Every member that a message from a server may have; unknown ones are ignored."""

    success: bool = False
    value: Any = None
    pipeid: int = 0
    error_code: str = ""
    error: str = ""
    id: int | None = None
    detail: ErrorDetail | None = None
    event: str | None = None


def encode(method: Method[object], number: int | None) -> bytes:
    """A request's bytes; with `number` it is an extended one.

    Raises InvalidError for text that UTF-8 does not have, such as a file's name in another encoding.
    """
    request: dict[str, object] = {
        "method": type(method).__name__,
        "args": list(msgspec.to_builtins(method)),
    }
    if number is not None:
        request["id"] = number
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError as error:
        raise InvalidError(
            f"{quote(error.object)} is not UTF-8, which is all that requests can hold"
        ) from None


def decode(data: bytes, fds: tuple[int, ...]) -> Response | Event:
    """What a packet is. Raises ProxyGoneError where it is no message of this protocol."""
    try:
        wire = msgspec.json.decode(data, type=_Wire)
        if wire.event is not None:
            return msgspec.json.decode(data, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProxyGoneError(f"the proxy sent what is no reply: {error}") from None
    if wire.success:
        return Response(wire.value, wire.pipeid, fds, wire.id)
    return Response(number=wire.id, fds=fds, error=error_of(wire.error, wire.error_code, wire.detail))


def error_of(text: str, code: str, detail: ErrorDetail | None) -> WherryError:
    """The exception that an error reply stands for; of a legacy reply only its code tells more."""
    if detail is None:
        return WherryError(text, retryable=code == "retryable")
    if detail.kind == "not_found" and detail.exit_status == ImageNotFoundError.exit_status:
        return ImageNotFoundError(text)
    kind = _KINDS.get(detail.kind, InternalError)
    after = None if detail.retry_after_ms is None else detail.retry_after_ms / 1000
    return kind(text, retryable=detail.retryable, http_status=detail.http_status, retry_after=after)


def fds_of(response: Response, count: int) -> tuple[int, ...]:
    """The descriptors that a reply must have brought. Raises ProxyGoneError, and closes them, where it
    brought another number."""
    if len(response.fds) != count:
        close_all(response.fds)
        raise ProxyGoneError(f"the proxy's reply brought {len(response.fds)} file descriptors, not {count}")
    return response.fds


def convert(value: object, kind: type[T]) -> T:
    """A reply's value as the Struct that its method promises."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ProxyGoneError(f"the proxy's reply is not a {kind.__name__}: {error}") from None


def parse(data: bytes, kind: type[T]) -> T:
    """A document as the Struct that its method promises."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProxyGoneError(f"the proxy's document is not a {kind.__name__}: {error}") from None
