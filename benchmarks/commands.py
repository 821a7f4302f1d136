"""Running a whole command as one sample: wall and CPU from its start to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from benchmarks.harness import Sample

# ru_maxrss of a child begins at its parent's size, so memory is read from below a small process of its own.
_SMALL_PARENT = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
os.write(3, b"%d %d" % (os.waitstatus_to_exitcode(status), usage.ru_maxrss))
"""


class CommandError(Exception):
    """A command under test failed; the text has its standard error."""


def run_command(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Sample:
    """Run to the end; CPU includes what the command itself started and waited for.

    Raises CommandError where it exits with anything but 0.
    """
    with tempfile.TemporaryFile() as errors, open(os.devnull, "r+b") as null:
        actions = [
            (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, null.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        env = dict(os.environ if environ is None else environ)
        began = time.perf_counter()
        pid = os.posix_spawn(argv[0], list(argv), env, file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - began
        code = os.waitstatus_to_exitcode(status)
        if code:
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            raise CommandError(f"{' '.join(argv)}: exit status {code}\n{text[-2000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime)


def command_memory(argv: Sequence[str]) -> int:
    """Peak memory of a command in KiB, run once more for this alone."""
    small = [sys.executable, "-I", "-S", "-c", _SMALL_PARENT]
    reader, writer = os.pipe()
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", f'exec 3>&{writer}; exec "$@" >/dev/null 2>&1', "sh", *small, *argv],
            stdin=subprocess.DEVNULL,
            pass_fds=(writer,),
        ):
            os.close(writer)
            writer = -1
            text = os.read(reader, 100).split()
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if len(text) != 2 or text[0] != b"0":
        raise CommandError(f"{' '.join(argv)}: exit status {text[:1]}")
    return int(text[1])


def parse_import_times(text: str, shown: int = 15) -> dict[str, object]:
    """What `python -X importtime` wrote: the packages by their own time, our own by subpackage.

    Measuring slows imports down: the shares count, the sum is larger than the truth.
    """
    spent: dict[str, list[float]] = {}
    for line in text.splitlines():
        if not line.startswith("import time:") or "[us]" in line:
            continue
        own, _, name = line.removeprefix("import time:").split("|")
        parts = name.strip().split(".")
        depth = 2 if parts[0].startswith("wherry") else 1
        entry = spent.setdefault(".".join(parts[:depth]), [0, 0])
        entry[0] += int(own) / 1000
        entry[1] += 1
    ranked = sorted(spent.items(), key=lambda item: -item[1][0])
    return {
        "modules": int(sum(entry[1] for entry in spent.values())),
        "total_ms": round(sum(entry[0] for entry in spent.values()), 1),
        "packages": {
            name: {"own_ms": round(entry[0], 1), "modules": int(entry[1])} for name, entry in ranked[:shown]
        },
    }


def version_of(path: str) -> str:
    """What `PATH --version` prints, in one line."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[0]
