"""Real registries on loopback: Debian's docker-registry 2.8.2, plain or with TLS and a password.

Everything here is a blocking context manager without pytest in it, so that benchmarks can use it too. A
registry chooses its own port (`addr: 127.0.0.1:0`) and says it in its log, so no port is ever guessed.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 10.0
_LISTENING = re.compile(r'msg="listening on [^"]*:(\d+)(, tls)?"')


@dataclass(frozen=True)
class Registry:
    """A running registry. `name` is what stands after `docker://`: `127.0.0.1:PORT` or `localhost:PORT`."""

    name: str
    root: Path
    log: Path
    username: str = ""
    password: str = ""
    cert_dir: Path | None = None
    """Holds ca.crt, the authority that signed the registry's certificate; None for plain HTTP."""
    pid: int = 0

    @property
    def url(self) -> str:
        return f"{'http' if self.cert_dir is None else 'https'}://{self.name}"

    @property
    def creds(self) -> str:
        return f"{self.username}:{self.password}"

    def docker(self, rest: str) -> str:
        """A reference for skopeo and wherry: `docker("a/b:c")` → `docker://127.0.0.1:PORT/a/b:c`."""
        return f"docker://{self.name}/{rest}"

    def authfile(self, path: Path) -> Path:
        """Write an auth.json for this registry at `path`."""
        auth = base64.b64encode(self.creds.encode()).decode()
        path.write_text(json.dumps({"auths": {self.name: {"auth": auth}}}))
        path.chmod(0o600)
        return path


@contextmanager
def running_registry(
    root: Path,
    *,
    tls: bool = False,
    login: tuple[str, str] | None = None,
    schema1: bool = False,
    auth: dict[str, object] | None = None,
    address: str = "127.0.0.1",
    mirror_of: str = "",
    program: str = "docker-registry",
) -> Iterator[Registry]:
    """Run a registry that keeps its files under `root` (made if missing) until the block ends.

    `login` asks for Basic credentials (needs `htpasswd`); `schema1` accepts Docker schema 1 manifests; `auth`
    is the section of that name of the registry's configuration, for other kinds of login. `address`: the IP
    address to listen at. `mirror_of`: the URL of a registry whose pull-through cache this one is.
    Raises RuntimeError with the registry's log when it does not start.
    """
    root.mkdir(parents=True, exist_ok=True)
    cert_dir = _certificates(root / "certs") if tls else None
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(root / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"{bracketed(address)}:0", "secret": "only a test"}
        | (
            {"tls": {"certificate": str(root / "certs/server.crt"), "key": str(root / "certs/server.key")}}
            if tls
            else {}
        ),
    }
    if login is not None:
        _htpasswd(root / "htpasswd", *login)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(root / "htpasswd")}}
    if auth is not None:
        config["auth"] = auth
    if mirror_of:
        config["proxy"] = {"remoteurl": mirror_of}
    if schema1:
        config["compatibility"] = {"schema1": {"enabled": True}}
    settings, log = root / "registry.yml", root / "registry.log"
    settings.write_text(json.dumps(config))  # JSON is YAML
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "serve", str(settings)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        port = _announced_port(process, log)
        host = "localhost" if tls and address == "127.0.0.1" else bracketed(address)
        username, password = login or ("", "")
        yield Registry(f"{host}:{port}", root, log, username, password, cert_dir, process.pid)
    finally:
        stop(process)


@contextmanager
def running_cuelabs(program: str) -> Iterator[Registry]:
    """The program that peers.md builds on cuelabs' ociserver: it keeps all in memory, has the referrers API,
    and has to be told its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([program, f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_listens(process, port)
        nowhere = Path("/dev/null")
        yield Registry(f"127.0.0.1:{port}", nowhere, nowhere, pid=process.pid)
    finally:
        stop(process)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"the registry ended with status {process.returncode}") from None
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"the registry did not start within {START_TIMEOUT_S:.0f} s")


def bracketed(address: str) -> str:
    """An IP address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server: SIGTERM, and SIGKILL when it has not ended within 10 s."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _announced_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if found := _LISTENING.search(text):
            return int(found[1])
        if process.poll() is not None:
            raise RuntimeError(f"the registry ended with status {process.returncode}:\n{text}")
        time.sleep(0.02)
    raise RuntimeError(f"the registry did not start within {START_TIMEOUT_S:.0f} s:\n{log.read_text()}")


def _certificates(folder: Path) -> Path:
    """A certificate for localhost and 127.0.0.1, and a directory for --cert-dir with its authority."""
    import trustme  # a slow import that plain HTTP does not need

    cert_dir = folder / "trusted"
    cert_dir.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1", "::1")
    authority.cert_pem.write_to_path(str(cert_dir / "ca.crt"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    (folder / "server.crt").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    return cert_dir


def _htpasswd(path: Path, username: str, password: str) -> None:
    line = subprocess.run(
        ["htpasswd", "-niB", username], input=password.encode(), capture_output=True, check=True
    )
    path.write_bytes(line.stdout)
