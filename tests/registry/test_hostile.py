"""The hostile registry and whole programs: wherry's, and skopeo where there is a current one."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.registry.hostile import CASES, Case, Outcome, run

ROOT = Path(__file__).parents[2]
WHERRY = [str(Path(sys.executable).with_name("wherry"))]
DOCUMENT = (ROOT / "docs" / "differences.md").read_text()
IDS = [f"{case.row}-{case.what}".replace(" ", "-") for case in CASES]


def _all(program: list[str], root: Path) -> list[Outcome]:
    def one(number: int) -> Outcome:
        folder = root / str(number)
        folder.mkdir()
        return run(program, CASES[number], folder)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, range(len(CASES))))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Outcome]:
    return dict(zip(CASES, _all(WHERRY, tmp_path_factory.mktemp("ours")), strict=True))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_wherry_makes_of_it(case: Case, ours: dict[Case, Outcome]) -> None:
    assert ours[case] == case.expected
    assert any(line.startswith(_line(case)) for line in DOCUMENT.splitlines()), _line(case)


def _line(case: Case) -> str:
    return f"| {case.row} | {case.what} | {case.expected} |"


def test_the_document_says_where_skopeo_ends_otherwise(skopeo_ref: Path, tmp_path: Path) -> None:
    for case, outcome in zip(CASES, _all([str(skopeo_ref)], tmp_path), strict=True):
        same = "yes" if outcome == case.expected else "no"
        assert f"{_line(case)} {same} |" in DOCUMENT, (case.what, outcome)
