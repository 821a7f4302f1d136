"""Copies: the cold command against the cold command, and a warm server's Copy against skopeo's process."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import blob_info
from benchmarks.commands import CommandError, command_memory, run_command
from benchmarks.environment import Bench
from benchmarks.harness import Case, Contender, Measure, Sample, cpu_seconds, memory_peak
from wherry.protocol.messages import CopyOptions, PolicyOptions
from wherry.protocol.options import ImageAccess
from wherry_client import Client

KINDS = (
    ("registry", "dir", "docker→dir"),
    ("registry", "oci", "docker→oci"),
    ("oci", "docker", "oci→docker"),
    ("oci", "dir", "oci→dir"),
    ("lean", "dir", "docker→dir, lean server"),
)


def cases(bench: Bench) -> list[Case]:
    made = []
    for place, to, title in KINDS:
        for image in ("one", "ten", "l64"):
            for state in ("warm", "cold"):
                name = f"copy.{'docker' if place == 'registry' else place}-{to}.{image}.{state}"
                opened = partial(_copy, bench, place, to, image, state == "warm")
                said = f"{title}, {image}, {'through a warm server' if state == 'warm' else 'cold command'}"
                made.append(Case(name, said, opened, bench.rounds, cold=state == "cold"))
    opened = partial(_copy_on_disk, bench, "registry", "dir", "l64", True)
    said = "docker→dir, l64, through a warm server; skopeo's blob cache on the disk"
    made.append(Case("copy.docker-dir.l64.warm-disk-cache", said, opened, bench.rounds))
    return made


class Target:
    """Where copies of one contender go; emptied before each."""

    def __init__(self, bench: Bench, to: str, image: str, role: str) -> None:
        self._bench = bench
        self._to = to
        self._digest = bench.images[image].digest
        self._folder = bench.folder / "copies" / role

    def prepared(self) -> str:
        """Remove the last copy; the reference to copy to."""
        if self._to == "docker":
            # Its storage is emptied, and what skopeo noted about it too: else it would mount, not upload.
            blob_info.forget()
            return self._bench.push_target().docker("bench/copy:latest")
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        return f"dir:{self._folder}" if self._to == "dir" else f"oci:{self._folder}:latest"

    def check(self) -> None:
        """The image is there, with its digest."""
        if self._to == "docker":
            return  # the registry checks all digests itself
        inside = "manifest.json" if self._to == "dir" else f"blobs/sha256/{self._digest[7:]}"
        found = hashlib.sha256((self._folder / inside).read_bytes()).hexdigest()
        if self._digest != f"sha256:{found}":
            raise CommandError(f"{self._folder}/{inside} has the digest {found}, not {self._digest}")


@contextmanager
def _copy_on_disk(
    bench: Bench, place: str, to: str, image: str, warm: bool, contender: Contender
) -> Iterator[Measure]:
    with blob_info.on_disk(), _copy(bench, place, to, image, warm, contender) as measure:
        yield measure


@contextmanager
def _copy(
    bench: Bench, place: str, to: str, image: str, warm: bool, contender: Contender
) -> Iterator[Measure]:
    target = Target(bench, to, image, contender.role)
    source = bench.reference(place, image)
    if to == "docker":
        bench.push_target()
    if warm and contender.ours:
        with warm_server(contender) as copy:
            yield partial(_measured, target, bench, lambda to: copy(source, to))
        return
    flags = [*bench.tls_flags(place, "src-"), *(["--dest-tls-verify=false"] if to == "docker" else [])]
    argv = [*contender.argv, "--insecure-policy", "copy", *flags, source]
    memory = command_memory([*argv, target.prepared()])

    def run(to: str) -> Sample:
        done = run_command([*argv, to])
        return Sample(done.wall, done.cpu, rss=memory)

    yield partial(_measured, target, bench, run)


def _measured(target: Target, bench: Bench, run: Callable[[str], Sample]) -> Sample:
    reference = target.prepared()
    bench.empty_page_queue()
    sample = run(reference)
    target.check()
    return sample


@contextmanager
def warm_client(contender: Contender) -> Iterator[tuple[Client, int]]:
    """A server that lives as long as the case: one connection to it, and its process id."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([*contender.argv, "experimental-image-proxy"], stdin=theirs.fileno())
    with Client(ours, process) as client:
        yield client, process.pid


@contextmanager
def warm_server(contender: Contender) -> Iterator[Callable[[str, str], Sample]]:
    """A server that lives as long as the case; copies go over one connection to it."""
    insecure = ImageAccess(tls_verify=False)
    options = CopyOptions(source=insecure, destination=insecure, policy=PolicyOptions(insecure=True))
    with warm_client(contender) as (client, pid):

        def copy(source: str, destination: str) -> Sample:
            before, began = cpu_seconds(pid), time.perf_counter()
            client.copy(source, destination, options)
            wall = time.perf_counter() - began
            return Sample(wall, cpu_seconds(pid) - before, rss=memory_peak(pid))

        yield copy
