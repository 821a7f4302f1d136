"""The session decides without a socket: which requests are legacy, extended, refused."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidError, LimitError
from wherry.protocol.requests import Request
from wherry.protocol.session import Call, End, Refusal, Session


def greeted(limit: int = 64) -> Session:
    session = Session(limit)
    decision = session.take(b'{"method":"Hello","args":[{"protocol":[1]}],"id":1}')
    assert isinstance(decision, Call)
    assert decision.number == 1
    session.greeted()
    session.answered(1)
    return session


def refusal(decision: object) -> tuple[type[Exception], str, int | None]:
    assert isinstance(decision, Refusal)
    return type(decision.error), str(decision.error), decision.number


def test_legacy_requests_have_no_number() -> None:
    session = Session(64)
    assert session.take(b'{"method":"OpenImage","args":["oci:x"],"id":5}') == Call(
        Request("OpenImage", ["oci:x"], id=5)
    )
    session = greeted()
    assert session.take(b'{"method":"GetManifest","args":[1]}') == Call(Request("GetManifest", [1]))


@pytest.mark.parametrize("method", ["", "Nope", "hello", "Ping", "Copy"])
def test_unknown_methods_of_the_legacy_protocol(method: str) -> None:
    packet = b'{"method":"%s","id":3}' % method.encode()
    assert refusal(Session(64).take(packet)) == (InvalidError, f"unknown method: {method}", None)


def test_extended_requests_after_hello_only() -> None:
    session = Session(64)
    first = session.take(b'{"method":"Hello","id":1}')
    assert isinstance(first, Call)
    # Not answered yet: what follows is legacy still.
    assert refusal(session.take(b'{"method":"Ping","id":2}')) == (InvalidError, "unknown method: Ping", None)
    session.greeted()
    assert session.take(b'{"method":"Ping","id":2}') == Call(Request("Ping", [], id=2), 2)
    assert refusal(session.take(b'{"method":"Nope","id":3}')) == (InvalidError, "unknown method: Nope", 3)
    assert refusal(session.take(b'{"method":"Ping"}')) == (InvalidError, "unknown method: Ping", None)
    assert session.take(b'{"method":"OpenImage","id":4}') == Call(Request("OpenImage", [], id=4), 4)


def test_an_id_is_in_flight_until_it_is_answered() -> None:
    session = greeted()
    assert isinstance(session.take(b'{"method":"Ping","id":2}'), Call)
    text = "request 2 is already in flight"
    assert refusal(session.take(b'{"method":"Ping","id":2}')) == (InvalidError, text, 2)
    session.answered(2)
    assert isinstance(session.take(b'{"method":"Ping","id":2}'), Call)


def test_the_limit_counts_what_is_in_flight() -> None:
    session = greeted(2)
    for number in (2, 3):
        assert isinstance(session.take(b'{"method":"Ping","id":%d}' % number), Call)
    kind, text, number = refusal(session.take(b'{"method":"Ping","id":4}'))
    assert (kind, number) == (LimitError, 4)
    assert text == "2 requests are in flight on this connection, which is the limit"
    assert isinstance(session.take(b'{"method":"GetManifest","args":[1]}'), Call), "legacy ones queue"
    assert isinstance(session.take(b'{"method":"Cancel","args":[2],"id":4}'), Call), "or nothing could end"
    session.answered(4)
    session.answered(2)
    assert isinstance(session.take(b'{"method":"Ping","id":4}'), Call)


@pytest.mark.parametrize("identity", ["", ',"id":0', ',"id":1.5', ',"id":"1"', ',"id":9007199254740992'])
def test_hello_needs_an_id(identity: str) -> None:
    text = "Hello needs an id: a whole number from 1 to 2^53-1"
    packet = b'{"method":"Hello"%s}' % identity.encode()
    assert refusal(Session(64).take(packet)) == (InvalidError, text, None)


@pytest.mark.parametrize("extra", [b"", b',"id":1', b',"args":[1,2]'])
def test_shutdown_ends_whatever_else_it_says(extra: bytes) -> None:
    assert Session(64).take(b'{"method":"Shutdown"' + extra + b"}") == End()
    assert greeted().take(b'{"method":"Shutdown"' + extra + b"}") == End()


def test_packets_that_are_no_requests() -> None:
    session = Session(64)
    text = "invalid request: the request has more than 32768 bytes"
    cut = session.take(b'{"method":"Shutdown"}', truncated=True)
    assert refusal(cut) == (LimitError, text, None)
    assert refusal(session.take(b"")) == (InvalidError, "invalid request: an empty packet", None)
    kind, text, number = refusal(session.take(b"x"))
    assert (kind, text[:26], number) == (InvalidError, "invalid request: not JSON:", None)
