"""Control requests: small ones, asked of the engine; httpx comes where one is redirected."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import structs

from wherry.errors import RegistryError
from wherry.model.goquote import quote
from wherry.registry import origin
from wherry.registry.engine import Authorization, Engine, Exchange, Reach, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.registry.dial import Guard
    from wherry.registry.origin import Url

Headers = tuple[tuple[str, str], ...]


class Answer:
    """The last answer to a control request, after redirects; valid while its context is open."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def read(self, limit: int) -> bytes:
        """The body; raises LimitError (`exceeded maximum allowed size of N bytes`), RegistryError for a
        compressed one, NetworkError, StalledError."""
        encoding = self.exchange.header("Content-Encoding") or "identity"
        if encoding.lower() != "identity":
            raise RegistryError(f"the response is encoded as {quote(encoding)}, which was not asked for")
        return await self.exchange.read(limit)


class Control:
    """An engine, for one registry and one user (`reach`), sending `headers` with every request."""

    def __init__(self, engine: Engine, reach: Reach, headers: Headers) -> None:
        self.engine = engine
        self.reach = reach
        self.headers = headers

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: Url,
        headers: Headers = (),
        *,
        content: bytes = b"",
        authorization: Authorization | None = None,
        guard: Guard | None = None,
    ) -> AsyncIterator[Answer]:
        """Send a request and follow its redirects, each checked by the origin rules (registry/origin.py).

        `authorization` goes to its own origin only, wherever the redirects lead; `guard` judges the address
        of every hop. Raises NetworkError, StalledError, RegistryError, LimitError and what `guard` raises.
        """
        reach = self.reach if guard is None else structs.replace(self.reach, guard=guard)
        asked = Request(method, url, (*self.headers, *headers), content, authorization, reach)
        exchange = await self.engine.start(asked)
        if origin.is_redirect(exchange.status):
            exchange.release()
            from wherry.registry.redirected import follow

            exchange = await follow(self.engine, exchange)
        try:
            yield Answer(exchange)
        finally:
            exchange.drain()
            exchange.release()
