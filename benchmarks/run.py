"""The command: chooses contenders and cases, runs them, prints and stores what came out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks import (
    bench_copy,
    bench_limits,
    bench_proxy,
    bench_push,
    bench_registry,
    bench_start,
    blob_info,
    fixtures,
    report,
)
from benchmarks.commands import CommandError, version_of
from benchmarks.environment import Bench
from benchmarks.harness import Case, Contender, Result, run_case
from benchmarks.proxy_client import ReplyError


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    folder = Path(os.environ.get("BENCH_DIR") or "/dev/shm/wherry-bench")  # noqa: S108
    cache = blob_info.isolate(folder)
    folder.mkdir(parents=True, exist_ok=True)
    contenders = _contenders(given)
    with ExitStack() as stack:
        images = fixtures.build(folder, given.quick)
        skopeo = next((it.argv[0] for it in contenders if not it.ours), given.ref)
        rounds = given.rounds or (3 if given.quick else 6)
        bench = Bench(folder, images, given.quick, rounds, skopeo, stack)
        chosen = _chosen(bench, given.only)
        ran = _Run(bench, contenders, given.check)
        for case in chosen:
            ran.run(case)
        profiles = _profiles(bench, contenders, chosen)
        floors = bench_limits.measure(images["one"], bench.rounds) if _wants_limits(given.only) else {}
    if given.json:
        figures = {
            "machine": _machine(),
            "options": {"quick": given.quick, "rounds": bench.rounds, "blob_info_cache": cache},
            "contenders": [{"role": it.role, "version": it.version} for it in contenders],
            "cases": [result.as_json() for result in ran.results],
            "import_profiles": profiles,
            "floors": floors,
            "failed": ran.failed,
        }
        given.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    text = report.table(ran.results, contenders)
    for part in (text, report.profile_text(profiles), *_floor_lines(floors), *ran.failed.values()):
        _say(part)
    return 1 if ran.failed or ran.missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small images, 3 rounds")
    parser.add_argument("--only", default="", help="patterns of case names, or `targets`, `limits`; by comma")
    parser.add_argument("--rounds", type=int, help="counted rounds (default 6)")
    usual, newer = shutil.which("skopeo") or "", os.environ.get("SKOPEO_REF", "")
    parser.add_argument("--ref", default=usual, help="a skopeo (default: the one in PATH)")
    parser.add_argument("--ref2", default=newer, help="the skopeo of the targets (default: $SKOPEO_REF)")
    parser.add_argument("--ours", default="", help="wherry (default: this interpreter's), or `none`")
    parser.add_argument("--json", type=Path, help="write every round here")
    parser.add_argument(
        "--check",
        nargs="?",
        const="all",
        default="",
        choices=("all", "cpu"),
        help="fail when a target is missed by more than 15 %% twice in a row",
    )
    return parser


def _contenders(given: argparse.Namespace) -> list[Contender]:
    found = []
    if given.ours != "none":
        path = given.ours or str(Path(sys.executable).with_name("wherry"))
        found.append(Contender("ours", (path,), version_of(path), "" if given.ours else sys.executable))
    if given.ref and given.ref != "none":
        found.append(Contender("ref", (given.ref,), version_of(given.ref)))
    if given.ref2 and given.ref2 != "none":
        found.append(Contender("ref2", (given.ref2,), version_of(given.ref2)))
    return found


def _chosen(bench: Bench, only: str) -> list[Case]:
    """Cold cases first: then no other case's server is alive."""
    cases = [
        *bench_start.cases(bench),
        *bench_proxy.cases(bench),
        *bench_copy.cases(bench),
        *bench_push.cases(bench),
        *bench_registry.cases(bench),
    ]
    names = {case.name for case in cases}
    unknown = report.targets().keys() - names
    if unknown:
        raise SystemExit(f"targets.toml names cases that do not exist: {sorted(unknown)}")
    patterns: list[str] = []
    for word in only.split(","):
        patterns += [f"={name}" for name in report.targets()] if word == "targets" else [word]
    if only:
        cases = [case for case in cases if _named(case.name, patterns)]
    return sorted(cases, key=lambda case: not case.cold)


def _named(name: str, patterns: Sequence[str]) -> bool:
    """A pattern is a name, the beginning of one up to a dot, or a glob; with `=` before it exactly a name."""
    return any(
        name == pattern[1:]
        if pattern.startswith("=")
        else fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")
        for pattern in patterns
    )


def _wants_limits(only: str) -> bool:
    return not only or bool({"limits", "targets"} & set(only.split(",")))


class _Run:
    """Runs cases, tells how far it is, keeps results, failures and misses."""

    def __init__(self, bench: Bench, contenders: Sequence[Contender], check: str) -> None:
        self._contenders = contenders
        self._check = check
        self._targets = report.targets()
        self.results: list[Result] = []
        self.failed: dict[str, str] = {}
        self.missed: list[str] = []

    def run(self, case: Case) -> None:
        try:
            result = self._once(case)
            if self._check and self._misses(result):
                result = self._once(case)
                self.missed += [f"{case.name}: {miss}" for miss in self._misses(result)]
        except (CommandError, ReplyError, OSError, subprocess.SubprocessError) as error:
            self.failed[case.name] = f"FAILED {case.name}: {type(error).__name__}: {error}"
            _say(self.failed[case.name])
            return
        self.results.append(result)

    def _once(self, case: Case) -> Result:
        result = run_case(case, self._contenders)
        short = []
        for role, ratio in result.against.items():
            cpu = f"{ratio.cpu.median:.2f}" if ratio.cpu else "-"
            short.append(f"{role}: speed {ratio.speed.median:.2f} cpu {cpu}")
        short += [f"{role}: left out, {why}" for role, why in result.left_out.items()]
        _say(f"{case.name}  {'  '.join(short)}  ({result.seconds:.0f} s)")
        return result

    def _misses(self, result: Result) -> list[str]:
        wanted = self._targets.get(result.name, {})
        return report.misses(result, wanted, report.TOLERANCE, self._check == "cpu")


def _profiles(bench: Bench, contenders: Sequence[Contender], chosen: Sequence[Case]) -> dict[str, Any]:
    ours = next((it for it in contenders if it.ours), None)
    if ours is None or not any(case.name.startswith("start.") for case in chosen):
        return {}
    try:
        return bench_start.import_profiles(bench, ours)
    except (ReplyError, OSError) as error:
        _say(f"no import profile: {error}")
        return {}


def _floor_lines(floors: dict[str, dict[str, float]]) -> list[str]:
    return [f"floor: {name}: {it['mb_s']:g} MB/s, {it['cpu_s_gb']:g} s/GB" for name, it in floors.items()]


def _machine() -> dict[str, Any]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
