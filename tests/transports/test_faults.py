"""Faults of the machine while an image is written: the place holds the old image or the complete new one.

A writer is killed at each of its fsyncs and renames (F-01), and files cannot grow any more, at every size
(F-03, with RLIMIT_FSIZE for a disk that is full). The next copy succeeds and leaves no temporary file behind.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.require import require_peer
from tests.transports.contract import ONE, TWO, Subject, assert_holds, image, make_system, store, write
from wherry.errors import FileError

# The signatures make dir: exchange the directory, which is its other way to commit.
WRITER = """
import sys, trio
from pathlib import Path
from tests.transports.contract import TWO, Subject, make_system, write

async def main(root, name, signature):
    async with Subject(make_system(Path(root)), name).destination() as destination:
        await write(destination, TWO)
        await destination.put_signatures([signature.encode()] if signature else [])
        await destination.commit()

trio.run(main, *sys.argv[1:])
"""
REPOSITORY = Path(__file__).parents[2]
CALLS = ("fsync", "renameat", "renameat2")


def kill_at(call: str, number: int, strace: Path, *arguments: str) -> bool:
    """Run the writer and kill it when a thread enters its `number`-th call; False if it ended before that."""
    inject = f"inject={call}:signal=KILL:when={number}"
    command = (strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
    done = subprocess.run(
        [*command, sys.executable, "-c", WRITER, *arguments], cwd=REPOSITORY, capture_output=True, check=False
    )
    if done.returncode == 0:
        return False
    if b"PTRACE" in done.stderr or b"ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return True


async def store_signed(subject: Subject, signature: str) -> None:
    async with subject.destination() as destination:
        await write(destination, ONE)
        await destination.put_signatures([signature.encode()] if signature else [])
        await destination.commit()


async def holds(subject: Subject, signature: str) -> bool:
    """Whether the place holds the new image; the old one is the only other thing it may hold."""
    async with subject.source() as source:
        new = (await source.manifest()).raw == TWO.manifest
        signatures = [bytes(item) for item in await source.signatures()]
    await assert_holds(subject, TWO if new else ONE)
    if signature:
        assert signatures == [b"new" if new else b"old"]
    return new


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "place", "signed"),
    [
        ("oci:image:tag", "image", False),
        ("oci-archive:image.tar:tag", "image.tar", False),
        ("dir:image", "image", False),
        ("dir:image", "image", True),
    ],
)
async def test_f01_a_writer_that_is_killed(
    tmp_path: Path, name: str, place: str, signed: bool, call: str
) -> None:
    strace = require_peer("strace")
    results: list[bool] = []
    killed = True
    while killed:
        number = len(results) + 1
        root = tmp_path / str(number)
        root.mkdir()
        subject = Subject(make_system(root), name, root / place)
        await store_signed(subject, "old" if signed else "")
        killed = kill_at(call, number, strace, str(root), name, "new" if signed else "")
        results.append(await holds(subject, "new" if signed else ""))
        await store_signed(subject, "old" if signed else "")
        await assert_holds(subject, ONE)
        assert not [path for path in root.rglob("*") if path.name.startswith(".wherry-")]
    # The one call that only an exchange makes; all the others are made by every destination.
    assert len(results) > 1 or (call == "renameat2" and not signed)
    assert results == sorted(results)  # first the old image, from one call on the new one
    assert results[-1] is True


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["oci:image:tag", "oci-archive:image:tag", "dir:image"])
async def test_f03_files_that_cannot_grow(tmp_path: Path, name: str) -> None:
    subject = Subject(make_system(tmp_path), name, tmp_path / "image")
    big = image(b"x", note="n" * 5000)
    await store(subject, ONE)
    before = subject.tree()
    for size in (0, 1, 100, 512, 1024, 1500, 4096, 5000, 8192):
        with pytest.raises(FileError, match=r"file too large$"), no_file_over(size):
            await store(subject, big)
        assert {path: data for path, data in subject.tree().items() if path in before} == before
        assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".wherry-")]
        await assert_holds(subject, ONE)
    await store(subject, big)
    await assert_holds(subject, big)
