"""URLs of servers, and where a request may be led: the one set of origin rules (sans-IO).

An origin is scheme, host and port (RFC 6454). Credentials belong to one origin and are sent to no other
(R-09, R-10); a redirect or an upload's Location may name another origin, but never a less safe scheme, never
something else than http(s), and never a user (R-13 to R-15).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from wherry.errors import RegistryError
from wherry.model.goquote import quote

REDIRECT_LIMIT: Final = 5
URL_LIMIT: Final = 8192
_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?")
_USER: Final = re.compile(r"//.*@", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
_UNSAFE: Final = re.compile(rb"[^!#-;=?-Z\\\]\[_a-z~^|{}]")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Origin(NamedTuple):
    """Scheme, host (lower case, IPv6 without brackets) and port."""

    scheme: str
    host: str
    port: int


class Url(NamedTuple):
    """An absolute http(s) URL, well formed: `target` is its path and query, as they go on the wire."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> Origin:
        return Origin(self.scheme, self.host, self.port)

    @property
    def authority(self) -> str:
        """`host` or `host:port`, as it stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """For error texts and logs: without the query, where object stores put their signatures (C-10)."""
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def sibling(self, target: str) -> Url:
        """Another path and query of the same origin."""
        return self._replace(target=target)

    def with_query(self, name: str, value: str) -> Url:
        """The same with `name=value` in its query, in place of any `name` that is there (R-14)."""
        path, _, query = self.target.partition("?")
        kept = [pair for pair in query.split("&") if pair and _query_name(pair) != name]
        return self._replace(target=f"{path}?{'&'.join([*kept, urlencode({name: value})])}")


def _query_name(pair: str) -> str:
    parsed = parse_qsl(pair, keep_blank_values=True)
    return parsed[0][0] if parsed else ""


def parse(text: str, *, base: Url | None = None, what: str = "URL") -> Url:
    """Make a Url of what a server or a user wrote; relative ones are joined to `base`.

    Raises RegistryError, which names `what` and the rule that was broken.
    """
    if len(text) > URL_LIMIT:
        raise RegistryError(f"{what} is longer than {URL_LIMIT} characters")
    if not text or _CONTROL.search(text):
        raise RegistryError(f"{what} {_redacted(text)} is empty or holds spaces or control characters")
    try:
        split = urlsplit(urljoin(str(base), text) if base else text)
        port = split.port
    except ValueError:  # its text may hold a part of the URL
        raise RegistryError(f"{what} {_redacted(text)} is not valid") from None
    if split.scheme not in _PORTS:
        raise RegistryError(f"{what} {_redacted(text)} is neither http nor https")
    if split.username is not None or split.password is not None:
        raise RegistryError(f"{what} {quote(split.hostname or '')} holds a user name or password")
    host = split.hostname or ""
    if not (_HOST.fullmatch(host) or (":" in host and _is_address(host))):
        raise RegistryError(f"{what} {_redacted(text)} has no valid host")
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    wire = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], target.encode("utf-8", "replace"))
    return Url(split.scheme, host, _PORTS[split.scheme] if port is None else port, wire.decode("ascii"))


def _redacted(text: str) -> str:
    """A URL that may not be used, for an error: without query and user, which hold secrets (C-10)."""
    return quote(_USER.sub("//…@", text.partition("?")[0]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return "%" not in host


def location(text: str | None, base: Url, what: str) -> Url:
    """Where a response to `base` leads, by its Location header.

    Raises RegistryError where there is none, where it is no http(s) URL, names a user, or leads from https
    to http.
    """
    if text is None:
        raise RegistryError(f"{what}: http: no Location header in response")
    found = parse(text, base=base, what=what)
    if base.scheme == "https" and found.scheme == "http":
        raise RegistryError(f"{what} {quote(found.shown)} leads from https to http, which is refused")
    return found


def is_redirect(status: int) -> bool:
    """Whether a response with this status means another place by its Location."""
    return status in _REDIRECTS


def redirect(status: int, header: str | None, base: Url, hops: int) -> Url | None:
    """Where a response with this status leads; None where it is no redirect.

    `hops`: redirects followed already. Raises RegistryError as `location`, and beyond REDIRECT_LIMIT hops.
    """
    if status not in _REDIRECTS or header is None:
        return None
    if hops >= REDIRECT_LIMIT:
        raise RegistryError(f"stopped after {REDIRECT_LIMIT} redirects")
    return location(header, base, "redirect")


def address(text: str) -> Address | None:
    """An IP address as it counts for `may_ask`: an IPv4 address in IPv6 clothes is the IPv4 address."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        return found.ipv4_mapped or found
    return found


def may_ask(realm: Address, registry: Address) -> bool:
    """Whether a registry at the address `registry` may send us to a token server at `realm` (R-16, R-19).

    A public address always. Else a registry may name its own neighbourhood only: loopback a loopback
    address; a private network a private one, as may a registry on loopback, which is the user's own; a
    link-local address (where clouds keep their metadata) only another one.
    """
    if realm == registry:
        return True
    if realm.is_unspecified or realm.is_multicast:
        return False
    if realm.is_loopback:
        return registry.is_loopback
    if realm.is_link_local:
        return registry.is_link_local
    return realm.is_global or not registry.is_global
