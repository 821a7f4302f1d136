"""Deleting images of a repository (distribution-spec, section Deleting), and single tags of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from wherry.errors import CorruptError, NotFoundError, RegistryError, WherryError, context
from wherry.model.manifest import manifest_digest, matches_digest
from wherry.registry.client import scope
from wherry.registry.errors import read_error
from wherry.registry.manifests import ACCEPT, LIMIT
from wherry.registry.tags import list_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.model.digest import Digest
    from wherry.model.name import Named
    from wherry.registry.challenge import Scope
    from wherry.registry.client import RegistryClient

# Registries differ in what they ask for (`delete`, `push`); all take this, which skopeo asks for too.
_ACTIONS: Final = "*"
_TAGS_STAY: Final = frozenset({400, 404, 405, 501})
"""What registries answer to DELETE by tag where they only delete by digest."""
_AT_ONCE: Final = 6
_NAMED: Final = 10


async def delete_image(client: RegistryClient, name: Named, wanted: str) -> Digest:
    """Delete the manifest that a tag or digest names, and so every tag of its digest; that digest.

    Raises NotFoundError (`Unable to delete …`), CorruptError where the registry gives another manifest than
    the digest asked for, AuthError, RegistryError (`deleting …`), NetworkError, StalledError.
    """
    found = await _resolve(client, name, wanted)
    await _delete(client, name, found)
    return found


async def delete_tag(client: RegistryClient, name: Named, tag: str) -> Digest:
    """Delete a tag and nothing else; the digest that it named.

    Where the registry can't delete tags, the digest is deleted if no other tag has it. A tag that somebody
    moves there meanwhile is lost: such registries offer no way around. Raises RegistryError where other tags
    have it too, and as `delete_image` and `list_tags`.
    """
    found = await _resolve(client, name, tag)
    async with client.request("DELETE", f"{name.path}/manifests/{tag}", _scopes(name)) as answer:
        status = answer.exchange.status
        if status == 202:
            return found
        if status not in _TAGS_STAY:
            with context(f"deleting {name}"):
                raise await read_error(answer.exchange)
    with context(f"finding other tags of {found}"):
        others = await _sharing(client, name, found, tag)
    if others:
        raise RegistryError(
            f"{name} is not deleted: {client.host} can't delete a tag alone, and the digest {found} "
            f"is shared with {_listed(others)}",
            http_status=status,
        )
    await _delete(client, name, found)
    return found


def _scopes(name: Named) -> tuple[Scope, ...]:
    return (scope(name.path, _ACTIONS),)


async def _resolve(client: RegistryClient, name: Named, wanted: str) -> Digest:
    return await client.persist(lambda: _resolve_once(client, name, wanted))


async def _resolve_once(client: RegistryClient, name: Named, wanted: str) -> Digest:
    path = f"{name.path}/manifests/{wanted}"
    async with client.request("GET", path, _scopes(name), ACCEPT) as answer:
        if answer.exchange.status == 404:
            raise NotFoundError(
                f"Unable to delete {name}. Image may not exist or is not stored with a v2 Schema in a v2 "
                "registry",
                http_status=404,
            )
        with context(f"deleting {name}"):
            if answer.exchange.status != 200:
                raise await read_error(answer.exchange)
            raw = await answer.read(LIMIT)
            # What is deleted must be what was named, whatever the registry answers to its name.
            if name.digest is not None and not matches_digest(raw, name.digest):
                raise CorruptError(f"Manifest does not match provided manifest digest {name.digest}")
            return name.digest or manifest_digest(raw)


async def _delete(client: RegistryClient, name: Named, wanted: Digest) -> None:
    path = f"{name.path}/manifests/{wanted}"
    tries = 0

    async def once() -> None:
        nonlocal tries
        tries += 1
        async with client.request("DELETE", path, _scopes(name), ACCEPT) as answer:
            if answer.exchange.status == 404 and tries > 1:
                return  # the answer to an earlier try was lost
            if answer.exchange.status != 202:
                with context(f"deleting {name}"):
                    raise await read_error(answer.exchange)

    await client.persist(once)


async def _sharing(client: RegistryClient, name: Named, wanted: Digest, but: str) -> list[str]:
    """The tags that name `wanted`, without `but`, in the registry's order."""
    tags = [tag for tag in await list_tags(client, name) if tag != but]
    sharing: set[str] = set()
    failures: list[WherryError] = []
    left = iter(tags)

    async def compare(all_of_us: trio.CancelScope) -> None:
        try:
            for tag in left:
                if await _digest_of(client, name, tag) == wanted:
                    sharing.add(tag)
        except WherryError as error:
            failures.append(error)  # raised below: the nursery would wrap it in a group
            all_of_us.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(_AT_ONCE):
            nursery.start_soon(compare, nursery.cancel_scope)
    if failures:
        raise failures[0]
    return [tag for tag in tags if tag in sharing]


async def _digest_of(client: RegistryClient, name: Named, tag: str) -> str | None:
    """What a tag names; None for one that is gone."""
    path = f"{name.path}/manifests/{tag}"
    async with client.request("HEAD", path, _scopes(name), ACCEPT) as answer:
        exchange = answer.exchange
        said = exchange.header("Docker-Content-Digest")
        if exchange.status == 404:
            return None
        if exchange.status != 200:
            raise await read_error(exchange)
    if said is not None:
        return said
    async with client.request("GET", path, _scopes(name), ACCEPT) as answer:
        if answer.exchange.status != 200:
            raise await read_error(answer.exchange)
        return manifest_digest(await answer.read(LIMIT))


def _listed(tags: Sequence[str]) -> str:
    shown = ", ".join(tags[:_NAMED])
    more = len(tags) - _NAMED
    return f"the tags {shown}" + (f" and {more} more" if more > 0 else "")
