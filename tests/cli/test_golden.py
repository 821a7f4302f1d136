"""Every recorded command line, against wherry: stdout, stderr, exit code and what was written.

$WHERRY_UNDER_TEST names another program (shell-quoted). Is it the recorded skopeo itself, then nothing may
differ: that is how this test is tested.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest

from tests.cli import differences
from tests.cli.cases import CASES, GROUPS
from tests.cli.harness import HERE, Case, World
from tests.peers.require import require_peer

GOLDEN = HERE / "golden"
PROGRAM = shlex.split(os.environ.get("WHERRY_UNDER_TEST", "")) or [sys.executable, "-m", "wherry_cli"]


@cache
def golden(group: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{group}.json").read_bytes())  # type: ignore[no-any-return]


@cache
def is_recorded_skopeo() -> bool:
    if "WHERRY_UNDER_TEST" not in os.environ:
        return False
    said = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return bool(said == golden("global")["recorded"]["version"])


@pytest.fixture(scope="module")
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program did, for every selected case; several at a time: starting it is most of the time."""
    require_peer("docker-registry")
    require_peer("htpasswd")
    selected = {one.name for one in request.session.items if one.path == request.path}
    wanted = [one for one in CASES if f"test_golden[{one.id}]" in selected]
    world = World(tmp_path_factory.mktemp("cli") / "w")
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            futures = {one.id: pool.submit(world.run, one, PROGRAM) for one in wanted}
            return {case_id: future.exception() or future.result() for case_id, future in futures.items()}
    finally:
        world.close()


def is_content(path: str, described: dict[str, Any]) -> bool:
    """Whether path is a directory or a file whose name is the digest of what it holds."""
    name = path.rstrip("/").rpartition("/")[2].removesuffix(".manifest.json")
    return (
        path.endswith("/")
        or name == described.get("sha256")
        or name.startswith("sha512-")
        or len(name) == 128
    )


def assert_old_image(before: Any, after: Any) -> None:
    """After a failed copy the destination is what it was; only finished blobs named by digest may be new.

    With them a new dir: has its version file, without which the next copy would not take it for one.
    """
    if isinstance(after, dict) and (before is None or isinstance(before, dict)):
        known = before or {}
        after = {
            path: one
            for path, one in after.items()
            if path in known or not (path == "version" or is_content(path, one))
        }
        before = known
    assert after == before


def assert_tail(text: str, recorded: str, marker: str) -> None:
    """Both texts agree up to marker and go on."""
    start, found, rest = recorded.partition(marker)
    assert found, f"{marker!r} is not in the recording"
    assert rest
    assert text.startswith(start + found)
    assert text[len(start + found) :].strip('\n"')
    assert text.count("\n") == recorded.count("\n")


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.id)
def test_golden(case: Case, observed: dict[str, Any]) -> None:
    recorded = golden(case.id.partition("/")[0])["cases"][case.id]
    seen = observed[case.id]
    if isinstance(seen, BaseException):
        raise seen
    before = seen.pop("before", None)
    exact = is_recorded_skopeo()
    own = None if exact else differences.ours_of(case.id)
    if own is not None:
        reason, ours = own
        assert seen["rc"] == ours.rc, (reason, seen)
        assert differences.matches(ours.stdout, seen["stdout"]), (reason, seen["stdout"], ours.stdout)
        assert differences.matches(ours.stderr, seen["stderr"]), (reason, seen["stderr"], ours.stderr)
    else:
        marker = "" if exact else differences.tail_of(case.id)
        if marker:
            assert_tail(seen["stderr"], recorded["stderr"], marker)
        else:
            assert seen["stderr"] == recorded["stderr"]
        told = [
            key
            for key in recorded
            if key not in ("stderr", "wrote") and (key, recorded[key]) != ("debug", "")
        ]
        assert {key: seen[key] for key in told} == {key: recorded[key] for key in told}
    if exact or (own is None and (seen["rc"] == 0 or case.commits)):
        assert seen.get("wrote") == recorded.get("wrote")
    elif case.describe and seen["rc"] != 0:
        for what, old in before.items():
            assert_old_image(old, seen["wrote"][what])


def test_every_case_is_recorded_and_nothing_else() -> None:
    for group, table in GROUPS.items():
        assert list(golden(group)["cases"]) == [one.id for one in table]
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(GROUPS)


def test_recordings_come_from_skopeo() -> None:
    for group in GROUPS:
        header = golden(group)["recorded"]
        assert re.fullmatch(r"skopeo version 1\.22\.0[^ ]*", header["version"])
        assert re.fullmatch(r"[0-9a-f]{8,40}", header["commit"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", header["date"])


@pytest.mark.parametrize("glob", [*differences.TAILS, *differences.OURS])
def test_every_difference_names_a_case(glob: str) -> None:
    named = [one.id for one in CASES if fnmatchcase(one.id, glob)]
    assert named
    for case_id in named:
        marker = differences.tail_of(case_id) if differences.ours_of(case_id) is None else ""
        assert marker in golden(case_id.partition("/")[0])["cases"][case_id]["stderr"]
