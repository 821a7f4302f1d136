"""Every row of hostile-cases.md that concerns what is built has a test that carries its ID."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = HERE.parents[1] / "shared" / "hostile-cases.md"

_ROW = re.compile(r"^\| ([SDARC])-(\d+) \|", re.MULTILINE)
_TEST = re.compile(r"test_(?P<rows>(?:[sdarc]\d+_)+)")


def listed() -> dict[str, str]:
    return tomllib.loads((HERE / "hostile_rows.toml").read_text())


def carried(name: str) -> set[str]:
    """The rows in a test's name: `test_s01_s02_no_request_ends_the_server` carries S-01 and S-02."""
    if (found := _TEST.match(name)) is None:
        return set()
    return {f"{row[0].upper()}-{row[1:]}" for row in found["rows"].strip("_").split("_")}


def test_names_carry_rows() -> None:
    assert carried("test_s01_s02_no_request_ends_the_server") == {"S-01", "S-02"}
    assert carried("test_a_pipe_of_64_KiB") == set()
    assert carried("test_d13_the_old_image_survives") == {"D-13"}


def test_the_list_holds_the_demanded_rows() -> None:
    if not CASES.exists():
        pytest.skip("hostile-cases.md is not beside this checkout")
    rows = {f"{kind}-{number}" for kind, number in _ROW.findall(CASES.read_text())}
    assert rows == set(listed())


@pytest.mark.parametrize(("row", "state"), listed().items())
def test_the_state_of_a_row_is_said(row: str, state: str) -> None:
    assert re.fullmatch(r"test|later: issue \d+, .{10,}", state), f"{row} = {state!r}"


def test_each_built_row_has_a_test() -> None:
    names = {
        node.name
        for path in HERE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    seen = set().union(*map(carried, names))
    built = {row for row, state in listed().items() if state == "test"}
    missing = sorted(built - seen)
    assert not missing, f"no test carries {', '.join(missing)}"
    assert not (early := sorted((set(listed()) - built) & seen)), f"tested, yet listed as later: {early}"
