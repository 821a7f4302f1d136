"""Requests as Go's encoding/json takes them, but for what has two meanings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidError
from wherry.protocol.requests import Request, decode

TAKEN: dict[str, tuple[bytes, Request]] = {
    "plain": (b'{"method":"OpenImage","args":["oci:x"]}', Request("OpenImage", ["oci:x"])),
    "no args": (b'{"method":"Initialize"}', Request("Initialize", [])),
    "null args": (b'{"method":"Initialize","args":null}', Request("Initialize", [])),
    "null method": (b'{"method":null}', Request("", [])),
    "null": (b"null", Request("", [])),
    "nothing": (b"{}", Request("", [])),
    "other case": (b'{"METHOD":"x","Args":[1]}', Request("x", [1])),
    "white space": (b' \t\r\n{ "method" : "x" } \n', Request("x", [])),
    "unknown members": (b'{"method":"x","trace":{"a":[1]},"Trace":2}', Request("x", [])),
    "one as a float": (b'{"method":"x","args":[1.0,1e2]}', Request("x", [1.0, 100.0])),
    "bad UTF-8": (b'{"method":"a\xffb"}', Request("a\ufffdb", [])),
    "a lone surrogate": (b'{"method":"a\\ud800b","args":["\\udc00"]}', Request("a\ufffdb", ["\ufffd"])),
    "a pair of surrogates": (b'{"method":"\\ud83d\\udea2"}', Request("\U0001f6a2", [])),
    "an id": (b'{"method":"x","id":7}', Request("x", [], id=7)),
    "the last id": (b'{"method":"x","id":9007199254740991}', Request("x", [], id=2**53 - 1)),
    "an id beyond": (b'{"method":"x","id":9007199254740992}', Request("x", [])),
    "an id of another type": (b'{"method":"x","id":"7"}', Request("x", [])),
    "id true": (b'{"method":"x","id":true}', Request("x", [])),
    "id zero": (b'{"method":"x","id":0}', Request("x", [])),
    "a time limit": (b'{"method":"x","timeout_ms":100}', Request("x", [], timeout_ms=100)),
    "a fraction of one": (b'{"method":"x","timeout_ms":0.5}', Request("x", [])),
    "descriptors": (b'{"method":"x","fds":2}', Request("x", [], fds=2)),
    "deep enough": (b'{"method":"x","args":' + b"[" * 60 + b"]" * 60 + b"}", None),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("packet", "wanted"), TAKEN.values(), ids=TAKEN.keys())
def test_what_is_taken(packet: bytes, wanted: Request | None) -> None:
    found = decode(packet)
    assert wanted is None or found == wanted


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON: "),
    "two values": (b"{}{}", "not JSON: "),
    "a trailing comma": (b'{"method":"x",}', "not JSON: "),
    "NaN": (b'{"args":[NaN]}', "not JSON: NaN"),
    "Infinity": (b'{"args":[-Infinity]}', "not JSON: -Infinity"),
    "a raw control character": (b'{"method":"a\nb"}', "not JSON: "),
    "array": (b"[]", "json: cannot unmarshal array into Go value of type jsonproxy.request"),
    "string": (b'"x"', "json: cannot unmarshal string into Go value of type jsonproxy.request"),
    "number": (b"1", "json: cannot unmarshal number into Go value of type jsonproxy.request"),
    "bool": (b"false", "json: cannot unmarshal bool into Go value of type jsonproxy.request"),
    "method": (
        b'{"method":[]}',
        "json: cannot unmarshal array into Go struct field request.method of type string",
    ),
    "args": (
        b'{"args":"x"}',
        "json: cannot unmarshal string into Go struct field request.args of type []interface {}",
    ),
    "1e999": (
        b'{"args":[1e999]}',
        "json: cannot unmarshal number 1e999 into Go struct field request.args of type float64",
    ),
    "-1e999": (
        b'{"args":[-1e999]}',
        "json: cannot unmarshal number -1e999 into Go struct field request.args of type float64",
    ),
    "too deep": (b'{"args":' + b"[" * 70 + b"]" * 70 + b"}", "JSON is nested too deeply"),
    "deeper than Python goes": (b'{"args":' + b"[" * 16000, "JSON is nested too deeply"),
    "method twice": (b'{"method":"a","method":"a"}', "duplicate member 'method'"),
    "method twice in other case": (b'{"method":"a","Method":"b"}', "duplicate member 'Method'"),
    "args twice": (b'{"args":[],"ARGS":[]}', "duplicate member 'ARGS'"),
    "an unknown member twice": (b'{"a":1,"a":1}', "duplicate member 'a'"),
    "twice inside": (b'{"args":[{"b":1,"b":1}]}', "duplicate member 'b'"),
}


@pytest.mark.parametrize(("packet", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(packet: bytes, text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        decode(packet)
    assert str(caught.value).startswith(f"invalid request: {text}")


def test_unknown_members_may_differ_in_case_only() -> None:
    """Go would see two unknown members; only those that it knows are folded."""
    assert decode(b'{"method":"x","a":1,"A":2}') == Request("x", [])


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else(packet: bytes) -> None:
    try:
        found = decode(packet)
    except InvalidError:
        return
    assert isinstance(found, Request)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.text(max_size=10), st.lists(JSON, max_size=5))
def test_what_json_carries_arrives(method: str, args: list[object]) -> None:
    for ascii_only in (True, False):
        packet = json.dumps({"method": method, "args": args}, ensure_ascii=ascii_only)
        assert decode(packet.encode()) == Request(method, args)
