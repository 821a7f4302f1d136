"""The session fixture ``images``; tests/conftest.py loads it with ``pytest_plugins``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.images import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds every fixture image; tests read it and write nothing there."""
    root = tmp_path_factory.mktemp("images")
    build.build(root)
    return root
