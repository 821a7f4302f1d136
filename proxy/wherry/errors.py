"""The one error tree of wherry.

Each type says what went wrong (`kind`), what a legacy client of the image proxy is told (`code`) and with
which status the command line ends (`exit_status`). The cause decides, where it is known: foreign exceptions
are mapped at each package's edge, never guessed from their text at the end.

Names end in Error. The text of an error names what was wanted, what was found and where; where skopeo has a
text for the case, ours is the same.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind = Literal[
    "not_found",
    "auth",
    "policy",
    "network",
    "timeout",
    "registry",
    "corrupt",
    "invalid",
    "limit",
    "cancelled",
    "internal",
]
Code = Literal["EPIPE", "retryable", "other"]


class WherryError(Exception):
    """Base of every error that wherry raises on purpose.

    `retryable`: whether the same request may succeed later without a change on the caller's side.
    `http_status`: status of the registry's answer that caused it, if one did.
    `retry_after`: seconds that the registry asked us to wait, if it did.
    `errcode`: the distribution specification's code in the registry's answer (`DENIED`), "" for none.
    `rate_limits`: what that answer said of the registry's limits (`ratelimit-remaining`), by header.
    """

    kind: ClassVar[Kind] = "internal"
    exit_status: ClassVar[int] = 1
    retryable: bool = False

    def __init__(
        self,
        text: str,
        *,
        retryable: bool | None = None,
        http_status: int | None = None,
        retry_after: float | None = None,
        errcode: str = "",
        rate_limits: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        if retryable is not None:
            self.retryable = retryable
        self.http_status = http_status
        self.retry_after = retry_after
        self.errcode = errcode
        self.rate_limits = rate_limits or {}

    @property
    def code(self) -> Code:
        """What the `error_code` member of a legacy reply says (image proxy 0.2.8)."""
        return "retryable" if self.retryable else "other"


class InvalidError(WherryError):
    """The caller asked for something that can't be meant: a bad reference, option, request or file of his."""

    kind: ClassVar[Kind] = "invalid"


class NotYetError(InvalidError):
    """Understood, but not built yet; nothing was done."""


class NotFoundError(WherryError):
    """Something that was named does not exist: a file, a repository, a blob."""

    kind: ClassVar[Kind] = "not_found"


class ImageNotFoundError(NotFoundError):
    """The image itself does not exist, where its absence is certain (skopeo's exit status 2).

    OpenImageOptional answers 0 for this error and no other.
    """

    exit_status: ClassVar[int] = 2


class AuthError(WherryError):
    """The registry refused our credentials, or gave none where it must."""

    kind: ClassVar[Kind] = "auth"


class PolicyError(WherryError):
    """The trust policy refuses the image, or can't be used."""

    kind: ClassVar[Kind] = "policy"


class NetworkError(WherryError):
    """No answer from a server: refused, reset, unreachable, cut off."""

    kind: ClassVar[Kind] = "network"
    retryable = True


class StalledError(WherryError):
    """A peer sent nothing for longer than its limit, or a deadline passed."""

    kind: ClassVar[Kind] = "timeout"
    retryable = True


class RegistryError(WherryError):
    """A registry answered with an error, or with something that breaks the distribution protocol."""

    kind: ClassVar[Kind] = "registry"


class ManifestRejectedError(RegistryError):
    """A registry refused a manifest in a way that leaves hope for the same image in another format."""


class CorruptError(WherryError):
    """Content differs from what its digest, size or type promised."""

    kind: ClassVar[Kind] = "corrupt"


class LimitError(WherryError):
    """A limit of ours was reached (docs/architecture.md lists them)."""

    kind: ClassVar[Kind] = "limit"


class FileError(WherryError):
    """The operating system refused a file operation; the text is Go's `open PATH: no such file or
    directory`."""

    kind: ClassVar[Kind] = "internal"


class FileMissingError(NotFoundError, FileError):
    """A file or directory that was named does not exist."""

    kind: ClassVar[Kind] = "not_found"


class ReaderGoneError(WherryError):
    """The reader of a pipe closed it before the end.

    ostree-ext hides this error of its own making only when the text ends in `broken pipe`.
    """

    kind: ClassVar[Kind] = "cancelled"

    @property
    def code(self) -> Code:
        return "EPIPE"


class OperationCancelledError(WherryError):
    """The caller cancelled the operation, or went away."""

    kind: ClassVar[Kind] = "cancelled"


class ProxyGoneError(WherryError):
    """The proxy ended while it still owed an answer."""

    kind: ClassVar[Kind] = "network"
    retryable = True


class InternalError(WherryError):
    """A bug of ours, or an answer that can't be: logged with its traceback."""

    kind: ClassVar[Kind] = "internal"


@contextmanager
def context(prefix: str) -> Iterator[None]:
    """Put `prefix: ` before the text of any WherryError that leaves the block (Go's `%s: %w`)."""
    try:
        yield
    except WherryError as error:
        error.args = (f"{prefix}: {error}", *error.args[1:])
        raise


_GO_ERRNO = {
    1: "operation not permitted",
    2: "no such file or directory",
    4: "interrupted system call",
    5: "input/output error",
    9: "bad file descriptor",
    11: "resource temporarily unavailable",
    12: "cannot allocate memory",
    13: "permission denied",
    16: "device or resource busy",
    17: "file exists",
    18: "invalid cross-device link",
    20: "not a directory",
    21: "is a directory",
    22: "invalid argument",
    23: "too many open files in system",
    24: "too many open files",
    27: "file too large",
    28: "no space left on device",
    29: "illegal seek",
    30: "read-only file system",
    32: "broken pipe",
    36: "file name too long",
    39: "directory not empty",
    40: "too many levels of symbolic links",
    104: "connection reset by peer",
    110: "connection timed out",
    111: "connection refused",
    113: "no route to host",
    101: "network is unreachable",
    122: "disk quota exceeded",
}


def errno_text(error: OSError) -> str:
    """The text that Go prints for this errno on Linux; skopeo's users and programs match on it."""
    if error.errno in _GO_ERRNO:
        return _GO_ERRNO[error.errno]
    return (error.strerror or str(error)).lower()


def file_error(operation: str, path: str, error: OSError) -> FileError:
    """Map an OSError to the error `operation path: errno text` (Go's *PathError)."""
    kind = FileMissingError if error.errno in (2, 20) else FileError
    return kind(f"{operation} {path}: {errno_text(error)}")
