"""The registries that scenarios talk to, on loopback: a real docker-registry, a canned one, a closed port."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.images import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Repository -> (fixture image, how it is stored).
SEEDED = {
    "wire/one": "one",
    "wire/multi": "multi",
    "wire/big": "big",
    "wire/l64": "l64",
    "wire/artifact": "artifact",
    "wire/sub/s2": "s2dir",
    "wire/s2list": "s2list",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Seeder:
    """Pushes fixture images by the distribution API, exactly as their bytes are."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream") -> str:
        self.connection.request(method, path, body, {"Content-Type": kind})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
        return answer.headers.get("Location", "")

    def blob(self, repository: str, data: bytes) -> None:
        place = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        joint = "&" if "?" in place else "?"
        self.call("PUT", f"{place}{joint}digest={build.digest(data)}", data)

    def manifest(self, repository: str, data: bytes, tag: str = "") -> None:
        kind = json.loads(data)["mediaType"]
        self.call("PUT", f"/v2/{repository}/manifests/{tag or build.digest(data)}", data, kind)

    def image(self, repository: str, root: Path) -> None:
        """Blobs first, then the instances' manifests, then the tag ``latest``."""
        if (root / "index.json").exists():
            files = {path.name: path.read_bytes() for path in (root / "blobs/sha256").iterdir()}
            top = files[json.loads((root / "index.json").read_bytes())["manifests"][0]["digest"][7:]]
        else:
            top = (root / "manifest.json").read_bytes()
            files = {
                path.name.partition(".")[0]: path.read_bytes()
                for path in root.iterdir()
                if path.name not in {"manifest.json", "version"}
            }
        listed = [item["digest"][7:] for item in json.loads(top).get("manifests", [])]
        for name, data in files.items():
            if name not in listed and data != top:
                self.blob(repository, data)
        for name in listed:
            self.manifest(repository, files[name])
        self.manifest(repository, top, "latest")


@contextmanager
def docker_registry(root: Path, images: Path) -> Iterator[str]:
    """A docker-registry on a free port with the images of ``SEEDED``; yields its address."""
    address = f"127.0.0.1:{free_port()}"
    (root / "config.yml").write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: {address}\n"
    )
    with (root / "log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", root / "config.yml"], stdout=log, stderr=log)
        try:
            await_port(address, server)
            seeder = Seeder(address)
            for repository, name in SEEDED.items():
                seeder.image(repository, images / name)
            seeder.connection.close()
            yield address
        finally:
            server.terminate()
            server.wait()


def await_port(address: str, server: subprocess.Popen[bytes]) -> None:
    host, _, port = address.partition(":")
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"docker-registry ended with {server.returncode}")
        with suppress(ConnectionRefusedError), socket.create_connection((host, int(port)), 5):
            return
        time.sleep(0.05)
    raise RuntimeError("docker-registry does not listen")


def _errors(code: str, message: str, **more: Any) -> bytes:
    return build.dump({"errors": [{"code": code, "message": message, **more}]})


# Tag -> status and body of GET /v2/canned/manifests/TAG.
CANNED: dict[str, tuple[int, bytes]] = {
    "unknown": (404, _errors("MANIFEST_UNKNOWN", "manifest unknown")),
    "unknown-detail": (404, _errors("MANIFEST_UNKNOWN", "manifest unknown", detail={"Tag": "x"})),
    "unknown-words": (404, _errors("MANIFEST_UNKNOWN", "there is <no> such & thing")),
    "name-unknown": (404, _errors("NAME_UNKNOWN", "repository name not known to registry")),
    "denied": (403, _errors("DENIED", "requested access to the resource is denied")),
    "unauthorized": (401, _errors("UNAUTHORIZED", "authentication required")),
    "bare-404": (404, b""),
    "html-404": (404, b"<html><body>not here</body></html>"),
    "bare-403": (403, b""),
    "http-500": (500, b"oops"),
    "http-502": (502, b"bad gateway"),
    "http-503": (503, b""),
    "http-504": (504, b""),
    "http-400": (400, _errors("UNSUPPORTED", "no")),
    "two-errors": (
        404,
        build.dump(
            {
                "errors": [
                    {"code": "NAME_UNKNOWN", "message": "first"},
                    {"code": "MANIFEST_UNKNOWN", "message": "second"},
                ]
            }
        ),
    ),
    "long-message": (403, _errors("DENIED", "<" * 60000)),
}

# Digest's last digit -> status and body of GET /v2/canned/blobs/DIGEST.
CANNED_BLOBS: dict[str, tuple[int, bytes]] = {
    "1": (404, _errors("BLOB_UNKNOWN", "blob unknown to registry")),
    "2": (404, _errors("BLOB_UNKNOWN", "blob unknown to registry", detail="x")),
    "3": (404, b""),
    "4": (500, b""),
    "5": (503, b""),
}


class Canned(BaseHTTPRequestHandler):
    """Answers from the tables above; ``/v2/canned/manifests/good`` is the fixture ``two``'s manifest."""

    protocol_version = "HTTP/1.1"
    manifest = b""

    def do_GET(self) -> None:
        kind = "application/json"
        status, body = 404, b""
        last = self.path.rpartition("/")[2]
        if self.path == "/v2/":
            status, body = 200, b"{}"
        elif last == "good":
            status, body, kind = 200, self.manifest, build.OCI_MANIFEST
        elif "/manifests/" in self.path:
            status, body = CANNED.get(last, (404, b""))
        elif "/blobs/" in self.path:
            if last == build.digest(build.ONE.blob):
                self.without_length(build.ONE.blob)
                return
            status, body = CANNED_BLOBS.get(last[-1], (404, b""))
        kind = "text/html" if body.startswith(b"<") else kind
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def without_length(self, body: bytes) -> None:
        """A blob in chunks: its size is not told."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that tries TLS first is no event."""


@contextmanager
def canned_registry() -> Iterator[str]:
    two = [build.ONE, build.TWO]
    manifest = build.dump(build.oci_manifest(two, build.dump(build.config(two))))
    handler = type("CannedTwo", (Canned,), {"manifest": manifest})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def places(root: Path, images: Path) -> Iterator[dict[str, str]]:
    """The placeholders of registry scenarios; the closed port is held, bound but not listening."""
    with docker_registry(root, images) as real, canned_registry() as canned, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = f"127.0.0.1:{closed.getsockname()[1]}"
        yield {"{REGISTRY}": real, "{FAKE}": canned, "{REFUSED}": refused}
