"""Interleaved rounds of one case over several contenders, and what is computed from them.

The machine's speed drifts by tens of per cent from one minute to the next, so contenders take turns (A B C,
B C A, C A B, …) and only ratios within one round are compared. The first round is dropped, except that its
memory figures are kept. Every round is in the result.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["ours", "ref", "ref2"]


class UnsupportedError(Exception):
    """This contender can't do what the case measures; it is left out, and the result says why."""


@dataclass(frozen=True)
class Contender:
    """A program under test. `argv` starts it; `python` is the interpreter of a program in Python."""

    role: Role
    argv: tuple[str, ...]
    version: str
    python: str = ""

    @property
    def ours(self) -> bool:
        return self.role == "ours"


@dataclass(frozen=True)
class Sample:
    """One round of one contender.

    `wall` and `cpu` in seconds (of one request, where a round has many: wall is then the median); `cpu` is
    of the process under test only. `amount`: bytes moved. `rss`: VmHWM in KiB, 0 where it was not read.
    """

    wall: float
    cpu: float
    amount: int = 0
    rss: int = 0
    more: dict[str, float] = field(default_factory=dict)


Measure = Callable[[], Sample]


@dataclass(frozen=True)
class Case:
    """What is measured: `opened` prepares a contender and yields what runs one round of it.

    `cold`: nothing of the contender may run before a round begins.
    """

    name: str
    title: str
    opened: Callable[[Contender], AbstractContextManager[Measure]]
    rounds: int
    cold: bool = False


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Ratios:
    """Ours against one reference: medians of the ratios within each round.

    `speed` > 1 is better; `wall` and `cpu` < 1 are better. cpu is None where it was too little to measure.
    """

    speed: Spread
    wall: Spread
    cpu: Spread | None


@dataclass
class Result:
    """A case's outcome; `rounds` by role, the dropped warm-up first."""

    name: str
    title: str
    rounds: dict[str, list[Sample]]
    against: dict[str, Ratios]
    left_out: dict[str, str]
    load_before: tuple[float, ...]
    load_after: tuple[float, ...]
    seconds: float
    strangers: int = 0
    """Processes of wherry that were alive when a cold case began, none of them ours."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def median(self, role: str, value: str) -> float:
        """The median of a Sample's member over the counted rounds."""
        return statistics.median(float(getattr(it, value)) for it in counted(self.rounds[role]))


def counted(rounds: Sequence[Sample]) -> Sequence[Sample]:
    """The rounds that count: all but the warm-up."""
    return rounds[1:]


def run_case(case: Case, contenders: Sequence[Contender]) -> Result:
    """Run a warm-up round and `case.rounds` more, contenders taking turns."""
    began = time.monotonic()
    before = os.getloadavg()
    left_out: dict[str, str] = {}
    strangers = len(alive("wherry")) if case.cold else 0
    with ExitStack() as opened:
        ready: list[tuple[str, Measure]] = []
        for contender in contenders:
            try:
                ready.append((contender.role, opened.enter_context(case.opened(contender))))
            except UnsupportedError as error:
                left_out[contender.role] = str(error)
        rounds: dict[str, list[Sample]] = {role: [] for role, _ in ready}
        for number in range(case.rounds + 1):
            turn = number % max(1, len(ready))
            for role, measure in ready[turn:] + ready[:turn]:
                rounds[role].append(measure())
    return Result(
        name=case.name,
        title=case.title,
        rounds=rounds,
        against=_against(rounds),
        left_out=left_out,
        load_before=before,
        load_after=os.getloadavg(),
        seconds=round(time.monotonic() - began, 2),
        strangers=strangers,
    )


def _against(rounds: dict[str, list[Sample]]) -> dict[str, Ratios]:
    if "ours" not in rounds:
        return {}
    ours = counted(rounds["ours"])
    return {role: ratios(ours, counted(theirs)) for role, theirs in rounds.items() if role != "ours"}


def ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> Ratios:
    """Per round, then the median: a round in which the machine was slow was slow for both."""
    pairs = list(zip(ours, theirs, strict=True))
    cpu = [our.cpu / their.cpu for our, their in pairs if our.cpu > 0 and their.cpu > 0]
    return Ratios(
        speed=spread([their.wall / our.wall for our, their in pairs]),
        wall=spread([our.wall / their.wall for our, their in pairs]),
        cpu=spread(cpu) if cpu else None,
    )


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of fewer than two values all three are the same."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(round(median, 4), round(q1, 4), round(q3, 4))


# --- processes


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, ended threads included, user and system together.

    The kernel's clock of the process (what clock_getcpuclockid(3) returns): in nanoseconds, where
    /proc/PID/stat counts ticks of 10 ms.
    """
    return float(time.clock_gettime((~pid << 3) | 2))


def memory_peak(pid: int) -> int:
    """VmHWM in KiB."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def thread_count(pid: int) -> int:
    """Threads that the process has now."""
    return len(os.listdir(f"/proc/{pid}/task"))


def alive(name: str) -> list[int]:
    """Processes whose command's words name `name` (their own last path component, or a module of it)."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as line:
            words = line.read().decode(errors="replace").split("\0")[:3]
            if any(word.rpartition("/")[2] in (name, f"{name}_cli") for word in words):
                found.append(int(entry))
    return found
