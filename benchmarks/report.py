"""Tables of results, and whether targets were met."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Contender, Ratios, Result

TOLERANCE = 1.15
"""`--check` lets a median miss its target by this factor: rounds differ by that much on a busy machine."""

TARGETS = Path(__file__).with_name("targets.toml")


def targets() -> dict[str, dict[str, float]]:
    """Targets by case name."""
    cases: dict[str, dict[str, float]] = tomllib.loads(TARGETS.read_text())["case"]
    return cases


def misses(result: Result, wanted: dict[str, float], slack: float = 1.0, only_cpu: bool = False) -> list[str]:
    """Which of a case's targets were missed, by more than `slack`; as text. Empty: all met."""
    found = []
    if "ours" not in result.rounds:
        return ["wherry was not measured"]
    against = result.against.get("ref2")
    for kind, value in wanted.items():
        if only_cpu and kind != "cpu":
            continue
        if kind == "ms":
            seen = result.median("ours", "wall") * 1000
            bad = seen > value * slack
        elif against is None:
            found.append(f"{kind}: no SKOPEO_REF to compare with")
            continue
        elif kind == "speed":
            seen = against.speed.median
            bad = seen * slack < value
        else:
            spread = against.wall if kind == "wall" else against.cpu
            if spread is None:
                continue
            seen = spread.median
            bad = seen > value * slack
        if bad:
            found.append(f"{kind} {seen:.3g}, wanted {'≥' if kind == 'speed' else '≤'} {value:g}")
    return found


def table(results: Sequence[Result], contenders: Sequence[Contender]) -> str:
    """One line for each case and reference."""
    versions: dict[str, str] = {contender.role: contender.version for contender in contenders}
    wanted = targets()
    lines = [
        "| case | against | theirs | ours | speed | cpu | cpu IQR | rss MB ours/theirs | target | ok |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        for role, ratio in result.against.items():
            lines.append(_line(result, role, versions[role], ratio, wanted.get(result.name, {})))
        if not result.against:
            figures = ", ".join(f"{versions[role]} {_figure(result, role)}" for role in result.rounds)
            lines.append(f"| {result.name} | - | {figures} | - | | | | | | |")
    return "\n".join(lines)


def _line(result: Result, role: str, version: str, ratio: Ratios, wanted: dict[str, float]) -> str:
    cpu = f"{ratio.cpu.median:.2f}" if ratio.cpu else "-"
    iqr = f"{ratio.cpu.q1:.2f}-{ratio.cpu.q3:.2f}" if ratio.cpu else "-"
    memory = "/".join(f"{result.median(who, 'rss') / 1024:.0f}" for who in ("ours", role))
    target, verdict = "", ""
    if role == "ref2" and wanted:
        target = ", ".join(f"{kind} {value:g}" for kind, value in wanted.items())
        missed = misses(result, wanted)
        verdict = "missed: " + "; ".join(missed) if missed else "ok"
    return (
        f"| {result.name} | {version} | {_figure(result, role)} | {_figure(result, 'ours')} "
        f"| {ratio.speed.median:.2f} | {cpu} | {iqr} | {memory} | {target} | {verdict} |"
    )


def _figure(result: Result, role: str) -> str:
    """Wall and CPU of one contender: as a rate where bytes moved, else as a time."""
    wall, cpu = result.median(role, "wall"), result.median(role, "cpu")
    amount = result.median(role, "amount")
    if amount and not result.name.startswith("proxy.stuck"):
        return f"{amount / wall / 1e6:.0f} MB/s, {cpu / amount * 1e9:.3f} s/GB"
    unit, factor = ("µs", 1e6) if wall < 0.002 else ("ms", 1e3)
    return f"{wall * factor:.0f} {unit}, cpu {cpu * factor:.0f}"


def profile_text(profiles: dict[str, Any]) -> str:
    """The import profiles: by start path, the packages that cost most."""
    lines = []
    for name, profile in profiles.items():
        lines.append(f"{name}: {profile['modules']} modules, {profile['total_ms']} ms of imports (profiled)")
        costs = [f"{it} {cost['own_ms']} ({cost['modules']})" for it, cost in profile["packages"].items()]
        lines.append("    " + ", ".join(costs))
    return "\n".join(lines)
