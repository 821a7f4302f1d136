"""Short forms to write a case in one line."""

from __future__ import annotations

import shlex
from typing import Any

from tests.cli.harness import Case, Ours


def case(name: str, line: str | tuple[str, ...], **more: Any) -> Case:
    """A case from a shell-quoted line (or the arguments themselves); its group gives the id's first half."""
    return Case(name, tuple(shlex.split(line)) if isinstance(line, str) else line, **more)


def differing(
    name: str, line: str | tuple[str, ...], reason: str, stderr: str, stdout: str = "", rc: int = 1, **more: Any
) -> Case:
    """A case where wherry deliberately does something else; stderr and stdout are patterns for the whole stream."""
    return case(name, line, differs=reason, ours=Ours(rc, stderr, stdout), **more)


def fatal(pattern: str) -> str:
    """The pattern of one fatal log line whose (escaped) message matches pattern."""
    return rf'time="TIME" level=fatal msg="?{pattern}"?\n'
