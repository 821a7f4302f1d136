"""The golden transcripts, played against wherry, and against a live skopeo where SKOPEO_REF names one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.require import require_peer
from tests.wire import record, registry, replay
from tests.wire.driver import Event, play
from tests.wire.scenarios import GROUPS
from tests.wire.steps import Call, scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WHERRY = [sys.executable, "-m", "wherry_cli"]


def cases(*, registries: bool) -> pytest.MarkDecorator:
    """One test for each scenario; those with registries apart, for only they need a docker-registry."""
    found = [
        pytest.param(group, name, id=f"{group}-{name}")
        for group, items in GROUPS.items()
        for name, item in items.items()
        if item.registry == registries
    ]
    return pytest.mark.parametrize(("group", "name"), found)


@pytest.fixture(scope="session")
def wire_cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The servers' working directory: fixture images, and policies beside them."""
    cwd = tmp_path_factory.mktemp("wire")
    record.prepare(cwd)
    return cwd


@pytest.fixture(scope="session")
def wire_places(wire_cwd: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    require_peer("docker-registry")
    with registry.places(tmp_path_factory.mktemp("registry"), wire_cwd) as found:
        yield found


def check(group: str, name: str, ours: list[Event], *, exact: bool) -> None:
    item = GROUPS[group][name]
    head, theirs = replay.golden(group)[name]
    assert (head["before"], head["after"]) == (list(item.before), list(item.after)), (
        "record the goldens again"
    )
    found = replay.faults(item, theirs, ours, exact=exact)
    assert not found, "\n".join(found)


@cases(registries=False)
def test_wherry_replies_as_skopeo(group: str, name: str, wire_cwd: Path, tmp_path: Path) -> None:
    check(group, name, play(WHERRY, GROUPS[group][name], wire_cwd, tmp_path, {}), exact=False)


@cases(registries=True)
def test_wherry_replies_as_skopeo_on_registries(
    group: str, name: str, wire_cwd: Path, tmp_path: Path, wire_places: Mapping[str, str]
) -> None:
    check(group, name, play(WHERRY, GROUPS[group][name], wire_cwd, tmp_path, wire_places), exact=False)


@cases(registries=False)
def test_goldens_are_skopeos(group: str, name: str, wire_cwd: Path, tmp_path: Path, skopeo_ref: Path) -> None:
    check(group, name, play([str(skopeo_ref)], GROUPS[group][name], wire_cwd, tmp_path, {}), exact=True)


@cases(registries=True)
def test_goldens_are_skopeos_on_registries(
    group: str, name: str, wire_cwd: Path, tmp_path: Path, wire_places: Mapping[str, str], skopeo_ref: Path
) -> None:
    item = GROUPS[group][name]
    check(group, name, play([str(skopeo_ref)], item, wire_cwd, tmp_path, wire_places), exact=True)


def test_a_tail_begins_as_skopeos() -> None:
    """Where only a text's tail may differ, the pattern for wherry accepts skopeo's own text too."""
    wrong: list[str] = []
    for group, items in GROUPS.items():
        for name, item in items.items():
            theirs = replay.golden(group)[name][1]
            for number, step in enumerate(item.steps):
                if step.differs == "tail":
                    events = replay.of_step(theirs, number)
                    if reason := replay.differing(step, events, events):
                        wrong.append(f"{group}.{name} step {number}: {reason}")
    assert not wrong, "\n".join(wrong)


def test_every_golden_has_its_scenario() -> None:
    for group, items in GROUPS.items():
        assert set(replay.golden(group)) == set(items)
    assert {path.stem for path in replay.GOLDEN.iterdir()} == set(GROUPS)


def test_a_changed_byte_is_seen() -> None:
    """The comparison can fail: in a byte, a missing event, an event too many, and outside of ``ours``."""
    item = GROUPS["requests"]["request_of_32769_bytes"]
    _, theirs = replay.golden("requests")["request_of_32769_bytes"]
    assert replay.faults(item, theirs, theirs, exact=True) == []
    assert replay.faults(item, theirs, theirs, exact=False) == []
    last = theirs[-2]
    changed = [*theirs[:-2], {**last, "recv": last["recv"].replace("initialized", "initialised")}, theirs[-1]]
    assert len(replay.faults(item, theirs, changed, exact=False)) == 1
    assert len(replay.faults(item, theirs, theirs[:-1], exact=False)) == 1
    assert len(replay.faults(item, theirs, [*theirs, theirs[-1]], exact=False)) == 1
    accepted = [{**event, "recv": "{}"} if event["n"] == 1 and "recv" in event else event for event in theirs]
    assert len(replay.faults(item, theirs, accepted, exact=False)) == 1


def test_surviving_where_skopeo_dies_is_compared_too() -> None:
    name = "finish_pipe_without_args"
    item = GROUPS["requests"][name]
    theirs = replay.golden("requests")[name][1]
    assert theirs[-1] == {"n": 1, "exit": 2, "stdout": ""}
    text = '{"success":false,"value":null,"pipeid":0,"error_code":"other","error":"why"}'
    survived = [*theirs[:-2], {"n": 1, "recv": text, "fds": 0}, {"n": 2, "exit": 0, "stdout": ""}]
    assert replay.faults(item, theirs, survived, exact=False) == []
    assert len(replay.faults(item, theirs, survived[:-1], exact=False)) == 1
    assert len(replay.faults(item, theirs, theirs, exact=False)) == 2


def test_a_difference_needs_its_row_and_its_expectation() -> None:
    with pytest.raises(ValueError, match="closed list"):
        scenario(Call("Nope", differs="taste", ours={"recv": re.compile(".*")}))
    with pytest.raises(ValueError, match="closed list"):
        scenario(Call("Nope", differs="tail"))


def test_nothing_but_skopeo_is_recorded(tmp_path: Path) -> None:
    for script in ("echo wherry version 1", "echo skopeo version 1.22.0-dev"):
        fake = tmp_path / "skopeo"
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-m", "tests.wire.record", fake, "commit"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "goldens come from skopeo only" in done.stderr
