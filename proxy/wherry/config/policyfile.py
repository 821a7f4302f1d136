"""Finding and reading policy.json (skopeo-reference 3.1). What it says is for wherry.policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.config import search

if TYPE_CHECKING:
    from wherry.config.search import Found
    from wherry.system import System

FILENAME = "policy.json"
VARIABLE = "CONTAINERS_POLICY_JSON"
LIMIT = 4 * 1024 * 1024


def read(system: System, path: str | None = None) -> Found:
    """The policy file: `path` (--policy) if it is given, else the first of the search.

    There are no drop-in files for it. Raises NotFoundError, FileError or LimitError.
    """
    if path:
        return search.read(system, path, LIMIT)
    return search.read_first(system, search.main_files(system, FILENAME, VARIABLE), LIMIT)
