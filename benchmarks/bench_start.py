"""Starts, all cold: a proxy from spawn to its first image, and short commands."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks import proxy_client
from benchmarks.commands import command_memory, parse_import_times, run_command
from benchmarks.environment import Bench
from benchmarks.harness import Case, Contender, Measure, Sample, cpu_seconds, memory_peak


def cases(bench: Bench) -> list[Case]:
    rounds = bench.rounds * 2
    start = Case(
        "start.openimage",
        "spawn → Initialize → OpenImage oci:, no proxy alive",
        partial(_spawned, bench),
        rounds,
        cold=True,
    )
    commands = {
        "version": ("--version", "oci"),
        "inspect.oci": ("inspect", "oci"),
        "inspect.docker": ("inspect", "lean"),
        "list-tags": ("list-tags", "lean"),
    }
    return [start] + [
        Case(
            f"start.{name}",
            f"cold command: {word}" + (f" ({place})" if word != "--version" else ""),
            partial(_command, bench, word, place),
            rounds,
            cold=True,
        )
        for name, (word, place) in commands.items()
    ]


@contextmanager
def _spawned(bench: Bench, contender: Contender) -> Iterator[Measure]:
    def measure() -> Sample:
        began = time.perf_counter()
        with bench.proxy(contender, "oci") as proxy:
            proxy.open_image(bench.images["one"].oci)
            wall = time.perf_counter() - began
            return Sample(wall, cpu_seconds(proxy.pid), rss=memory_peak(proxy.pid))

    yield measure


@contextmanager
def _command(bench: Bench, word: str, place: str, contender: Contender) -> Iterator[Measure]:
    argv = [*contender.argv, *arguments(bench, word, place)]
    memory = command_memory(argv)

    def measure() -> Sample:
        done = run_command(argv)
        return Sample(done.wall, done.cpu, rss=memory)

    yield measure


def arguments(bench: Bench, word: str, place: str) -> list[str]:
    """A command's arguments: what it looks at is `one` at `place`."""
    if word == "--version":
        return [word]
    reference = bench.reference(place, "one")
    if word == "list-tags":
        reference = reference.removesuffix(":latest")
    return [word, *bench.tls_flags(place), reference]


# --- where a start's time goes


def import_profiles(bench: Bench, contender: Contender) -> dict[str, object]:
    """By start path: the modules that our own program imports, and what they cost (`-X importtime`)."""
    if not contender.python:
        return {}
    python = [contender.python, "-X", "importtime", "-m", "wherry_cli"]
    profiles: dict[str, object] = {}
    for name, word, place in (
        ("--version", "--version", "oci"),
        ("inspect oci:", "inspect", "oci"),
        ("inspect docker://", "inspect", "lean"),
    ):
        command = [*python, *arguments(bench, word, place)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True)
        profiles[name] = parse_import_times(done.stderr)
    profiles["experimental-image-proxy → OpenImage oci:"] = _profile_proxy(bench, python)
    return profiles


def _profile_proxy(bench: Bench, python: Sequence[str]) -> dict[str, object]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryFile("w+") as errors:
        with ours, theirs:
            command = [*python, "experimental-image-proxy", "--insecure-policy"]
            process = subprocess.Popen(command, stdin=theirs.fileno(), stderr=errors)
            theirs.close()
            proxy = proxy_client.Proxy(ours, process)
            try:
                proxy.call("Initialize")
                proxy.manifest(proxy.open_image(bench.images["one"].oci))
            finally:
                ours.close()
                process.wait()
        errors.seek(0)
        return parse_import_times(errors.read())
