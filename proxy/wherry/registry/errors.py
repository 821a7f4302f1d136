"""What a registry's error answer means: its text as skopeo shows it, its type, whether to try again.

Spec: distribution-spec, section Error Codes; skopeo-reference N15; protocol-reference 1.7, improved: only
what may pass by itself is retryable, whatever the registry adds to its errors.
"""

from __future__ import annotations

import email.utils
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import (
    AuthError,
    CorruptError,
    ImageNotFoundError,
    LimitError,
    NetworkError,
    NotFoundError,
    RegistryError,
    StalledError,
    WherryError,
)
from wherry.model import strictjson
from wherry.model.goquote import quote
from wherry.registry import challenge

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.registry.engine import Exchange

BODY_LIMIT: Final = 1024 * 1024
SHOWN_LIMIT: Final = 1024
_SAMPLE: Final = 50
_RATE_LIMIT: Final = re.compile(r"(x-|docker-)?ratelimit(-[a-z-]{1,40})?")
_RATE_LIMIT_TEXT: Final = 256
_RETRY_AFTER_S: Final = (1.0, 60.0)

# Codes of the distribution specification and Docker's registry, with their default messages.
MESSAGES: Final = {
    "BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UPLOAD_INVALID": "blob upload invalid",
    "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "DENIED": "requested access to the resource is denied",
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "MANIFEST_BLOB_UNKNOWN": "blob unknown to registry",
    "MANIFEST_INVALID": "manifest invalid",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "MANIFEST_UNVERIFIED": "manifest failed signature verification",
    "NAME_INVALID": "invalid repository name",
    "NAME_UNKNOWN": "repository name not known to registry",
    "PAGINATION_NUMBER_INVALID": "invalid number of results requested",
    "SIZE_INVALID": "provided length did not match content length",
    "TAG_INVALID": "manifest tag did not match URI",
    "TOOMANYREQUESTS": "too many requests",
    "UNAUTHORIZED": "authentication required",
    "UNAVAILABLE": "service unavailable",
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "The operation is unsupported.",
}
_RETRYABLE_CODES: Final = frozenset({"TOOMANYREQUESTS", "UNAVAILABLE"})
_RETRYABLE_STATUS: Final = frozenset({429, 502, 503, 504})
_SECRETS: Final = (
    # Queries hold what object stores sign with; a URL may name a user (C-09, C-10).
    (re.compile(r"(https?://[^\s?#\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE), r"\1?…"),
    (re.compile(r"(https?://)[^\s/?#\"'<>]*@", re.IGNORECASE), r"\1…@"),
    (re.compile(r"\b(Basic|Bearer) +[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), r"\1 …"),
)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class _Said(NamedTuple):
    """The first error that an answer names: its code ("" for none) and the text to show."""

    code: str
    text: str


async def read_error(exchange: Exchange) -> WherryError:
    """The error for an answer that is not what was asked for; reads up to 1 MiB of its body."""
    body = b""
    try:
        body = await exchange.read(BODY_LIMIT)
    except (NetworkError, StalledError, RegistryError):
        body = b""  # the status says more than a torn error text
    except LimitError as error:
        return _error(exchange, _Said("", str(error)))
    return _error(exchange, _said(exchange, body))


async def error_of(exchange: Exchange) -> WherryError:
    """As `read_error`, of an exchange that nobody else holds: it is released."""
    try:
        return await read_error(exchange)
    finally:
        exchange.release()


def _error(exchange: Exchange, said: _Said) -> WherryError:
    status = exchange.status
    retryable = status in _RETRYABLE_STATUS or said.code in _RETRYABLE_CODES
    return _type(status, said.code)(
        shown(said.text),
        retryable=retryable,
        http_status=status,
        retry_after=retry_after(exchange.header("Retry-After"), exchange.header("Date"))
        if retryable
        else None,
        errcode=said.code,
        rate_limits=rate_limits(exchange),
    )


def rate_limits(exchange: Exchange) -> dict[str, str]:
    """What an answer says of the registry's limits: its RateLimit headers, names in lower case."""
    found = {
        name.decode("latin-1").lower(): value.decode("latin-1")[:_RATE_LIMIT_TEXT]
        for name, value in exchange.headers
    }
    return {name: shown(value) for name, value in found.items() if _RATE_LIMIT.fullmatch(name)}


def _type(status: int, code: str) -> Callable[..., WherryError]:
    if status in (401, 403):
        return AuthError
    if code == "MANIFEST_UNKNOWN":
        return ImageNotFoundError
    return NotFoundError if status == 404 else RegistryError


def _said(exchange: Exchange, body: bytes) -> _Said:
    status = exchange.status
    if status == 401:
        for offer in challenge.parse_all(exchange.header_values("WWW-Authenticate")):
            codes = {"invalid_token": "UNAUTHORIZED", "insufficient_scope": "DENIED"}
            code = codes.get(offer.parameters.get("error", ""))
            if offer.scheme == "bearer" and code is not None:
                return _reworded(code, offer.parameters.get("error_description") or MESSAGES[code])
    if not 400 <= status < 500:
        return _Said("", f"received unexpected HTTP status: {f'{status} {exchange.reason}'.rstrip()}")
    return _first_error(status, body) or (
        _Said("UNAUTHORIZED", MESSAGES["UNAUTHORIZED"])
        if status == 401
        else _Said("", f"StatusCode: {status}, {_sample(body)}")
    )


def _first_error(status: int, body: bytes) -> _Said | None:
    """The first error of a body in the specification's form, or in an older one (`details`)."""
    try:
        value = strictjson.loads(body, limit=BODY_LIMIT, what="error")
    except (CorruptError, LimitError):
        return None
    if not isinstance(value, dict):
        return None
    details = value.get("details")
    if isinstance(details, str) and details:
        return _reworded({401: "UNAUTHORIZED", 429: "TOOMANYREQUESTS"}.get(status, "UNKNOWN"), details)
    errors = value.get("errors")
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return None
    given, message = errors[0].get("code"), errors[0].get("message")
    code = given if isinstance(given, str) and given in MESSAGES else "UNKNOWN"
    message = message if isinstance(message, str) else ""
    if errors[0].get("detail") is None and message in ("", MESSAGES[code]):
        return _Said(code, code.lower().replace("_", " "))
    return _reworded(code, message)


def _reworded(code: str, message: str) -> _Said:
    """`code: message`, or the message alone where it is the code's own."""
    if message == MESSAGES[code]:
        return _Said(code, message)
    return _Said(code, f"{code.lower().replace('_', ' ')}: {message}")


def _sample(body: bytes) -> str:
    text = body[:_SAMPLE].decode("utf-8", "surrogateescape")
    return quote(f"{text}..." if len(body) > _SAMPLE else text)


def shown(text: str) -> str:
    """What a server said, made safe to show: control characters escaped, 1 KiB at most (R-74, R-75), and
    without the queries and users of URLs and without authorizations (C-09, C-10)."""
    text = text[: 2 * SHOWN_LIMIT]
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    clean = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}" if ord(found[0]) < 256 else "\ufffd", text)
    return clean if len(clean) <= SHOWN_LIMIT else f"{clean[:SHOWN_LIMIT]}…"


def retry_after(header: str | None, date: str | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, within 1 s and 60 s; None where it says nothing (R-37).

    `date`: the answer's Date header. A time of day counts from it: the server's clock need not be ours.
    """
    if header is None:
        return None
    least, most = _RETRY_AFTER_S
    if re.fullmatch(r"-?[0-9]{1,30}", header.strip()):
        return min(max(float(header), least), most)
    asked, now = _seconds(header), _seconds(date or "")
    return None if asked is None or now is None else min(max(asked - now, least), most)


def _seconds(date: str) -> float | None:
    """Since the epoch, of an HTTP date (RFC 9110, section 5.6.7)."""
    parsed = email.utils.parsedate_tz(date[:64])
    if parsed is None or not 1970 <= parsed[0] <= 9999:
        return None
    try:
        return float(email.utils.mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None


_WARNING: Final = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def warning_text(header: str) -> str | None:
    """The text of a Warning header in the distribution specification's form; None for any other (N13).

    One with control characters is none, as in skopeo (R-74).
    """
    found = _WARNING.fullmatch(header.encode("latin-1", "replace").decode("utf-8", "replace"))
    if found is None or _FORBIDDEN.search(found[1]):
        return None
    return shown(re.sub(r"\\(.)", r"\1", found[1])) or None
