"""The registries of a run: docker-registry where it is installed, and the lean one (http and TLS)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.servers import Registry, running_registry

from benchmarks import lean_registry
from benchmarks.fixtures import Fixture

STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """Where images are served: `name` is what stands after docker://."""

    name: str
    pid: int = 0
    cert_dir: Path | None = None
    """Holds ca.crt of the server's throw-away authority; None for plain http."""

    def docker(self, image: str) -> str:
        return f"docker://{self.name}/{image}:latest"


@contextmanager
def lean(
    images: Mapping[str, Fixture], certificates: Path | None = None, *, bearer: bool = False
) -> Iterator[Server]:
    """Run the lean registry in a process of its own; with TLS where `certificates` names a directory, wanting
    tokens if `bearer`."""
    arguments = [f"{name}={image.layout}" for name, image in images.items()]
    arguments += ["--bearer"] * bearer
    host, cert_dir = "127.0.0.1", None
    if certificates is not None:
        cert_dir = make_certificates(certificates)
        arguments += [f"--cert={certificates / 'server.crt'}", f"--key={certificates / 'server.key'}"]
        host = "localhost"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", lean_registry.__file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(f"{host}:{int(process.stdout.readline())}", process.pid, cert_dir)
        finally:
            process.stdin.close()
            process.wait(STOP_SECONDS)


def make_certificates(folder: Path) -> Path:
    """A throw-away authority and a certificate for localhost; the directory for --cert-dir."""
    import trustme

    trusted = folder / "trusted"
    trusted.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(trusted / "ca.crt"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    (folder / "server.crt").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    return trusted


def docker_registry_installed() -> bool:
    return shutil.which("docker-registry") is not None


@contextmanager
def docker_registry(root: Path) -> Iterator[Registry]:
    """Debian's registry without a cache of blobs: with one, removed storage would still be `present`."""
    shutil.rmtree(root, ignore_errors=True)
    with running_registry(root) as registry:
        yield registry


def empty(registry: Registry) -> None:
    """Remove all that was pushed, so that the next push uploads again."""
    shutil.rmtree(registry.root / "data", ignore_errors=True)


@contextmanager
def filled_registry(root: Path, images: Mapping[str, Fixture], skopeo: str) -> Iterator[Server]:
    """docker-registry that holds the images, pushed by skopeo."""
    with docker_registry(root) as registry:
        for name, image in images.items():
            copy = [skopeo, "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
            target = registry.docker(f"{name}:latest")
            subprocess.run([*copy, image.oci, target], check=True, stdout=subprocess.DEVNULL)
        yield Server(registry.name)
