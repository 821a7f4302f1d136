"""A registry's own work: long lists of tags, and many small requests of one user."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench_copy import warm_client
from benchmarks.commands import command_memory, run_command
from benchmarks.environment import Bench
from benchmarks.harness import Case, Contender, Measure, Sample, cpu_seconds, memory_peak
from wherry.protocol.messages import InspectOptions
from wherry.protocol.options import ImageAccess

TAGS = {"10": 10, "10k": 10_000, "100k": 100_000}
INSPECTS = 50


def cases(bench: Bench) -> list[Case]:
    many = 10 if bench.quick else INSPECTS
    tags = [
        Case(
            f"tags.{name}",
            f"cold command: list-tags of {count} tags, 1000 a page",
            partial(_list_tags, bench, count),
            bench.rounds,
            cold=True,
        )
        for name, count in TAGS.items()
    ]
    inspects = [
        Case(
            f"inspects.{place}.{start}",
            f"{many} inspects, one after the other, {title}: "
            + ("ours through one warm connection" if start == "warm" else "a cold command each"),
            partial(_inspects, bench, place, many, start == "warm"),
            bench.rounds,
            cold=start == "cold",
        )
        for place, title in (("lean", "no login"), ("bearer", "bearer tokens"))
        for start in ("warm", "cold")
    ]
    return [*tags, *inspects]


@contextmanager
def _list_tags(bench: Bench, count: int, contender: Contender) -> Iterator[Measure]:
    reference = f"docker://{bench.server('lean').name}/tags/{count}"
    argv = [*contender.argv, "list-tags", *bench.tls_flags("lean"), reference]
    memory = command_memory(argv)

    def measure() -> Sample:
        done = run_command(argv)
        return Sample(done.wall, done.cpu, rss=memory)

    yield measure


@contextmanager
def _inspects(bench: Bench, place: str, many: int, warm: bool, contender: Contender) -> Iterator[Measure]:
    reference = bench.reference(place, "one")
    count = partial(_counts, bench, place)
    if warm and contender.ours:
        options = InspectOptions(access=ImageAccess(tls_verify=False))
        with warm_client(contender) as (client, pid):
            client.inspect(reference, options)

            def inspect() -> tuple[float, int]:
                before = cpu_seconds(pid)
                for _ in range(many):
                    client.inspect(reference, options)
                return cpu_seconds(pid) - before, memory_peak(pid)

            yield partial(_measured, inspect, count)
        return
    argv = [*contender.argv, "inspect", *bench.tls_flags(place), reference]
    memory = command_memory(argv)
    yield partial(_measured, lambda: (sum(run_command(argv).cpu for _ in range(many)), memory), count)


def _measured(inspect: Callable[[], tuple[float, int]], count: Callable[[], dict[str, float]]) -> Sample:
    count()
    began = time.perf_counter()
    cpu, memory = inspect()
    wall = time.perf_counter() - began
    return Sample(wall, cpu, rss=memory, more=count())


def _counts(bench: Bench, place: str) -> dict[str, float]:
    """Requests, token requests and connections at the registry since this was asked last."""
    with urllib.request.urlopen(f"http://{bench.server(place).name}/counts") as answer:
        return {name: float(value) for name, value in json.load(answer).items()}
