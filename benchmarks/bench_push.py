"""Pushes from a layout to docker-registry: all blobs absent, all present, and all mounted from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

from benchmarks import blob_info
from benchmarks.bench_copy import warm_server
from benchmarks.commands import CommandError, command_memory, run_command
from benchmarks.environment import Bench
from benchmarks.harness import Case, Contender, Measure, Sample

State = Literal["absent", "present", "mount"]

STATES: tuple[tuple[State, str], ...] = (
    ("absent", "nothing is there"),
    ("present", "all blobs are there"),
    ("mount", "registry to registry: all blobs are in the other repository"),
)


def cases(bench: Bench) -> list[Case]:
    made = []
    for state, title in STATES:
        for image in ("one", "ten", "l64"):
            for start in ("warm", "cold"):
                opened = partial(_push, bench, state, image, start == "warm")
                how = "through a warm server" if start == "warm" else "cold command"
                said = f"push, {title}; {image}, {how}"
                name = f"push.{state}.{image}.{start}"
                made.append(Case(name, said, opened, bench.rounds, cold=start == "cold"))
        opened = partial(_push_on_disk, bench, state, "l64", True)
        said = f"push, {title}; l64, through a warm server; caches of blobs on the disk"
        made.append(Case(f"push.{state}.l64.warm-disk-cache", said, opened, bench.rounds))
    return made


@contextmanager
def _push_on_disk(
    bench: Bench, state: State, image: str, warm: bool, contender: Contender
) -> Iterator[Measure]:
    with blob_info.on_disk(), _push(bench, state, image, warm, contender) as measure:
        yield measure


@contextmanager
def _push(bench: Bench, state: State, image: str, warm: bool, contender: Contender) -> Iterator[Measure]:
    layout = bench.reference("oci", image)
    registry = bench.push_target()
    blob_info.forget()
    there = registry.docker("bench/push:latest")
    other = registry.docker("bench/other:latest")
    fill = [bench.skopeo, "--insecure-policy", "copy", "--quiet"]
    insecure = "--dest-tls-verify=false"
    if state != "absent":
        run_command([*fill, insecure, layout, other if state == "mount" else there])
    source = other if state == "mount" else layout
    number = 0

    def target() -> str:
        nonlocal number
        if state == "mount":
            number += 1  # a repository that has nothing yet
            return registry.docker(f"bench/{contender.role}-{number}:latest")
        if state == "absent":
            blob_info.forget()
            bench.push_target()
        return there

    if warm and contender.ours:
        with warm_server(contender) as copy:
            yield partial(_measured, bench, target, lambda to: copy(source, to))
        return
    flags = [insecure, *(["--src-tls-verify=false"] if state == "mount" else [])]
    argv = [*contender.argv, "--insecure-policy", "copy", *flags, source]
    memory = command_memory([*argv, target()])

    def run(to: str) -> Sample:
        done = run_command([*argv, to])
        return Sample(done.wall, done.cpu, rss=memory)

    yield partial(_measured, bench, target, run)


def _measured(bench: Bench, target: Callable[[], str], run: Callable[[str], Sample]) -> Sample:
    reference = target()
    bench.empty_page_queue()
    sample = run(reference)
    if not sample.wall:
        raise CommandError(f"the push to {reference} took no time")
    return sample
