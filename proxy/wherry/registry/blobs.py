"""Blobs of a repository: GET and HEAD (distribution-spec, sections Pulling and Checking Blobs).

Where else a blob lies is not known here: that belongs around `exists`.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from wherry.errors import LimitError, NetworkError, RegistryError, StalledError, WherryError, context
from wherry.model.goquote import quote
from wherry.registry import origin
from wherry.registry.client import RegistryClient, scope
from wherry.registry.errors import error_of, read_error, shown
from wherry.registry.resume import ResumingBlob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.model.digest import Digest
    from wherry.model.name import Named
    from wherry.registry.challenge import Scope
    from wherry.registry.control import Headers
    from wherry.registry.engine import Exchange
    from wherry.registry.origin import Url

_IDENTITY = re.compile("identity", re.IGNORECASE)


@asynccontextmanager
async def open_blob(client: RegistryClient, name: Named, digest: Digest) -> AsyncIterator[ResumingBlob]:
    """Open a blob; its bytes are not checked. Its size is the Content-Length, None where there is none.

    A body that is cut or stalls is resumed (registry/resume.py). Raises NotFoundError, AuthError,
    RegistryError, NetworkError, StalledError.
    """

    async def ask(offset: int) -> Exchange:
        url = await client.url(f"{name.path}/blobs/{digest}")
        grant = await client.authorize((scope(name.path, "pull"),))
        exchange = await client.begin("GET", url, grant=grant, headers=_range(offset))
        if not _holds_content(exchange, offset):
            with context("fetching blob"):
                raise await error_of(exchange)
        return exchange

    blob = ResumingBlob(client, await client.persist(lambda: ask(0)), ask)
    try:
        yield blob
    finally:
        blob.release()


def _range(offset: int) -> Headers:
    return (("Range", f"bytes={offset}-"),) if offset else ()


def _holds_content(exchange: Exchange, offset: int) -> bool:
    """Whether the answer has the body that was asked for; the exchange is released if this raises."""
    if exchange.status != 200 and not (offset and exchange.status == 206):
        return False
    try:
        check_identity(exchange)
    except BaseException:
        exchange.release()
        raise
    return True


@asynccontextmanager
async def open_external(client: RegistryClient, urls: Sequence[str]) -> AsyncIterator[ResumingBlob | None]:
    """Open a foreign layer at the first of its URLs that has it, without any credentials (CVE-2020-15157).

    None where no URL is http(s). Raises the kind of the last failure, with the texts of all.
    """
    blob = await _first_that_answers(client, urls)
    try:
        yield blob
    finally:
        if blob is not None:
            blob.release()


async def _first_that_answers(client: RegistryClient, urls: Sequence[str]) -> ResumingBlob | None:
    failures: list[WherryError] = []
    for text in urls:
        try:
            url = origin.parse(text, what="layer URL")
        except RegistryError:
            continue
        try:
            # Once: there may be other URLs, and their servers are not the registry that `persist` knows.
            return ResumingBlob(
                client, await _ask_external(client, url, 0), partial(_ask_external, client, url)
            )
        except (NetworkError, StalledError, RegistryError, LimitError) as error:
            failures.append(error)
    if failures:
        texts = ", ".join(map(str, failures))
        failures[-1].args = (f"failed fetching external blob from all urls: {texts}",)
        raise failures[-1]
    return None


async def _ask_external(client: RegistryClient, url: Url, offset: int) -> Exchange:
    exchange = await client.begin("GET", url, headers=_range(offset))
    if not _holds_content(exchange, offset):
        exchange.release()
        raise RegistryError(
            f"error fetching external blob from {quote(url.shown)}: "
            f"received unexpected HTTP status: {exchange.status} {shown(exchange.reason)}",
            retryable=exchange.status in (429, 502, 503, 504),
            http_status=exchange.status,
        )
    return exchange


async def exists(
    client: RegistryClient, name: Named, digest: Digest, scopes: tuple[Scope, ...]
) -> int | None:
    """The size of a blob that the repository has; None where it has none.

    Raises AuthError, RegistryError, NetworkError, StalledError.
    """
    return await client.persist(lambda: _exists(client, name, digest, scopes))


async def _exists(
    client: RegistryClient, name: Named, digest: Digest, scopes: tuple[Scope, ...]
) -> int | None:
    where = f"checking whether a blob {digest} exists in {name.name}"
    async with client.request("HEAD", f"{name.path}/blobs/{digest}", scopes) as answer:
        exchange = answer.exchange
        if exchange.status == 404:
            return None
        if exchange.status != 200:
            with context(where):
                raise await read_error(exchange)
        length = exchange.header("Content-Length")
        if length is None or not re.fullmatch(r"[0-9]{1,18}", length):
            raise RegistryError(
                f"determining size of blob {digest} in {name.name}: "
                'Missing "Content-Length" header in response'
            )
        return int(length)


def check_identity(exchange: Exchange) -> None:
    """Refuse a body that the server encoded unasked: RegistryError."""
    encoding = exchange.header("Content-Encoding")
    if encoding is not None and not _IDENTITY.fullmatch(encoding):
        raise RegistryError(f"the response is encoded as {quote(encoding)}, which was not asked for")
