"""dir: the contract, its rows of hostile-cases, and its peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transports.contract import Contract, Subject, make_system

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(make_system(tmp_path), "dir:image", tmp_path / "image")


class TestContract(Contract):
    pass
