"""One file of registry credentials: auth.json, Docker's config.json, or the old ~/.dockercfg.

Format: containers-auth.json(5). Strict, and silent about what it reads: an error names the file and the key,
never the content. Beyond the format, as Docker: `credsStore`, and entries with plain `username` and
`password` members (Kubernetes writes those).
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from wherry.errors import CorruptError, InvalidError, LimitError, file_error
from wherry.model import strictjson
from wherry.model.goquote import quote
from wherry.protocol.options import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.system import System

LIMIT: Final = 1024 * 1024
MAPS: Final = frozenset({"auths", "credhelpers", "httpheaders", "plugins", "proxies", "aliases"})
"""Members (lower case) of config.json whose keys are names that others chose."""

_DESCRIPTOR: Final = re.compile(r"/(?:proc/self|dev)/fd/([0-9]{1,9})")
_OUT_OF_RANGE: Final = re.compile(r"(out of range): .*", re.DOTALL)


class Entry(Struct, frozen=True):
    """What a file says under one key, not decoded yet."""

    auth: str = ""
    identity_token: str = ""
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Entry(…)"


class AuthFile(Struct, frozen=True):
    """A file's meaning. `auths`: entries by registry, namespace, repository or URL; `helpers`: credHelpers,
    the helper of a registry; `store`: credsStore, "" for none."""

    path: str
    auths: Mapping[str, Entry]
    helpers: Mapping[str, str]
    store: str = ""


class AuthPath(Struct, frozen=True):
    """Where a file may be. `legacy`: in the format of ~/.dockercfg; `named`: the user named this file."""

    path: str
    legacy: bool = False
    named: bool = False


def load(where: AuthPath, system: System) -> AuthFile:
    """Read and parse a file; one that does not exist is empty.

    Raises InvalidError, LimitError (over 1 MiB) or FileError: `reading JSON file "PATH": …`.
    """
    raw = read(where, system)
    if raw is None:
        return AuthFile(where.path, {}, {})
    return parse(where, raw)


def read(where: AuthPath, system: System) -> bytes | None:
    """The file's bytes; None where it does not exist, or where it was found by the search and may not be
    trusted. Others' right to read it is warned of (C-03).

    Raises InvalidError for what is no regular file (C-25), or which root was told to read though another
    user owns it; FileError, LimitError.
    """
    try:
        descriptor, own = _open(system.path(where.path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _reading(where, file_error("open", where.path, error)) from None
    try:
        status = os.fstat(descriptor)
        if own and not _may_trust(where, status, system):
            return None
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise InvalidError(f"reading JSON file {quote(where.path)}: it is not a regular file")
        raw = _read_all(descriptor)
    except OSError as error:
        raise _reading(where, file_error("read", where.path, error)) from None
    finally:
        if own:
            os.close(descriptor)
    if len(raw) > LIMIT:
        raise LimitError(
            f"reading JSON file {quote(where.path)}: it exceeded maximum allowed size of {LIMIT} bytes"
        )
    return raw


def _open(path: str) -> tuple[int, bool]:
    """A descriptor, and whether it is ours to close.

    A path that names a descriptor of this process is not opened again: its file may belong to a user whose
    files we may not open (the Rust client passes credentials so, then starts us as nobody).
    """
    if (inherited := _DESCRIPTOR.fullmatch(path)) is None:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), True
    descriptor = int(inherited[1])
    try:
        os.fstat(descriptor)
    except OSError:
        raise FileNotFoundError(path) from None
    return descriptor, False


def _may_trust(where: AuthPath, status: os.stat_result, system: System) -> bool:
    if system.uid == 0 and status.st_uid != 0:
        text = f"{where.path} belongs to the user {status.st_uid}, root does not read credentials from it"
        if where.named:
            raise InvalidError(text)
        system.warn(text)
        return False
    if status.st_mode & 0o077 and stat.S_ISREG(status.st_mode):
        mode = stat.S_IMODE(status.st_mode)
        system.warn(f"Others may read the credentials in {where.path} (its mode is {mode:04o})")
    return True


def _read_all(descriptor: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    while total <= LIMIT and (part := os.pread(descriptor, LIMIT + 1 - total, total)):
        parts.append(part)
        total += len(part)
    return b"".join(parts)


def _reading(where: AuthPath, error: Exception) -> Exception:
    error.args = (f"reading JSON file {quote(where.path)}: {error}",)
    return error


def parse(where: AuthPath, raw: bytes) -> AuthFile:
    """Understand a file's bytes. Raises InvalidError, which names file and key."""
    document = document_of(where, raw)
    if where.legacy:
        return AuthFile(where.path, _entries(where, "", document), {})
    auths = _object(where, "auths", member(document, "auths"))
    helpers = _object(where, "credHelpers", member(document, "credHelpers"))
    return AuthFile(
        where.path,
        _entries(where, "auths", auths),
        {key: _text(where, f"credHelpers[{quote(key)}]", value) for key, value in helpers.items()},
        _text(where, "credsStore", member(document, "credsStore")),
    )


def document_of(where: AuthPath, raw: bytes) -> dict[str, object]:
    """The JSON object that a file holds. Raises InvalidError without a word of its content."""
    try:
        document = strictjson.loads(raw, limit=LIMIT, what="it", maps=strictjson.FREE_FORM | MAPS)
    except (CorruptError, LimitError) as error:
        problem = _OUT_OF_RANGE.sub(r"\1", str(error)) if raw.strip() else "unexpected end of JSON input"
        raise _wrong(where, problem) from None
    if not isinstance(document, dict):
        raise _wrong(where, "it is not an object")
    return document


def member(document: Mapping[str, object], name: str) -> object:
    """A member by its name in whatever case, as Go reads it; there can't be two (strictjson)."""
    if name in document:
        return document[name]
    return next((value for key, value in document.items() if key.lower() == name.lower()), None)


def _wrong(where: AuthPath, problem: str) -> InvalidError:
    path = quote(where.path)
    return InvalidError(f"reading JSON file {path}: unmarshaling JSON at {path}: {problem}")


def _object(where: AuthPath, name: str, value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(where, f"{name} is not an object")
    return value


def _text(where: AuthPath, name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(where, f"{name} is not a string")
    return value


def _entries(where: AuthPath, name: str, auths: Mapping[str, object]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for key, value in auths.items():
        place = f"{name}[{quote(key)}]"
        fields = _object(where, place, value)
        found[key] = Entry(
            *(
                _text(where, f"{place}.{field}", member(fields, field))
                for field in ("auth", "identitytoken", "username", "password")
            )
        )
    return found


def decode(entry: Entry, key: str, path: str, warn: Callable[[str], None]) -> Credentials | None:
    """The credentials of an entry; None for an empty one, which Docker writes where a helper has them.

    What `auth` holds without a colon is skipped with a warning, as Docker and skopeo do. Raises InvalidError
    where it is not base64.
    """
    if not entry.auth:
        plain = Credentials(entry.username, entry.password, entry.identity_token)
        return plain if plain != Credentials("", "") else None
    try:
        # Go's decoder passes over line breaks.
        decoded = base64.b64decode(entry.auth.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidError(
            f'the "auth" field of the credential entry {quote(key)} in {quote(path)} is not base64'
        ) from None
    user, colon, password = decoded.decode("utf-8", "surrogateescape").partition(":")
    if not colon:
        warn(
            f'Error parsing the "auth" field of a credential entry {quote(key)} in {quote(path)}, '
            "missing semicolon"
        )
        return None
    found = Credentials(user, password.strip("\0"), entry.identity_token)
    return found if found != Credentials("", "") else None
