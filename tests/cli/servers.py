"""The registries that recorded commands talk to: docker-registry in memory, and one with canned answers."""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import json
import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(
    address: str, method: str, path: str, body: bytes | None = None, /, **headers: str
) -> tuple[int, Any, bytes]:
    """One plain HTTP exchange: status, headers, body."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(
            method, path, body, {key.replace("_", "-"): value for key, value in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


class Registry:
    """A docker-registry that keeps everything in memory; with a password when user is given."""

    def __init__(self, root: Path, user: str = "", password: str = "") -> None:
        self.address = f"127.0.0.1:{free_port()}"
        settings: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"inmemory": {}, "delete": {"enabled": True}},
            "http": {"addr": self.address, "secret": "none"},
            "compatibility": {"schema1": {"enabled": True}},
        }
        self.headers: dict[str, str] = {}
        if user:
            line = subprocess.run(
                ["htpasswd", "-nbB", "-C", "4", user, password], check=True, capture_output=True, text=True
            ).stdout
            (root / "htpasswd").write_text(line)
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(root / "htpasswd")}}
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self.headers["Authorization"] = f"Basic {token}"
        where = root / f"registry-{'auth' if user else 'open'}.yml"
        where.write_text(json.dumps(settings))
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(where)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        while True:
            try:
                request(self.address, "GET", "/v2/")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.close()
                    raise
                time.sleep(0.02)

    def close(self) -> None:
        """End the registry."""
        self.process.kill()
        self.process.wait()

    def push_blob(self, repo: str, data: bytes) -> None:
        """Upload one blob."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        status, headers, _ = request(self.address, "POST", f"/v2/{repo}/blobs/uploads/", b"", **self.headers)
        assert status == 202, status
        path = re.sub(r"^http://[^/]*", "", headers["Location"])
        path += ("&" if "?" in path else "?") + "digest=" + digest
        kind = {"Content_Type": "application/octet-stream"}
        status, _, text = request(self.address, "PUT", path, data, **kind, **self.headers)
        assert status == 201, text

    def push(self, repo: str, tag: str, manifest: bytes, blobs: dict[str, bytes]) -> None:
        """Upload an image or list, everything it names first; blobs are by digest."""
        parsed = json.loads(manifest)
        for child in parsed.get("manifests", ()):
            self.push(repo, child["digest"], blobs[child["digest"]], blobs)
        for one in [parsed["config"], *parsed["layers"]] if "config" in parsed else []:
            self.push_blob(repo, blobs[one["digest"]])
        kind = parsed.get("mediaType", MANIFEST_TYPES[0])
        status, _, text = request(
            self.address, "PUT", f"/v2/{repo}/manifests/{tag}", manifest, Content_Type=kind, **self.headers
        )
        assert status == 201, text

    def describe(self, repo: str) -> dict[str, Any]:
        """Every tag of repo: its manifest's digest and type, and those of list members that are present."""
        status, _, text = request(self.address, "GET", f"/v2/{repo}/tags/list", None, **self.headers)
        if status != 200:
            return {"missing": status}
        accept = {"Accept": ",".join(MANIFEST_TYPES)} | self.headers
        found: dict[str, Any] = {}
        for tag in sorted(json.loads(text)["tags"] or ()):
            _, headers, body = request(self.address, "GET", f"/v2/{repo}/manifests/{tag}", None, **accept)
            found[tag] = {
                "digest": "sha256:" + hashlib.sha256(body).hexdigest(),
                "type": headers["Content-Type"],
            }
            found[tag] |= {"blobs": self._held(repo, json.loads(body))}
        return found

    def _held(self, repo: str, manifest: dict[str, Any]) -> dict[str, int]:
        wanted = [("manifests", one) for one in manifest.get("manifests", ())]
        wanted += [("blobs", one) for one in [*manifest.get("layers", ()), manifest.get("config")] if one]
        held = {}
        for kind, one in wanted:
            accept = {"Accept": ",".join(MANIFEST_TYPES)} | self.headers
            status, _, _ = request(self.address, "HEAD", f"/v2/{repo}/{kind}/{one['digest']}", None, **accept)
            held[one["digest"]] = status
        return held


class _Canned(http.server.BaseHTTPRequestHandler):
    """Answers by repository name: see `Fake`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def _say(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str, message: str) -> None:
        self._say(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    def do_GET(self) -> None:
        fake: Fake = self.server.fake  # type: ignore[attr-defined]
        parts = self.path.partition("?")[0].split("/")
        if len(parts) < 5:
            self._say(200, b"{}")
        elif (parts[2], parts[3]) in fake.errors:
            status, code, message = fake.errors[parts[2], parts[3]]
            if code:
                self._error(status, code, message)
            else:
                self._say(status, message.encode(), "text/plain")
        elif parts[3] == "tags":
            self._say(200, fake.tags.get(parts[2], b'{"name":"x","tags":["b","a"]}'))
        elif parts[3] == "manifests":
            self._say(200, fake.manifest, MANIFEST_TYPES[0])
        elif parts[4] in fake.blobs:
            self._say(200, fake.blobs[parts[4]], "application/octet-stream")
        else:
            self._error(404, "BLOB_UNKNOWN", "blob unknown")

    do_HEAD = do_GET  # noqa: N815 - http.server's name


class Fake:
    """A registry with one image under every name; some names answer some endpoints with an error."""

    def __init__(self, manifest: bytes, blobs: dict[str, bytes]) -> None:
        self.manifest, self.blobs = manifest, blobs
        self.errors: dict[tuple[str, str], tuple[int, str, str]] = {
            ("denied", "tags"): (403, "DENIED", "requested access to the resource is denied"),
            ("ecr404", "tags"): (404, "UNKNOWN", "404 page not found"),
            ("notfound", "tags"): (404, "NOT_FOUND", "404 page not found"),
            ("plain404", "tags"): (404, "", "404 page not found\n"),
            ("servererror", "tags"): (500, "UNKNOWN", "unknown error"),
            ("nomanifest", "manifests"): (404, "MANIFEST_UNKNOWN", "manifest unknown"),
            ("noname", "manifests"): (404, "NAME_UNKNOWN", "repository name not known to registry"),
            ("custom", "manifests"): (404, "MANIFEST_UNKNOWN", "Unknown manifest"),
            ("plainmanifest", "manifests"): (404, "", "404 page not found\n"),
            ("long", "manifests"): (404, "", "x" * 70),
            ("html", "manifests"): (503, "", "<html>down</html>"),
            ("broken", "manifests"): (500, "UNKNOWN", "unknown error"),
            ("toomany", "blobs"): (500, "UNKNOWN", "no blob today"),
            ("noblob", "blobs"): (404, "BLOB_UNKNOWN", "blob unknown to registry"),
            ("unauth", "manifests"): (401, "UNAUTHORIZED", "authentication required"),
            ("odd", "manifests"): (418, "TEAPOT", "short and stout"),
            ("plain401", "manifests"): (401, "", "who are you?"),
            ("noerrors", "manifests"): (404, "", '{"errors":[]}'),
            ("details", "manifests"): (400, "", '{"details":"no reason"}'),
            ("detail", "manifests"): (
                404,
                "",
                '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}},'
                '{"code":"DENIED","message":"second"}]}',
            ),
            ("nomessage", "manifests"): (403, "", '{"errors":[{"code":"DENIED"}]}'),
        }
        digest = "sha256:" + "0" * 64
        self.tags = {
            "nulltags": b'{"name":"x","tags":null}',
            "notags": b'{"name":"x","tags":[]}',
            "oddtags": json.dumps({"name": "x", "tags": ["v1", "", digest, "v2"]}).encode(),
            "badtags": json.dumps({"name": "x", "tags": ["v1", "not a tag"]}).encode(),
            "htmltags": json.dumps({"name": "x", "tags": ["v1"]}).encode().replace(b"x", b"<x>"),
            "brokentags": b"{tags",
        }
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Canned)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients end early on purpose
        self.server.fake = self  # type: ignore[attr-defined]
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        """Stop answering."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
