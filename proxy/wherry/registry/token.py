"""Bearer tokens (Docker registry token authentication): which server may be asked, what it may answer.

Spec: distribution's docs/spec/auth/token.md; skopeo-reference N2; hostile-cases R-16 to R-28. Whose
`Credentials` they are is found out before (wherry.config.auth).
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

import trio
from msgspec import Struct

from wherry.errors import AuthError, CorruptError, LimitError, RegistryError, WherryError, context
from wherry.model import strictjson
from wherry.registry import origin
from wherry.registry.engine import Authorization
from wherry.registry.errors import read_error, shown
from wherry.registry.origin import Url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.protocol.options import Credentials
    from wherry.registry.challenge import Challenge, Scope
    from wherry.registry.control import Answer, Control
    from wherry.registry.dial import Guard
    from wherry.registry.origin import Address

BODY_LIMIT: Final = 1024 * 1024
LIFETIME_S: Final = (60.0, 24 * 3600.0)
VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


class Token(Struct, frozen=True):
    """A token and when (on trio's clock) it is no longer used."""

    value: str
    expires: float


class TokenServer(Struct, frozen=True):
    """What the ping of a registry told: whom to ask, and what that server may be.

    `registry_peer`: the IP address that answered the ping; `insecure`: whether the user allowed http and
    unverified TLS for this registry.
    """

    realm: Url
    service: str
    registry_peer: str
    insecure: bool

    @property
    def guard(self) -> Guard:
        """Refuses addresses that a registry may not point to (R-19); for the connection, not the name.

        A name that a proxy resolves comes as "": which addresses it may reach is the proxy's matter. A
        registry behind a proxy may point to public addresses only.
        """
        registry = origin.address(self.registry_peer)

        def check(peer: str) -> None:
            realm = origin.address(peer)
            if not _may_ask(realm, registry):
                raise AuthError(
                    f"the registry at {self.registry_peer or 'the end of a proxy'} "
                    f"names a token server at {peer} ({self.realm.shown}), "
                    "an address of a network that it may not point to"
                )
            local = realm is not None and realm.is_loopback
            if self.realm.scheme == "http" and not self.insecure and not local:
                raise AuthError(f"bearer realm {self.realm.shown} is not https")

        return check


def _may_ask(realm: Address | None, registry: Address | None) -> bool:
    """origin.may_ask, where one of them may be behind a proxy (None)."""
    if realm is None:
        return True
    return realm.is_global if registry is None else origin.may_ask(realm, registry)


def token_server(offer: Challenge, *, registry_peer: str, insecure: bool) -> TokenServer:
    """Read a Bearer challenge; nothing is requested yet.

    Raises AuthError for a realm that is missing or that can't be asked: not http(s), without host, with a
    user, or plain http where the user did not allow that (nor is the registry on loopback).
    """
    realm = offer.parameters.get("realm")
    if not realm:
        raise AuthError("missing realm in bearer auth challenge")
    try:
        url = origin.parse(realm.partition("#")[0], what="bearer realm")
    except RegistryError as error:
        raise AuthError(shown(str(error))) from None
    registry = origin.address(registry_peer)
    if url.scheme == "http" and not insecure and not (registry and registry.is_loopback):
        raise AuthError(f"bearer realm {url.shown} is not https")
    return TokenServer(url, offer.parameters.get("service", ""), registry_peer, insecure)


def token_url(server: TokenServer, credentials: Credentials | None, scopes: Sequence[Scope]) -> Url:
    """The GET request for a token: parameters sorted by name, as skopeo sends them."""
    path, _, query = server.realm.target.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    if credentials is not None and credentials.username:
        pairs.append(("account", credentials.username))
    if server.service:
        pairs.append(("service", server.service))
    pairs.extend(("scope", str(scope)) for scope in scopes)
    pairs.sort(key=lambda pair: pair[0])
    return server.realm.sibling(f"{path}?{urlencode(pairs, errors='surrogateescape')}" if pairs else path)


def refresh_form(server: TokenServer, identity_token: str, scopes: Sequence[Scope]) -> bytes:
    """The form that asks for a token with an identity token (distribution's docs/spec/auth/oauth.md)."""
    pairs = parse_qsl(server.realm.target.partition("?")[2], keep_blank_values=True)
    pairs += [
        ("grant_type", "refresh_token"),
        ("refresh_token", identity_token),
        ("client_id", "containers/image"),
    ]
    if server.service:
        pairs.append(("service", server.service))
    pairs.extend(("scope", str(scope)) for scope in scopes)
    pairs.sort(key=lambda pair: pair[0])
    return urlencode(pairs, errors="surrogateescape").encode("ascii")


def basic(credentials: Credentials) -> str:
    """The value of an Authorization header (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}".encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(pair).decode('ascii')}"


def parse_token(body: bytes, now: float) -> Token:
    """Read a token server's answer.

    Raises AuthError for what is no token: none at all, an empty one (R-22), one with characters that do not
    belong into a header (R-24). Lifetimes count from `now` and are held within 60 s and 24 h (R-26).
    """
    try:
        value = strictjson.loads(body, limit=BODY_LIMIT, what="bearer token response")
    except (CorruptError, LimitError) as error:
        raise AuthError(f"decoding bearer token: {error}") from None
    members = value if isinstance(value, dict) else {}
    token = members.get("token") or members.get("access_token")
    if not isinstance(token, str) or not token:
        raise AuthError("the token server answered without a token")
    if not VISIBLE.fullmatch(token):
        raise AuthError("the token server answered with a token of more than visible ASCII")
    seconds = members.get("expires_in")
    least, most = LIFETIME_S
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = least
    return Token(token, now + min(max(float(seconds), least), most))


class Tokens:
    """The tokens of one registry and one user, one request at a time for each set of scopes."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._known: dict[tuple[Scope, ...], Token] = {}
        self._locks: dict[tuple[Scope, ...], trio.Lock] = {}

    async def get(
        self, control: Control, server: TokenServer, scopes: tuple[Scope, ...], *, not_this: str | None = None
    ) -> str:
        """A token for `scopes`; `not_this` one was refused and is replaced.

        Raises AuthError, and what the request raises.
        """
        async with self._locks.setdefault(scopes, trio.Lock()):
            known = self._known.get(scopes)
            if known is None or known.expires <= trio.current_time() or known.value == not_this:
                known = self._known[scopes] = await self._ask(control, server, scopes)
            return known.value

    async def _ask(self, control: Control, server: TokenServer, scopes: tuple[Scope, ...]) -> Token:
        if self._credentials is not None and self._credentials.identity_token:
            return await self._refresh(control, server, self._credentials.identity_token, scopes)
        url = token_url(server, self._credentials, scopes)
        authorization = None
        if self._credentials is not None and self._credentials.username and self._credentials.password:
            authorization = Authorization(url.origin, basic(self._credentials))
        async with control.request("GET", url, authorization=authorization, guard=server.guard) as answer:
            return await _read_token(answer)

    async def _refresh(
        self, control: Control, server: TokenServer, identity_token: str, scopes: tuple[Scope, ...]
    ) -> Token:
        form = refresh_form(server, identity_token, scopes)
        headers = (("Content-Type", "application/x-www-form-urlencoded"),)
        async with control.request("POST", server.realm, headers, content=form, guard=server.guard) as answer:
            return await _read_token(answer, "Trying to obtain access token")


async def _read_token(answer: Answer, refused: str = "Requesting bearer token") -> Token:
    if answer.exchange.status != 200:
        raise _refusal(await read_error(answer.exchange), refused)
    with context("reading bearer token response"):
        body = await answer.read(BODY_LIMIT)
    return parse_token(body, trio.current_time())


def _refusal(error: WherryError, what: str) -> WherryError:
    kind: type[WherryError] = RegistryError if error.retryable else AuthError
    texts = {
        401: f"unable to retrieve auth token: invalid username/password: {error}",
        429: "too many requests to registry",
    }
    text = texts.get(error.http_status or 0, f"{what}: {error}")
    return kind(text, retryable=error.retryable, http_status=error.http_status, retry_after=error.retry_after)
