"""Records golden/*.jsonl from skopeo, and from nothing else.

``python -m tests.wire.record /path/to/skopeo COMMIT [GROUP...]``
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.images import build
from tests.wire import registry
from tests.wire.driver import lines, play
from tests.wire.scenarios import GROUPS, POLICIES

GOLDEN = Path(__file__).parent / "golden"


def skopeo_version(binary: str) -> str:
    """The version line of a real skopeo; ends the program for anything else, wherry under that name too."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    version = done.stdout.strip()
    executable = Path(binary).read_bytes()[:4] == b"\x7fELF"
    if not version.startswith("skopeo version ") or not executable:
        sys.exit(f"{binary} is no skopeo ({version!r}): goldens come from skopeo only")
    return version


def prepare(cwd: Path) -> None:
    """Fills a directory with the fixture images and the policies that scenarios name."""
    build.build(cwd)
    (cwd / "policy").mkdir()
    for name, text in POLICIES.items():
        (cwd / "policy" / name).write_text(text.replace("{CWD}", str(cwd)))


def main(binary: str, commit: str, *groups: str) -> None:
    head = {
        "golden": "image proxy protocol 0.2.8",
        "version": skopeo_version(binary),
        "commit": commit,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": "skopeo [before] experimental-image-proxy [after]",
    }
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        cwd, home, served = (Path(scratch) / name for name in ("images", "home", "registry"))
        for path in (home, served):
            path.mkdir()
        prepare(cwd)
        places = stack.enter_context(registry.places(served, cwd))
        for group in groups or GROUPS:
            text = [json.dumps(head)]
            for name, scenario in GROUPS[group].items():
                used = places if scenario.registry else {}
                try:
                    text += lines(name, scenario, play([binary], scenario, cwd, home, used))
                except Exception as error:
                    error.add_note(f"in {group}.{name}")
                    raise
            (GOLDEN / f"{group}.jsonl").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
