"""Bytes of replies, checked by hand against what skopeo sends, and lines of a byte stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import (
    AuthError,
    ImageNotFoundError,
    LimitError,
    NetworkError,
    OperationCancelledError,
    ReaderGoneError,
    RegistryError,
    WherryError,
)
from wherry.protocol import framing
from wherry.protocol.framing import LineDecoder, clip, encode_event, encode_reply
from wherry.protocol.messages import ErrorDetail, Event, Reply, Step

GOLDEN: dict[str, tuple[Reply, bytes]] = {
    "Initialize": (
        Reply(value="0.2.8"),
        b'{"success":true,"value":"0.2.8","pipeid":0,"error_code":"","error":""}',
    ),
    "null": (Reply(), b'{"success":true,"value":null,"pipeid":0,"error_code":"","error":""}'),
    "a pipe": (Reply(pipeid=7), b'{"success":true,"value":null,"pipeid":7,"error_code":"","error":""}'),
    "a size": (Reply(value=-1), b'{"success":true,"value":-1,"pipeid":0,"error_code":"","error":""}'),
    "an error": (
        framing.error_reply(WherryError("no image 1")),
        b'{"success":false,"value":null,"pipeid":0,"error_code":"other","error":"no image 1"}',
    ),
    "EPIPE": (
        framing.error_reply(ReaderGoneError("write |1: broken pipe")),
        b'{"success":false,"value":null,"pipeid":0,"error_code":"EPIPE","error":"write |1: broken pipe"}',
    ),
    "retryable": (
        framing.error_reply(NetworkError("EOF")),
        b'{"success":false,"value":null,"pipeid":0,"error_code":"retryable","error":"EOF"}',
    ),
    "Go's escapes": (
        framing.error_reply(WherryError('<a href="x">&\u2028\u2029\t\b\f\x01\x7f é☃\U0001f6a2\\')),
        b'{"success":false,"value":null,"pipeid":0,"error_code":"other","error":"\\u003ca href=\\"x\\"\\u003e'
        b"\\u0026\\u2028\\u2029\\t\\b\\f\\u0001\x7f \xc3\xa9\xe2\x98\x83\xf0\x9f\x9a\xa2\\\\"
        b'"}',
    ),
    "extended": (
        Reply(value=[1], id=3, fds=2),
        b'{"success":true,"value":[1],"pipeid":0,"error_code":"","error":"","id":3,"fds":2}',
    ),
    "an extended error": (
        Reply(
            success=False, error_code="other", error="x", id=3, detail=ErrorDetail("auth", http_status=401)
        ),
        b'{"success":false,"value":null,"pipeid":0,"error_code":"other","error":"x","id":3,'
        b'"detail":{"kind":"auth","http_status":401}}',
    ),
}


@pytest.mark.parametrize(("reply", "wanted"), GOLDEN.values(), ids=GOLDEN.keys())
def test_golden_replies(reply: Reply, wanted: bytes) -> None:
    assert encode_reply(reply) == wanted


def test_golden_events() -> None:
    step = Event("step", 4, Step("blob", "sha256:x", number=1, of=2))
    golden = b'{"event":"step","id":4,"step":{"name":"blob","digest":"sha256:x","number":1,"of":2}}'
    assert encode_event(step) == golden
    assert encode_event(Event("progress", 4, bytes=10)) == b'{"event":"progress","id":4,"bytes":10}'


def test_the_limit_of_replies() -> None:
    frame = len(encode_reply(Reply(value="")))
    assert len(encode_reply(Reply(value="x" * (32768 - frame)))) == 32768
    with pytest.raises(LimitError, match=r"\Athe reply has 32769 bytes, the limit is 32768\Z"):
        encode_reply(Reply(value="x" * (32769 - frame)))


def test_details_of_errors() -> None:
    error = RegistryError("busy", retryable=True, http_status=503, retry_after=1.5)
    assert framing.error_detail(error) == ErrorDetail(
        "registry", retryable=True, http_status=503, retry_after_ms=1500
    )
    assert framing.error_detail(ImageNotFoundError("x")) == ErrorDetail("not_found", exit_status=2)
    assert framing.error_detail(AuthError("x")) == ErrorDetail("auth")
    assert framing.error_detail(OperationCancelledError("x")).kind == "cancelled"


@given(st.text(max_size=300).map(lambda text: text * 40))
def test_a_clipped_text_fits_and_begins_alike(text: str) -> None:
    found = clip(text)
    assert len(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")) <= 4096 + 2
    assert found == text or (found.endswith("…") and text.startswith(found[:-1]))


@pytest.mark.parametrize("character", ["a", "<", "é", "\U0001f6a2", "\0", '"', "\u2028"])
def test_a_text_is_cut_where_its_json_is_full(character: str) -> None:
    width = len(framing.gojson.dumps(character)) - 2
    fits = (4096 - 2) // width
    assert clip(character * fits) == character * fits
    cut = clip(character * (fits + 1))
    assert cut.endswith("…")
    assert len(framing.gojson.dumps(cut)) <= 4096
    assert len(framing.gojson.dumps(cut)) > 4096 - width - 3


# Lines


@given(st.lists(st.binary(max_size=50).map(lambda data: data.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_come_out_however_they_come_in(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    decoder, found, at = LineDecoder(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        decoder.feed(stream[at : at + size])
        at += size
        while (line := decoder.next()) is not None:
            found.append(line)
    assert found == lines
    assert decoder.next() is None


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_line_over_the_limit_is_known_early(length: int, after: int) -> None:
    decoder = LineDecoder(10)
    decoder.feed(b"x" * length + (b"\n" + b"y" * min(after, 10) if after else b""))
    if length > 10:
        with pytest.raises(LimitError, match=r"\Aa message has more than 10 bytes without a newline\Z"):
            decoder.next()
    else:
        assert decoder.next() == (b"x" * length if after else None)


def test_a_line_at_the_limit() -> None:
    decoder = LineDecoder()
    decoder.feed(b"x" * 32768)
    assert decoder.next() is None
    decoder.feed(b"\nrest")
    assert decoder.next() == b"x" * 32768
    assert decoder.next() is None
