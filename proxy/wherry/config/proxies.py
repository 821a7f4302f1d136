"""Which proxy a request goes through, by the environment: Go's rules (golang.org/x/net/http/httpproxy).

HTTP_PROXY serves http, HTTPS_PROXY https; the names in lower case count where the others are empty. NO_PROXY
is a list of hosts, domains, addresses and networks that are reached directly. Loopback never goes through a
proxy (3.8). There is no netrc and no ALL_PROXY (C-18).
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from wherry.errors import InvalidError, NotYetError
from wherry.model.goquote import quote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_WITH_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<plain>[^:\[\]]*)):(?P<port>[^:\[\]]*)")
_NETWORK: Final = re.compile(r"[0-9a-f:.]+/[0-9]+")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Proxy(Struct, frozen=True):
    """An HTTP proxy. `authorization`: the value of Proxy-Authorization, "" for none; never shown."""

    host: str
    port: int
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Proxy(host={self.host!r}, port={self.port}, authorization=…)"


class _Rule(Struct, frozen=True):
    """An entry of NO_PROXY. `domain` begins with a dot; `exact`: the host of that name itself counts too."""

    network: Network | None = None
    domain: str = ""
    exact: bool = False
    port: str = ""

    def matches(self, host: str, port: str, address: Address | None) -> bool:
        if address is not None:
            found = self.network is not None and address in self.network
        else:
            found = bool(self.domain) and (
                host.endswith(self.domain) or (self.exact and self.domain == f".{host}")
            )
        return found and self.port in ("", port)


class Proxies(Struct, frozen=True):
    """The proxies of an environment; without one all goes directly."""

    by_scheme: Mapping[str, str] = {}
    direct: tuple[_Rule, ...] = ()
    all_direct: bool = False
    is_cgi: bool = False

    def find(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a server; None where it is reached directly. `host`: lower case, without brackets.

        Raises InvalidError where the environment says that we serve HTTP ourselves (then HTTP_PROXY may be a
        client's header), NotYetError for a proxy that speaks something else than http.
        """
        url = self.by_scheme.get(scheme)
        if not url:
            return None
        if scheme == "http" and self.is_cgi:
            raise InvalidError(
                "refusing to use HTTP_PROXY value in CGI environment; see golang.org/s/cgihttpproxy"
            )
        if self._is_direct(host, str(port)):
            return None
        return _parse(url)

    def _is_direct(self, host: str, port: str) -> bool:
        address = _address(host)
        if host == "localhost" or self.all_direct or (address is not None and address.is_loopback):
            return True
        return any(rule.matches(host, port, address) for rule in self.direct)


def from_environ(environ: Mapping[str, str]) -> Proxies:
    """Read HTTP_PROXY, HTTPS_PROXY, NO_PROXY and REQUEST_METHOD."""
    entries = [entry.strip().lower() for entry in _any_case(environ, "NO_PROXY").split(",")]
    return Proxies(
        by_scheme={scheme: _any_case(environ, f"{scheme.upper()}_PROXY") for scheme in ("http", "https")},
        direct=tuple(rule for entry in entries if (rule := _rule(entry)) is not None),
        all_direct="*" in entries,
        is_cgi=bool(environ.get("REQUEST_METHOD")),
    )


def _any_case(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _rule(entry: str) -> _Rule | None:
    if _NETWORK.fullmatch(entry):
        try:
            return _Rule(network=ipaddress.ip_network(entry, strict=False))
        except ValueError:
            pass
    parts = _WITH_PORT.fullmatch(entry)
    host, port = (parts["bracketed"] or parts["plain"] or "", parts["port"]) if parts else (entry, "")
    if not host:
        return None
    if (address := _address(host)) is not None:
        return _Rule(network=ipaddress.ip_network(address), port=port)
    domain = host.removeprefix("*") if host.startswith("*.") else host
    exact = not domain.startswith(".")
    return _Rule(domain=_ascii(f".{domain}" if exact else domain), exact=exact, port=port)


def _ascii(domain: str) -> str:
    """A domain as it stands in URLs; one that has no such form matches nothing."""
    try:
        return "." + domain[1:].encode("idna").decode("ascii") if not domain.isascii() else domain
    except UnicodeError:
        return domain


def _address(host: str) -> Address | None:
    """An IP address; an IPv4 address in IPv6 clothes is the IPv4 address."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _parse(text: str) -> Proxy | None:
    """A proxy's URL, whose scheme may be missing; None for one that is none, as in Go."""
    try:
        split = urlsplit(text if _SCHEME.match(text) else f"http://{text}")
        port = split.port or _DEFAULT_PORTS.get(split.scheme, 0)
    except ValueError:
        return None
    if split.scheme != "http":
        raise NotYetError(f"a proxy of the kind {quote(split.scheme)} is not yet built, only http")
    if not split.hostname:
        return None
    authorization = ""
    if split.username is not None:
        pair = f"{unquote(split.username)}:{unquote(split.password or '')}"
        encoded = base64.b64encode(pair.encode("utf-8", "surrogateescape"))
        authorization = f"Basic {encoded.decode('ascii')}"
    return Proxy(split.hostname, port, authorization)
