"""Runs one recorded command against a program and says what it did, free of paths, ports and times.

The same code serves the recorder (skopeo) and the test (wherry), so both are seen through the same eyes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli.servers import Fake, Registry, free_port

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "images" / "build.py"
LIMIT = 60.0
SHOWN = ("index.json", "version", "oci-layout", "digest")


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
    compare: "exact"; "usage" (stderr is some usage text of the program's own, then the recorded last line);
    "streams" (only exit code and which streams have text); "debug" (of level=debug lines only whether there
    are any). unordered: layers are copied in parallel, their lines may come in any order. commits: the image
    was written although the command fails afterwards.
    """

    id: str
    argv: tuple[str, ...]
    setup: tuple[tuple[str, ...], ...] = ()
    describe: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    compare: str = "exact"
    unordered: bool = False
    commits: bool = False


def digest_of(data: bytes) -> str:
    """The sha256 digest of data, as a string."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blobs_of(image: Path) -> tuple[bytes, dict[str, bytes]]:
    """The top manifest and every file of a layout (its last entry) or dir: image, by sha256 digest."""
    layout = (image / "index.json").exists()
    files = (
        (image / "blobs" / "sha256").iterdir()
        if layout
        else (one for one in image.iterdir() if one.is_file())
    )
    blobs = {
        "sha256:" + hashlib.sha256(data).hexdigest(): data for data in (one.read_bytes() for one in files)
    }
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
    "scoped.json": '{"default":[{"type":"insecureAcceptAnything"}],"transports":{'
    '"oci":{"{X}/rich":[{"type":"reject"}]},'
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
        # What skopeo does not do, wherry says: that it asks a registry again (docs/differences.md).
        text = re.sub(r'time="TIME" level=warning msg="(\\.|[^"\\])*; trying again in [0-9.]+ s"\n', "", text)
        text = re.sub(r"(container_images_[a-z-]*?)\d+", r"\1RANDOM", text)
        text = re.sub(r'/blobs/uploads/[^ "\\]*', "/blobs/uploads/SESSION", text)
        text = re.sub(r"127\.0\.0\.1:\d+->", "127.0.0.1:PORT->", text)
        own_name = (
            r"(?<=[`'])wherry(?= )|(?<=Usage: )wherry(?= )"
            r"|(?<=template: )wherry(?= inspect)|(?<=executing \\\")wherry(?= inspect)"
        )
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
                pack(target, Path(rest[0]))
            elif verb == "remove":
                target.unlink()
            else:
                raise AssertionError(verb)
        return more

    def run(self, case: Case, command: list[str]) -> dict[str, Any]:
        """Run the case with command as the program; gives exit code, both streams and what was written."""
        here = self.case_root / re.sub(r"[^A-Za-z0-9_-]", "-", case.id)
        more = self.prepare(case, here)
        before = {what: self.describe(self.fill(what, more), here) for what in case.describe}
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
            [*command, *argv],
            input=case.stdin,
            capture_output=True,
            cwd=here,
            env=environ,
            timeout=LIMIT,
            umask=0o022,
        )
        seen: dict[str, Any] = {"rc": done.returncode}
        for stream, data in (("stdout", done.stdout), ("stderr", done.stderr)):
            text = self.normalise(data.decode(errors="surrogateescape"), more)
            seen[stream] = in_order(text) if case.unordered else text
        self.reduce(case.compare, seen)
        if case.describe:
            seen["before"] = before
            seen["wrote"] = {what: self.describe(self.fill(what, more), here) for what in case.describe}
        shutil.rmtree(here)
        return seen

    @staticmethod
    def reduce(compare: str, seen: dict[str, Any]) -> None:
        """Keep of the streams only what the case compares: help texts are each program's own."""
        if compare == "streams":
            for stream in ("stdout", "stderr"):
                seen[stream] = "some" if seen[stream] else ""
        elif compare == "usage":
            lines = seen["stderr"].splitlines(keepends=True)
            seen["usage"] = "some" if "".join(lines[:-1]).strip() else ""
            seen["stderr"] = "".join(lines[-1:])
        elif compare == "debug":
            lines = seen["stderr"].splitlines(keepends=True)
            seen["debug"] = "some" if any(" level=debug " in line for line in lines) else ""
            seen["stderr"] = "".join(line for line in lines if " level=debug " not in line)

    def describe(self, what: str, here: Path) -> Any:
        """What is at what: a path in the case's directory, or registry:REPO."""
        if what.startswith("registry:"):
            return self.registry.describe(what.partition(":")[2])
        path = here / what
        if path.is_dir():
            return {name: described for name, described in tree(path)}
        if not path.exists():
            return None
        return (
            members(path)
            if tarfile.is_tarfile(path)
            else one_file(path.name, path.read_bytes(), path.stat().st_mode)
        )


def pack(target: Path, image: Path) -> None:
    """An oci-archive of a layout, sorted, owners and times zero."""
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
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
    """text with each run of neighbouring "Copying blob" lines sorted: parallel copies start in any order."""
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
            one: dict[str, Any] = {
                "mode": oct(entry.mode),
                "owner": [entry.uid, entry.gid, entry.uname, entry.gname],
            }
            data = tar.extractfile(entry)
            told[entry.name + ("/" if entry.isdir() else "")] = (
                one | one_file(Path(entry.name).name, data.read(), entry.mode) if data else one
            )
    return told
