"""Runs one recorded command against a program and says what it did, free of paths, ports and times.

The same code serves the recorder (skopeo) and the test (wherry), so both are seen through the same eyes.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "images" / "build.py"
LIMIT = 60.0
SHOWN = ("index.json", "version", "oci-layout", "digest")
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


@dataclass(frozen=True)
class Ours:
    """What wherry does where it deliberately differs: exit code, and a pattern for all of each stream."""

    rc: int
    stderr: str
    stdout: str = ""


@dataclass(frozen=True)
class Case:
    """One command to run.

    argv, env values, setup arguments and describe entries may hold {X} (extra images), {IMG} (tests/images),
    {TMP} (this case's own directory, also the working directory), {ETC} (configuration files), {REGISTRY},
    {AUTHREG} (user me, password secret), {FAKE} (canned answers) and {CLOSED} (nobody listens).
    compare: "exact"; "usage" (stderr ends in the recorded last line, after some usage text of our own);
    "streams" (only exit code and which streams have text).
    """

    id: str
    argv: tuple[str, ...]
    setup: tuple[tuple[str, ...], ...] = ()
    describe: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    compare: str = "exact"
    unordered: bool = False
    differs: str = ""
    ours: Ours | None = None


def free_port() -> int:
    """A loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(address: str, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """One plain HTTP exchange: status, headers, body."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
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
        status, _, text = request(self.address, "GET", f"/v2/{repo}/tags/list", **self.headers)
        if status != 200:
            return {"missing": status}
        accept = {"Accept": ",".join(MANIFEST_TYPES)} | self.headers
        found: dict[str, Any] = {}
        for tag in sorted(json.loads(text)["tags"] or ()):
            _, headers, body = request(self.address, "GET", f"/v2/{repo}/manifests/{tag}", **accept)
            found[tag] = {"digest": "sha256:" + hashlib.sha256(body).hexdigest(), "type": headers["Content-Type"]}
            found[tag] |= {"blobs": self._held(repo, json.loads(body))}
        return found

    def _held(self, repo: str, manifest: dict[str, Any]) -> dict[str, int]:
        wanted = [("manifests", one) for one in manifest.get("manifests", ())]
        wanted += [("blobs", one) for one in [*manifest.get("layers", ()), manifest.get("config")] if one]
        held = {}
        for kind, one in wanted:
            accept = {"Accept": ",".join(MANIFEST_TYPES)} | self.headers
            status, _, _ = request(self.address, "HEAD", f"/v2/{repo}/{kind}/{one['digest']}", **accept)
            held[one["digest"]] = status
        return held


class _Canned(http.server.BaseHTTPRequestHandler):
    """Answers by repository name: see `Fake`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
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

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
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


def digest_of(data: bytes) -> str:
    """The sha256 digest of data, as a string."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blobs_of(image: Path) -> tuple[bytes, dict[str, bytes]]:
    """The top manifest and every file of a layout (its last entry) or dir: image, by sha256 digest."""
    layout = (image / "index.json").exists()
    files = (image / "blobs" / "sha256").iterdir() if layout else (one for one in image.iterdir() if one.is_file())
    blobs = {"sha256:" + hashlib.sha256(data).hexdigest(): data for data in (one.read_bytes() for one in files)}
    if not layout:
        return (image / "manifest.json").read_bytes(), blobs
    last = json.loads((image / "index.json").read_bytes())["manifests"][-1]
    return blobs[last["digest"]], blobs


PRELOAD = (
    ("x", "nocreated", "repo/one", "v1"),
    ("x", "rich", "repo/one", "latest"),
    ("x", "index", "repo/index", "latest"),
    ("x", "rich-s2", "repo/s2", "v2"),
    ("x", "list", "repo/list", "latest"),
    ("x", "artifact", "repo/artifact", "latest"),
    ("x", "armlist", "repo/armlist", "latest"),
)
CONFIGURATION = {
    "accept.json": '{"default":[{"type":"insecureAcceptAnything"}]}',
    "reject.json": '{"default":[{"type":"reject"}]}',
    "scoped.json": '{"default":[{"type":"insecureAcceptAnything"}],"transports":{"oci":{"{X}/rich":[{"type":"reject"}]},'
    '"dir":{"{X}":[{"type":"reject"}],"{X}/s2":[{"type":"insecureAcceptAnything"}]},'
    '"docker":{"{REGISTRY}/repo/one":[{"type":"reject"}]}}}',
    "unknownkey.json": '{"default":[{"type":"insecureAcceptAnything"}],"surprise":1}',
    "nodefault.json": '{"transports":{}}',
    "empty.json": "",
    "registries.conf": "",
}


class World:
    """Images, configuration files and servers, made once; `close` ends what was started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.case_root = root / "case"
        self.case_root.mkdir(parents=True)
        (root / "etc").mkdir()
        subprocess.run([sys.executable, str(HERE / "extra_images.py"), str(root / "x")], check=True)
        subprocess.run([sys.executable, str(IMAGES), str(root / "img")], check=True)
        self.closers: list[Registry | Fake] = []
        try:
            self.registry = Registry(root)
            self.closers.append(self.registry)
            self.locked = Registry(root, "me", "secret")
            self.closers.append(self.locked)
            self.fake = Fake(*blobs_of(root / "x" / "rich"))
            self.closers.append(self.fake)
            for where, name, repo, tag in PRELOAD:
                self.registry.push(repo, tag, *blobs_of(root / where / name))
            self.locked.push("repo/one", "latest", *blobs_of(root / "x" / "rich"))
        except BaseException:
            self.close()
            raise
        self.names = {
            "{X}": str(root / "x"),
            "{IMG}": str(root / "img"),
            "{ETC}": str(root / "etc"),
            "{REGISTRY}": self.registry.address,
            "{AUTHREG}": self.locked.address,
            "{FAKE}": self.fake.address,
            "{CLOSED}": f"127.0.0.1:{free_port()}",
        }
        self.inputs = {"{RICH}": digest_of(blobs_of(root / "x" / "rich")[0])}
        for name, text in CONFIGURATION.items():
            (root / "etc" / name).write_text(self.fill(text, {}))

    def close(self) -> None:
        """End the servers."""
        for one in reversed(self.closers):
            one.close()

    def fill(self, text: str, more: dict[str, str]) -> str:
        """text with its {NAMES} replaced."""
        for name, value in (self.names | self.inputs | more).items():
            text = text.replace(name, value)
        return text

    def normalise(self, text: str, more: dict[str, str]) -> str:
        """text with this run's paths, addresses, times and the program's own name taken out."""
        for name, value in sorted((self.names | more).items(), key=lambda item: -len(item[1])):
            text = text.replace(value, name)
        text = re.sub(r'time="[^"]*"', 'time="TIME"', text)
        text = re.sub(r"(container_images_[a-z-]*?)\d+", r"\1RANDOM", text)
        text = re.sub(r"127\.0\.0\.1:\d+->", "127.0.0.1:PORT->", text)
        own_name = r"(?<=[`'])wherry(?= )|(?<=Usage: )wherry(?= )|(?<=template: )wherry(?= inspect)"
        return re.sub(own_name, "skopeo", text)

    def prepare(self, case: Case, here: Path) -> dict[str, str]:
        """Make the case's directory and do its setup steps; gives its placeholders."""
        (here / "home").mkdir(parents=True)
        (here / "run").mkdir()
        more = {"{TMP}": str(here)}
        for verb, *words in case.setup:
            first, *rest = (self.fill(word, more) for word in words)
            target = here / first
            if verb == "copy":
                shutil.copytree(rest[0], target)
            elif verb == "mkdir":
                target.mkdir(parents=True)
            elif verb == "write":
                target.write_text(rest[0])
            elif verb == "tar":
                pack(target, Path(rest[0]), *rest[1:])
            elif verb == "remove":
                target.unlink()
            else:
                raise AssertionError(verb)
        return more

    def run(self, case: Case, command: list[str]) -> dict[str, Any]:
        """Run the case with command as the program; gives exit code, both streams and what was written."""
        here = self.case_root / re.sub(r"[^A-Za-z0-9_-]", "-", case.id)
        more = self.prepare(case, here)
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(here / "home"),
            "XDG_RUNTIME_DIR": str(here / "run"),
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "CONTAINERS_POLICY_JSON": str(self.root / "etc" / "accept.json"),
            "CONTAINERS_REGISTRIES_CONF": str(self.root / "etc" / "registries.conf"),
        }
        environ |= {name: self.fill(value, more) for name, value in case.env.items()}
        argv = [self.fill(word, more) for word in case.argv]
        done = subprocess.run(
            [*command, *argv], input=case.stdin, capture_output=True, cwd=here, env=environ, timeout=LIMIT, umask=0o022
        )
        seen: dict[str, Any] = {"rc": done.returncode}
        for stream, data in (("stdout", done.stdout), ("stderr", done.stderr)):
            text = self.normalise(data.decode(errors="surrogateescape"), more)
            seen[stream] = in_order(text) if case.unordered else text
        if case.describe:
            seen["wrote"] = {what: self.describe(self.fill(what, more), here) for what in case.describe}
        shutil.rmtree(here)
        return seen

    def describe(self, what: str, here: Path) -> Any:
        """What is at what: a path in the case's directory, or registry:REPO."""
        if what.startswith("registry:"):
            return self.registry.describe(what.partition(":")[2])
        path = here / what
        if path.is_dir():
            return {name: described for name, described in tree(path)}
        if not path.exists():
            return None
        return members(path) if tarfile.is_tarfile(path) else one_file(path.name, path.read_bytes(), path.stat().st_mode)


def pack(target: Path, image: Path, compress: str = "") -> None:
    """An oci-archive of a layout, sorted, owners and times zero; compress is a tarfile suffix such as gz."""
    with tarfile.open(target, f"w:{compress}" if compress else "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(image.rglob("*")):
            entry = tar.gettarinfo(path, path.relative_to(image).as_posix())
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            if entry.isfile():
                with path.open("rb") as data:
                    tar.addfile(entry, data)
            else:
                tar.addfile(entry)


def in_order(text: str) -> str:
    """text with each run of neighbouring "Copying blob" lines sorted: parallel downloads start in any order."""
    lines, run = [], []
    for line in [*text.splitlines(keepends=True), ""]:
        if line.startswith("Copying blob "):
            run.append(line)
            continue
        lines += [*sorted(run), line]
        run = []
    return "".join(lines)


def one_file(name: str, data: bytes, mode: int) -> dict[str, Any]:
    """A file's mode, size and digest, and its text where that is short and telling."""
    told = {"mode": oct(stat.S_IMODE(mode)), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return told | ({"text": data.decode()} if name in SHOWN else {})


def tree(root: Path) -> list[tuple[str, Any]]:
    """Every path below root in order, directories with their mode only."""
    found: list[tuple[str, Any]] = []
    for path in sorted(root.rglob("*")):
        name, status = path.relative_to(root).as_posix(), path.lstat()
        if stat.S_ISDIR(status.st_mode):
            found.append((name + "/", {"mode": oct(stat.S_IMODE(status.st_mode))}))
        elif stat.S_ISLNK(status.st_mode):
            found.append((name, {"link": str(path.readlink())}))
        else:
            found.append((name, one_file(path.name, path.read_bytes(), status.st_mode)))
    return found


def members(archive: Path) -> dict[str, Any]:
    """The archive's members in their order: owners, mode, type, size and digest."""
    told: dict[str, Any] = {}
    with tarfile.open(archive) as tar:
        for entry in tar:
            one: dict[str, Any] = {"mode": oct(entry.mode), "owner": [entry.uid, entry.gid, entry.uname, entry.gname]}
            data = tar.extractfile(entry)
            told[entry.name + ("/" if entry.isdir() else "")] = (
                one | one_file(Path(entry.name).name, data.read(), entry.mode) if data else one
            )
    return told
