"""README.md is true: its examples run, in its order, and do what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
HELLO = json.loads((ROOT / "docs" / "examples" / "hello" / "index.json").read_bytes())["manifests"][0]

# What is not run, line by line, and why.
LEFT_OUT: Final = {
    "make run": "installs",
    "make test": "runs this test",
    "make run IMAGE=docker://registry.example/app:1.0": "network",
    "wherry list-tags docker://registry.example/app": "network",
    ". .venv/bin/activate": "PATH leads to the installation under test already",
}


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def command(line: str) -> str:
    """A line without the comment at its end."""
    return line.partition("  #")[0].rstrip()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user who trusts everything, and whose PATH begins with this installation."""
    policy = tmp_path / "home" / ".config" / "containers" / "policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    return {"HOME": str(tmp_path / "home"), "PATH": f"{BIN}:{os.environ['PATH']}"}


def played(argv: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run(
        argv, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def sh(script: str, tmp_path: Path, environ: dict[str, str]) -> str:
    """Run an example, whose /tmp is our own."""
    lines = [line for line in script.splitlines() if command(line) not in LEFT_OUT]
    script = "\n".join(["set -e", *lines])
    script = script.replace("/tmp/", f"{tmp_path}/").replace('"$PWD/.venv/bin/wherry"', f"'{BIN}/wherry'")
    script = script.replace("some-program-that-pulls-images", "skopeo --version")
    return played(["/bin/sh", "-c", script], environ)


def test_what_is_left_out_is_there() -> None:
    lines = [command(line) for example in examples("sh") for line in example.splitlines()]
    assert {line for line in LEFT_OUT if line not in lines} == set()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(examples("sh")), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_shell(tmp_path: Path, environ: dict[str, str]) -> None:
    first, _, tour, in_place = examples("sh")
    assert sh(first, tmp_path, environ) == ""
    said = sh(tour, tmp_path, environ)
    assert f'"Digest": "{HELLO["digest"]}"' in said
    assert said.endswith(f"{HELLO['digest']}\n")
    assert (tmp_path / "hello" / "manifest.json").stat().st_size == HELLO["size"]
    assert re.match(r"skopeo version \S+", sh(in_place, tmp_path, environ))


def test_python(environ: dict[str, str]) -> None:
    (example,) = examples("python")
    digest, *counts = played([sys.executable, "-c", example], environ).splitlines()
    manifest = json.loads(
        (ROOT / "docs/examples/hello/blobs" / HELLO["digest"].replace(":", "/")).read_bytes()
    )
    assert digest == HELLO["digest"]
    assert [int(count) for count in counts] == [layer["size"] for layer in manifest["layers"]]
