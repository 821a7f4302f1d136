"""The command line's grammar: pflag's, its values as Go reads them, and the table of flags."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from wherry.errors import InvalidError
from wherry_cli.commands import BY_NAME, COMMANDS, UNBUILT, suggestions
from wherry_cli.flagparser import parse
from wherry_cli.flags import FLAGS, GLOBAL, ROOT, options
from wherry_cli.flagvalues import PARSERS
from wherry_cli.helptext import command_help, program_help

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "flags.json").read_bytes())["flags"]


def places(command: str) -> tuple[str, ...]:
    return (ROOT, GLOBAL) if command == "skopeo" else (command,)


@pytest.mark.parametrize("command", GOLDEN)
def test_every_visible_flag_of_skopeo_is_in_the_table(command: str) -> None:
    ours = options(*places(command))
    for name, (short, takes_value) in GOLDEN[command].items():
        assert ours[name].flag.short == short
        assert (ours[name].flag.kind != "bool") == takes_value, name
        assert not ours[name].hidden, name


@pytest.mark.parametrize("command", GOLDEN)
def test_what_skopeo_does_not_show_is_hidden_or_ours(command: str) -> None:
    ours = {name for name, option in options(*places(command)).items() if not option.hidden}
    beyond = {"connect", "tag-only", "verify-push", "creds-file", "src-creds-file", "dest-creds-file"}
    assert ours - set(GOLDEN[command]) <= beyond


@pytest.mark.parametrize(
    ("command", "name", "key"),
    [
        ("copy", "screds", "src-creds"),
        ("copy", "dcreds", "dest-creds"),
        ("copy", "tls-verify", "tls-verify"),
        ("inspect", "registries-conf", "registries-conf"),
    ],
)
def test_hidden_flags(command: str, name: str, key: str) -> None:
    option = options(command, GLOBAL)[name]
    assert (option.hidden, option.key) == (True, key)


def test_every_flag_has_a_place_and_one_meaning_in_it() -> None:
    known = {ROOT, GLOBAL, *BY_NAME}
    for flag in FLAGS:
        assert {*flag.plain, *flag.sided, *flag.dest} <= known
        assert flag.plain or flag.sided or flag.dest
    for command in (ROOT, *BY_NAME):
        shorts = [each.flag.short for each in options(command, GLOBAL).values() if each.flag.short]
        assert len(shorts) == len(set(shorts)), command


PARSED = [
    ("inspect oci:x --raw", {"raw": True}, ["oci:x"]),
    ("inspect --raw=false x", {"raw": False}, ["x"]),
    ("inspect --raw=T -- --raw", {"raw": True}, ["--raw"]),
    ("inspect - x", {}, ["-", "x"]),
    ("inspect -nf {{.Os}} x", {"no-tags": True, "format": "{{.Os}}"}, ["x"]),
    ("inspect -f=a=b x", {"format": "a=b"}, ["x"]),
    ("inspect -fab x", {"format": "ab"}, ["x"]),
    ("inspect -f= x", {"format": "="}, ["x"]),
    ("inspect --format= x", {"format": ""}, ["x"]),
    ("inspect --format --raw x", {"format": "--raw"}, ["x"]),
    ("inspect -f a --format b x", {"format": "b"}, ["x"]),
    ("--debug inspect --debug=0 x", {"debug": False}, ["x"]),
    ("--policy inspect inspect x", {"policy": "inspect"}, ["x"]),
    ("inspect x --policy p", {"policy": "p"}, ["x"]),
    ("--tls-verify=false inspect x", {"root-tls-verify": False}, ["x"]),
    ("inspect --tls-verify x", {"tls-verify": True}, ["x"]),
    ("copy --screds a:b --src-creds c:d x y", {"src-creds": "c:d"}, ["x", "y"]),
    ("copy --src-creds c:d --screds a:b x y", {"src-creds": "a:b"}, ["x", "y"]),
    ("copy --additional-tag a,b --additional-tag c x y", {"additional-tag": ("a", "b", "c")}, ["x", "y"]),
    ("copy --encrypt-layer 0,-1 x y", {"encrypt-layer": (0, -1)}, ["x", "y"]),
    ("copy -aq x y", {"all": True, "quiet": True}, ["x", "y"]),
    ("--command-timeout 1m30s copy x y", {"command-timeout": 90.0}, ["x", "y"]),
    ("sync --src docker --dest dir x y --what=ever", {}, []),
    ("sync --src docker -h", {"help": True}, []),
]


@pytest.mark.parametrize(("line", "values", "arguments"), PARSED, ids=[case[0] for case in PARSED])
def test_command_line(line: str, values: dict[str, object], arguments: list[str]) -> None:
    found = parse(line.split(), BY_NAME, UNBUILT)
    assert dict(found.given.values) == values
    assert list(found.arguments) == arguments


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", ""),
        ("foo --debug", ""),
        ("--debug", ""),
        ("--help inspect", ""),
        ("--policy inspect", ""),
        ("--debug=false -v copy", "copy"),
        ("-- inspect", ""),
    ],
)
def test_command_is_the_first_word_that_is_no_value(line: str, command: str) -> None:
    assert parse(line.split(), BY_NAME).command == command


REFUSED = [
    ("inspect --foo x", "unknown flag: --foo"),
    ("--foo inspect x", "unknown flag: --foo"),
    ("inspect --form x", "unknown flag: --form"),
    ("inspect --all x", "unknown flag: --all"),
    ("inspect -x y", "unknown shorthand flag: 'x' in -x"),
    ("inspect -nx y", "unknown shorthand flag: 'x' in -x"),
    ("inspect -raw y", "unknown shorthand flag: 'r' in -raw"),
    ("inspect --format", "flag needs an argument: --format"),
    ("inspect -nf", "flag needs an argument: 'f' in -f"),
    ("inspect ---raw", "bad flag syntax: ---raw"),
    ("inspect --=x", "bad flag syntax: --=x"),
    (
        "copy -a=maybe",
        'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
    ),
    (
        "copy --screds",
        "flag needs an argument: --screds",
    ),
    (
        "copy --image-parallel-copies=-1 x y",
        'invalid argument "-1" for "--image-parallel-copies" flag: '
        'strconv.ParseUint: parsing "-1": invalid syntax',
    ),
    (
        "copy --encrypt-layer 1,a x y",
        'invalid argument "1,a" for "--encrypt-layer" flag: strconv.Atoi: parsing "a": invalid syntax',
    ),
    ("inspect --debug=2 --foo", 'invalid argument "2" for "--debug" flag: strconv.ParseBool: parsing "2"'),
]


@pytest.mark.parametrize(("line", "text"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused_command_line(line: str, text: str) -> None:
    with pytest.raises(InvalidError, match=f"^{re.escape(text)}"):
        parse(line.split(), BY_NAME, UNBUILT)


VALUES = [
    ("int", "017", 15),
    ("int", "0x_1f", 31),
    ("int", "-0b11", -3),
    ("int", "+1_000", 1000),
    ("int", "0", 0),
    ("int", "-9223372036854775808", -(1 << 63)),
    ("uint", "18446744073709551615", (1 << 64) - 1),
    ("ints", "+1,-2,007", (1, -2, 7)),
    ("duration", "0", 0.0),
    ("duration", "1h2m3.5s", 3723.5),
    ("duration", "-1.5h", -5400.0),
    ("duration", "300ms", 0.3),
    ("duration", "1µs", 1e-6),
    ("duration", ".5s", 0.5),
    ("duration", "1.s", 1.0),
    ("strings", "", ()),
    ("strings", "a,,b", ("a", "", "b")),
    ("strings", '"a,b",c', ("a,b", "c")),
    ("strings", '"a""b"', ('a"b',)),
    ("strings", "a\nb", ("a",)),
    ("strings", '"a\nb"', ("a\nb",)),
    ("strings", "\n\na", ("a",)),
]


@pytest.mark.parametrize(("kind", "text", "value"), VALUES)
def test_value(kind: Any, text: str, value: object) -> None:
    assert PARSERS[kind](text) == value


BAD_VALUES = [
    ("int", "", 'strconv.ParseInt: parsing "": invalid syntax'),
    ("int", " 1", 'strconv.ParseInt: parsing " 1": invalid syntax'),
    ("int", "1__0", 'strconv.ParseInt: parsing "1__0": invalid syntax'),
    ("int", "08", 'strconv.ParseInt: parsing "08": invalid syntax'),
    ("int", "٣", 'strconv.ParseInt: parsing "٣": invalid syntax'),
    ("int", "9223372036854775808", 'strconv.ParseInt: parsing "9223372036854775808": value out of range'),
    ("int", "9" * 5000, f'strconv.ParseInt: parsing "{"9" * 5000}": value out of range'),
    ("uint", "+1", 'strconv.ParseUint: parsing "+1": invalid syntax'),
    ("ints", "1,", 'strconv.Atoi: parsing "": invalid syntax'),
    ("ints", "0x1", 'strconv.Atoi: parsing "0x1": invalid syntax'),
    ("bool", "yes", 'strconv.ParseBool: parsing "yes": invalid syntax'),
    ("duration", "", 'time: invalid duration ""'),
    ("duration", "3", 'time: missing unit in duration "3"'),
    ("duration", "3d", 'time: unknown unit "d" in duration "3d"'),
    ("duration", ".s", 'time: invalid duration ".s"'),
    ("duration", "1s 2s", 'time: unknown unit "s " in duration "1s 2s"'),
    ("duration", "9999999999h", 'time: invalid duration "9999999999h"'),
    ("duration", "1é", 'time: unknown unit "\\xc3\\xa9" in duration "1\\xc3\\xa9"'),
    ("strings", 'a"b', 'parse error on line 1, column 2: bare " in non-quoted-field'),
    ("strings", '"a"b', 'parse error on line 1, column 3: extraneous or missing " in quoted-field'),
    ("strings", '"ab', 'parse error on line 1, column 4: extraneous or missing " in quoted-field'),
    ("strings", "\n", "EOF"),
]


@pytest.mark.parametrize(
    ("kind", "text", "error"), BAD_VALUES, ids=[repr(each[1][:12]) for each in BAD_VALUES]
)
def test_bad_value(kind: Any, text: str, error: str) -> None:
    with pytest.raises(InvalidError, match=f"^{re.escape(error)}$"):
        PARSERS[kind](text)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("inspekt", ["inspect"]), ("COPY", ["copy"]), ("log", ["login", "logout"]), ("foo", []), ("layer", [])],
)
def test_suggestions(typed: str, meant: list[str]) -> None:
    assert suggestions(typed) == meant


def test_help_names_what_programs_look_for() -> None:
    # The Rust crate containers-image-proxy looks for this flag.
    assert "--user-agent-prefix" in program_help("skopeo")
    for command in COMMANDS:
        shown = command_help("wherry", command)
        assert f"wherry {command.name} " in shown
        for name, option in options(command.name).items():
            assert (f"--{name} " in shown) == (not option.hidden), (command.name, name)
