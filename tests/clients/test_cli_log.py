"""Log lines: logrus' two forms. The expected lines were seen in skopeo 1.22 (tests/cli/FACTS.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from wherry_cli.log import Log, coloured_line, plain_line, timestamp

WHEN = "2026-11-22T04:31:15Z"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("plain", "plain"),
        ("a-b.c_d/e@f^g+1", "a-b.c_d/e@f^g+1"),
        ("two words", '"two words"'),
        ("a:b", '"a:b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("line\nbreak\ttab\r", '"line\\nbreak\\ttab\\r"'),
        ("\x01\x7f", '"\\x01\\x7f"'),
        ("é", '"é"'),
        ("\u2028", '"\\u2028"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_plain_line(message: str, shown: str) -> None:
    assert plain_line("fatal", message, WHEN, {}) == f'time="{WHEN}" level=fatal msg={shown}\n'


def test_fields_are_sorted_and_quoted_only_where_they_must() -> None:
    line = plain_line("info", "Copying", WHEN, {"to": "dir:x", "from": "a/b", "tagged": "false"})
    assert line == f'time="{WHEN}" level=info msg=Copying from=a/b tagged=false to="dir:x"\n'


def test_empty_message_is_left_out() -> None:
    assert plain_line("warning", "", WHEN, {}) == f'time="{WHEN}" level=warning\n'


@pytest.mark.parametrize(
    ("level", "colour", "name"),
    [
        ("fatal", 31, "FATA"),
        ("error", 31, "ERRO"),
        ("warning", 33, "WARN"),
        ("info", 36, "INFO"),
        ("debug", 37, "DEBU"),
    ],
)
def test_coloured_line(level: str, colour: int, name: str) -> None:
    line = coloured_line(level, "text\n", 7, {"b": "x y", "a": "1"})  # type: ignore[arg-type]
    assert line == (
        f"\x1b[{colour}m{name}\x1b[0m[0007] {'text':<44} "
        f' \x1b[{colour}ma\x1b[0m=1 \x1b[{colour}mb\x1b[0m="x y"\n'
    )


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2026-11-22T04:31:15Z"),
        ("XST-5:30", "2026-11-22T10:01:15+05:30"),
        ("XST3:30", "2026-11-22T01:01:15-03:30"),
    ],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_time_is_local_with_its_offset(shown: str) -> None:
    assert timestamp(1795321875) == shown


def test_debug_lines_only_when_asked_for() -> None:
    reader, writer = os.pipe()
    try:
        Log(writer, False, False, 0.0).write("debug", "hidden")
        Log(writer, False, True, 0.0).write("debug", "shown")
        os.close(writer)
        data = os.read(reader, 4096)
    finally:
        os.close(reader)
    assert data.endswith(b" level=debug msg=shown\n")
    assert data.count(b"\n") == 1
