"""Blobs of a repository: GET and HEAD (distribution-spec, sections Pulling and Checking Blobs).

Resuming a body that was cut, and the cache of where else a blob lies, are not here yet: the first belongs
around the HttpBlob of `open_blob`, the second around `exists`.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from wherry.errors import LimitError, NetworkError, RegistryError, StalledError, WherryError, context
from wherry.model.goquote import quote
from wherry.registry import origin
from wherry.registry.client import RegistryClient, scope
from wherry.registry.errors import read_error, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.model.digest import Digest
    from wherry.model.name import Named
    from wherry.registry.body import HttpBlob
    from wherry.registry.challenge import Scope
    from wherry.registry.engine import Exchange

_IDENTITY = re.compile("identity", re.IGNORECASE)


@asynccontextmanager
async def open_blob(client: RegistryClient, name: Named, digest: Digest) -> AsyncIterator[HttpBlob]:
    """Open a blob; its bytes are not checked. Its size is the Content-Length, None where there is none.

    Raises NotFoundError, AuthError, RegistryError, NetworkError, StalledError.
    """
    url = await client.url(f"{name.path}/blobs/{digest}")
    grant = await client.authorize((scope(name.path, "pull"),))
    async with client.open("GET", url, grant=grant) as exchange:
        if exchange.status != 200:
            with context("fetching blob"):
                raise await read_error(exchange)
        check_identity(exchange)
        yield exchange.body


@asynccontextmanager
async def open_external(client: RegistryClient, urls: Sequence[str]) -> AsyncIterator[HttpBlob | None]:
    """Open a foreign layer at the first of its URLs that has it, without any credentials (CVE-2020-15157).

    None where no URL is http(s). Raises the kind of the last failure, with the texts of all.
    """
    async with AsyncExitStack() as stack:
        exchange = await _first_that_answers(stack, client, urls)
        yield None if exchange is None else exchange.body


async def _first_that_answers(
    stack: AsyncExitStack, client: RegistryClient, urls: Sequence[str]
) -> Exchange | None:
    failures: list[WherryError] = []
    for text in urls:
        try:
            url = origin.parse(text, what="layer URL")
        except RegistryError:
            continue
        try:
            exchange = await stack.enter_async_context(client.open("GET", url))
            if exchange.status == 200:
                check_identity(exchange)
                return exchange
            raise RegistryError(
                f"error fetching external blob from {quote(url.shown)}: "
                f"received unexpected HTTP status: {exchange.status} {shown(exchange.reason)}",
                retryable=exchange.status in (429, 502, 503, 504),
                http_status=exchange.status,
            )
        except (NetworkError, StalledError, RegistryError, LimitError) as error:
            failures.append(error)
    if failures:
        texts = ", ".join(map(str, failures))
        failures[-1].args = (f"failed fetching external blob from all urls: {texts}",)
        raise failures[-1]
    return None


async def exists(
    client: RegistryClient, name: Named, digest: Digest, scopes: tuple[Scope, ...]
) -> int | None:
    """The size of a blob that the repository has; None where it has none.

    Raises AuthError, RegistryError, NetworkError, StalledError.
    """
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
