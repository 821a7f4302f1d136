"""Docker references (T1): skopeo's refusals word for word, normalisation, policy scopes."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model import record
from wherry.errors import InvalidError
from wherry.model import name
from wherry.model.name import Named

GOLDEN: dict[str, str] = json.loads((record.HERE / "golden" / "names.json").read_text())
# docs/differences.md: the grammar's newer version has IPv6 literals
BEYOND = ("//[::1]:5000/a", "//[::1]/a")
REFUSALS = {text: refusal for text, refusal in GOLDEN.items() if text not in BEYOND}
A64 = "a" * 64


@pytest.mark.parametrize("text", [text for text, refusal in REFUSALS.items() if not refusal])
def test_names_that_skopeo_takes(text: str) -> None:
    parsed = name.parse_docker_transport(text)
    assert name.parse_docker_transport(str(parsed)) == parsed


@pytest.mark.parametrize(("text", "refusal"), [case for case in REFUSALS.items() if case[1]])
def test_names_that_skopeo_refuses(text: str, refusal: str) -> None:
    with pytest.raises(InvalidError, match=f"^{re.escape(refusal)}$"):
        name.parse_docker_transport(text)


@pytest.mark.parametrize("text", BEYOND)
def test_names_that_wherry_takes_and_skopeo_refuses(text: str) -> None:
    assert GOLDEN[text] == "invalid reference format"
    parsed = name.parse_docker_transport(text)
    assert str(parsed) == f"{text}:latest"
    assert name.parse_docker_transport(str(parsed)) == parsed


IPV6 = [
    ("[::1]/a", "[::1]"),
    ("[::1]:5000/a/b:t", "[::1]:5000"),
    ("[2001:DB8::a]:443/a", "[2001:DB8::a]:443"),
    (f"[fe80::1]:5/a@sha256:{A64}", "[fe80::1]:5"),
]


@pytest.mark.parametrize(("text", "domain"), IPV6)
def test_ipv6_literals(text: str, domain: str) -> None:
    parsed = name.parse_normalized(text)
    assert parsed.domain == domain
    assert str(parsed) == parsed.familiar == text
    assert name.parse_named(text) == parsed == name.parse(text)


NO_IPV6 = [
    "[fe80::1%eth0]:5000/a",
    "[fe80::1%25eth0]/a",
    "[::1/a",
    "::1]/a",
    "::1/a",
    "::1:5000/a",
    "[]:5000/a",
    "[::1]:/a",
    "[::1]:x/a",
    "[::1]x/a",
    "[::1]5000/a",
    "x[::1]/a",
    "[[::1]]/a",
    "[::g]/a",
    "[::ffff:127.0.0.1]/a",
    "user@[::1]:5000/a",
    "[::1]",
    "[::1]:5000",
    "[::1]:5000/",
    "[::1]:5000//a",
    "a/[::1]/b",
]


@pytest.mark.parametrize("text", NO_IPV6)
def test_what_is_no_ipv6_literal_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match=r"^invalid reference format$"):
        name.parse_normalized(text)


def test_an_upper_case_path_behind_an_ipv6_literal_is_told() -> None:
    with pytest.raises(InvalidError, match=r"^invalid reference format: repository name must be lowercase$"):
        name.parse_normalized("[::1]:5000/A")


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/user/app", "docker.io/user/app", "user/app"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("quay.io/library/a", "quay.io/library/a", "quay.io/library/a"),
        ("localhost/a", "localhost/a", "localhost/a"),
        ("a_b.com/c", "a_b.com/c", "a_b.com/c"),
        (f"x:t@sha256:{A64}", f"docker.io/library/x:t@sha256:{A64}", f"x:t@sha256:{A64}"),
    ],
)
def test_normalisation(text: str, full: str, familiar: str) -> None:
    parsed = name.parse_normalized(text)
    assert (str(parsed), parsed.familiar) == (full, familiar)


def test_a_full_name_may_be_demanded() -> None:
    # skopeo copy --sign-identity busybox …: "Could not parse --sign-identity: " and this text
    assert name.parse_named("docker.io/library/busybox:1") == name.parse_normalized("busybox:1")
    with pytest.raises(InvalidError, match=r"^repository name must be canonical$"):
        name.parse_named("busybox:1")
    with pytest.raises(InvalidError, match=r"^invalid reference format: repository name must be lowercase$"):
        name.parse_named("docker.io/library/Busybox")


def test_the_default_tag_is_added_only_to_bare_names() -> None:
    assert str(name.tag_name_only(name.parse_normalized("a"))) == "docker.io/library/a:latest"
    assert str(name.tag_name_only(name.parse_normalized("a:x"))) == "docker.io/library/a:x"
    pinned = name.parse_normalized(f"a@sha256:{A64}")
    assert name.tag_name_only(pinned) is pinned


@pytest.mark.parametrize(
    ("text", "identity", "namespaces"),
    [
        (
            "busybox:notlatest",
            "docker.io/library/busybox:notlatest",
            ("docker.io/library/busybox", "docker.io/library", "docker.io", "*.io"),
        ),
        (
            f"my.host.example.com:8443/ns/repo@sha256:{A64}",
            f"my.host.example.com:8443/ns/repo@sha256:{A64}",
            (
                "my.host.example.com:8443/ns/repo",
                "my.host.example.com:8443/ns",
                "my.host.example.com:8443",
                "*.host.example.com",
                "*.example.com",
                "*.com",
            ),
        ),
        ("localhost/a:t", "localhost/a:t", ("localhost/a", "localhost")),
        ("[::1]:5000/n/a:t", "[::1]:5000/n/a:t", ("[::1]:5000/n/a", "[::1]:5000/n", "[::1]:5000")),
        ("[fe80::1]/a:t", "[fe80::1]/a:t", ("[fe80::1]/a", "[fe80::1]")),
    ],
)
def test_policy_scopes(text: str, identity: str, namespaces: tuple[str, ...]) -> None:
    named = name.parse_normalized(text)
    assert name.policy_identity(named) == identity
    assert name.policy_namespaces(named) == namespaces


def test_policy_scopes_of_an_unknown_digest() -> None:
    named = name.parse_docker_transport("//q.io/a/b@@unknown-digest@@").named
    assert name.policy_identity(named) == "q.io/a/b"
    assert name.policy_namespaces(named) == ("q.io/a", "q.io", "*.io")


def test_an_image_to_be_known_by_its_digest_has_no_tag_yet() -> None:
    parsed = name.parse_docker_transport("//a@@unknown-digest@@")
    assert str(parsed) == "//a@@unknown-digest@@"
    with pytest.raises(
        InvalidError, match=r'^Docker reference "a" is for an unknown digest case, has neither'
    ):
        _ = parsed.tag_or_digest
    assert name.parse_docker_transport("//a").tag_or_digest == "latest"
    assert name.parse_docker_transport(f"//a@sha256:{A64}").tag_or_digest == f"sha256:{A64}"


LABEL = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-zA-Z0-9])?", fullmatch=True)
COMPONENT = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}", fullmatch=True)
IPV6_HOSTS = st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]")
DOMAINS = st.builds(
    lambda host, port: host + port,
    st.lists(LABEL, min_size=2, max_size=4).map(".".join) | IPV6_HOSTS,
    st.from_regex(r"(:[0-9]{1,5})?", fullmatch=True),
).filter(lambda domain: domain not in ("docker.io", "index.docker.io"))
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
DIGESTS = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@given(DOMAINS, st.lists(COMPONENT, min_size=1, max_size=4), st.none() | TAGS, st.none() | DIGESTS)
def test_every_part_is_found_again(
    domain: str, components: list[str], tag: str | None, digest: str | None
) -> None:
    path = "/".join(components)
    text = f"{domain}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    parsed = name.parse_normalized(text)
    assert (parsed.domain, parsed.path, parsed.tag, parsed.digest) == (domain, path, tag or "", digest)
    assert str(parsed) == text
    assert name.parse_normalized(parsed.familiar) == parsed


@given(st.text(alphabet="aAz09.-_/:@[] \n\u00e9", max_size=40))
def test_anything_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = name.parse_normalized(text)
    except InvalidError:
        return
    assert isinstance(parsed, Named)
    assert name.parse_normalized(str(parsed)) == parsed
    assert re.fullmatch(r"[][A-Za-z0-9:._/@-]+", str(parsed))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 30_000 + "!",
        "a-" * 15_000 + "!",
        "a.b:" * 8_000,
        "a/" * 15_000 + "!",
        "[" + "a:" * 15_000 + "/a",
    ],
)
def test_a_hostile_name_is_refused_in_linear_time(text: str) -> None:
    # With nested repetitions these would take longer than the universe lasts.
    with pytest.raises(InvalidError, match=r"^invalid reference format$"):
        name.parse_normalized(text)
