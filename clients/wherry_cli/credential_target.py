"""Which file `login` and `logout` change, and under which key: skopeo-login(1), skopeo-logout(1)."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from wherry.errors import InvalidError, errno_text
from wherry.model import name
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from wherry.config.authwrite import Target
    from wherry.system import System
    from wherry_cli.call import Call


class Key(NamedTuple):
    """`key`: a registry, or a namespace or repository in it; `registry`: its `host[:port]`."""

    key: str
    registry: str


def chosen_file(call: Call, system: System) -> Target | None:
    """The file that the user named: --authfile, --compat-auth-file, $REGISTRY_AUTH_FILE or $DOCKER_CONFIG.

    None leaves it to the search. Raises InvalidError for two of the flags at once.
    """
    from wherry.config.authwrite import Target

    plain, compat = call.given.text("authfile"), call.given.text("compat-auth-file")
    docker_file = posixpath.join(system.home, ".docker", "config.json")
    if plain and compat:
        raise InvalidError(
            "options for paths to the credential file and to the Docker-compatible credential file can not "
            "be set simultaneously"
        )
    if plain:
        if plain == docker_file:
            text = "saving credentials to ~/.docker/config.json, but not using Docker-compatible file format"
            call.log.warn(text)
        return Target(plain)
    if compat:
        return Target(compat, compat=True)
    if variable := call.environ.get("REGISTRY_AUTH_FILE"):
        if variable == docker_file:
            call.log.warn(
                "$REGISTRY_AUTH_FILE points to ~/.docker/config.json, but the file format is not fully "
                "compatible; use the Docker-compatible file path option instead"
            )
        return Target(variable)
    if folder := call.environ.get("DOCKER_CONFIG"):
        return Target(posixpath.join(folder, "config.json"), compat=True)
    return None


def written_file(chosen: Target | None, system: System) -> Target:
    """The file to write. Raises NotFoundError where $XDG_RUNTIME_DIR names no directory."""
    from wherry.config.auth import primary_path
    from wherry.config.authwrite import Target

    return chosen or Target(primary_path(system))


def check_accessible(call: Call, system: System) -> None:
    """Raises InvalidError where a file that a flag names is not there: logging out would make it."""
    for flag in ("authfile", "compat-auth-file"):
        if path := call.given.text(flag):
            try:
                os.stat(system.path(path))
            except OSError as error:
                problem = f"faccessat {path}: {errno_text(error)}"
                raise InvalidError(f"credential file is not accessible: {problem}") from None


def parse_key(argument: str) -> Key:
    """The key of `REGISTRY[/path]`, or of a URL, of which only host and port count.

    Raises InvalidError for a name that can't be, and for one with a tag or digest.
    """
    key = _host_of_url(argument)
    registry = key.partition("/")[0]
    if registry == key:
        return Key(key, registry)
    try:
        parsed = name.parse_normalized(key)
    except InvalidError as error:
        raise InvalidError(f"parse reference from {quote(key)}: {error}") from None
    if not parsed.is_name_only:
        raise InvalidError(f"reference {quote(str(parsed))} contains tag or digest")
    if parsed.domain != registry:
        raise InvalidError(f"{quote(registry)} is not the name of a registry")
    return Key(key, registry)


def _host_of_url(text: str) -> str:
    for scheme in ("https://", "http://"):
        if text.startswith(scheme):
            authority = text.removeprefix(scheme)
            for end in "/?#":
                authority = authority.partition(end)[0]
            host = authority.rpartition("@")[2]
            if not host or "%" in host:
                raise InvalidError(f"trimming http{{s}} prefix: {quote(text)} names no host")
            return host
    return text
