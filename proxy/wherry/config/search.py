"""Where configuration files are looked for (skopeo-reference section 3: the generic search).

For policy.json, registries.conf and storage.conf alike: what an environment variable names, else the first
that exists of the user's, the administrator's and the distribution's.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from msgspec import Struct

from wherry.errors import FileMissingError, LimitError, NotFoundError, file_error
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from wherry.system import System


class Found(Struct, frozen=True):
    """A configuration file: its path as it was searched, for texts, and its content."""

    path: str
    raw: bytes


class Candidates(Struct, frozen=True):
    """Paths in the order of preference; only the first that exists counts. `must_exist`: there is one path,
    named by the user, whose absence is an error of its own."""

    paths: tuple[str, ...]
    must_exist: bool = False


def user_config_directory(system: System) -> str:
    """$XDG_CONFIG_HOME/containers, else ~/.config/containers."""
    home = system.environ.get("XDG_CONFIG_HOME") or posixpath.join(system.home, ".config")
    return posixpath.normpath(posixpath.join(home, "containers"))


def main_files(system: System, filename: str, variable: str) -> Candidates:
    """Where the main file `filename` may be; `variable`: the environment variable that names one."""
    named = system.environ.get(variable)
    if named:
        return Candidates((named,), must_exist=True)
    return Candidates(
        (
            posixpath.join(user_config_directory(system), filename),
            system.etc("etc", "containers", filename),
            system.etc("usr", "share", "containers", filename),
        )
    )


def read_first(system: System, candidates: Candidates, limit: int) -> Found:
    """The first candidate that exists.

    Raises NotFoundError (`config file not found: no … file found; searched paths: [...]`) where none does,
    FileError where one can't be read, LimitError for more than `limit` bytes.
    """
    for path in candidates.paths:
        try:
            return read(system, path, limit)
        except FileMissingError:
            if candidates.must_exist:
                raise
    filename = posixpath.basename(candidates.paths[-1])
    searched = " ".join(map(quote, candidates.paths))
    raise NotFoundError(f"config file not found: no {filename} file found; searched paths: [{searched}]")


def read(system: System, path: str, limit: int) -> Found:
    """A whole file; raises FileError with Go's text, LimitError for more than `limit` bytes."""
    try:
        descriptor = os.open(system.path(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise file_error("open", path, error) from None
    parts: list[bytes] = []
    left = limit + 1
    try:
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        raise file_error("read", path, error) from None
    finally:
        os.close(descriptor)
    if left <= 0:
        raise LimitError(f"{path} exceeded maximum allowed size of {limit} bytes")
    return Found(path, b"".join(parts))
