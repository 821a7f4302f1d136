"""Where skopeo keeps its cache of blobs' places during a run: never the machine's own, in memory or on disk.

skopeo writes to it with several fsyncs a blob, so on a disk it is most of the time of a copy of many small
layers. In memory is the fair place to compare programs; on disk is where its users have it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ISOLATED = "WHERRY_BENCH_ISOLATED"
_ROOTS_OWN = "/var/lib/containers"


def isolate(folder: Path) -> str:
    """Keep the cache in memory; what was done, for the result.

    For root it is at a fixed place: the run starts itself again in a mount namespace with a tmpfs there. For
    others it follows XDG_DATA_HOME, which is set to below `folder`.
    """
    if os.geteuid() != 0:
        os.environ["XDG_DATA_HOME"] = str(folder / "xdg")
        return "in memory, by XDG_DATA_HOME"
    if os.environ.get(_ISOLATED) == "yes":
        return f"in memory: a tmpfs over {_ROOTS_OWN} in a mount namespace of this run"
    if os.environ.get(_ISOLATED) != "no" and shutil.which("unshare"):
        probe = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
        if probe.returncode == 0:
            script = (
                f"mkdir -p {_ROOTS_OWN} && mount -t tmpfs tmpfs {_ROOTS_OWN} && {_ISOLATED}=yes "
                f'|| {_ISOLATED}=no; export {_ISOLATED}; exec "$@"'
            )
            command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-m", "benchmarks"]
            sys.stdout.flush()
            os.execvp("unshare", [*command, *sys.argv[1:]])  # noqa: S606
    return f"the machine's own, {_ROOTS_OWN}: skopeo's copies pay for its disk"


def forget() -> None:
    """Remove what skopeo noted, if the cache is the run's own."""
    if os.geteuid() != 0:
        cache = Path(os.environ["XDG_DATA_HOME"], "containers/cache")
    elif os.environ.get(_ISOLATED) == "yes":
        cache = Path(_ROOTS_OWN, "cache")
    else:
        return
    for entry in cache.glob("*"):
        entry.unlink(missing_ok=True)


@contextmanager
def on_disk() -> Iterator[None]:
    """Have the cache on the disk of /var/tmp for the block, still the run's own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="wherry-bench-") as folder:
        if os.geteuid() != 0:
            before = os.environ["XDG_DATA_HOME"]
            os.environ["XDG_DATA_HOME"] = folder
            try:
                yield
            finally:
                os.environ["XDG_DATA_HOME"] = before
        elif os.environ.get(_ISOLATED) == "yes":
            subprocess.run(["mount", "--bind", folder, _ROOTS_OWN], check=True)
            try:
                yield
            finally:
                with suppress(subprocess.CalledProcessError):
                    subprocess.run(["umount", _ROOTS_OWN], check=True)
        else:
            yield  # it is there anyway
