"""`run` as a function: streams by number, a directory and an environment of its own, exit statuses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from wherry_cli.__main__ import run
from wherry_cli.log import write_all
from wherry_cli.request import go_duration

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
HELLO = "oci:hello:latest"
COMMAND = (sys.executable, "-m", "wherry_cli")
MANIFEST = json.loads((EXAMPLES / "hello" / "index.json").read_bytes())["manifests"][0]["digest"]


class Ended(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The text of the last log line, unquoted."""
        found = re.search(r"level=fatal msg=(.*)\n\Z", self.stderr)
        assert found, self.stderr
        text = found[1]
        return str(json.loads(text)) if text.startswith('"') else text


def wherry(*argv: str, cwd: Path = EXAMPLES, program: str = "wherry") -> Ended:
    """Run a command in this process; its output is small enough for a pipe's buffer."""
    out, err = os.pipe(), os.pipe()
    try:
        environ = {"HOME": str(cwd), "CONTAINERS_REGISTRIES_CONF": "/dev/null"}
        status = run([program, *argv], (0, out[1], err[1]), str(cwd), environ)
        os.close(out[1])
        os.close(err[1])
        return Ended(status, read_all(out[0]), read_all(err[0]))
    finally:
        os.close(out[0])
        os.close(err[0])


def read_all(fd: int) -> str:
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    return b"".join(parts).decode()


def test_relative_references_are_relative_to_the_given_directory() -> None:
    ended = wherry("inspect", "--format", "{{.Os}}", HELLO)
    assert ended == (0, "linux\n", "")
    assert os.getcwd() != str(EXAMPLES)


@pytest.mark.parametrize(
    ("program", "shown"), [("skopeo", "skopeo"), ("/usr/bin/skopeo", "skopeo"), ("x", "wherry")]
)
def test_program_is_named_as_it_was_called(program: str, shown: str) -> None:
    assert wherry("--version", program=program).stdout.startswith(f"{shown} version ")
    assert wherry(program=program).error == (
        f"Missing command '{shown} COMMAND'\nTry '{shown} --help' for more information"
    )


def test_copy_tells_its_steps_and_writes_the_digest_without_newline(tmp_path: Path) -> None:
    ended = wherry(
        "--insecure-policy", "copy", "--digestfile", str(tmp_path / "digest"), HELLO, f"dir:{tmp_path}/d"
    )
    assert (ended.status, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[0] == "Getting image source signatures"
    assert [line[:20] for line in lines[1:-2]] == ["Copying blob sha256:"] * 3
    assert lines[-2].startswith("Copying config sha256:")
    assert lines[-1] == "Writing manifest to image destination"
    assert (tmp_path / "digest").read_text() == MANIFEST
    copied = (tmp_path / "d" / "manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(copied).hexdigest()}" == MANIFEST


def test_quiet_copy_says_nothing(tmp_path: Path) -> None:
    assert wherry("--insecure-policy", "copy", "-q", HELLO, f"oci:{tmp_path}/o:x") == (0, "", "")


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (("copy", "--encryption-key", "jwe:x"), "encryption-key"),
        (("copy", "--decryption-key", "x"), "decryption-key"),
        (("copy", "--sign-by", "x"), "sign-by"),
        (("copy", "--dest-compress"), "dest-compress"),
        (("copy", "--dest-compress-format", "zstd"), "dest-compress-format"),
        (("copy", "--dest-compress-level", "3"), "dest-compress-level"),
        (("copy", "--dest-precompute-digests"), "dest-precompute-digests"),
        (("copy", "--dest-oci-accept-uncompressed-layers"), "dest-oci-accept-uncompressed-layers"),
        (("--registries.d", "x", "copy"), "registries.d"),
        (("--connect", "x", "copy"), "connect"),
    ],
)
def test_flag_that_is_not_built_fails_and_nothing_is_done(
    argv: tuple[str, ...], flag: str, tmp_path: Path
) -> None:
    ended = wherry(*argv, "--insecure-policy", HELLO, f"dir:{tmp_path}/d")
    assert (ended.status, ended.stdout, ended.error) == (1, "", f"--{flag} is not yet built in wherry")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "command",
    [
        *("sync", "layers", "standalone-sign", "standalone-verify"),
        *("generate-sigstore-key", "untrusted-signature-dump-without-verification", "completion"),
    ],
)
def test_command_that_is_not_built_fails(command: str) -> None:
    ended = wherry(command, "--some-flag", "x")
    assert (ended.status, ended.error) == (1, f"{command} is not yet built in wherry")


def test_flags_that_would_change_nothing_are_let_pass(tmp_path: Path) -> None:
    ended = wherry("--insecure-policy", "copy", "-q", "--dest-compress", HELLO, f"oci:{tmp_path}/o:x")
    assert ended.status == 0
    assert "--dest-compress can only be used if the destination transport is 'dir'" in ended.stderr


def test_unknown_image_is_status_2() -> None:
    ended = wherry("inspect", "oci:hello:none")
    assert ended.status == 2
    assert (
        ended.error == 'Error parsing image name "oci:hello:none": no descriptor found for reference "none"'
    )


def test_config_template_error_has_its_prefix() -> None:
    ended = wherry("inspect", "--config", "--format", "{{.Nope}}", HELLO)
    assert ended.error == (
        "Error writing OCI-formatted configuration data to standard output: "
        'template: wherry inspect:1:13: executing "wherry inspect" at <.Nope>: '
        "can't evaluate field Nope in type interface {}"
    )


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts connections and says nothing; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_command_timeout() -> None:
    with silent_server() as address:
        ended = wherry("--command-timeout", "50ms", "inspect", "--tls-verify=false", f"docker://{address}/x")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error.endswith("context deadline exceeded")


def test_retries_are_told_and_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    argv = ("--retry-times", "2", "--retry-delay", "1ms", "--tls-verify=false", f"docker://{address}/x")
    ended = wherry("inspect", *argv)
    assert ended.status == 1
    counts = re.findall(
        r'level=warning msg="Failed, retrying in 1ms \.\.\. \((\d)/2\)\. Error: ', ended.stderr
    )
    assert counts == ["1", "2"]


def test_an_error_that_stays_is_not_retried() -> None:
    ended = wherry("inspect", "--retry-times", "3", "oci:hello:none")
    assert (ended.status, ended.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (1e-9, "1ns"),
        (1.5e-6, "1.5µs"),
        (0.01, "10ms"),
        (1, "1s"),
        (1.25, "1.25s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
    ],
)
def test_go_duration(seconds: float, shown: str) -> None:
    assert go_duration(seconds) == shown


def test_errors_on_a_terminal_are_coloured() -> None:
    ours, theirs = os.openpty()
    try:
        status = run(["wherry", "nonsense"], (0, 1, theirs), "/", {})
        text = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert status == 1
    assert text.startswith("\x1b[31mFATA\x1b[0m[0000] Unrecognized command `wherry nonsense`")


def test_reader_that_goes_away_ends_the_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "wherry_cli", "--help"]
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_sigterm_cancels_and_leaves_no_destination(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        argv = ["--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{address}/x", "oci:o:x"]
        process = subprocess.Popen(
            [sys.executable, "-m", "wherry_cli", *argv], cwd=tmp_path, stderr=subprocess.PIPE
        )
        with server.accept()[0]:
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"terminated" in stderr
    assert [path.name for path in tmp_path.rglob("*") if path.name.startswith((".tmp", "tmp"))] == []


def test_sigterm_ends_a_command_that_waits_for_its_policy(tmp_path: Path) -> None:
    """A policy may come through a pipe (`--policy <(…)`); one that nobody writes must not make us deaf."""
    os.mkfifo(tmp_path / "policy")
    argv = ["--debug", "--policy", "policy", "copy", HELLO.replace("hello:", f"{EXAMPLES}/hello:"), "dir:d"]
    process = subprocess.Popen([*COMMAND, *argv], cwd=tmp_path, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert any(b"Executing method Copy" in line for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, b"terminated" in stderr) == (143, True)


def test_commands_run_in_other_threads_too() -> None:
    seen: list[Ended] = []
    threads = [
        threading.Thread(target=lambda: seen.append(wherry("inspect", "-f", "{{.Os}}", HELLO)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(0, "linux\n", "")] * 2


def in_shell(text: str, cwd: Path = EXAMPLES) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which `$W` is our command."""
    environ = {**os.environ, "W": shlex.join(COMMAND)}
    return subprocess.run(
        ["sh", "-c", text], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )


def test_removed_working_directory(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    absolute = f"$W inspect -f '{{{{.Os}}}}' oci:{EXAMPLES}/hello:latest"
    done = in_shell(f"rmdir {gone}; {absolute}; $W inspect oci:hello", gone)
    assert (done.returncode, done.stdout) == (1, "linux\n")
    assert done.stderr.endswith(
        'msg="Error parsing image name \\"oci:hello\\": getwd: no such file or directory"\n'
    )


def test_closed_standard_streams_are_never_files_of_ours(tmp_path: Path) -> None:
    done = in_shell(f"exec $W --insecure-policy copy {HELLO} dir:{tmp_path}/d 0<&- 1>&- 2>&-")
    assert done.returncode == 0
    for path in (tmp_path / "d").iterdir():
        assert b"Copying" not in path.read_bytes()
        if re.fullmatch("[0-9a-f]{64}", path.name):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    served = in_shell("exec $W experimental-image-proxy 0<&-")
    assert "getsockopt: socket operation on non-socket" in served.stderr


@pytest.mark.parametrize("command", ["--version", "--help", f"inspect {HELLO}", f"inspect --raw {HELLO}"])
def test_full_standard_output_is_an_error(command: str) -> None:
    done = in_shell(f"$W {command} >/dev/full")
    assert (done.returncode, "write /dev/stdout: no space left on device" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_copy_whose_steps_cannot_be_told_is_copied(tmp_path: Path) -> None:
    done = in_shell(
        f"$W --insecure-policy copy --digestfile {tmp_path}/f {HELLO} dir:{tmp_path}/d >/dev/full"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "f").read_text() == MANIFEST


def test_errors_that_cannot_be_told_keep_their_status() -> None:
    assert in_shell("$W inspect oci:hello:nope 2>/dev/full").returncode == 2


def test_output_that_somebody_made_non_blocking_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = os.urandom(1 << 20)
    seen: list[bytes] = []
    thread = threading.Thread(target=lambda: seen.append(Path(f"/proc/self/fd/{reader}").read_bytes()))
    thread.start()
    write_all(writer, data)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert seen == [data]


@pytest.mark.parametrize("command", ["inspect oci:bad$N", f"--insecure-policy copy {HELLO} dir:bad$N"])
def test_names_that_are_not_utf8_are_refused(command: str, tmp_path: Path) -> None:
    done = in_shell(f"N=$(printf '\\377'); exec $W {command}", tmp_path)
    assert done.returncode == 1
    assert r"bad\\xff\" is not UTF-8" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_descriptors_left_is_an_error() -> None:
    done = in_shell(f"ulimit -n 5; $W inspect {HELLO}")
    assert (done.returncode, "too many open files" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr
