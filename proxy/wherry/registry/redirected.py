"""Control requests that are redirected, driven by httpx over the engine.

Few are, and httpx is a slow import: `registry/control.py` comes here with the first redirect.
"""

from __future__ import annotations

import http.cookiejar
from typing import TYPE_CHECKING

import httpx

from wherry.errors import RegistryError
from wherry.registry import origin
from wherry.registry.engine import Engine, Exchange, Request
from wherry.registry.errors import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.registry.origin import Url


async def follow(engine: Engine, redirect: Exchange) -> Exchange:
    """The answer at the end of the redirects that `redirect` begins, each checked by the origin rules
    (registry/origin.py). The caller has released `redirect`, and releases what is returned.

    httpx adds nothing of its own: no environment, no cookies, no decompression, no default headers.
    Raises NetworkError, StalledError, RegistryError, LimitError and what the request's guard raises.
    """
    asked = redirect.request
    no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    client = httpx.AsyncClient(
        transport=_Transport(engine, redirect),
        trust_env=False,
        cookies=no_cookies,
        timeout=None,  # noqa: S113 - the engine has its own
        follow_redirects=True,
        max_redirects=origin.REDIRECT_LIMIT + 1,  # `_check_redirect` counts, and has our text
        event_hooks={"response": [_check_redirect]},
    )
    try:
        request = httpx.Request(
            asked.method,
            str(asked.url),
            headers=list(asked.headers),
            content=asked.content,
            extensions={"trail": _Trail(asked.url)},
        )
        response = await client.send(request, stream=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f'{asked.method.capitalize()} "{asked.url.shown}": {shown(str(error))}'
        raise RegistryError(text) from error
    exchange: Exchange = response.extensions["exchange"]
    return exchange


class _Trail:
    """Where a request goes next: the URL that the origin rules allowed, after `hops` redirects.

    httpx would read a Location with a parser of its own; what was checked must be what is asked.
    """

    def __init__(self, url: Url) -> None:
        self.url = url
        self.hops = 0


class _Transport(httpx.AsyncBaseTransport):
    """The engine as httpx sees it; the answer at hand is that to the first request.

    A request's method and headers are httpx's matter; authorization and reach go along as they are: the
    engine knows which origin may see them. The response's extensions hold `exchange`.
    """

    def __init__(self, engine: Engine, first: Exchange) -> None:
        self._engine = engine
        self._asked = first.request
        self._first: Exchange | None = first

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        exchange, self._first = self._first, None
        if exchange is None:
            exchange = await self._ask(request)
        kept = exchange.headers
        if origin.is_redirect(exchange.status):
            # httpx reads (and inflates) a redirect's body without a limit; nobody wants it.
            exchange.release()
            kept = [(name, value) for name, value in kept if name.lower() == b"location"]
        return httpx.Response(
            exchange.status, headers=kept, stream=_Body(exchange), extensions={"exchange": exchange}
        )

    async def _ask(self, request: httpx.Request) -> Exchange:
        skipped = (b"host", b"content-length", b"authorization")
        headers = tuple(
            (name.decode("ascii"), value.decode("latin-1"))
            for name, value in request.headers.raw
            if name.lower() not in skipped
        )
        content = await request.aread()
        url = request.extensions["trail"].url
        onward = Request(request.method, url, headers, content, self._asked.authorization, self._asked.reach)
        return await self._engine.start(onward)


class _Body(httpx.AsyncByteStream):
    """A body that httpx does not read: whoever follows redirects takes it from the exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._exchange.released and (chunk := await self._exchange.receive()):
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._exchange.release()


async def _check_redirect(response: httpx.Response) -> None:
    """Before httpx follows a redirect: may it, and where exactly does it lead?"""
    exchange: Exchange = response.extensions["exchange"]
    trail: _Trail = response.request.extensions["trail"]
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
