"""URLs, redirects, and where a registry may send us."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import RegistryError
from wherry.registry import origin


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a.example", "https://a.example/"),
        ("HTTPS://A.Example:443/x?y=z#f", "https://a.example/x?y=z"),
        ("http://a:80/x", "http://a/x"),
        ("http://a:8080/x", "http://a:8080/x"),
        ("http://[::1]:5000/v2/", "http://[::1]:5000/v2/"),
        ("https://[2001:DB8::1]/", "https://[2001:db8::1]/"),
        ("http://a/ü?ß", "http://a/%C3%BC?%C3%9F"),
        ("http://a/%2F%zz", "http://a/%2F%zz"),
        ("http://a?b", "http://a/?b"),
        ("http://under_score.example/", "http://under_score.example/"),
    ],
)
def test_urls(text: str, shown: str) -> None:
    assert str(origin.parse(text)) == shown


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is empty or holds spaces"),
        ("http://a/b c", "is empty or holds spaces"),
        ("http://a/\r\nX: y", "is empty or holds spaces"),
        ("http://a/\tb", "is empty or holds spaces"),
        ("ftp://a/", "is neither http nor https"),
        ("//a/b", "is neither http nor https"),
        ("javascript:alert(1)", "is neither http nor https"),
        ("http:///x", "has no valid host"),
        ("http://a b/", "is empty or holds spaces"),
        ("http://-a/", "has no valid host"),
        ("http://ü/", "has no valid host"),
        ("http://[::1%25eth0]/", "has no valid host"),
        ("http://a:99999/", "is not valid"),
        ("http://[::1/", "is not valid"),
        ("http://u@a/", "holds a user name or password"),
        ("http://:@a/", "holds a user name or password"),
        ("http://a/" + "b" * 8192, "is longer than 8192 characters"),
    ],
)
def test_urls_that_are_refused(text: str, rule: str) -> None:
    with pytest.raises(RegistryError, match=rule):
        origin.parse(text)


@given(st.text(max_size=60))
def test_whatever_is_accepted_is_safe_on_the_wire(text: str) -> None:
    for candidate in (text, f"http://{text}", f"https://a/{text}"):
        try:
            url = origin.parse(candidate)
        except RegistryError:
            continue
        assert re.fullmatch(r"[\x21-\x7e]+", str(url))
        assert origin.parse(str(url)) == url


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/u", "/u?digest=d"),
        ("/u?a=b", "/u?a=b&digest=d"),
        ("/u?digest=x&a=b&digest=y", "/u?a=b&digest=d"),
        ("/u?%64igest=x&a=%2F", "/u?a=%2F&digest=d"),
        ("/u?_state=a==&b", "/u?_state=a==&b&digest=d"),
    ],
)
def test_a_query_parameter_replaces_its_namesakes(target: str, expected: str) -> None:
    """The rest of the query stays as the server wrote it: it may be signed."""
    assert origin.parse("http://a").sibling(target).with_query("digest", "d").target == expected


HTTP, HTTPS = origin.parse("http://a/x/y"), origin.parse("https://a/x/y")


def test_r13_no_location_leads_from_https_to_http() -> None:
    with pytest.raises(RegistryError, match="leads from https to http, which is refused"):
        origin.location("http://a/", HTTPS, "upload Location")
    assert origin.location("https://b/", HTTPS, "upload Location").host == "b"
    assert origin.location("https://b/", HTTP, "upload Location").host == "b"
    assert str(origin.location("../z?q", HTTP, "upload Location")) == "http://a/z?q"


def test_redirects() -> None:
    assert origin.redirect(200, "http://b/", HTTP, 0) is None
    assert origin.redirect(307, None, HTTP, 0) is None
    assert origin.redirect(304, "http://b/", HTTP, 0) is None
    for status in (301, 302, 303, 307, 308):
        assert origin.redirect(status, "http://b/", HTTP, 4) == origin.parse("http://b/")
    with pytest.raises(RegistryError, match="stopped after 5 redirects"):
        origin.redirect(307, "http://b/", HTTP, 5)


def test_r10_an_origin_is_scheme_host_and_port() -> None:
    same = origin.parse("https://a:443/other").origin
    assert HTTPS.origin == same
    assert HTTP.origin != HTTPS.origin
    assert origin.parse("https://a:444/").origin != same


def test_errors_do_not_show_what_object_stores_sign() -> None:
    assert origin.parse("https://s3/x?X-Amz-Signature=secret").shown == "https://s3/x"


LOOPBACK, PRIVATE, LINK_LOCAL, PUBLIC = "127.0.0.1", "10.1.2.3", "169.254.169.254", "8.8.8.8"


@pytest.mark.parametrize(
    ("realm", "registry", "allowed"),
    [
        (PUBLIC, PUBLIC, True),
        (PUBLIC, PRIVATE, True),
        (PUBLIC, LOOPBACK, True),
        (PRIVATE, PUBLIC, False),
        (PRIVATE, PRIVATE, True),
        (PRIVATE, LOOPBACK, True),
        ("172.20.0.1", PRIVATE, True),
        (LOOPBACK, PUBLIC, False),
        (LOOPBACK, PRIVATE, False),
        (LOOPBACK, "127.0.0.2", True),
        (LINK_LOCAL, PUBLIC, False),
        (LINK_LOCAL, PRIVATE, False),
        (LINK_LOCAL, LOOPBACK, False),
        (LINK_LOCAL, LINK_LOCAL, True),
        ("100.64.0.1", PUBLIC, False),
        ("0.0.0.0", LOOPBACK, False),  # noqa: S104 - an address to refuse
        ("224.0.0.1", PUBLIC, False),
        ("::1", PUBLIC, False),
        ("::1", LOOPBACK, True),
        ("fe80::1", PUBLIC, False),
        ("fd00::1", PUBLIC, False),
        ("fd00::1", "fd00::2", True),
        ("::ffff:127.0.0.1", PUBLIC, False),
        ("::ffff:169.254.169.254", LOOPBACK, False),
        ("2606:4700::1", PUBLIC, True),
    ],
)
def test_r16_which_addresses_a_registry_may_name(realm: str, registry: str, allowed: bool) -> None:
    asked, asking = origin.address(realm), origin.address(registry)
    assert asked is not None
    assert asking is not None
    assert origin.may_ask(asked, asking) is allowed


def test_what_is_no_address() -> None:
    assert origin.address("example.com") is None
