"""Verified reading: a blob is what its digest says, or an error; EOF alone never means success."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wherry.errors import CorruptError, ProxyGoneError
from wherry.model import digest as digests
from wherry.protocol.messages import BlobStatus
from wherry_client._session import error_of

if TYPE_CHECKING:
    from wherry.model.digest import Digest


class Verifier:
    """Counts and hashes what passes; `finish` compares it with what was promised."""

    def __init__(self, wanted: Digest, size: int) -> None:
        self._wanted = wanted
        self._size = size
        self._name = digests.algorithm(wanted)
        self._hash = digests.hasher(self._name)
        self.count = 0

    def update(self, data: bytes | memoryview) -> None:
        """Bytes that were read. Raises CorruptError as soon as there are more than were promised."""
        self.count += len(data)
        if 0 <= self._size < self.count:
            raise CorruptError(f"expected {self._size} bytes in blob {self._wanted}, got more")
        self._hash.update(data)

    def finish(self) -> None:
        """All was read: raises ProxyGoneError for a blob cut short, CorruptError for other bytes."""
        if 0 <= self._size != self.count:
            raise ProxyGoneError(
                f"blob {self._wanted} ended after {self.count} of {self._size} bytes without an error"
            )
        found = f"{self._name}:{self._hash.hexdigest()}"
        if found != self._wanted:
            raise CorruptError(f"expected blob {self._wanted}, got {found}")


def check_status(line: bytes, count: int, what: str = "a blob") -> None:
    """The verdict on the status fd of OpenBlob or ListTags. Raises the error that it tells of.

    Raises ProxyGoneError where there is none: the server ended.
    """
    if not line:
        raise ProxyGoneError(f"the proxy ended in the middle of {what}")
    try:
        status = msgspec.json.decode(line, type=BlobStatus)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProxyGoneError(f"the proxy's verdict on {what} can't be read: {error}") from None
    if status.error is not None:
        raise error_of(status.error.message, "", status.error)
    if status.bytes != count:
        raise ProxyGoneError(f"the proxy sent {status.bytes} bytes of {what}, {count} arrived")


def check_error_pipe(data: bytes) -> None:
    """The verdict on the error pipe of GetRawBlob: empty means that the server knows of no error."""
    if not data:
        return
    try:
        told = msgspec.json.decode(data, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProxyGoneError(f"the proxy's error pipe can't be read: {error}") from None
    raise error_of(told.message, told.code, None)


class _Told(msgspec.Struct, frozen=True):
    code: str = "other"
    message: str = ""
