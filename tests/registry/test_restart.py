"""A registry that dies in the middle of a pull, and comes back (F-09)."""

from __future__ import annotations

import hashlib
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import trio

from tests.fakes.toxic import Toxic
from tests.peers.require import require_peer
from tests.peers.servers import Registry, running_registry
from wherry.interfaces import no_progress
from wherry.model import digest
from wherry.model.name import Named
from wherry.protocol.options import ImageAccess
from wherry.registry import blobs
from wherry.registry.client import Registries
from wherry.registry.uploads import upload
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import pump
from wherry.streams.sinks import PipeSink
from wherry.system import Retries, System

ANY = ImageAccess(tls_verify=False)
DATA = os.urandom(1 << 20) * 32


async def store(registry: Registry, system: System) -> None:
    async with Registries(system) as registries:
        await upload(
            registries.client(registry.name, ANY),
            Named(registry.name, "x"),
            BytesBlob(DATA),
            digest=digest.of(DATA),
            size=len(DATA),
            progress=no_progress,
        )


@pytest.mark.parametrize("hashed", [True, False], ids=["hashed", "by the kernel"])
async def test_a_registry_killed_in_mid_pull(system: System, tmp_path: Path, hashed: bool) -> None:
    require_peer("docker-registry")
    warned: list[str] = []
    patient = msgspec.structs.replace(system, retries=Retries(pause=0.1, unreachable=9), warn=warned.append)
    with ExitStack() as stack:
        registry = stack.enter_context(running_registry(tmp_path / "registry"))
        await store(registry, system)
        toxic = stack.enter_context(Toxic(int(registry.name.rpartition(":")[2])))
        out, into = os.pipe()
        os.set_blocking(into, False)
        seen = hashlib.sha256()

        async def read() -> None:
            taken = 0
            while chunk := await trio.to_thread.run_sync(os.read, out, 1 << 20):
                seen.update(chunk)
                taken += len(chunk)
                if taken - len(chunk) < 4 << 20 <= taken:
                    os.kill(registry.pid, signal.SIGKILL)
                    again = await trio.to_thread.run_sync(
                        stack.enter_context, running_registry(tmp_path / "registry")
                    )
                    toxic.target = int(again.name.rpartition(":")[2])

        async with Registries(patient) as registries, trio.open_nursery() as nursery:
            client = registries.client(toxic.name, ANY)
            async with blobs.open_blob(client, Named(toxic.name, "x"), digest.of(DATA)) as blob:
                nursery.start_soon(read)
                algorithms = ("sha256",) if hashed else ()
                moved = await pump(blob, PipeSink(into), system.threads, digests=algorithms)
            os.close(into)
        os.close(out)
    assert moved.count == len(DATA)
    assert f"sha256:{seen.hexdigest()}" == digest.of(DATA)
    assert toxic.connections >= 3  # https, http, and at least one more
    assert toxic.down < len(DATA) + (8 << 20), "what was there was not fetched again"
    assert any("going on at byte" in text for text in warned)
