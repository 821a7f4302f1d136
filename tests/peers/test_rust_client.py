"""The client that bootc and rpm-ostree use, with wherry in the place of skopeo.

`tests/peers/rust` is a program of our own on the crate containers-image-proxy. It starts whatever is first
in PATH as `skopeo`, counts and hashes every blob itself, and reports only after the proxy has ended with
status 0. What it must report is computed here from the images' own bytes. Where $SKOPEO_REF names a current
skopeo the same cases run against it: they are then known to hold for the reference too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.require import require_peer, require_skopeo_ref
from tests.peers.servers import Registry

RUST = Path(__file__).parent / "rust"
HELLO = Path(__file__).parents[2] / "docs" / "examples" / "hello"
OLDEST_RUST = (1, 85)  # what the locked crates need; Debian 12 has a newer one as cargo-web
CLIENT_TIMEOUT_S = 120

Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Image:
    """An image to fetch, and where the bytes it is compared with lie."""

    name: str
    """What OpenImage gets."""
    blobs: Path
    manifest: bytes
    """As stored."""
    options: tuple[str, ...] = ()

    @property
    def parsed(self) -> dict[str, Any]:
        return json.loads(self.manifest)  # type: ignore[no-any-return]


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def in_layout(layout: Path, name: str, *options: str) -> Image:
    """The only image of an OCI layout, opened as `name`."""
    [entry] = json.loads((layout / "index.json").read_bytes())["manifests"]
    blobs = layout / "blobs" / "sha256"
    return Image(name, blobs, (blobs / entry["digest"].removeprefix("sha256:")).read_bytes(), options)


def in_dir(folder: Path, name: str, *options: str) -> Image:
    """The image of a dir: folder, opened as `name`."""
    return Image(name, folder, (folder / "manifest.json").read_bytes(), options)


def skopeo_copy(skopeo: Path, source: str, target: str, *options: str) -> None:
    command = [str(skopeo), "--insecure-policy", "copy", "--preserve-digests", *options, source, target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def working_cargo() -> tuple[str, str]:
    """The first cargo of PATH that runs, and its version: rustup's is there without its toolchain, too."""
    for folder in os.get_exec_path():
        cargo = shutil.which("cargo", path=folder)
        if cargo is None:
            continue
        done = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return cargo, done.stdout
    pytest.skip("no cargo runs here (Debian package cargo-web)")


@pytest.fixture(scope="session")
def client() -> Path:
    """The Rust client, built once and kept in tests/peers/rust/target."""
    cargo, version = working_cargo()
    found = re.match(r"cargo (\d+)\.(\d+)", version)
    assert found is not None, version
    if (int(found[1]), int(found[2])) < OLDEST_RUST:
        pytest.skip(f"{version.strip()} is too old for the crate; Debian's cargo-web is new enough")
    path = f"{os.path.dirname(cargo)}:{os.environ['PATH']}"  # the rustc that belongs to it
    build = subprocess.run(
        [cargo, "build", "--release", "--locked"],
        cwd=RUST,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    return RUST / "target" / "release" / "proxy-client"


@pytest.fixture(scope="module")
def shelf(
    tmp_path_factory: pytest.TempPathFactory,
    images: Path,
    skopeo: Path,
    registry: Registry,
    tls_registry: Registry,
) -> dict[str, Image]:
    """The images by the name of the case. Debian's skopeo brought them to where they are."""
    root = tmp_path_factory.mktemp("shelf")
    hello = f"oci:{HELLO}:latest"
    skopeo_copy(skopeo, hello, f"oci-archive:{root}/hello.tar:latest")
    skopeo_copy(skopeo, hello, f"dir:{root}/hello")
    skopeo_copy(skopeo, hello, registry.docker("rust/hello:1"), "--dest-tls-verify=false")
    skopeo_copy(skopeo, f"oci:{images}/big", registry.docker("rust/big:1"), "--dest-tls-verify=false")
    skopeo_copy(skopeo, f"oci:{images}/l64", registry.docker("rust/l64:1"), "--dest-tls-verify=false")
    skopeo_copy(skopeo, f"dir:{images}/s2dir", registry.docker("rust/s2:1"), "--dest-tls-verify=false")
    authfile = tls_registry.authfile(root / "auth.json")
    to_tls = ["--dest-cert-dir", str(tls_registry.cert_dir), "--dest-authfile", str(authfile)]
    skopeo_copy(skopeo, hello, tls_registry.docker("rust/hello:1"), *to_tls)
    http = ("--no-tls-verify",)
    tls = ("--cert-dir", str(tls_registry.cert_dir), "--authfile", str(authfile))
    return {
        "oci": in_layout(HELLO, hello),
        "oci-big": in_layout(images / "big", f"oci:{images}/big"),
        "oci-64-layers": in_layout(images / "l64", f"oci:{images}/l64"),
        "oci-archive": in_layout(HELLO, f"oci-archive:{root}/hello.tar:latest"),
        "dir": in_dir(root / "hello", f"dir:{root}/hello"),
        "dir-schema2": in_dir(images / "s2dir", f"dir:{images}/s2dir"),
        "http": in_layout(HELLO, registry.docker("rust/hello:1"), *http),
        "http-big": in_layout(images / "big", registry.docker("rust/big:1"), *http),
        "http-64-layers": in_layout(images / "l64", registry.docker("rust/l64:1"), *http),
        "http-schema2": in_dir(images / "s2dir", registry.docker("rust/s2:1"), *http),
        "tls": in_layout(HELLO, tls_registry.docker("rust/hello:1"), *tls),
        "tls-not-verified": in_layout(
            HELLO, tls_registry.docker("rust/hello:1"), *http, "--authfile", str(authfile)
        ),
    }


CASES = (
    "oci",
    "oci-big",
    "oci-64-layers",
    "oci-archive",
    "dir",
    "dir-schema2",
    "http",
    "http-big",
    "http-64-layers",
    "http-schema2",
    "tls",
    "tls-not-verified",
)


def test_the_shelf_and_the_cases_agree(shelf: dict[str, Image]) -> None:
    assert tuple(shelf) == CASES


def shim(folder: Path) -> None:
    """A `skopeo` that runs wherry as a package."""
    program = folder / "skopeo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m wherry_cli "$@"\n')
    program.chmod(0o755)


def symlink(folder: Path) -> None:
    """A `skopeo` that is a link to the console script `wherry`."""
    script = Path(sys.executable).parent / "wherry"
    assert script.exists(), "the project is not installed into this environment"
    (folder / "skopeo").symlink_to(script)


def reference(folder: Path) -> None:
    """A current skopeo."""
    (folder / "skopeo").symlink_to(require_skopeo_ref())


def runner(client: Path, folder: Path, install: Callable[[Path], None]) -> Run:
    home, bin_folder = folder / "home", folder / "bin"
    home.mkdir()
    bin_folder.mkdir()
    install(bin_folder)
    environ = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    environ |= {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "HOME": str(home),
        "CONTAINERS_REGISTRIES_CONF": "/dev/null",
        "XDG_RUNTIME_DIR": str(home),
        "RUST_BACKTRACE": "0",
    }

    def run(image: Image, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(client), "--insecure", *image.options, *words, image.name],
            env=environ,
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
            timeout=CLIENT_TIMEOUT_S,
        )

    return run


@pytest.fixture(params=[shim, reference], ids=["wherry", "skopeo_ref"])
def run(request: pytest.FixtureRequest, client: Path, tmp_path: Path) -> Run:
    return runner(client, tmp_path, request.param)


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES)
def test_metadata(run: Run, shelf: dict[str, Image], case: str) -> None:
    image = shelf[case]
    stored = image.parsed
    config = (image.blobs / stored["config"]["digest"].removeprefix("sha256:")).read_bytes()
    seen = answer(run(image, "metadata"))

    assert seen["protocol"] == "0.2.8"
    assert seen["manifestDigest"] == sha256(image.manifest), "the digest is the stored manifest's"
    assert seen["diffIds"] == json.loads(config)["rootfs"]["diff_ids"]
    assert seen["architecture"] == json.loads(config)["architecture"]
    assert [(layer["digest"], layer["size"], layer["mediaType"]) for layer in seen["layerInfo"]] == [
        (layer["digest"], layer["size"], layer["mediaType"]) for layer in stored["layers"]
    ]
    if case.endswith("schema2"):  # converted to OCI, so the bytes are other bytes
        assert seen["manifestSha256"] != sha256(image.manifest)
        assert seen["configDescriptor"] == seen["configSha256"] != stored["config"]["digest"]
    else:
        assert seen["manifestSha256"] == sha256(image.manifest)
        assert seen["configDescriptor"] == sha256(config)


@pytest.mark.parametrize("how", ["stream", "raw", "plain"])
@pytest.mark.parametrize("case", CASES)
def test_every_layer(run: Run, shelf: dict[str, Image], case: str, how: str) -> None:
    image = shelf[case]
    seen = answer(run(image, "layers", how))
    assert seen == {
        "how": how,
        "layers": [{"digest": item["digest"], "size": item["size"]} for item in image.parsed["layers"]],
    }
    assert len(seen["layers"]) == (64 if "64" in case else len(seen["layers"])) > 0


@pytest.mark.parametrize(("name", "found"), [("latest", True), ("no-such-tag", False)])
def test_an_image_that_may_be_missing(run: Run, shelf: dict[str, Image], name: str, found: bool) -> None:
    image = Image(f"oci:{HELLO}:{name}", HELLO, b"")
    assert answer(run(image, "optional")) == {"found": found}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("plain", r"FinishPipe.*sha256:[0-9a-f]{64}"),
        ("stream", r"sha256:[0-9a-f]{64}"),
    ],
)
def test_a_layer_with_other_bytes_is_noticed(run: Run, images: Path, how: str, said: str) -> None:
    image = in_layout(images / "badlayer", f"oci:{images}/badlayer")
    done = run(image, "layers", how)
    assert done.returncode == 1
    assert re.search(said, done.stderr, re.DOTALL), done.stderr


def test_the_console_script_called_skopeo(client: Path, shelf: dict[str, Image], tmp_path: Path) -> None:
    image = shelf["oci"]
    seen = answer(runner(client, tmp_path, symlink)(image, "layers", "stream"))
    assert [layer["digest"] for layer in seen["layers"]] == [
        item["digest"] for item in image.parsed["layers"]
    ]


def test_debians_skopeo_is_a_peer_of_the_same_client(
    client: Path, shelf: dict[str, Image], tmp_path: Path
) -> None:
    """Against a skopeo that is older than GetRawBlob the client's plain path still works."""
    program = require_peer("skopeo")
    run = runner(client, tmp_path, lambda folder: (folder / "skopeo").symlink_to(program))
    assert len(answer(run(shelf["oci-64-layers"], "layers", "plain"))["layers"]) == 64
