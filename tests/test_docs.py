"""The documents name files that exist and link to pages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
_NAMED = re.compile(r"`((?:proxy|clients|tests|docs|benchmarks|\.ci)/[\w./-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    wrong = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    wrong += [name for name in _NAMED.findall(text) if not (ROOT / name).exists()]
    assert wrong == []


def test_each_decision_says_what_it_costs() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        _, _, costs = page.read_text().partition("### Negative consequences")
        assert costs.count("\n- ") >= 2, page.name
