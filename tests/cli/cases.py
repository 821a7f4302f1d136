"""Every recorded command, in groups; a group is one file below golden/."""

from __future__ import annotations

from dataclasses import replace

from tests.cli import cases_copy, cases_general, cases_inspect
from tests.cli.harness import Case

_TABLES: dict[str, list[Case]] = {
    "global": cases_general.GLOBAL,
    "references": cases_general.REFERENCES,
    "destinations": cases_general.DESTINATIONS,
    "list-tags": cases_general.LIST_TAGS,
    "manifest-digest": cases_general.MANIFEST_DIGEST,
    "inspect-images": cases_inspect.IMAGES,
    "inspect-format": cases_inspect.FORMATS,
    "inspect-options": cases_inspect.OPTIONS,
    "inspect-docker": cases_inspect.DOCKER,
    "copy-pairs": cases_copy.PAIRS,
    "copy-options": cases_copy.OPTIONS,
    "copy-existing": cases_copy.EXISTING,
    "copy-faults": cases_copy.FAULTS,
    "copy-policy": cases_copy.POLICY,
}
GROUPS: dict[str, list[Case]] = {
    group: [replace(one, id=f"{group}/{one.id}") for one in table] for group, table in _TABLES.items()
}
CASES: list[Case] = [one for table in GROUPS.values() for one in table]
BY_ID: dict[str, Case] = {one.id: one for one in CASES}
assert len(BY_ID) == len(CASES), "two cases share an id"
