"""The argument rules of image proxy 0.2.8 and their texts (protocol-reference 1.5)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wherry.errors import InvalidError
from wherry.protocol import legacy, messages

COUNTS: dict[str, tuple[int, str]] = {
    "Initialize": (0, "invalid request, expecting zero arguments"),
    "OpenImage": (1, "invalid request, expecting one argument"),
    "OpenImageOptional": (1, "invalid request, expecting one argument"),
    "CloseImage": (1, "invalid request, expecting one argument"),
    "GetManifest": (1, "invalid request, expecting one argument"),
    "GetFullConfig": (1, "invalid request, expecting: [imgid]"),
    "GetConfig": (1, "invalid request, expecting: [imgid]"),
    "GetBlob": (3, "found {} args, expecting (imgid, digest, size)"),
    "GetRawBlob": (2, "found {} args, expecting (imgid, digest)"),
    "GetLayerInfo": (1, "found {} args, expecting (imgid)"),
    "GetLayerInfoPiped": (1, "found {} args, expecting (imgid)"),
}


@pytest.mark.parametrize("method", COUNTS)
@pytest.mark.parametrize("count", range(6))
def test_counts(method: str, count: int) -> None:
    wanted, text = COUNTS[method]
    args = [None] * count
    if count == wanted:
        legacy.check_arity(method, args)
        return
    with pytest.raises(InvalidError, match=rf"\A{re.escape(text.format(count))}\Z"):
        legacy.check_arity(method, args)


def test_finish_pipe_ignores_what_follows_and_shutdown_everything() -> None:
    with pytest.raises(InvalidError, match=r"\Ainvalid request, expecting one argument\Z"):
        legacy.check_arity("FinishPipe", [])
    for count in range(1, 6):
        legacy.check_arity("FinishPipe", [1] * count)
    for count in range(6):
        legacy.check_arity("Shutdown", [1] * count)
    assert {*COUNTS, "FinishPipe", "Shutdown"} == messages.LEGACY_NAMES


TYPES = {
    "<nil>": None,
    "bool": True,
    "float64": 1,
    "string": "x",
    "[]interface {}": [1],
    "map[string]interface {}": {"a": 1},
}


@pytest.mark.parametrize(("name", "value"), TYPES.items())
def test_types(name: str, value: Any) -> None:
    assert legacy.go_type(value) == name
    if name != "string":
        with pytest.raises(InvalidError, match=rf"\Aexpecting string imageref, not {re.escape(name)}\Z"):
            legacy.image_reference(value)
        with pytest.raises(InvalidError, match=r"\Aexpecting string blobid\Z"):
            legacy.blob_digest(value)
    if name != "float64":
        with pytest.raises(InvalidError, match=rf"\Aexpecting numeric, not {re.escape(name)}\Z"):
            legacy.number(value)
    assert (legacy.go_type(1.5), legacy.image_reference("x"), legacy.blob_digest("y")) == (
        "float64",
        "x",
        "y",
    )


@pytest.mark.parametrize("value", [0, 1, 1.0, 2**32, 2**53 - 1, float(2**53 - 1)])
def test_whole_numbers(value: float) -> None:
    found = legacy.number(value)
    assert (found, type(found)) == (value, int)


BAD = {
    2**53: r"out of range integer for numeric 9007199254740992\.000000",
    1e300: r"out of range integer for numeric 1\d{300}\.000000",
    -1: r"expecting a whole number from 0 to 9007199254740991, not -1",
    -0.5: r"expecting a whole number from 0 to 9007199254740991, not -0\.5",
    1.9: r"expecting a whole number from 0 to 9007199254740991, not 1\.9",
}


@pytest.mark.parametrize(("value", "text"), BAD.items())
def test_other_numbers(value: float, text: str) -> None:
    with pytest.raises(InvalidError, match=rf"\A{text}\Z"):
        legacy.number(value)


def test_zero_is_a_number_and_no_handle() -> None:
    assert legacy.number(0) == 0
    for zero in (0, 0.0, -0.0):
        with pytest.raises(InvalidError, match=r"\Ainvalid imageid value of zero\Z"):
            legacy.image_handle(zero)
    assert legacy.image_handle(1.0) == 1
