"""Short forms to write a case in one line."""

from __future__ import annotations

import shlex
from typing import Any

from tests.cli.harness import Case


def case(name: str, line: str | tuple[str, ...], **more: Any) -> Case:
    """A case from a shell-quoted line (or the arguments themselves); its group gives the id's first half."""
    return Case(name, tuple(shlex.split(line)) if isinstance(line, str) else line, **more)
