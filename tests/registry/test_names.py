"""Looking up names and connecting to their addresses, some of which are dead (F-21)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry, Reply
from wherry.errors import NetworkError, StalledError
from wherry.registry import origin
from wherry.registry.dial import DIAL_S, LOOKUPS, Names, Resolver, UnreachableError
from wherry.registry.engine import Engine, Request

Address = tuple[socket.AddressFamily, tuple[str, int]]


@pytest.fixture
def patient() -> trio.testing.MockClock:
    """Jumps once nothing has moved for a moment, which loopback never needs."""
    return trio.testing.MockClock(autojump_threshold=0.2)


async def get(resolver: Resolver, port: int = 80, host: str = "registry.test") -> bytes:
    async with Engine(names=Names(resolver)) as engine:
        exchange = await engine.start(Request("GET", origin.parse(f"http://{host}:{port}/x")))
        try:
            return await exchange.read(100)
        finally:
            exchange.release()


def at(*hosts: str) -> Resolver:
    return lambda _, port: [(socket.AF_INET, (host, port)) for host in hosts]


@contextmanager
def black_hole(port: int) -> Iterator[str]:
    """An address whose connections are never taken: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.9", port))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.9", port))
            yield "127.0.0.9"
        finally:
            for filler in fillers:
                filler.close()


async def test_a_first_address_that_refuses(fake: FakeRegistry) -> None:
    fake.on("GET", "/x", Reply(body=b"a"))
    assert await get(at("127.0.0.8", "127.0.0.1"), fake.port) == b"a"


async def test_a_first_address_that_is_silent(fake: FakeRegistry, patient: trio.testing.MockClock) -> None:
    fake.on("GET", "/x", Reply(body=b"a"))
    began = trio.current_time()
    with black_hole(fake.port) as dead:
        assert await get(at(dead, "127.0.0.1"), fake.port) == b"a"
    assert trio.current_time() - began == pytest.approx(10, abs=0.5)


async def test_many_addresses_that_are_silent(fake: FakeRegistry, patient: trio.testing.MockClock) -> None:
    began = trio.current_time()
    with black_hole(fake.port) as dead:
        text = rf"^Get .*: dial tcp {dead}:{fake.port}: i/o timeout$"
        with pytest.raises(StalledError, match=text) as caught:
            await get(at(*[dead] * 50), fake.port)
    assert caught.value.code == "retryable"
    assert trio.current_time() - began == pytest.approx(DIAL_S, abs=1)


@pytest.mark.parametrize(
    ("number", "text", "code"),
    [
        (socket.EAI_NONAME, "no such host", "other"),
        (socket.EAI_AGAIN, "server misbehaving", "retryable"),
        (socket.EAI_FAIL, "no such host", "other"),
    ],
)
async def test_lookups_that_fail(number: int, text: str, code: str) -> None:
    def fail(host: str, port: int) -> list[Address]:
        raise socket.gaierror(number, "whatever")

    with pytest.raises(
        UnreachableError, match=rf"^Get .*: dial tcp: lookup registry\.test: {text}$"
    ) as caught:
        await get(fail)
    assert caught.value.code == code


async def test_a_host_without_addresses() -> None:
    with pytest.raises(NetworkError, match=r"dial tcp: lookup registry\.test: no such host"):
        await get(at())


async def test_a_resolver_that_hangs(fake: FakeRegistry, patient: trio.testing.MockClock) -> None:
    """It has its limit, and neither addresses nor trio's own threads wait for it."""
    fake.on("GET", "/x", Reply(body=b"a"))
    stuck = threading.Event()

    def hang(host: str, port: int) -> list[Address]:
        stuck.wait(30)
        return []

    began = trio.current_time()
    failures: list[str] = []
    async with Engine(names=Names(hang)) as engine, trio.open_nursery() as nursery:

        async def look_up(number: int) -> None:
            url = origin.parse(f"http://host{number}.test/")
            with pytest.raises(StalledError, match=r"lookup host\d+\.test: i/o timeout") as caught:
                await engine.start(Request("GET", url))
            failures.append(str(caught.value))

        for number in range(3 * LOOKUPS):
            nursery.start_soon(look_up, number)
        await trio.testing.wait_all_tasks_blocked()
        assert await trio.to_thread.run_sync(partial(sum, [1, 2])) == 3
        exchange = await engine.start(Request("GET", origin.parse(f"{fake.url}/x")))
        assert await exchange.read(10) == b"a"
        exchange.release()
        assert not failures
    stuck.set()
    assert len(failures) == 3 * LOOKUPS
    assert trio.current_time() - began == pytest.approx(20, abs=1)
