"""Compares a run with its golden transcript, step by step."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from tests.wire.driver import Event
from tests.wire.steps import Scenario, Step

GOLDEN = Path(__file__).parent / "golden"


@cache
def golden(group: str) -> dict[str, tuple[Event, list[Event]]]:
    """Scenario -> its headline and its events."""
    _, *rest = (json.loads(line) for line in (GOLDEN / f"{group}.jsonl").read_text().split("\n") if line)
    found: dict[str, tuple[Event, list[Event]]] = {}
    for line in rest:
        if "scenario" in line:
            events: list[Event] = []
            found[line["scenario"]] = (line, events)
        else:
            events.append(line)
    return found


def of_step(events: list[Event], number: int) -> list[Event]:
    return [{key: item[key] for key in item if key != "n"} for item in events if item["n"] == number]


def accepts(expected: Any, value: Any) -> bool:
    if isinstance(expected, re.Pattern):
        return isinstance(value, str) and expected.fullmatch(value) is not None
    return bool(expected == value)


def differing(step: Step, theirs: list[Event], ours: list[Event]) -> str:
    """What is wrong with a step that may differ; empty if it is as ``step.ours`` says.

    What was sent, which pipe data came from and the count of file descriptors (0) need not be repeated there.
    """
    assert step.ours is not None
    sent = [item["send"] for item in theirs if "send" in item]
    merged: dict[str, Any] = {}
    for event in ours:
        merged |= event
    if sent and merged.pop("send", None) != sent[0]:
        return "another request was sent than when the golden was recorded"
    merged.pop("send", None)
    merged.pop("of", None)
    expected = {"fds": 0, **step.ours} if "recv" in step.ours else dict(step.ours)
    if set(merged) == set(expected) and all(accepts(expected[key], merged[key]) for key in expected):
        return ""
    return f"wherry gave {merged}, and may differ only so: {expected}"


def faults(scenario: Scenario, theirs: list[Event], ours: list[Event], *, exact: bool) -> list[str]:
    """Where a run is not as it must be. ``exact`` is for skopeo itself, which may differ nowhere."""
    found: list[str] = []
    for number, step in enumerate(scenario.steps):
        want, have = of_step(theirs, number), of_step(ours, number)
        if step.differs is None or exact:
            if want != have:
                found.append(f"step {number} {step}\n  golden: {want}\n  got:    {have}")
        elif reason := differing(step, want, have):
            found.append(f"step {number} {step}\n  {reason}\n  golden: {want}")
    return found
