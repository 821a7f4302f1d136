"""Bytes of Go's encoding/json: what Go 1.26's Marshal, MarshalIndent and strconv.Quote gave."""

from __future__ import annotations

import pytest

from wherry.errors import InternalError
from wherry.model import gojson, goquote


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        ([True, False], "[true,false]"),
        ({}, "{}"),
        ([], "[]"),
        ("<a href='x'>&</a>", "\"\\u003ca href='x'\\u003e\\u0026\\u003c/a\\u003e\""),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
        ('\x00\x1f\x7f\b\f\n\r\t"\\/', '"\\u0000\\u001f\x7f\\b\\f\\n\\r\\t\\"\\\\/"'),
        ("\u00e9\U0001f600", '"\u00e9\U0001f600"'),
        ("\ud800", '"\\ufffd"'),
        ({"b": 1, "a": {"<": 2}}, '{"b":1,"a":{"\\u003c":2}}'),
        (-9223372036854775808, "-9223372036854775808"),
        ([1.0, 0.1, -0.0, 1e20, 1e21, 123456789.125], "[1,0.1,-0,100000000000000000000,1e+21,123456789.125]"),
        ([1e-6, 1e-7, 1.5e-9, 1e100, 5e-324], "[0.000001,1e-7,1.5e-9,1e+100,5e-324]"),
        ((1, "x"), '[1,"x"]'),
    ],
)
def test_compact(value: object, expected: str) -> None:
    assert gojson.dumps(value) == expected.encode()


def test_indented() -> None:
    value = {"a": [], "b": {}, "c": [1, {"d": None}], "e": "x"}
    assert gojson.dumps_indent(value) == (
        '{\n    "a": [],\n    "b": {},\n    "c": [\n        1,\n        {\n            "d": null\n'
        '        }\n    ],\n    "e": "x"\n}'
    )
    assert gojson.dumps_indent([]) == "[]"


def test_maps_are_sorted_by_bytes() -> None:
    value = {"b": {"z": 1, "a": 2}, "\u00e9": 3, "B": [{"y": 1, "x": 2}], "\U0001f600": 0, "\uffff": 1}
    assert gojson.dumps(gojson.sort_maps(value)) == (
        '{"B":[{"x":2,"y":1}],"b":{"a":2,"z":1},"\u00e9":3,"\uffff":1,"\U0001f600":0}'.encode()
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", object()])
def test_what_go_cannot_write_either(value: object) -> None:
    with pytest.raises(InternalError, match=r"^json: unsupported "):
        gojson.dumps(value)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a<b>&c", '"a<b>&c"'),
        ('"\\', '"\\"\\\\"'),
        ("\a\b\f\n\r\t\v\x01\x7f", '"\\a\\b\\f\\n\\r\\t\\v\\x01\\x7f"'),
        ("\u00e9\u00a0\u200b\U000e0001", '"\u00e9\\u00a0\\u200b\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_gos_quotes(text: str, quoted: str) -> None:
    assert goquote.quote(text) == quoted


def test_gos_slice_of_strings() -> None:
    assert goquote.quote_list(["a", "b"]) == '[]string{"a", "b"}'
