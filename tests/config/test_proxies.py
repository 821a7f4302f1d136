"""Which requests go through a proxy: skopeo's answers for the table of cases.py, and what it can't show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.config.cases import PROXIES, PROXY
from wherry.config.proxies import Proxy, from_environ
from wherry.errors import InvalidError, NotYetError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "proxies.json").read_text())


@pytest.mark.parametrize(
    ("environ", "registry", "proxied"),
    [(environ, registry, answer) for (environ, registry), answer in zip(PROXIES, GOLDEN, strict=True)],
)
def test_as_skopeo(environ: dict[str, str], registry: str, proxied: bool) -> None:
    host, _, port = registry.lower().partition(":")
    found = from_environ(environ).find("https", host, int(port or 443))
    assert (found is not None) == proxied
    if found is not None:
        assert (found.host in ("127.0.0.1", "localhost"), found.port) == (True, 9)


@pytest.mark.parametrize(
    ("entries", "host", "proxied"),
    [
        ("", "2001:db8::1", True),
        ("", "localhost", False),
        ("", "::1", False),
        ("", "::ffff:127.0.0.1", False),
        ("2001:db8::1", "2001:db8::1", False),
        ("2001:DB8:0::1", "2001:db8::1", False),
        ("[2001:db8::1]:443", "2001:db8::1", False),
        ("[2001:db8::1]:444", "2001:db8::1", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db8::1", False),
        ("2001:db9::/32", "2001:db8::1", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", False),
        ("bücher.invalid", "xn--bcher-kva.invalid", False),
    ],
)
def test_addresses_that_image_names_lack(entries: str, host: str, proxied: bool) -> None:
    """By the rules of golang.org/x/net/http/httpproxy; token servers and blobs may be anywhere."""
    found = from_environ({"HTTPS_PROXY": PROXY, "NO_PROXY": entries}).find("https", host, 443)
    assert (found is not None) == proxied


def test_each_scheme_has_its_own() -> None:
    proxies = from_environ({"HTTP_PROXY": "http://one:1", "HTTPS_PROXY": "two:2"})
    assert proxies.find("http", "a.invalid", 80) == Proxy("one", 1)
    assert proxies.find("https", "a.invalid", 443) == Proxy("two", 2)
    assert from_environ({"HTTPS_PROXY": "two"}).find("https", "a.invalid", 443) == Proxy("two", 80)
    assert from_environ({"HTTPS_PROXY": "two:2"}).find("http", "a.invalid", 80) is None


def test_a_server_of_http_takes_no_http_proxy() -> None:
    """A CGI program gets HTTP_PROXY from a client's header (httpoxy)."""
    proxies = from_environ({"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY, "REQUEST_METHOD": "GET"})
    assert proxies.find("https", "a.invalid", 443) is not None
    with pytest.raises(InvalidError, match="refusing to use HTTP_PROXY value in CGI"):
        proxies.find("http", "a.invalid", 80)


@pytest.mark.parametrize(
    ("url", "kind"), [("socks5://h:1", "socks5"), ("https://h", "https"), ("x://h", "x")]
)
def test_kinds_that_are_not_built(url: str, kind: str) -> None:
    with pytest.raises(NotYetError, match=f'^a proxy of the kind "{kind}" is not yet built, only http$'):
        from_environ({"HTTPS_PROXY": url}).find("https", "a.invalid", 443)


def test_the_password_is_for_the_proxy_alone() -> None:
    found = from_environ({"HTTPS_PROXY": "http://us%65r:p%40ss@h:1"}).find("https", "a.invalid", 443)
    assert found == Proxy("h", 1, "Basic dXNlcjpwQHNz")
    assert "dXNl" not in repr(found)
