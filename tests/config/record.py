"""Records golden/registries.json and golden/proxies.json:

    SKOPEO_REF=/path/to/skopeo python -m tests.config.record

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

from tests.config.cases import LOOKUPS, ONE, PROXIES, REFUSED

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


def through_proxy(environ: dict[str, str], registry: str, scratch: Path) -> bool:
    """Whether the proxy was asked; what is reached directly fails otherwise, or in no time at all."""
    command = [os.environ["SKOPEO_REF"], "--command-timeout", "2s", "inspect", f"docker://{registry}/x"]
    environ = environ | {"HOME": str(scratch), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    return "proxyconnect tcp: dial tcp 127.0.0.1:9: connect" in done.stderr


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        looked_up = [[answer(config, each, scratch) for each in names] for config, names in LOOKUPS]
        proxied = [through_proxy(environ, registry, scratch) for environ, registry in PROXIES]
        refused = [answer(config, f"{ONE}/x", scratch) for config in REFUSED]
    recorded = {"looked_up": looked_up, "refused": refused}
    (HERE / "golden").mkdir(exist_ok=True)
    (HERE / "golden" / "proxies.json").write_text(json.dumps(proxied) + "\n")
    (HERE / "golden" / "registries.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
