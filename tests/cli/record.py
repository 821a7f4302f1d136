"""Records golden/*.json from a real skopeo.

``python -m tests.cli.record /path/to/skopeo COMMIT DATE [GROUP…]`` refuses a program that is not
a compiled skopeo, so that wherry can never become its own reference.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.cli.cases import GROUPS
from tests.cli.harness import HERE, World

GOLDEN = HERE / "golden"


def version_of(skopeo: str) -> str:
    """What skopeo --version prints; SystemExit when this is no skopeo that Go compiled."""
    said = subprocess.run([skopeo, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if not said.startswith("skopeo version") or Path(skopeo).read_bytes()[:4] != b"\x7fELF":
        raise SystemExit(f"{skopeo} says {said!r}: golden files are recorded from skopeo only")
    return said


def record(skopeo: str, commit: str, date: str, groups: list[str]) -> None:
    """Run the cases of groups (all without a name) and write one file for each group."""
    header = {"version": version_of(skopeo), "commit": commit, "date": date}
    header["command"] = "python -m tests.cli.record SKOPEO COMMIT DATE"
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wherry-cli-") as root:
        world = World(Path(root) / "w")
        try:
            for group in groups or GROUPS:
                seen: dict[str, Any] = {one.id: world.run(one, [skopeo]) for one in GROUPS[group]}
                for one in seen.values():
                    one.pop("before", None)
                text = json.dumps({"recorded": header, "cases": seen}, indent=1, ensure_ascii=True)
                (GOLDEN / f"{group}.json").write_text(text + "\n")
                print(f"{group}: {len(seen)} cases")
        finally:
            world.close()


if __name__ == "__main__":
    record(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
