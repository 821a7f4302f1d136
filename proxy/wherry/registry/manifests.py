"""Manifests of a repository: GET and PUT (distribution-spec, sections Pulling and Pushing Manifests)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from wherry.errors import CorruptError, ManifestRejectedError, RegistryError, WherryError, context
from wherry.model import digest as digests
from wherry.model import mediatype, strictjson
from wherry.model.goquote import quote
from wherry.registry.blobs import check_identity
from wherry.registry.client import RegistryClient, scope
from wherry.registry.errors import read_error

if TYPE_CHECKING:
    from wherry.model.name import Named
    from wherry.registry.engine import Exchange
    from wherry.registry.retry import Budget

LIMIT: Final = strictjson.MANIFEST_LIMIT
ACCEPT: Final = tuple(("Accept", media_type) for media_type in mediatype.REQUESTED)


class Fetched(Struct, frozen=True):
    """A manifest's bytes, and the type that the registry said ("" where it said none)."""

    raw: bytes
    media_type: str


async def get(client: RegistryClient, name: Named, wanted: str, budget: Budget | None = None) -> Fetched:
    """The manifest of a tag or digest, as the registry gave it: neither parsed nor compared with a digest.

    `budget`: of the tries, where it is not the usual one.

    Raises ImageNotFoundError where the registry says that there is no such manifest, NotFoundError for other
    404 answers, AuthError, RegistryError, LimitError (over 4 MiB), NetworkError, StalledError.
    """
    return await client.persist(lambda: _get(client, name, wanted), budget)


async def _get(client: RegistryClient, name: Named, wanted: str) -> Fetched:
    where = f"{wanted} in {name.name}"
    path = f"{name.path}/manifests/{wanted}"
    async with AsyncExitStack() as stack:
        with context(f"fetching manifest {where}"):
            url = await client.url(path)
            grant = await client.authorize((scope(name.path, "pull"),))
            # Not by `request`: what httpx does for a control request takes as long as all the rest of it.
            exchange = await stack.enter_async_context(client.open("GET", url, grant=grant, headers=ACCEPT))
        if exchange.status != 200:
            with context(f"reading manifest {where}"):
                raise await read_error(exchange)
        with context(f"reading manifest body {where}"):
            check_identity(exchange)
            raw = await exchange.read(LIMIT)
        said = (exchange.header("Content-Type") or "").partition(";")[0].strip().lower()
        return Fetched(raw, said)


async def put(client: RegistryClient, name: Named, reference: str, raw: bytes, media_type: str) -> None:
    """Store a manifest under a tag or its digest.

    Raises RegistryError and the like (`uploading manifest TAG to NAME: …`), ManifestRejectedError where
    another format of the image may be taken, CorruptError where the registry says that it stored something
    else.
    """
    await client.persist(lambda: _put(client, name, reference, raw, media_type))


async def _put(client: RegistryClient, name: Named, reference: str, raw: bytes, media_type: str) -> None:
    path = f"{name.path}/manifests/{reference}"
    headers = (("Content-Type", media_type),) if media_type else ()
    scopes = (scope(name.path, "pull,push"),)
    async with client.request("PUT", path, scopes, headers, content=raw) as answer:
        with context(f"uploading manifest {reference} to {name.name}"):
            if answer.exchange.status not in (200, 201):
                raise _judged(await read_error(answer.exchange))
            check_stored(answer.exchange, raw)


def _judged(error: WherryError) -> WherryError:
    """The error for a manifest that is not taken, by what registries say of formats that they do not know."""
    rejected = error.errcode in ("MANIFEST_INVALID", "TAG_INVALID") or (
        # What ECR says of an OCI manifest without mediaType.
        error.errcode == "UNSUPPORTED" and "Invalid JSON syntax" in str(error)
    )
    if not rejected:
        return error
    return ManifestRejectedError(str(error), http_status=error.http_status, errcode=error.errcode)


def check_stored(exchange: Exchange, raw: bytes) -> None:
    """Raise unless the answer to a PUT or HEAD says that `raw` is stored: RegistryError, CorruptError.

    A web server that answers 200 to everything is no registry that stored something (R-69).
    """
    said = exchange.header("Docker-Content-Digest")
    if said is None:
        if exchange.status != 201:
            raise RegistryError(
                f"received unexpected HTTP status: {exchange.status} {exchange.reason}, "
                "and no Docker-Content-Digest says what was stored",
                http_status=exchange.status,
            )
        return
    algorithm = said.partition(":")[0]
    own = digests.of(raw, algorithm if algorithm in digests.HEX_LENGTH else "sha256")
    if said != own:
        raise CorruptError(f"the registry says that it stored {quote(said)}, not {own}")
