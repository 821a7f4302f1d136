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
    from collections.abc import Sequence

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


class Sources(Struct, frozen=True):
    """Where a configuration with drop-in files comes from: the main file, directories of drop-in files in
    the order of preference, and a file that counts after all others ("" for none)."""

    main: Candidates
    directories: tuple[str, ...] = ()
    override: str = ""


def sources(system: System, filename: str, variable: str, path: str | None = None) -> Sources:
    """The places of the configuration `filename`; `path`: a main file that the user named on the command
    line, beside which drop-in files count as ever. One that `variable` names stands alone."""
    main = Candidates((path,), must_exist=True) if path else main_files(system, filename, variable)
    alone = not path and main.must_exist
    directories = () if alone else drop_in_directories(system, filename)
    return Sources(main, directories, system.environ.get(f"{variable}_OVERRIDE", ""))


def drop_in_directories(system: System, filename: str) -> tuple[str, ...]:
    """The user's, the administrator's and the distribution's; the latter two have some for root or for
    others only."""
    stem, suffix = posixpath.splitext(filename)
    special = [f"{stem}.{'rootless' if system.uid else 'rootful'}{suffix}.d"]
    if system.uid:
        special.append(posixpath.join(special[0], str(system.uid)))
    found = [posixpath.join(user_config_directory(system), f"{filename}.d")]
    for parent in (("etc", "containers"), ("usr", "share", "containers")):
        found += (system.etc(*parent, directory) for directory in (f"{filename}.d", *special))
    return tuple(found)


def drop_ins(system: System, directories: Sequence[str], suffix: str) -> list[str]:
    """The drop-in files in the order of their names; of several with one name, that of the directory which
    is preferred. Only regular files count, no links. Raises FileError."""
    found: dict[str, str] = {}
    for directory in reversed(directories):
        try:
            with os.scandir(system.path(directory)) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise file_error("open", directory, error) from None
        found.update((name, posixpath.join(directory, name)) for name in names if name.endswith(suffix))
    return [found[name] for name in sorted(found)]


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
