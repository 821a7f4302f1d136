"""The watch for leaks sees what it is for, and nothing else; the list of skips is a list, not a wish."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tests import leaks
from tests.conftest import unexpected_skips


@contextmanager
def descriptor() -> Iterator[str]:
    reader, writer = os.pipe()
    try:
        yield rf"file descriptor {reader} → pipe:"
    finally:
        os.close(reader)
        os.close(writer)


@contextmanager
def thread() -> Iterator[str]:
    done = threading.Event()
    worker = threading.Thread(target=done.wait, name="stray")
    worker.start()
    try:
        yield r"thread stray \(\d+\)"
    finally:
        done.set()
        worker.join()


@contextmanager
def child() -> Iterator[str]:
    process = subprocess.Popen(["sleep", "60"])
    try:
        yield rf"child process {process.pid} \("
    finally:
        process.kill()
        process.wait()


@contextmanager
def file() -> Iterator[str]:
    with tempfile.NamedTemporaryFile() as made:
        yield rf"temporary file {made.name}"


@contextmanager
def file_elsewhere() -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="wherry-", dir="/var/tmp") as made:
        yield rf"temporary file {made.name}"


@pytest.mark.parametrize("leak", [descriptor, thread, child, file, file_elsewhere])
def test_a_leak_is_named(leak: Callable[[], AbstractContextManager[str]]) -> None:
    scratch = Path(tempfile.gettempdir())
    before = leaks.Held.now(scratch)
    with leak() as pattern:
        found = leaks.leaked_since(before, scratch, grace=0)
        assert any(re.match(pattern, line) for line in found), found
    assert leaks.leaked_since(before, scratch) == []


async def test_an_idle_thread_of_trio_is_no_leak_and_a_busy_one_is() -> None:
    scratch = Path(tempfile.gettempdir())
    release = threading.Event()
    async with trio.open_nursery() as nursery:
        before = leaks.Held.now(scratch)
        nursery.start_soon(trio.to_thread.run_sync, release.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert any(line.startswith("thread") for line in leaks.Held.now(scratch).beyond(before))
        release.set()
    assert leaks.leaked_since(before, scratch) == []


@pytest.mark.parametrize(
    ("skipped", "expected", "wrong"),
    [
        ([], "", []),
        ([("tests/a.py::test_b", "no x")], "", ["tests/a.py::test_b: no x"]),
        ([("tests/a.py::test_b", "no x")], "# why\ntests/a.py*: no x\n", []),
        ([("tests/a.py::test_b", "no x")], "tests/a.py*: no y\n", ["tests/a.py::test_b: no x"]),
        ([("tests/a.py::test_b[1]", "cargo 1.2 is old")], "tests/a.py*: cargo * is old", []),
    ],
)
def test_unexpected_skips(skipped: list[tuple[str, str]], expected: str, wrong: list[str]) -> None:
    assert unexpected_skips(skipped, expected) == wrong
