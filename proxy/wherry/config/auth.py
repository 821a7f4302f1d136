"""Whose credentials a repository is reached with: the search of containers-auth.json(5).

What the caller brings counts first; then the files, in their order; in a file the registry's helper, then
the entry with the longest key (`quay.io/ns/repo`, `quay.io/ns`, `quay.io`), then old keys that are URLs.
Spec: skopeo-reference 3.5.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Final

from msgspec import structs

from wherry.config import authfile, credential_helpers
from wherry.config.authfile import AuthFile, AuthPath
from wherry.config.registries import AUTH_FILES
from wherry.config.search import user_config_directory
from wherry.errors import InvalidError, NotFoundError, WherryError, context
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.protocol.options import Credentials, ImageAccess
    from wherry.system import System

HUB: Final = "docker.io"
HUB_KEY: Final = "https://index.docker.io/v1/"
"""Docker's own key for docker.io."""
_HUB_HOSTS: Final = frozenset({HUB, "registry-1.docker.io", "index.docker.io"})


async def resolve(
    repository: str, access: ImageAccess, system: System, sources: Sequence[str] | None = None
) -> ImageAccess:
    """`access` with the credentials that files and helpers hold for a repository (`docker.io/library/a`).

    Credentials that `access` brings, or its wish to have none, come first. `sources`: `credential-helpers` of
    registries.conf, which is read for them where they are not given. Raises what reading that and `find`
    raise.
    """
    if access.anonymous or access.credentials is not None:
        return structs.replace(access, authfile=None)
    with context("getting username and password"):
        if sources is None:
            from wherry.config import registries_load

            sources = registries_load.load(system).credential_helpers
        found = await find(repository, system, path=access.authfile, sources=sources)
    return structs.replace(access, authfile=None, credentials=found)


async def find(
    key: str, system: System, *, path: str | None = None, sources: Sequence[str] = (AUTH_FILES,)
) -> Credentials | None:
    """The credentials for a repository, a namespace or a registry; None where there are none.

    `path` (--authfile): the one file that is read. `sources`: `credential-helpers` of registries.conf, tried
    in turn: the name of a helper, or AUTH_FILES.

    Raises InvalidError for a key that is none or for a malformed file, FileError, LimitError, and what the
    helper that is asked raises.
    """
    check_key(key)
    if not system.own_credentials:
        if path:
            raise InvalidError("this server reads no credential files: send the credentials with the request")
        return None
    failures: list[WherryError] = []
    for source in sources:
        try:
            if source == AUTH_FILES:
                found = await _in_files(key, search(system, path), system)
            else:
                found = await credential_helpers.get(source, registry_of(key), system)
        except WherryError as error:
            failures.append(error)
            continue
        if found is not None:
            return found
    if len(failures) > 1:
        listed = "".join(f"\n\t* {error}" for error in failures)
        failures[0].args = (f"errors looking up credentials:{listed}\n",)
    if failures:
        raise failures[0]
    return None


def search(system: System, path: str | None = None) -> list[AuthPath]:
    """The files that are read, in their order: `path` alone, or the places of containers-auth.json(5)."""
    if path:
        return [AuthPath(path, named=True)]
    paths = [AuthPath(primary)] if (primary := _primary(system)) else []
    if system.home or system.environ.get("XDG_CONFIG_HOME"):
        paths.append(AuthPath(posixpath.join(user_config_directory(system), "auth.json")))
    if docker := system.environ.get("DOCKER_CONFIG"):
        paths.append(AuthPath(posixpath.join(docker, "config.json")))
    elif system.home:
        paths.append(AuthPath(posixpath.join(system.home, ".docker", "config.json")))
    if system.home:
        paths.append(AuthPath(posixpath.join(system.home, ".dockercfg"), legacy=True))
    return paths


def primary_path(system: System) -> str:
    """The file that is written where the user names none.

    Raises NotFoundError where $XDG_RUNTIME_DIR names no directory.
    """
    runtime = system.environ.get("XDG_RUNTIME_DIR")
    if not runtime:
        return system.etc("run", "containers", str(system.uid), "auth.json")
    if not os.path.lexists(system.path(runtime)):
        raise NotFoundError(
            f"{quote(runtime)} directory set by $XDG_RUNTIME_DIR does not exist. Either create the directory "
            f"or unset $XDG_RUNTIME_DIR.: faccessat {runtime}: no such file or directory"
        )
    return posixpath.join(runtime, "containers", "auth.json")


def _primary(system: System) -> str | None:
    try:
        return primary_path(system)
    except NotFoundError as error:
        system.warn(f"{error}: Trying to pull image in the event that it is a public image.")
        return None


async def _in_files(key: str, paths: Sequence[AuthPath], system: System) -> Credentials | None:
    for where in paths:
        found = await _in_file(key, where, system)
        if found is not None:
            return found
    return None


async def _in_file(key: str, where: AuthPath, system: System) -> Credentials | None:
    file = authfile.load(where, system)
    registry = registry_of(key)
    if registry in file.helpers:
        return await credential_helpers.get(file.helpers[registry], registry, system)
    named = next((name for name in _matching(key, file, where.legacy)), None)
    if named is not None:
        found = authfile.decode(file.auths[named], named, file.path, system.warn)
        if found is not None:
            return found
    return await _in_store(file, registry, system) if file.store else None


async def _in_store(file: AuthFile, registry: str, system: System) -> Credentials | None:
    """Ask the credsStore. That it fails is no error: skopeo does not even read it, and a config.json that
    came from another machine names one that this machine lacks."""
    try:
        return await credential_helpers.get(file.store, HUB_KEY if registry == HUB else registry, system)
    except WherryError as error:
        system.warn(f"The credsStore of {file.path} was of no use: {error}")
        return None


def _matching(key: str, file: AuthFile, legacy: bool) -> Iterator[str]:
    yield from (name for name in lookup_order(key, legacy=legacy) if name in file.auths)
    wanted = _normalized_host(registry_of(key))
    yield from (name for name in file.auths if normalize_key(name, legacy=legacy) == wanted)


def lookup_order(key: str, *, legacy: bool = False) -> Iterator[str]:
    """The keys under which credentials for `key` may be kept, the best match first; in the legacy format the
    registry alone."""
    if legacy:
        yield registry_of(key)
        return
    yield key
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key


def normalize_key(key: str, *, legacy: bool = False) -> str:
    """The host of a file's key, which Docker once wrote as a URL (`https://index.docker.io/v1/`)."""
    stripped = key.removeprefix("http://").removeprefix("https://")
    if legacy or stripped != key:
        stripped = stripped.partition("/")[0]
    return _normalized_host(stripped)


def _normalized_host(registry: str) -> str:
    return "index.docker.io" if registry in _HUB_HOSTS else registry


def registry_of(key: str) -> str:
    """`host[:port]` of a repository, namespace or registry."""
    return key.partition("/")[0]


def check_key(key: str) -> bool:
    """Whether a key names more than a registry. Raises InvalidError for URLs, tags and digests."""
    if key.startswith(("http://", "https://")):
        raise InvalidError(f"key {key} contains http[s]:// prefix")
    if "@" in key:
        raise InvalidError(f"key {key} contains a '@' character")
    _, slash, path = key.partition("/")
    if ":" in path:
        raise InvalidError(f"key {key} contains a ':' character after host[:port]")
    return bool(slash)
