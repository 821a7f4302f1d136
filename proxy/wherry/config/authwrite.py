"""Writing credentials: what `login` and `logout` do to auth.json, or to Docker's config.json.

A file is replaced in one step, under a lock beside it, mode 0600 whatever the umask; what we do not know is
kept byte for byte. Two formats: `compat` (--compat-auth-file, $DOCKER_CONFIG) is Docker's, which has no
namespaced keys and its own key for docker.io. Spec: skopeo-reference 3.5, M9, M10.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from wherry.config import authfile, credential_helpers
from wherry.config.auth import HUB, HUB_KEY, check_key
from wherry.config.authfile import AuthFile, AuthPath
from wherry.config.registries import AUTH_FILES
from wherry.config.replace import Replacing, replacing
from wherry.errors import InvalidError, NotFoundError, WherryError, context
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.protocol.options import Credentials
    from wherry.system import System

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_EMPTY: Final = "{}"


class Target(Struct, frozen=True):
    """The file that is written; `compat`: in Docker's format."""

    path: str
    compat: bool = False


async def store(
    target: Target, key: str, credentials: Credentials, system: System, sources: Sequence[str]
) -> str:
    """Keep credentials under `key`, in the first of `sources` (credential-helpers of registries.conf) that
    takes them; where they are now, for people to read.

    Raises InvalidError for a key that the place can't have, FileError, and what a helper raises.
    """
    key, sources, namespaced = _prepared(target, key, sources)
    failures: list[WherryError] = []
    for source in sources:
        try:
            if source == AUTH_FILES:
                return await _store_in_file(target, key, namespaced, credentials, system)
            return await _store_in_helper(source, key, namespaced, credentials, system)
        except WherryError as error:
            failures.append(error)
    raise _together("Errors storing credentials", failures)


async def remove(target: Target, key: str, system: System, sources: Sequence[str]) -> bool:
    """Forget the credentials that the file and the helpers hold under `key`; whether there were any."""
    key, sources, namespaced = _prepared(target, key, sources)
    failures: list[WherryError] = []
    found = False
    for source in sources:
        try:
            if source == AUTH_FILES:
                found |= await _remove_from_file(target, key, namespaced, system)
            elif not namespaced:
                found |= await _erase(source, key, system)
        except WherryError as error:
            failures.append(error)
    if failures:
        raise _together("errors removing credentials", failures)
    return found


async def remove_all(target: Target, system: System, sources: Sequence[str]) -> None:
    """Forget all credentials of the file and of the helpers; the file is made where there is none."""
    failures: list[WherryError] = []
    for source in (AUTH_FILES,) if target.compat else sources:
        try:
            if source == AUTH_FILES:
                await _empty_file(target, system)
            else:
                await _empty_helper(source, system)
        except WherryError as error:
            failures.append(error)
    if failures:
        raise _together("errors removing all credentials:", failures)


def _together(what: str, failures: Sequence[WherryError]) -> WherryError:
    first = failures[0]
    if len(failures) > 1:
        first.args = (f"{what}" + "".join(f"\n\t* {error}" for error in failures) + "\n",)
    return first


def _prepared(target: Target, key: str, sources: Sequence[str]) -> tuple[str, Sequence[str], bool]:
    namespaced = check_key(key)
    if not target.compat:
        return key, sources, namespaced
    if namespaced:
        raise InvalidError(
            f"Credentials cannot be recorded in Docker-compatible format with namespaced key {quote(key)}"
        )
    # Docker knows nothing of registries.conf's helpers.
    return HUB_KEY if key == HUB else key, (AUTH_FILES,), False


# --- the file ---------------------------------------------------------------------------------------------


class _Edited:
    """A file under its lock: what it means, and its text in pieces."""

    def __init__(self, target: Target, raw: bytes | None, file: Replacing) -> None:
        where = AuthPath(target.path, named=True)
        self._file = file
        self.meaning = AuthFile(target.path, {}, {}) if raw is None else authfile.parse(where, raw)
        self._members = {} if raw is None else split(raw.decode())
        self._auths_name = self._name("auths")
        text = self._members.get(self._auths_name, _EMPTY)
        self.auths = split(text) if text.startswith("{") else {}

    def _name(self, wanted: str) -> str:
        """How the file spells a member's name."""
        return next((name for name in self._members if name.lower() == wanted.lower()), wanted)

    def drop_helpers(self) -> None:
        self._members.pop(self._name("credHelpers"), None)

    def write(self) -> None:
        """Replace the file by the edited one."""
        auths = joined(dict(sorted(self.auths.items())), depth=1)
        members = self._members if self._auths_name in self._members else {"auths": auths, **self._members}
        self._file.replace(joined({**members, self._auths_name: auths}).encode())


@asynccontextmanager
async def _editing(target: Target, system: System) -> AsyncIterator[_Edited]:
    async with replacing(target.path, system) as file:
        edited = _Edited(target, authfile.read(AuthPath(target.path, named=True), system), file)
        with context(f"updating {quote(target.path)}"):
            yield edited


async def _store_in_file(
    target: Target, key: str, namespaced: bool, credentials: Credentials, system: System
) -> str:
    async with _editing(target, system) as edited:
        if (helper := edited.meaning.helpers.get(key)) is not None:
            return await _store_in_helper(helper, key, namespaced, credentials, system)
        pair = f"{credentials.username}:{credentials.password}".encode("utf-8", "surrogateescape")
        auth = base64.b64encode(pair).decode("ascii")
        edited.auths[key] = joined({"auth": json.dumps(auth)}, depth=2)
        edited.write()
        return target.path


async def _remove_from_file(target: Target, key: str, namespaced: bool, system: System) -> bool:
    failure: WherryError | None = None
    async with _editing(target, system) as edited:
        found = edited.auths.pop(key, None) is not None
        if (helper := edited.meaning.helpers.get(key)) is not None and not namespaced:
            try:
                found |= await _erase(helper, key, system)
            except WherryError as error:
                failure = error
        if failure is not None:
            raise failure
        edited.write()
    return found


async def _empty_file(target: Target, system: System) -> None:
    async with _editing(target, system) as edited:
        for registry, helper in edited.meaning.helpers.items():
            await credential_helpers.erase(helper, registry, system)
        edited.auths.clear()
        if not target.compat:
            edited.drop_helpers()
        edited.write()


# --- helpers ----------------------------------------------------------------------------------------------


async def _store_in_helper(
    helper: str, key: str, namespaced: bool, credentials: Credentials, system: System
) -> str:
    if namespaced:
        raise InvalidError(f"namespaced key is not supported for credential helper {helper}")
    await credential_helpers.store(helper, key, credentials, system)
    return f"credential helper: {helper}"


async def _erase(helper: str, key: str, system: System) -> bool:
    with context(f"removing credentials for {key} from credential helper {helper}"):
        return await credential_helpers.erase(helper, key, system)


async def _empty_helper(helper: str, system: System) -> None:
    try:
        servers = await credential_helpers.list_servers(helper, system)
    except NotFoundError:
        return  # a helper that is not installed holds nothing
    for server in servers:
        await credential_helpers.erase(helper, server, system)


# --- text ---------------------------------------------------------------------------------------------------


def split(text: str) -> dict[str, str]:
    """The members of a JSON object, each value as it is written. `text` must be a valid object."""
    decoder = json.JSONDecoder()
    members: dict[str, str] = {}
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        members[key] = text[start:at]
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members


def joined(members: dict[str, str], depth: int = 0) -> str:
    """A JSON object of values that are JSON already, indented with tabs as skopeo does; `depth`: of the
    object itself."""
    if not members:
        return _EMPTY
    tab = "\t" * (depth + 1)
    lines = ",\n".join(
        f"{tab}{json.dumps(key, ensure_ascii=False)}: {value}" for key, value in members.items()
    )
    return f"{{\n{lines}\n{tab[1:]}}}"


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
