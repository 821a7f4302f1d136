"""WWW-Authenticate headers."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.registry.challenge import Challenge, Scope, parse_all, parse_scope

TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=30)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="r"', [("basic", {"realm": "r"})]),
        ("BASIC", [("basic", {})]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})],
        ),
        ('Bearer  Realm = "a" , service=s', [("bearer", {"realm": "a", "service": "s"})]),
        (r'Bearer realm="a\"b\\c"', [("bearer", {"realm": 'a"b\\c'})]),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ("Negotiate dG9rZW4=, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Bearer realm="a",realm="evil"', [("bearer", {"realm": "a"})]),
        ('Bearer error="insufficient_scope"', [("bearer", {"error": "insufficient_scope"})]),
        (", ,Basic realm=x,", [("basic", {"realm": "x"})]),
        # malformed: what was whole before the fault counts
        ('Bearer realm="a', [("bearer", {})]),
        ('Bearer realm="a",service="b', [("bearer", {"realm": "a"})]),
        ('Bearer realm="a" service="b"', [("bearer", {})]),
        ("Bearer realm=", [("bearer", {})]),
        ('Bearer realm="a\0b"', [("bearer", {})]),
        ("", []),
        ('"', []),
        ("=", []),
    ],
)
def test_headers(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_all([header]) == [Challenge(*pair) for pair in expected]


def test_several_headers_keep_their_order() -> None:
    found = parse_all(['Basic realm="r"', "garbage=", "Bearer realm=x"])
    assert [challenge.scheme for challenge in found] == ["basic", "bearer"]


def test_r21_ten_thousand_parameters_take_linear_time() -> None:
    """Each would be cut off far below the size where time could tell; the result says where."""
    many = "Bearer " + ",".join(f"a{number}=b" for number in range(10_000))
    assert len(parse_all([many])[0].parameters) == 64
    for hostile in (
        'Bearer a="' + "\\" * 15_000,
        "Bearer " + "a" * 16_000,
        "Bearer " + "a=," * 5000,
        " ," * 8000,
    ):
        assert len(parse_all([hostile] * 50)) <= 50


@given(st.text(max_size=200))
def test_r21_no_text_breaks_the_parser(text: str) -> None:
    for found in parse_all([text, f"Bearer {text}", f'Bearer realm="{text}"']):
        assert found.scheme == found.scheme.lower()
        assert all("\0" not in value for value in found.parameters.values())


@given(TOKENS, st.dictionaries(TOKENS.map(str.lower), VALUES, max_size=5))
def test_what_is_well_formed_is_read_back(scheme: str, parameters: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"')

    header = f"{scheme} " + ", ".join(f'{name}="{quoted(value)}"' for name, value in parameters.items())
    assert parse_all([header, "Basic"]) == [Challenge(scheme.lower(), parameters), Challenge("basic", {})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:a/b:pull,push", Scope("repository", "a/b", "pull,push")),
        ("repository:a/b", None),
        ("repository::pull", None),
        ("a:b:c:d", None),
        ("", None),
    ],
)
def test_scopes(text: str, expected: Scope | None) -> None:
    assert parse_scope(text) == expected
    if expected is not None:
        assert str(expected) == text
