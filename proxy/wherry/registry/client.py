"""A registry as one user reaches it: ping, authorization, requests to its API.

Spec: distribution-spec; skopeo-reference N1 to N5. Which `ImageAccess` a client is made with is the
configuration's business (wherry.config.access). `request`, `open` and `begin` ask once (and again after 401);
whatever may be asked again after other failures is asked through `persist`.
"""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import trio
from msgspec import Struct

from wherry.config import proxies, registries_load
from wherry.config.access import configured
from wherry.errors import InternalError, InvalidError, WherryError, context
from wherry.model.goquote import quote
from wherry.registry import challenge, origin
from wherry.registry.challenge import Challenge, Scope
from wherry.registry.control import Answer, Control, Headers
from wherry.registry.dial import Limits
from wherry.registry.engine import Authorization, Engine, Exchange, Reach, Request, Send
from wherry.registry.errors import read_error, warning_text
from wherry.registry.origin import Url
from wherry.registry.retry import Breaker, Budget, Persistence
from wherry.registry.shared import SharedRegistries
from wherry.registry.tls import TlsSettings
from wherry.registry.token import VISIBLE, Tokens, TokenServer, basic, token_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Self

    from wherry.config.registries import RegistriesConf
    from wherry.model.name import Named
    from wherry.protocol.options import ImageAccess
    from wherry.system import System

T = TypeVar("T")

CLIENT_LIMIT: Final = 256
WARNING_LIMIT: Final = 64
DOCKER_HUB: Final = "docker.io"
_NETWORK_HOST: Final = {DOCKER_HUB: "registry-1.docker.io"}


class Found(Struct, frozen=True):
    """What the ping of a registry told; `base` is its `/v2/`."""

    base: Url
    challenges: tuple[Challenge, ...]
    peer: str


class Grant(Struct, frozen=True):
    """The header that authorizes a request, and how it can be renewed: `server` is None for all but Bearer
    tokens from a token server."""

    authorization: Authorization | None
    server: TokenServer | None = None
    scopes: tuple[Scope, ...] = ()


class RegistryClient:
    """One registry (`host[:port]` as in image names) with one set of rights.

    It may serve many images at once; the ping, tokens and connections are shared between them.
    """

    def __init__(
        self,
        registry: str,
        access: ImageAccess,
        system: System,
        engine: Engine,
        breaker: Breaker | None = None,
    ) -> None:
        self.registry = registry
        self.engine = engine
        self.system = system
        self.host = _NETWORK_HOST.get(registry, registry)
        self._insecure = access.tls_verify is False
        self._credentials = None if access.anonymous else access.credentials
        self._registry_token = access.registry_token
        cert_dir = system.path(access.cert_dir) if access.cert_dir else ""
        tls = TlsSettings(not self._insecure, cert_dir, system.tls_details)
        reach = Reach(tls, _partition(access))
        self._control = Control(
            engine,
            reach,
            (
                ("Docker-Distribution-Api-Version", "registry/2.0"),
                ("User-Agent", access.user_agent or system.user_agent),
                ("Accept-Encoding", "identity"),
            ),
        )
        self._tokens = Tokens(self._credentials)
        self._found: Found | None = None
        self._pinging = trio.Lock()
        self._persistence = Persistence(system.retries, breaker or Breaker(self.host), system.warn)
        self._warned: set[str] = set()

    def budget(self, stalls: int = 2) -> Budget:
        """What an operation that begins now may spend on further tries (registry/retry.py)."""
        return self._persistence.budget(stalls)

    async def persist(self, once: Callable[[], Awaitable[T]], budget: Budget | None = None) -> T:
        """The result of `once`: idempotent requests, made again within `budget` where they fail in a way that
        may pass. Raises what the last try raised."""
        return await self._persistence.run(once, budget or self.budget(), lambda: self._found is not None)

    async def ping(self) -> Found:
        """Find out how the registry is reached, once; over http only where the user allowed that.

        Raises NetworkError and the like: `pinging container registry HOST: …`.
        """
        async with self._pinging:
            if self._found is None:
                with context(f"pinging container registry {self.host}"):
                    self._found = await self._find()
            return self._found

    async def _find(self) -> Found:
        if not self._insecure:
            return await self._ping_at("https")
        try:
            return await self._ping_at("https")
        except WherryError:
            return await self._ping_at("http")

    async def _ping_at(self, scheme: str) -> Found:
        base = origin.parse(f"{scheme}://{self.host}/v2/", what="registry")
        async with self._control.request("GET", base) as answer:
            exchange = answer.exchange
            if exchange.status not in (200, 401):
                raise await read_error(exchange)
            offers = challenge.parse_all(exchange.header_values("WWW-Authenticate"))
            return Found(base, tuple(offers), exchange.peer)

    async def url(self, path: str) -> Url:
        """The URL of `path` (`NAME/manifests/TAG?query`) below the registry's `/v2/`."""
        return (await self.ping()).base.sibling(f"/v2/{path}")

    async def authorize(self, scopes: tuple[Scope, ...], *, refused: str | None = None) -> Grant:
        """The header for a request that needs `scopes`, by the ping's challenges: Bearer before Basic (R-20).

        `refused`: a token that the registry did not take any more. Raises AuthError and what asking a token
        server raises.
        """
        found = await self.ping()
        offers = {offer.scheme: offer for offer in reversed(found.challenges)}
        if bearer := offers.get("bearer"):
            if self._registry_token is not None:
                return Grant(Authorization(found.base.origin, f"Bearer {_visible(self._registry_token)}"))
            server = token_server(bearer, registry_peer=found.peer, insecure=self._insecure)
            token = await self._tokens.get(self._control, server, scopes, not_this=refused)
            return Grant(Authorization(found.base.origin, f"Bearer {token}"), server, scopes)
        if "basic" in offers and self._credentials is not None:
            # http is used only where the user allowed it (`_find`), and skopeo sends the password then too.
            return Grant(Authorization(found.base.origin, basic(self._credentials)))
        return Grant(None)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        scopes: tuple[Scope, ...],
        headers: Headers = (),
        *,
        content: bytes = b"",
    ) -> AsyncIterator[Answer]:
        """A control request to `path` below `/v2/`; whatever its status, the answer is handed out.

        A 401 answer is tried again once, with a new token: of wider actions where the registry says that
        they are missing (R-28), else in place of one that it no longer takes (R-27).
        """
        url = await self.url(path)
        grant = await self.authorize(scopes)
        async with AsyncExitStack() as stack:
            send = partial(self._control.request, method, url, headers, content=content)
            answer = await stack.enter_async_context(send(authorization=grant.authorization))
            renewed = await self._renew(answer.exchange, grant)
            if renewed is not None:
                await stack.aclose()
                answer = await stack.enter_async_context(send(authorization=renewed.authorization))
            self._hear(answer.exchange)
            yield answer

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: Url,
        *,
        grant: Grant | None = None,
        headers: Headers = (),
        send: Send | None = None,
    ) -> AsyncIterator[Exchange]:
        """A request whose body, in or out, is moved by the data plane; without `grant` it is anonymous.

        Redirects of GET are followed by the origin rules; other methods' are handed out as they are. The
        connection is given back when the context ends.
        """
        exchange = await self.begin(method, url, grant=grant, headers=headers, send=send)
        try:
            yield exchange
        finally:
            exchange.release()

    async def begin(
        self,
        method: str,
        url: Url,
        *,
        grant: Grant | None = None,
        headers: Headers = (),
        send: Send | None = None,
    ) -> Exchange:
        """As `open`; the caller releases the exchange."""
        exchange = await self._follow(method, url, grant, headers, send)
        if grant is None:
            return exchange
        try:
            self._hear(exchange)
            renewed = None if send is not None else await self._renew(exchange, grant)
        except BaseException:
            exchange.release()
            raise
        if renewed is None:
            return exchange
        exchange.release()
        return await self._follow(method, url, renewed, headers, send)

    def _hear(self, exchange: Exchange) -> None:
        """Tell the user what the registry itself warns of, each text once (N13)."""
        found = self._found
        if found is None or exchange.request.url.origin != found.base.origin:
            return
        for header in exchange.header_values("Warning")[:WARNING_LIMIT]:
            text = warning_text(header)
            if text is not None and text not in self._warned and len(self._warned) < WARNING_LIMIT:
                self._warned.add(text)
                where = quote(exchange.request.url.shown)
                self.system.warn(f"Warning from registry (first encountered at {where}): {quote(text)}")

    async def _follow(
        self, method: str, url: Url, grant: Grant | None, headers: Headers, send: Send | None
    ) -> Exchange:
        request = Request(
            method,
            url,
            (*self._control.headers, *headers),
            b"",
            grant.authorization if grant else None,
            self._control.reach,
        )
        for hops in range(origin.REDIRECT_LIMIT + 1):
            exchange = await self.engine.start(request, send)
            if method != "GET":
                break
            try:
                onward = origin.redirect(exchange.status, exchange.header("Location"), request.url, hops)
            except BaseException:
                exchange.release()
                raise
            if onward is None:
                break
            exchange.release()
            request = Request(method, onward, request.headers, b"", request.authorization, request.reach)
        return exchange

    async def _renew(self, exchange: Exchange, grant: Grant) -> Grant | None:
        """Another authorization for a request that was answered with 401, where another one may help."""
        if exchange.status != 401 or grant.server is None or grant.authorization is None:
            return None
        for offer in challenge.parse_all(exchange.header_values("WWW-Authenticate")):
            if offer.scheme == "bearer" and offer.parameters.get("error") == "insufficient_scope":
                wider = challenge.parse_scope(offer.parameters.get("scope", ""))
                if wider is None or not _same_repository(wider, grant.scopes):
                    return None
                return await self.authorize((wider, *grant.scopes[1:]))
        return await self.authorize(grant.scopes, refused=grant.authorization.value.removeprefix("Bearer "))


def _same_repository(wider: Scope, scopes: tuple[Scope, ...]) -> bool:
    """A registry may ask for other actions, never for another repository."""
    return bool(scopes) and (wider.kind, wider.name) == (scopes[0].kind, scopes[0].name)


def _visible(token: str) -> str:
    if not VISIBLE.fullmatch(token):
        raise InvalidError("the registry token holds more than visible ASCII characters")
    return token


def _partition(access: ImageAccess) -> str:
    """Differs where the rights differ; nothing can be learnt from it."""
    credentials = access.credentials if not access.anonymous else None
    user = msgspec.structs.astuple(credentials) if credentials is not None else ()
    parts = (str(len(user)), *user, access.registry_token or "")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def scope(repository: str, actions: str) -> Scope:
    """The scope of a repository's path (`library/busybox`) for `pull` or `pull,push`."""
    return Scope("repository", repository, actions)


class Registries:
    """The registry clients that the images of one owner share; `async with` ends their connections.

    One client for each registry and each way to reach it: nothing is shared between different rights.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        limits = Limits(head=system.idle_timeout, idle=system.idle_timeout)
        self._engine = Engine(limits, proxies=proxies.from_environ(system.environ))
        self._clients: dict[tuple[str, ImageAccess], RegistryClient] = {}
        self._breakers: dict[str, Breaker] = {}
        self._configuration: RegistriesConf | None = None

    async def __aenter__(self) -> Self:
        await self._engine.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        self._clients.clear()
        await self._engine.__aexit__(*details)

    def client(self, registry: str, access: ImageAccess) -> RegistryClient:
        """The client of a registry (`host[:port]` as in image names), with the rights of `access` alone:
        no file is asked for credentials."""
        key = (registry, access)
        if (known := self._clients.pop(key, None)) is None:
            breaker = self._breakers.setdefault(registry, Breaker(registry))
            known = RegistryClient(registry, access, self._system, self._engine, breaker)
        self._clients[key] = known
        if len(self._clients) > CLIENT_LIMIT:
            oldest, _ = next(iter(self._clients))  # the one asked for longest ago
            del self._clients[next(iter(self._clients))]
            if not any(name == oldest for name, _ in self._clients):
                self._breakers.pop(oldest, None)
        return known

    def configuration(self) -> RegistriesConf:
        """registries.conf, read once for all images (as skopeo does, for as long as its process lives).

        Raises as wherry.config.registries_load.load.
        """
        if self._configuration is None:
            self._configuration = registries_load.load(self._system)
        return self._configuration

    async def for_repository(self, named: Named, access: ImageAccess) -> RegistryClient:
        """The client of a repository's registry, reached as the caller and the configuration files say
        (wherry.config.access).

        Raises what reading those raises (`getting username and password: …`), and PolicyError for a
        registry that they block.
        """
        given = access.anonymous or access.credentials is not None
        # What skopeo reads the file for first.
        with context("loading registries" if given else "getting username and password"):
            config = self.configuration()
        return self.client(named.domain, await configured(named, access, self._system, config))


@asynccontextmanager
async def sharing(system: System) -> AsyncIterator[Registries]:
    """The clients that the system's owner shares, or else some that live as long as the context."""
    if system.registries is not None:
        shared = system.registries
        if isinstance(shared, SharedRegistries):
            shared = shared.registries()
        if not isinstance(shared, Registries):
            raise InternalError("System.registries is not a Registries")
        yield shared
        return
    async with Registries(system) as own:
        yield own
