"""Which scopes policy.json may name below a transport: one that no image could have is refused.

Transports that are not listed take any scope; so does a name that no transport has (G-02: it never matches).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from wherry.errors import InvalidError
from wherry.model import digest as digests

if TYPE_CHECKING:
    from collections.abc import Callable

_ATOMIC = re.compile("[^/]*(/[^:/]*(/[^:/]*(:[^:/]*)?)?)?")


def is_valid(transport: str, scope: str) -> bool:
    """Whether `scope` may stand below `transport`; "" (the transport's default) always may."""
    return scope == "" or _RULES.get(transport, _anything)(scope)


def _anything(scope: str) -> bool:
    return True


def _nothing(scope: str) -> bool:
    return False


def _clean_path(scope: str) -> bool:
    """An absolute path in its shortest form. `/` would mean the same as "", and shadow it."""
    return scope.startswith("/") and scope != "/" and _clean(scope) == scope


def _clean(path: str) -> str:
    # POSIX gives two leading slashes a meaning of their own; Go, whose scopes these are, does not.
    return posixpath.normpath(path).replace("//", "/")


def _no_digest(scope: str) -> bool:
    return not _is_digest(scope)


def _store(scope: str) -> bool:
    """`[driver@root]` or `[root]`, then perhaps a name, a digest and an image ID."""
    if not scope.startswith("[") or "]" not in scope:
        return False
    store, _, image = scope[1:].partition("]")
    driver, at, root = store.partition("@")
    if at and not driver:
        return False
    if not (root if at else store).startswith("/"):
        return False
    match image.split("@", 2):
        case [_, identity]:
            return _is_digest(f"sha256:{identity}") or _is_digest(identity)
        case [_, digest, identity]:
            return _is_digest(digest) and _is_digest(f"sha256:{identity}")
    return True


def _is_digest(text: str) -> bool:
    try:
        digests.parse(text)
    except InvalidError:
        return False
    return True


_RULES: dict[str, Callable[[str], bool]] = {
    "dir": _clean_path,
    "oci": _clean_path,
    "oci-archive": _clean_path,
    "sif": _clean_path,
    "docker-archive": _nothing,
    "tarball": _nothing,
    "docker-daemon": _no_digest,
    "containers-storage": _store,
    "atomic": lambda scope: _ATOMIC.fullmatch(scope) is not None,
}
