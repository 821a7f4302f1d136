"""Records golden/registries.json: `SKOPEO_REF=/path/to/skopeo python -m tests.config.record`.

`skopeo --registries-conf FILE inspect docker://NAME` for each file and name of cases.py, on ports where
nobody listens: the error tells which places were asked in which order. The paths of this run are replaced by
FILE and HOME, `line N (last key "K")` by `key "K"` (our parser keeps no lines); names of Go types and of the
DNS server are left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from tests.config.cases import LOOKUPS, ONE, REFUSED

HERE = Path(__file__).parent


def answer(config: str, reference: str, scratch: Path) -> str:
    (scratch / "FILE").write_text(config)
    command = [os.environ["SKOPEO_REF"], "--registries-conf", str(scratch / "FILE")]
    command += ["inspect", "--no-tags", f"docker://{reference}"]
    environ = {"HOME": str(scratch / "HOME"), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    error = json.loads(done.stderr.rstrip().rpartition("level=fatal msg=")[2])
    error = error.removeprefix(f'Error parsing image name "docker://{reference}": ').replace(
        f"{scratch}/", ""
    )
    error = re.sub(r" on [0-9.:]+: no such host", ": no such host", error)
    error = re.sub(r"type mismatch for sysregistriesv2[.][A-Za-z]+: ", "", error)
    return re.sub(r'line \d+ \(last key ("[^"]+")\)', r"key \1", error)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        looked_up = [[answer(config, each, scratch) for each in names] for config, names in LOOKUPS]
        refused = [answer(config, f"{ONE}/x", scratch) for config in REFUSED]
    recorded = {"looked_up": looked_up, "refused": refused}
    (HERE / "golden").mkdir(exist_ok=True)
    (HERE / "golden" / "registries.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
