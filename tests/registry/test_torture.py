"""A small pull, cut at every byte (F-07): it ends in the same bytes, or in an error that says so.

The normal run takes a sample; `make torture` (TORTURE=1) takes every byte.
"""

from __future__ import annotations

import os
import random
from typing import Final

import msgspec
import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry, ranged
from tests.fakes.toxic import Cut, How, Toxic
from tests.transports.docker_images import CONFIG, INSECURE, described, image, sha
from wherry.errors import WherryError
from wherry.interfaces import Manifest
from wherry.model.descriptor import Descriptor
from wherry.model.name import Named
from wherry.registry import blobs
from wherry.registry.client import Registries
from wherry.streams.pump import read_all
from wherry.system import Retries, System
from wherry.transports import docker

ALL: Final = os.environ.get("TORTURE") == "1"
SAMPLES: Final[dict[How, int]] = {"fin": 80, "reset": 80, "silence": 10}
LAYER: Final = bytes(range(256)) * 4
LARGE: Final = bytes(range(256)) * (16 << 10)
UNREAD: Final = 6 << 20
"""Bytes that the kernel holds for a socket at most (net.ipv4.tcp_rmem)."""

Pulled = tuple[bytes, bytes, bytes]


def serve(fake: FakeRegistry) -> None:
    for data in (CONFIG, LAYER):
        fake.on("GET", f"/v2/x/blobs/{sha(data)}", ranged(data))
    fake.manifest("x", "latest", image(LAYER))


async def pull(name: str, system: System) -> Pulled:
    async with docker.parse(f"//{name}/x", system).source(system, INSECURE) as source:
        manifest = Manifest.unchecked(await source.manifest())

        async def blob(wanted: Descriptor) -> bytes:
            async with source.blob(wanted) as opened:
                return await read_all(opened, system.threads, 1 << 20, "blob", idle=system.idle_timeout)

        return manifest.raw, await blob(described(CONFIG)), await blob(described(LAYER))


@pytest.fixture
def quick(system: System) -> System:
    return msgspec.structs.replace(system, retries=Retries(pause=0.001))


async def _cut_once(target: int, cut: Cut, system: System) -> tuple[Pulled | WherryError, Toxic]:
    with Toxic(target, cut) as toxic:
        try:
            return await pull(toxic.name, system), toxic
        except WherryError as error:
            return error, toxic
        finally:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_pull_cut_at_every_byte(fake: FakeRegistry, quick: System, how: How) -> None:
    await _torture(fake, quick, how)


async def test_a_pull_silenced_at_every_byte(
    fake: FakeRegistry, quick: System, patient: trio.testing.MockClock
) -> None:
    await _torture(fake, quick, "silence")


@pytest.fixture
def patient() -> trio.testing.MockClock:
    """Jumps once nothing has moved for a moment, which loopback never needs."""
    return trio.testing.MockClock(autojump_threshold=0.1)


async def _torture(fake: FakeRegistry, quick: System, how: How) -> None:
    serve(fake)
    with Toxic(fake.port) as clean:
        whole = await pull(clean.name, quick)
    assert whole == (image(LAYER), CONFIG, LAYER)
    with Toxic(fake.port) as first:
        async with Registries(quick) as registries:
            await registries.client(first.name, INSECURE).ping()
    step = 1 if ALL else max(1, clean.down // SAMPLES[how])
    for after in range(0, clean.down, step):
        result, toxic = await _cut_once(fake.port, Cut(after, how), quick)
        assert len(toxic.made) == 1, after
        if isinstance(result, WherryError):
            # Only where the registry had not said anything yet: silence at first contact is not waited out
            # again and again.
            assert (how, result.code) == ("silence", "retryable"), (after, result)
            assert after < first.down, (after, result)
        else:
            assert result == whole, after
        # What is fetched again is at most the answer that was cut.
        assert toxic.down <= clean.down + len(LAYER) + 600, (after, toxic.down, clean.down)


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_large_pull_cut_here_and_there(fake: FakeRegistry, quick: System, how: How) -> None:
    """At places that a fixed seed chooses; what is fetched again is what was lost, and no more."""
    places, wanted = random.Random(4), described(LARGE)
    fake.on("GET", f"/v2/x/blobs/{wanted.digest}", ranged(LARGE))
    for after in (places.randrange(len(LARGE)) for _ in range(1000 if ALL else 12)):
        with Toxic(fake.port, Cut(after, how)) as toxic:
            async with Registries(quick) as registries:
                client = registries.client(toxic.name, INSECURE)
                async with blobs.open_blob(client, Named(toxic.name, "x"), wanted.digest) as opened:
                    data = await read_all(opened, quick.threads, len(LARGE), "blob")
        assert data == LARGE, after
        assert toxic.made, after
        # A reset drops what lay unread in the kernel; FIN does not.
        lost = 0 if how == "fin" else UNREAD
        assert toxic.down <= len(LARGE) + lost + 2000, (after, toxic.down)


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_only_what_was_lost_is_fetched_again(fake: FakeRegistry, quick: System, how: How) -> None:
    serve(fake)
    with Toxic(fake.port) as clean:
        whole = await pull(clean.name, quick)
    result, toxic = await _cut_once(fake.port, Cut(clean.down - 10, how), quick)
    assert result == whole
    [_, again] = fake.asked("GET", f"/v2/x/blobs/{sha(LAYER)}")[1:]
    start = int((again.header("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    if how == "fin":  # a reset may take with it what lay in the kernel
        assert start == len(LAYER) - 10
    assert toxic.down < clean.down + len(LAYER) - start + 300


async def test_requests_that_are_cut(fake: FakeRegistry, quick: System) -> None:
    """On the way up: the registry sees half a request."""
    serve(fake)
    with Toxic(fake.port) as clean:
        whole = await pull(clean.name, quick)
    for after in range(0, clean.up, 1 if ALL else max(1, clean.up // 40)):
        result, toxic = await _cut_once(fake.port, Cut(after, "fin", "up"), quick)
        assert (result, len(toxic.made)) == (whole, 1), (after, result)
