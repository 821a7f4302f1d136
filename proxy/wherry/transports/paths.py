"""How file names of references are read, shown and named in trust policies (c/image's explicitfilepath)."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING

from wherry.errors import FileError, FileMissingError, InvalidError, file_error
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.system import System


def joined(folder: str, name: str) -> str:
    """Go's filepath.Join: cleaned, and relative to nothing where `folder` is ""."""
    return cleaned(f"{folder}/{name}" if folder else name)


def cleaned(path: str) -> str:
    """Go's filepath.Clean: `.`, `..` and repeated slashes go, by the text alone."""
    path = posixpath.normpath(path)
    return path[1:] if path.startswith("//") else path


def absolute(path: str, system: System) -> str:
    """The cleaned absolute form of a path that a caller named; links are not resolved."""
    return cleaned(system.path(path))


def resolve(path: str, system: System) -> str:
    """The absolute path without links, `.` and `..`; its last component need not exist.

    Policies are looked up by it, so that no other spelling of a path gets around them.
    Raises InvalidError, FileMissingError or FileError with Go's texts (`lstat /no: no such file …`).
    """
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise InvalidError(f"lstat {quote(path)}: invalid argument") from None
    if "\0" in path:
        raise InvalidError(f"lstat {quote(path)}: invalid argument")
    if not system.cwd and not path.startswith("/"):
        raise FileMissingError("getwd: no such file or directory")
    if path and _exists(system.path(path), path):
        return _resolve_existing(absolute(path, system))
    parent, _, name = path.rpartition("/")
    if not name and path:  # `missing/`
        return _resolve_existing(absolute(path, system))
    return joined(_resolve_existing(absolute(f"{parent}/" if "/" in path else "", system)), name)


def _exists(path: str, display: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise file_error("faccessat", display, error) from error
    return True


def _resolve_existing(path: str) -> str:
    try:
        return os.path.realpath(path, strict=True)
    except OSError as error:
        if error.errno == 40:
            raise FileError("EvalSymlinks: too many links") from error
        raise file_error("lstat", error.filename or path, error) from error


def scopes(identity: str) -> Sequence[str]:
    """The directories above a resolved path, nearest first, without `/` (c/image refuses that scope)."""
    found: list[str] = []
    while (identity := identity.rpartition("/")[0]) != "":
        found.append(identity)
    return tuple(found)


def kind_of(mode: int) -> str:
    """What an st_mode is, for people."""
    for test, name in (
        (stat.S_ISREG, "a regular file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISLNK, "a symbolic link"),
    ):
        if test(mode):
            return name
    return "a device"
