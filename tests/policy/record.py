"""Records golden/policies.json: `SKOPEO_REF=/path/to/skopeo python -m tests.policy.record`.

`skopeo --policy FILE copy dir:IMAGE dir:…` for each text of cases.py: the error, or "" for an accepted image.
The paths of this run are replaced by FILE and IMAGE.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests.model.record import OCI, write_image
from tests.policy.cases import POLICIES

HERE = Path(__file__).parent


def verdict(text: str, scratch: Path) -> str:
    policy = scratch / "policy.json"
    policy.write_text(text)
    command = [os.environ["SKOPEO_REF"], "--policy", str(policy)]
    command += ["copy", "--quiet", f"dir:{scratch}/image", f"dir:{scratch}/copy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    error = done.stderr.rstrip().rpartition("level=fatal msg=")[2]
    error = json.loads(error) if error.startswith('"') else error
    return error.replace(str(policy), "FILE").replace(f"{scratch}/image", "IMAGE")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_image(scratch / "image", b"{}", OCI)
        recorded = {text: verdict(text, scratch) for text in POLICIES}
    (HERE / "golden" / "policies.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
