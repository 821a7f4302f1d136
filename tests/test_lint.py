"""Formatting, lint and types are tests. On a laptop a missing tool skips; in CI it fails."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.peers.require import in_ci

ROOT = Path(__file__).parents[1]

COMMANDS = {
    "ruff-format": ("ruff", "format", "--check", "."),
    "ruff-check": ("ruff", "check", "."),
    "mypy": ("mypy",),  # strict, over the three packages: see pyproject.toml
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_lint(command: tuple[str, ...]) -> None:
    module = command[0]
    if find_spec(module) is None:
        if in_ci():
            pytest.fail(f"{module} is missing, though the extra `test` installs it", pytrace=False)
        pytest.skip(f"{module} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
