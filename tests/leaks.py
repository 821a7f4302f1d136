"""What a test must give back: file descriptors, threads, child processes, temporary files.

A snapshot is taken before a test and compared after it. Something that is still on its way out (a thread
handing in its last result, a child being reaped) gets a moment; what is left after that is a leak.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trio._core import _thread_cache  # trio has no public way to tell an idle cached thread from a busy one

GRACE_S: Final = 3.0
_PREFIXES: Final = ("wherry", ".wherry", "container_images_")


@dataclass(frozen=True)
class Held:
    """What this process holds now; each set holds text made for people."""

    descriptors: frozenset[str]
    threads: frozenset[str]
    children: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls, scratch: Path) -> Held:
        return cls(
            frozenset(_descriptors()),
            frozenset(_threads()),
            frozenset(_children()),
            frozenset(_files(scratch)),
        )

    def beyond(self, before: Held) -> list[str]:
        """What `self` has and `before` had not."""
        return sorted(
            (self.descriptors - before.descriptors)
            | (self.threads - before.threads)
            | (self.children - before.children)
            | (self.files - before.files)
        )


def leaked_since(before: Held, scratch: Path, *, grace: float = GRACE_S) -> list[str]:
    """What is held now and was not then, after at most `grace` seconds for what is on its way out."""
    if not (leaked := Held.now(scratch).beyond(before)):
        return []
    gc.collect()  # a forgotten object is reported by its own ResourceWarning: only what is held counts here
    deadline = time.monotonic() + grace
    while (leaked := Held.now(scratch).beyond(before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return leaked


def _descriptors() -> Iterator[str]:
    folder = "/proc/self/fd"
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        yield f"file descriptor {name} → {target}"


def _threads() -> Iterator[str]:
    """Every thread but trio's idle ones, which wait ten seconds for more work and then end."""
    idle = {worker._thread for worker in list(_thread_cache.THREAD_CACHE._idle_workers)}
    for thread in threading.enumerate():
        if thread not in idle:
            yield f"thread {thread.name} ({thread.ident})"


def _children() -> Iterator[str]:
    me = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = Path("/proc", name, "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        command, _, rest = stat.partition("(")[2].rpartition(")")
        state, parent = rest.split()[:2]
        if int(parent) == me:
            # A zombie keeps its line, so that it does not count as another child than the living one.
            yield f"child process {name} ({command}){' (never waited for)' if state == 'Z' else ''}"


def _files(scratch: Path) -> Iterator[str]:
    for path in scratch.iterdir():
        yield f"temporary file {path}"
    for folder in (Path("/tmp"), Path("/var/tmp")):
        for path in folder.iterdir():
            if path.name.startswith(_PREFIXES):
                yield f"temporary file {path}"
