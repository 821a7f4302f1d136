"""Asking a registry whether it has what it said it took (`--verify-push`, R-69, R-70)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from wherry.errors import CorruptError, RegistryError, WherryError, context
from wherry.model import digest as digests
from wherry.registry import blobs, manifests
from wherry.registry.client import scope
from wherry.registry.errors import read_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wherry.model.descriptor import Descriptor
    from wherry.model.name import Named
    from wherry.registry.client import RegistryClient

_AT_ONCE: Final = 6


async def confirm_blobs(client: RegistryClient, name: Named, wanted: Iterable[Descriptor]) -> None:
    """HEAD each blob. Raises RegistryError for one that is missing or has another size, and as `exists`."""
    left = iter({descriptor.digest: descriptor for descriptor in wanted}.values())
    failures: list[WherryError] = []
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            try:
                await _confirm_each(client, name, left)
            except WherryError as error:
                failures.append(error)  # raised below: the nursery would wrap it in a group
                nursery.cancel_scope.cancel()

        for _ in range(_AT_ONCE):
            nursery.start_soon(work)
    if failures:
        raise failures[0]


async def _confirm_each(client: RegistryClient, name: Named, left: Iterator[Descriptor]) -> None:
    scopes = (scope(name.path, "pull,push"),)
    for descriptor in left:
        with context("verifying the push"):
            size = await blobs.exists(client, name, descriptor.digest, scopes)
        if size is None:
            # Another try sends the blob again, which is what helps.
            raise RegistryError(
                f"verifying the push: {client.host} took blob {descriptor.digest} and has it no more in "
                f"{name.name}",
                retryable=True,
            )
        if descriptor.size not in (-1, size):
            raise RegistryError(
                f"verifying the push: {client.host} has {size} bytes of blob {descriptor.digest} in "
                f"{name.name}, not {descriptor.size}"
            )


async def confirm_manifest(client: RegistryClient, name: Named, reference: str, raw: bytes) -> None:
    """Check that `reference` stands for `raw`. Raises RegistryError, CorruptError, and as `manifests.get`."""
    with context(f"verifying the push of manifest {reference} to {name.name}"):
        path = f"{name.path}/manifests/{reference}"
        scopes = (scope(name.path, "pull,push"),)
        async with client.request("HEAD", path, scopes, manifests.ACCEPT) as answer:
            if answer.exchange.status != 200:
                raise await read_error(answer.exchange)
            if answer.exchange.header("Docker-Content-Digest") is not None:
                manifests.check_stored(answer.exchange, raw)
                return
        found = await manifests.get(client, name, reference)
        if found.raw != raw:
            raise CorruptError(f"the registry has {digests.of(found.raw)}, not {digests.of(raw)}")
