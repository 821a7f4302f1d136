"""The Structs of the protocol: what their JSON is, what they take, what they keep to themselves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wherry.protocol import messages
from wherry.protocol.options import Credentials, ImageAccess


@pytest.mark.parametrize("method", [*messages.LEGACY, *messages.EXTENDED])
def test_a_method_says_what_it_is(method: type[messages.Method[object]]) -> None:
    assert method.__doc__
    assert method.since == "1" if method in messages.EXTENDED else method.since.startswith("0.2.")
    assert messages.BY_NAME[method.__name__] is method
    # Options come last, so that a request may leave them out.
    required = [field.required for field in msgspec.structs.fields(method)]
    assert required == sorted(required, reverse=True)


def test_there_are_thirteen_legacy_methods() -> None:
    assert len(messages.LEGACY) == 13
    assert messages.LEGACY_VERSION == "0.2.8"


ROUND: list[tuple[messages.Method[Any], list[Any]]] = [
    (messages.OpenImage("oci:x"), ["oci:x"]),
    (messages.GetBlob(1, "sha256:x", 5), [1, "sha256:x", 5]),
    (messages.Cancel(7), [7]),
    (messages.OpenBlob(1, "sha256:x"), [1, "sha256:x", {}]),
    (
        messages.Inspect("oci:x", messages.InspectOptions(view="config", tags=False)),
        ["oci:x", {"access": {}, "platform": {}, "view": "config", "tags": False}],
    ),
    (
        messages.Copy("oci:a", "oci:b", messages.CopyOptions(instances="all")),
        [
            "oci:a",
            "oci:b",
            {"source": {}, "destination": {}, "platform": {}, "policy": {}, "instances": "all"},
        ],
    ),
    (
        messages.Hello(messages.ClientHello((1,), "me", want=("progress",))),
        [{"protocol": [1], "client": "me", "want": ["progress"]}],
    ),
    (
        messages.OpenImageWith("x", messages.OpenOptions(ImageAccess(Credentials("u", "p")))),
        ["x", {"access": {"credentials": {"username": "u", "password": "p"}}, "platform": {}}],
    ),
]


@pytest.mark.parametrize(("method", "args"), ROUND)
def test_a_method_is_its_arguments(method: messages.Method[Any], args: list[Any]) -> None:
    assert msgspec.json.decode(msgspec.json.encode(method)) == args
    assert msgspec.convert(args, type(method), strict=True) == method


WRONG: list[tuple[type[messages.Method[Any]], list[Any]]] = [
    (messages.OpenImage, []),
    (messages.OpenImage, [1]),
    (messages.OpenImage, ["x", "y"]),
    (messages.Cancel, ["1"]),
    (messages.Cancel, [1.5]),
    (messages.Cancel, [True]),
    (messages.OpenBlob, [1, "x", {"nosuch": 1}]),
    (messages.Inspect, ["x", {"view": "nosuch"}]),
    (messages.Copy, ["a", "b", {"policy": {"nosuch": True}}]),
    (messages.Copy, ["a", "b", {"source": {"credentials": {"username": "u"}}}]),
    (messages.Copy, ["a"]),
]


@pytest.mark.parametrize(("kind", "args"), WRONG)
def test_other_arguments_are_refused(kind: type[messages.Method[Any]], args: list[Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected|missing|unknown field|Invalid enum"):
        msgspec.convert(args, kind, strict=True)


def test_secrets_are_not_shown() -> None:
    access = ImageAccess(Credentials("user", "p4ssw0rd"), registry_token="t0ken")
    shown = repr((access, access.credentials, messages.OpenImageWith("x", messages.OpenOptions(access))))
    assert "user" in shown
    assert "p4ssw0rd" not in shown
    assert "t0ken" not in shown


def test_values_are_frozen_and_equal_by_content() -> None:
    assert messages.GetManifest(1) == messages.GetManifest(1)
    assert len({messages.PolicyOptions(), messages.PolicyOptions()}) == 1
    with pytest.raises(AttributeError, match="immutable"):
        messages.GetManifest(1).image = 2  # type: ignore[misc]
