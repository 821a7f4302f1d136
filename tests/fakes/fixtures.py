"""Fixtures of whoever speaks to registries: a world without configuration, and two scriptable servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.registry import FakeRegistry
from wherry.protocol.options import PlatformChoice
from wherry.streams.threads import DataThreads
from wherry.system import Retries, System


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    """With an empty root and home: no configuration of this machine counts."""
    empty = str(tmp_path_factory.mktemp("empty"))
    return System(
        root=empty,
        home=empty,
        platform=PlatformChoice("linux", "amd64"),
        threads=DataThreads(),
        user_agent="tests/1",
        retries=Retries(pause=0.001),
    )


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    """A second server: another port, hence another origin."""
    with FakeRegistry() as running:
        yield running
