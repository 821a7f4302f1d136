"""Control requests: small ones, driven by httpx over the engine (redirects included)."""

from __future__ import annotations

import http.cookiejar
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from msgspec import structs

from wherry.errors import RegistryError
from wherry.model.goquote import quote
from wherry.registry import origin
from wherry.registry.engine import AsyncTransport, Authorization, Engine, Exchange, Reach, Trail
from wherry.registry.errors import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.registry.dial import Guard
    from wherry.registry.origin import Url

Headers = tuple[tuple[str, str], ...]


class Answer:
    """The last answer to a control request, after redirects; valid while its context is open."""

    def __init__(self, response: httpx.Response) -> None:
        self.exchange: Exchange = response.extensions["exchange"]

    async def read(self, limit: int) -> bytes:
        """The body; raises LimitError (`exceeded maximum allowed size of N bytes`), RegistryError for a
        compressed one, NetworkError, StalledError."""
        encoding = self.exchange.header("Content-Encoding") or "identity"
        if encoding.lower() != "identity":
            raise RegistryError(f"the response is encoded as {quote(encoding)}, which was not asked for")
        return await self.exchange.read(limit)


class Control:
    """httpx over an engine, for one registry and one user (`reach`), sending `headers` with every request.

    httpx adds nothing of its own: no environment, no cookies, no decompression, no default headers.
    """

    def __init__(self, engine: Engine, reach: Reach, headers: Headers) -> None:
        self.engine = engine
        self.reach = reach
        self.headers = headers
        no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx.AsyncClient(
            transport=AsyncTransport(engine),
            trust_env=False,
            cookies=no_cookies,
            timeout=None,  # noqa: S113 - the engine has its own
            follow_redirects=True,
            max_redirects=origin.REDIRECT_LIMIT + 1,  # `_check_redirect` counts, and has our text
            event_hooks={"response": [_check_redirect]},
        )

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
        request = httpx.Request(
            method,
            str(url),
            headers=[*self.headers, *headers],
            content=content,
            extensions={"authorization": authorization, "reach": reach, "trail": Trail(url)},
        )
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RegistryError(f'{method.capitalize()} "{url.shown}": {shown(str(error))}') from error
        try:
            yield Answer(response)
        finally:
            await response.aclose()


async def _check_redirect(response: httpx.Response) -> None:
    """Before httpx follows a redirect: may it, and where exactly does it lead?"""
    exchange: Exchange = response.extensions["exchange"]
    trail: Trail = response.request.extensions["trail"]
    if exchange.request.method not in ("GET", "HEAD"):
        if origin.is_redirect(exchange.status):
            raise RegistryError(
                f'{exchange.request.method.capitalize()} "{exchange.request.url.shown}": '
                f"redirected with status {exchange.status}, which only GET and HEAD may be"
            )
        return
    onward = origin.redirect(exchange.status, exchange.header("Location"), exchange.request.url, trail.hops)
    if onward is not None:
        trail.url, trail.hops = onward, trail.hops + 1
