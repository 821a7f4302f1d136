"""protocol.md holds: its tables are those of the code, its examples are what a live server answers."""

from __future__ import annotations

import json
import re
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.server.harness import Peer, make_system, serving
from wherry import errors
from wherry.protocol import describe, messages

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "protocol.md"
TEXT = PAGE.read_text()

_BLOCK = re.compile(r"^```json (request|reply|data)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    kind: str
    lines: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    return [Block(kind, tuple(body.splitlines())) for kind, body in _BLOCK.findall(text)]


def sections() -> dict[str, list[Block]]:
    parts = re.split(r"^## (.*)$", TEXT, flags=re.MULTILINE)
    found = {title: blocks(body) for title, body in zip(parts[1::2], parts[2::2], strict=True)}
    return {title: inside for title, inside in found.items() if inside}


def fits(shown: str, found: str) -> bool:
    """Whether `found` is what the document shows, where `…` stands for anything."""
    return re.fullmatch(re.escape(shown).replace("…", ".*"), found, re.DOTALL) is not None


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_STREAM])
@pytest.mark.parametrize("title", sections())
async def test_examples(title: str, kind: int, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "examples" / "hello", tmp_path / "hello")
    async with serving(make_system(tmp_path), kind=kind) as peer:
        await play(peer, sections()[title])


async def play(peer: Peer, steps: list[Block]) -> None:
    fds: list[int] = []
    for step, after in zip(steps, [*steps[1:], Block("end", ())], strict=True):
        if step.kind == "request":
            for line in step.lines:
                await peer.send(line.encode() + (b"\n" if peer.stream else b""))
            if after.kind != "reply":
                assert await peer.message() is None, f"{step.lines[-1]} has a reply"
        elif step.kind == "reply":
            for line in step.lines:
                message = await peer.reply()
                found = re.sub(r',"fds":\d+}$', "}", message.raw.decode()) if peer.stream else ""
                assert fits(line, found or message.raw.decode()), message.raw
                fds += message.fds
        else:
            data = await peer.read(fds.pop(0))
            assert fits("\n".join(step.lines), data.decode().removesuffix("\n")), data
    assert fds == [], "a reply's data is not shown"


def test_every_method_has_an_example() -> None:
    shown = {
        json.loads(line)["method"]
        for inside in sections().values()
        for block in inside
        if block.kind == "request"
        for line in block.lines
    }
    assert shown >= set(messages.BY_NAME)


def test_every_code_block_is_an_example() -> None:
    assert TEXT.count("\n```") == 2 * sum(map(len, sections().values()))


def test_tables_are_the_code_s() -> None:
    assert describe.updated(TEXT) == TEXT, "run: python -m wherry.protocol.describe protocol.md"
    shown = set(re.findall(r"<!-- generated: ([\w-]+) -->", TEXT))
    assert shown == set(describe.SECTIONS)


def test_a_changed_table_is_seen() -> None:
    changed = TEXT.replace("| `GetManifest` |", "| `GetManifests` |")
    assert changed != TEXT
    assert describe.updated(changed) == TEXT


def test_the_tables_leave_nothing_out() -> None:
    kinds = {kind.kind for kind in describe.KINDS}
    assert kinds == set(get_args(errors.Kind))
    shown = {kind.__name__ for kind in describe.objects()}
    structs = {
        name
        for name, kind in vars(messages).items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    assert structs - set(messages.BY_NAME) - {"Method", "Reply", "Struct"} <= shown


@pytest.mark.parametrize(
    ("shown", "found", "same"),
    [
        ("a…c", "abbc", True),
        ("a…c", "abbd", False),
        ("a.c", "abc", False),
        ('{"x":…}', '{"x":[1,\n2]}', True),
    ],
)
def test_what_fits(shown: str, found: str, same: bool) -> None:
    assert fits(shown, found) is same
