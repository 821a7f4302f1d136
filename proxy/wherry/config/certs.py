"""The directory of a registry's certificates (containers-certs.d(5), skopeo-reference 3.2)."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from wherry.errors import file_error

if TYPE_CHECKING:
    from wherry.system import System


def directories(system: System, registry: str) -> tuple[str, ...]:
    """Where the certificates of a registry (`host[:port]` as in image names, docker.io for Docker Hub) may
    be, in the order of preference."""
    parents = [
        system.etc("etc", "containers", "certs.d"),
        system.etc("etc", "docker", "certs.d"),
    ]
    if system.home:
        parents.insert(0, posixpath.join(system.home, ".config", "containers", "certs.d"))
    return tuple(posixpath.join(parent, registry) for parent in parents)


def directory(system: System, registry: str) -> str | None:
    """The first of the directories that exists; the others are not looked at. None where there is none.

    One that we may not see counts as missing, as in skopeo. Raises FileError for other failures.
    """
    for path in directories(system, registry):
        try:
            os.stat(path)
        except (FileNotFoundError, PermissionError):
            continue
        except OSError as error:
            raise file_error("faccessat", path, error) from None
        return path
    return None
