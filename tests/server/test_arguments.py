"""What a client may send, and must not: requests of every shape (hostile-cases.md 1.4)."""

from __future__ import annotations

import itertools
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.server.harness import TRUSTING, ended, make_system, request, serving, spawned
from wherry.protocol import messages
from wherry.protocol.legacy import NOT_INITIALIZED

METHODS = [method.__name__ for method in messages.LEGACY]
VALUES: tuple[Any, ...] = (
    "oci:one",
    "",
    0,
    1,
    99,
    1.0,
    1.5,
    -1,
    2**53,
    1e300,
    True,
    False,
    None,
    [],
    [1],
    {},
)
BLOB = "sha256:" + "0" * 64


def argument_lists() -> list[Any]:
    """Missing and null are added by the caller: these are the lists."""
    rows: list[Any] = [[]]
    for count in range(1, 6):
        rows += [[value] * count for value in VALUES]
    rows += [[1, value, BLOB] for value in VALUES]
    rows += [[1, BLOB, value] for value in VALUES]
    rows += [list(pair) for pair in itertools.product((1, 2, "x"), (BLOB, "sha256:x", 7, None))]
    return rows


def requests_of(method: str) -> list[bytes]:
    bare = [json.dumps({"method": method}), json.dumps({"method": method, "args": None})]
    wrong = [json.dumps({"method": method, "args": value}) for value in ("x", 1, True, {}, 1.5)]
    lists = [json.dumps({"method": method, "args": args}) for args in argument_lists()]
    return [text.encode() for text in (*bare, *wrong, *lists)]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "Shutdown"])
async def test_s01_no_arguments_end_the_server(method: str, images: Path, tmp_path: Path) -> None:
    with spawned(tmp_path / "home", images) as peer:
        await peer.open("oci:one")
        for packet in requests_of(method):
            await peer.send(packet)
            answer = await peer.reply()
            assert list(answer.body) == ["success", "value", "pipeid", "error_code", "error"]
            if not answer.body["success"]:
                code, text = answer.failure
                assert (code, bool(text)) == ("other", True), packet
                assert "internal error" not in text, packet
            for fd in answer.fds:
                peer.close_fd(fd)
        assert (await peer.call("OpenImage", "oci:one")).value > 0
        await peer.ask("Shutdown")
        assert await ended(peer) == (0, "")


@pytest.mark.parametrize("packet", requests_of("Shutdown")[:2] + requests_of("Shutdown")[7:20])
async def test_s01_shutdown_takes_any_list(packet: bytes, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.send(packet)
        assert await peer.message() is None


@pytest.mark.parametrize("method", METHODS)
async def test_s01_counts_are_checked_after_initialize(method: str, tmp_path: Path) -> None:
    """The nearest valid input of S-01: without Initialize the answer is about that, whatever they are."""
    if method in ("Initialize", "FinishPipe", "Shutdown"):
        return
    async with serving(make_system(tmp_path)) as peer:
        for args in ([], [1], [1, 2, 3, 4]):
            assert (await peer.call(method, *args)).failure == ("other", NOT_INITIALIZED)


async def test_s01_fault_1_finish_pipe_without_arguments(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        for packet in (b'{"method":"FinishPipe"}', b'{"method":"FinishPipe","args":null}'):
            await peer.send(packet)
            wanted = ("other", "invalid request, expecting one argument")
            assert (await peer.reply()).failure == wanted
        assert (await peer.call("FinishPipe", 1, 2)).failure == ("other", "finishpipe: no active pipe 1")


MALFORMED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"garbage", "invalid request: not JSON: "),
    "two documents": (b'{"method":"Initialize"}{}', "invalid request: not JSON: "),
    "cut": (b'{"method":"Initialize"', "invalid request: not JSON: "),
    "NaN": (b'{"method":"OpenImage","args":[NaN]}', "invalid request: not JSON: "),
    "array": (b"[]", "invalid request: json: cannot unmarshal array into Go value of type jsonproxy.request"),
    "string": (b'"x"', "invalid request: json: cannot unmarshal string into Go value of type "),
    "number": (b"7", "invalid request: json: cannot unmarshal number into Go value of type "),
    "bool": (b"true", "invalid request: json: cannot unmarshal bool into Go value of type "),
    "null": (b"null", "unknown method: "),
    "empty object": (b"{}", "unknown method: "),
    "method of a wrong type": (
        b'{"method":7}',
        "invalid request: json: cannot unmarshal number into Go struct field request.method of type string",
    ),
    "args of a wrong type": (
        b'{"method":"Initialize","args":{}}',
        "invalid request: json: cannot unmarshal object into Go struct field request.args of type "
        "[]interface {}",
    ),
    "number out of range": (
        b'{"method":"OpenImage","args":[1e999]}',
        "invalid request: json: cannot unmarshal number 1e999 into Go struct field request.args of type "
        "float64",
    ),
    "deep": (b'{"method":"OpenImage","args":' + b"[" * 9000 + b"]" * 9000 + b"}", "invalid request: JSON is"),
    "a thousand digits": (
        b'{"method":"CloseImage","args":[' + b"9" * 1000 + b"]}",
        "invalid request: json: cannot unmarshal number ",
    ),
}


@pytest.mark.parametrize(("packet", "text"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_s02_malformed_requests_are_answered(packet: bytes, text: str, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.send(packet)
        code, error = (await peer.reply()).failure
        assert code == "other"
        assert error.startswith(text)
        await peer.send(b' {"method":"Initialize","args":[]} \n')
        assert (await peer.reply()).value == "0.2.8"


async def test_s03_an_empty_packet_is_no_end(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        peer.sock.send(b"")
        assert (await peer.reply()).failure == ("other", "invalid request: an empty packet")
        assert (await peer.call("Initialize")).value == "0.2.8"
        peer.sock.shutdown(socket.SHUT_WR)
        assert await peer.message() is None


async def test_s04_a_packet_over_the_limit_is_never_parsed_in_part(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.send(b'{"method":"Initialize"}'.ljust(32768))
        assert (await peer.reply()).value == "0.2.8"
        await peer.send(b'{"method":"Initialize"}'.ljust(32769))
        text = "invalid request: the request has more than 32768 bytes"
        assert (await peer.reply()).failure == ("other", text)
        assert (await peer.call("Initialize")).failure == ("other", "already initialized")


DUPLICATES = (
    b'{"method":"Initialize","method":"Shutdown"}',
    b'{"method":"Initialize","METHOD":"Shutdown"}',
    b'{"method":"OpenImage","args":["oci:a"],"Args":["oci:b"]}',
    b'{"method":"Initialize","id":1,"id":2}',
    b'{"method":"OpenImage","args":[{"a":1,"a":2}]}',
)


@pytest.mark.parametrize("packet", DUPLICATES)
async def test_s06_a_repeated_member_is_refused(packet: bytes, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.send(packet)
        code, text = (await peer.reply()).failure
        assert (code, text[:34]) == ("other", "invalid request: duplicate member ")
        assert (await peer.call("Initialize")).value == "0.2.8"


async def test_s07_names_of_members_match_in_any_case(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.send(b'{"METHOD":"Initialize","aRgS":[]}')
        assert (await peer.reply()).value == "0.2.8"
        await peer.send(b'{"Method":"initialize"}')
        assert (await peer.reply()).failure == ("other", "unknown method: initialize")


async def test_s08_unknown_members_are_ignored(images: Path, tmp_path: Path) -> None:
    """An `id` is one of them before Hello: skopeo's five members come back, and nothing else."""
    async with serving(make_system(tmp_path)) as peer:
        packet = request("Initialize", id=7, timeout_ms=1, fds=3, trace={"a": [1]}, Id2="x")
        await peer.send(packet)
        want = b'{"success":true,"value":"0.2.8","pipeid":0,"error_code":"","error":""}'
        assert (await peer.reply()).raw == want
        await peer.send(request("OpenImage", f"oci:{images}/nosuch", id=8))
        assert list((await peer.reply()).body) == ["success", "value", "pipeid", "error_code", "error"]


async def test_s09_initialize_comes_first_and_once(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        for method in METHODS:
            if method in ("Initialize", "FinishPipe", "Shutdown"):
                continue
            assert (await peer.call(method)).failure == ("other", NOT_INITIALIZED)
        assert (await peer.call("FinishPipe", 1)).failure == ("other", "finishpipe: no active pipe 1")
        text = "invalid request, expecting zero arguments"
        assert (await peer.call("Initialize", 1)).failure == ("other", text)
        assert (await peer.call("Initialize")).value == "0.2.8"
        assert (await peer.call("Initialize")).failure == ("other", "already initialized")


async def test_s09_a_failed_initialize_may_be_tried_again(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    settings = messages.PolicyOptions(path=str(policy))
    async with serving(make_system(tmp_path), type(TRUSTING)(policy=settings)) as peer:
        code, text = (await peer.call("Initialize")).failure
        assert code == "other"
        assert "no such file or directory" in text
        policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        assert (await peer.call("Initialize")).value == "0.2.8"


WHOLE = "expecting a whole number from 0 to 9007199254740991, not "
HANDLES: dict[str, tuple[str, str]] = {
    "zero": ("0", "invalid imageid value of zero"),
    "negative zero": ("-0.0", "invalid imageid value of zero"),
    "negative": ("-1", WHOLE + "-1"),
    "below int64": ("-1e30", WHOLE + "-1e+30"),
    "fraction": ("1.5", WHOLE + "1.5"),
    "small fraction": ("1.0000001", WHOLE + "1.0000001"),
    "2^53-1": ("9007199254740991", "no image 9007199254740991"),
    "2^53": ("9007199254740992", "out of range integer for numeric 9007199254740992.000000"),
    "2^64": ("18446744073709551616", "out of range integer for numeric 18446744073709551616.000000"),
    "true": ("true", "expecting numeric, not bool"),
    "string": ('"1"', "expecting numeric, not string"),
    "null": ("null", "expecting numeric, not <nil>"),
    "array": ("[1]", "expecting numeric, not []interface {}"),
    "object": ("{}", "expecting numeric, not map[string]interface {}"),
    "unknown": ("2", "no image 2"),
}


@pytest.mark.parametrize("method", ["CloseImage", "GetManifest", "GetFullConfig", "GetLayerInfo"])
async def test_s10_only_whole_numbers_are_handles(method: str, images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{images}/one")
        for name, (text, error) in HANDLES.items():
            await peer.send(b'{"method":"%s","args":[%s]}' % (method.encode(), text.encode()))
            assert (await peer.reply()).failure == ("other", error), name
        for text in (b"1.0", b"1"):
            await peer.send(b'{"method":"GetLayerInfo","args":[%s]}' % text)
            assert len((await peer.reply()).value) == 1


async def test_s10_fault_8_sizes_and_pipes_are_whole_numbers_too(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{images}/one")
        for size in (-1, 1.5):
            assert (await peer.call("GetBlob", 1, BLOB, size)).failure == ("other", f"{WHOLE}{size}")
        assert (await peer.call("FinishPipe", 0.5)).failure == ("other", f"{WHOLE}0.5")
        code, text = (await peer.call("FinishPipe", 2**32 + 1)).failure
        assert (code, text) == ("other", f"finishpipe: no active pipe {2**32 + 1}")


NASTY = {"NUL": "oci:a\0b", "newline": "oci:a\nb", "ANSI": "oci:\x1b[31mred", "30 kB": "oci:" + "x" * 30000}


@pytest.mark.parametrize("reference", NASTY.values(), ids=NASTY.keys())
async def test_s33_a_nasty_name_stays_one_line_of_the_log(reference: str, tmp_path: Path) -> None:
    """In private mode standard error is the log: one line an event, no control characters."""
    with spawned(tmp_path / "home", tmp_path, before=("--insecure-policy", "--debug")) as peer:
        await peer.call("Initialize")
        code, text = (await peer.call("OpenImage", reference)).failure
        assert code == "other"
        assert len(text) <= 4096
        await peer.ask(f"Nope\x1b[0m\n{'y' * 20000}")
        assert (await peer.reply()).failure[1].startswith("unknown method: Nope\x1b[0m\n")
        await peer.ask("Shutdown")
        status, log = await ended(peer)
        assert status == 0
        assert log
        for line in log.splitlines():
            assert line.startswith(("level=", "time=")), line[:200]
            assert line.isprintable(), line[:200]


UNKNOWN = ("", "Nope", "initialize", "INITIALIZE", "GetVersion", "Ping", "Copy", "x" * 100, "<é>")


@pytest.mark.parametrize("method", UNKNOWN)
async def test_s40_unknown_methods(method: str, tmp_path: Path) -> None:
    """Methods of the extended protocol are unknown before Hello."""
    async with serving(make_system(tmp_path)) as peer:
        assert (await peer.call(method)).failure == ("other", f"unknown method: {method}")
        assert (await peer.call("Initialize")).value == "0.2.8"


async def test_bytes_of_an_error_are_gos(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.ask("<&>\u2028☃")
        error = rb'"error":"unknown method: \u003c\u0026\u003e\u2028' + "☃".encode() + b'"}'
        assert (await peer.reply()).raw.endswith(error)


async def test_descriptors_sent_along_are_not_kept(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        with (tmp_path / "file").open("w") as file:
            for _ in range(50):
                await peer.send(request("Nope"), (file.fileno(),) * 10)
                assert (await peer.reply()).failure[1] == "unknown method: Nope"


def test_the_table_covers_every_method() -> None:
    assert len(METHODS) == 13
