"""What the cases of a run share: images, servers that start when asked for, how a contender is called."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.servers import Registry

from benchmarks import proxy_client, servers
from benchmarks.fixtures import Fixture
from benchmarks.harness import Contender, UnsupportedError
from benchmarks.servers import Server

PLACES = ("oci", "registry", "lean", "tls")
"""Where an image is read from: its layout, docker-registry, the lean registry by http or by TLS."""


@dataclass
class Bench:
    """A run. Servers live until `stack` is left; `skopeo` fills docker-registry."""

    folder: Path
    images: dict[str, Fixture]
    quick: bool
    rounds: int
    skopeo: str
    stack: ExitStack
    _servers: dict[str, Server] = field(default_factory=dict)
    _push: Registry | None = None

    @property
    def requests(self) -> int:
        """Requests a round for latencies: at least 200 in all the counted rounds."""
        return max(20, -(-200 // self.rounds))

    def server(self, place: str) -> Server:
        """The server behind `place`. Raises UnsupportedError where it is not installed."""
        if place not in self._servers:
            self._servers[place] = self.stack.enter_context(self._start(place))
        return self._servers[place]

    @contextmanager
    def _start(self, place: str) -> Iterator[Server]:
        if place == "lean":
            with servers.lean(self.images) as server:
                yield server
        elif place == "bearer":
            with servers.lean(self.images, bearer=True) as server:
                yield server
        elif place == "tls":
            with servers.lean(self.images, self.folder / "tls") as server:
                yield server
        else:
            _require_registry()
            with servers.filled_registry(self.folder / "registry", self.images, self.skopeo) as server:
                yield server

    def push_target(self) -> Registry:
        """A registry to push to, empty. Raises UnsupportedError where docker-registry is not installed."""
        if self._push is None:
            _require_registry()
            self._push = self.stack.enter_context(servers.docker_registry(self.folder / "push"))
        servers.empty(self._push)
        return self._push

    def reference(self, place: str, image: str) -> str:
        """The image as `place` has it."""
        return self.images[image].oci if place == "oci" else self.server(place).docker(image)

    def tls_flags(self, place: str, prefix: str = "") -> list[str]:
        """Flags with which a contender trusts `place`; `prefix` as in --src-tls-verify."""
        if place == "oci":
            return []
        cert_dir = self.server(place).cert_dir
        if cert_dir is not None:
            return [f"--{prefix}cert-dir={cert_dir}"]
        return [f"--{prefix}tls-verify=false"]

    def proxy_command(self, contender: Contender, place: str) -> list[str]:
        """The command of an image proxy that may read from `place`."""
        flags = ["--insecure-policy", *self.tls_flags(place)]
        return [*contender.argv, "experimental-image-proxy", *flags]

    @contextmanager
    def proxy(self, contender: Contender, place: str) -> Iterator[proxy_client.Proxy]:
        """A running, initialized proxy."""
        with proxy_client.started(self.proxy_command(contender, place)) as proxy:
            proxy.call("Initialize")
            yield proxy

    def empty_page_queue(self) -> None:
        """Have nothing of the last round's writes left to do."""
        subprocess.run(["sync", "-f", str(self.folder)], check=False)


def _require_registry() -> None:
    if not servers.docker_registry_installed():
        raise UnsupportedError("docker-registry is not installed")
