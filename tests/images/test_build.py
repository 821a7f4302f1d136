"""The fixture images are the same everywhere: goldens recorded from them stay valid."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images import build

HERE = Path(__file__).parent


def test_digests_are_pinned(tmp_path: Path) -> None:
    """A change here invalidates tests/wire/golden and every other recorded file: record them again.

    To renew the pins: ``python -m tests.images.test_build``.
    """
    build.build(tmp_path / "images")
    assert build.digests(tmp_path / "images") == json.loads((HERE / "digests.json").read_bytes())


def test_runs_as_a_script(tmp_path: Path) -> None:
    subprocess.run([sys.executable, HERE / "build.py", tmp_path / "images"], check=True)
    assert build.digests(tmp_path / "images") == json.loads((HERE / "digests.json").read_bytes())


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 200000])
def test_gzip_is_read_by_zlib(size: int) -> None:
    assert gzip.decompress(build.gzip(build.noise(size, b"x"))) == build.noise(size, b"x")


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd")
@pytest.mark.parametrize("size", [0, 1, 131072, 131073, 400000])
def test_zstd_is_read_by_zstd(size: int) -> None:
    data = build.noise(size, b"x")
    done = subprocess.run(["zstd", "-dc"], input=build.zstd(data), capture_output=True, check=True)
    assert done.stdout == data


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        build.build(Path(scratch))
        pins = json.dumps(build.digests(Path(scratch)), indent=1) + "\n"
    (HERE / "digests.json").write_text(pins)
