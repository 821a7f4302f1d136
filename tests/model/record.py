"""Records golden/*.json from skopeo: `SKOPEO_REF=/path/to/skopeo python -m tests.model.record`.

configs.json: for each config of configs.py, put into a Docker schema 2 and into an OCI image in a `dir:`:
`skopeo inspect DIR`, `skopeo inspect --config DIR`, and `skopeo copy DIR oci:…`, of which the config blob and
the manifest are kept as they are.

chosen.json: `skopeo --override-arch … inspect DIR` of a directory that holds nothing but an index; the file
that skopeo then misses is named after the instance it chose.

names.json: `skopeo copy docker:NAME ftp:x`, which parses the source first and never connects.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from tests.model.configs import CONFIGS
from tests.model.indexes import ASKED, all_indexes
from tests.model.names import NAMES

HERE = Path(__file__).parent
LAYER = b"x" * 100
SCHEMA2 = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
OCI = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
)
SHOWN = ("Created", "DockerVersion", "Labels", "Architecture", "Os", "Env")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def manifest(config: bytes, types: tuple[str, str, str]) -> bytes:
    """The manifest of an image with one layer, which has a URL that Go escapes."""
    layer = {"mediaType": types[2], "size": len(LAYER), "digest": digest(LAYER), "urls": ["http://x/<a>&b"]}
    value = {
        "schemaVersion": 2,
        "mediaType": types[0],
        "config": {"mediaType": types[1], "size": len(config), "digest": digest(config)},
        "layers": [layer],
    }
    return json.dumps(value).encode()


def write_image(directory: Path, config: bytes, types: tuple[str, str, str]) -> None:
    directory.mkdir()
    for blob in (config, LAYER):
        (directory / digest(blob).removeprefix("sha256:")).write_bytes(blob)
    (directory / "version").write_text("Directory Transport Version: 1.1\n")
    (directory / "manifest.json").write_bytes(manifest(config, types))


def run(*arguments: str) -> tuple[str, str]:
    """Standard output and the text of the fatal error, if any."""
    command = [os.environ["SKOPEO_REF"], "--insecure-policy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout, ""
    text = done.stderr.rstrip().rpartition("level=fatal msg=")[2]
    return "", json.loads(text) if text.startswith('"') else text


def record(config: bytes, scratch: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, types in (("docker", SCHEMA2), ("oci", OCI)):
        image = scratch / name
        write_image(image, config, types)
        shown, error = run("inspect", f"dir:{image}")
        found[f"inspect_{name}"] = error or {key: json.loads(shown)[key] for key in SHOWN}
    found["config"], found["config_error"] = run("inspect", "--config", f"dir:{scratch / 'docker'}")
    layout = scratch / "layout"
    _, error = run("copy", f"dir:{scratch / 'docker'}", f"oci:{layout}:x")
    if not error:
        blobs = layout / "blobs" / "sha256"
        index = json.loads((layout / "index.json").read_text())
        raw = (blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_bytes()
        found["manifest"] = raw.decode()
        converted = json.loads(raw)["config"]["digest"].removeprefix("sha256:")
        found["converted"] = (blobs / converted).read_text()
    return found


def chosen(raw: bytes, asked: tuple[str, str, str], scratch: Path) -> str:
    """The digest that skopeo chose, or its error."""
    (scratch / "manifest.json").write_bytes(raw)
    (scratch / "version").write_text("Directory Transport Version: 1.1\n")
    flags = [
        f"--override-{name}={value}" for name, value in zip(("arch", "variant", "os"), asked, strict=True)
    ]
    _, error = run(*flags, "inspect", f"dir:{scratch}")
    if found := re.search(r"/([0-9a-f]{64})\.manifest\.json: no such file", error):
        return f"sha256:{found[1]}"
    return error.removeprefix("Error parsing manifest for image: choosing image instance: ")


def refusal(name: str) -> str:
    """Why skopeo does not take this as the source's name, or "" if it does."""
    _, error = run("copy", f"docker:{name}", "ftp:x")
    prefix = f"Invalid source name docker:{name}: "
    return error.removeprefix(prefix) if error.startswith(prefix) else ""


def write(name: str, value: object) -> None:
    (HERE / "golden" / name).write_text(json.dumps(value, indent=1) + "\n")


def main() -> None:
    recorded = []
    for config in CONFIGS:
        with tempfile.TemporaryDirectory() as scratch:
            recorded.append(record(config, Path(scratch)))
    write("configs.json", recorded)
    with tempfile.TemporaryDirectory() as scratch:
        write(
            "chosen.json",
            {
                name: {"/".join(asked): chosen(raw, asked, Path(scratch)) for asked in ASKED}
                for name, raw in all_indexes().items()
            },
        )
    write("names.json", {name: refusal(name) for name in NAMES})


if __name__ == "__main__":
    main()
