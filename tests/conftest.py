"""What every test gets: a scratch directory of its own kind, a watch for leaks, real registries.

In CI it also holds the list of skips against .ci/expected-skips.txt: a test that quietly stops running
is a failure.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.leaks import Held, leaked_since
from tests.peers.require import in_ci, require_peer, require_skopeo_ref
from tests.peers.servers import Registry, running_registry

HERE = Path(__file__).parent
EXPECTED_SKIPS = HERE.parent / ".ci" / "expected-skips.txt"

if (HERE / "images" / "plugin.py").exists():
    pytest_plugins = ["tests.images.plugin"]

_scratch = pytest.StashKey[Path]()
_skipped = pytest.StashKey[list[tuple[str, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    # pytest's own directories stay where they were; TMPDIR holds what the code under test leaves behind.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    scratch = Path(tempfile.mkdtemp(prefix="tests-"))  # short: unix socket paths end at 107 bytes
    os.environ["TMPDIR"] = str(scratch)
    tempfile.tempdir = None
    config.stash[_scratch] = scratch
    config.stash[_skipped] = []


def pytest_unconfigure(config: pytest.Config) -> None:
    if scratch := config.stash.get(_scratch, None):
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test that leaves a file descriptor, thread, child process or temporary file behind."""
    scratch = request.config.stash[_scratch]
    before = Held.now(scratch)
    yield
    if leaked := leaked_since(before, scratch):
        pytest.fail("the test leaked:\n  " + "\n  ".join(leaked), pytrace=False)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """docker-registry over plain HTTP, one for the session: use repository names of your own."""
    require_peer("docker-registry")
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """docker-registry over TLS with a password: see `.cert_dir`, `.creds` and `.authfile()`."""
    require_peer("docker-registry")
    require_peer("htpasswd")
    root = tmp_path_factory.mktemp("tls-registry")
    with running_registry(root, tls=True, login=("alice", "s3cret word")) as running:
        yield running


@pytest.fixture(scope="session")
def skopeo() -> Path:
    """Debian's skopeo (1.9.3): a peer, and a weak oracle."""
    return require_peer("skopeo")


@pytest.fixture(scope="session")
def skopeo_ref() -> Path:
    """A current skopeo, where $SKOPEO_REF names one."""
    return require_skopeo_ref()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        item.config.stash[_skipped].append((item.nodeid, report.longrepr[2].removeprefix("Skipped: ")))
    return report


def unexpected_skips(skipped: list[tuple[str, str]], expected: str) -> list[str]:
    """The skips that no line of `expected` (`<glob of a test's id>: <glob of the reason>`) covers."""
    lines = [line for raw in expected.splitlines() if (line := raw.strip()) and not line.startswith("#")]
    patterns = [line.partition(": ")[::2] for line in lines]
    return [
        f"{node}: {reason}"
        for node, reason in skipped
        if not any(fnmatch(node, test) and fnmatch(reason, why) for test, why in patterns)
    ]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if in_ci() and exitstatus == pytest.ExitCode.OK:
        wrong = unexpected_skips(session.config.stash[_skipped], EXPECTED_SKIPS.read_text())
        if wrong:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if in_ci():
        wrong = unexpected_skips(config.stash[_skipped], EXPECTED_SKIPS.read_text())
        if wrong:
            terminalreporter.section("skips that .ci/expected-skips.txt does not know", red=True)
            for line in wrong:
                terminalreporter.line(line)
