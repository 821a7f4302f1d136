"""Pushes that are cut anywhere, and registries that end in the middle of one (F-08, F-09).

Whatever happens, a tag never names a manifest whose blobs are not there, and a push that is made again ends.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tests.fakes.registry import FakeRegistry, Reply, Seen
from tests.fakes.toxic import HOW, Cut, How, Toxic
from tests.peers.require import require_peer
from tests.transports.contract import make_system
from wherry.copy import copy
from wherry.errors import RegistryError, WherryError
from wherry.interfaces import no_progress
from wherry.policy import load_policy
from wherry.protocol.messages import CopyOptions, CopyResult, Step
from wherry.protocol.options import ImageAccess
from wherry.system import System

HELLO = Path(__file__).parents[2] / "docs" / "examples" / "hello"
SOURCE = f"oci:{HELLO}:latest"
Tell = Callable[[Step], Awaitable[None]]
INSECURE = ImageAccess(tls_verify=False)


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Registry:
    """A registry in memory: what it has, and whether a tag ever named what it has not."""

    fake: FakeRegistry
    blobs: dict[str, bytes] = field(default_factory=dict)
    sessions: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    dangling: list[str] = field(default_factory=list)
    begun: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, seen: Seen) -> Reply:
        with self.lock:
            return self._answer(seen)

    def _answer(self, seen: Seen) -> Reply:
        last = seen.path.rpartition("/")[2]
        digest = re.search("digest=sha256%3A([0-9a-f]+)", seen.target)
        match seen.method, seen.path.split("/")[3]:
            case "HEAD", "blobs":
                found = self.blobs.get(last)
                return Reply(404) if found is None else Reply(body=found)
            case "POST", _:
                self.begun += 1
                self.sessions[str(self.begun)] = b""
                return Reply(202, {"Location": f"/v2/x/blobs/uploads/{self.begun}"})
            case "PATCH", _:
                self.sessions[last] += seen.body
                return Reply(202, {"Location": seen.path})
            case "PUT", "blobs":
                if last not in self.sessions:
                    return Reply(404)
                data = self.sessions.pop(last) + seen.body
                if digest is None or sha(data) != f"sha256:{digest[1]}":
                    return Reply(400)
                self.blobs[sha(data)] = data
                return Reply(201)
            case "PUT", _:
                parsed = json.loads(seen.body)
                named = {item["digest"] for item in (parsed["config"], *parsed["layers"])}
                self.dangling += named - set(self.blobs)
                self.manifests[last] = seen.body
                return Reply(201, {"Docker-Content-Digest": sha(seen.body)})
        return Reply(404)


class _Everything(dict):  # type: ignore[type-arg]
    """Routes that are all one."""

    def __init__(self, answer: Callable[[Seen], Reply]) -> None:
        super().__init__()
        self._answer = answer

    def get(self, key, default=None):  # type: ignore[no-untyped-def]
        if key[1] == "/v2/":
            return super().get(key, default)
        from tests.fakes.registry import _Route

        return _Route((self._answer,))


@pytest.fixture
def server() -> Iterator[Registry]:
    with FakeRegistry() as fake:
        made = Registry(fake)
        routes = _Everything(made.answer)
        routes.update(fake._routes)
        fake._routes = routes
        yield made


def system_of(tmp_path: Path) -> System:
    """Silence counts after half a second, and pauses are short."""
    from msgspec import structs

    made = make_system(tmp_path)
    return structs.replace(
        made, idle_timeout=0.4, retries=structs.replace(made.retries, pause=0.01, budget=10.0)
    )


async def quiet(_: Step) -> None:
    """Hears of a step."""


async def push(system: System, name: str, *, source: str = SOURCE, tell: Tell = quiet) -> CopyResult:
    options = CopyOptions(destination=INSECURE)
    return await copy(
        source, f"docker://{name}/x:t", system, options, load_policy(system, None, True), tell, no_progress
    )


async def sizes(server: Registry, system: System) -> tuple[int, int]:
    """Bytes that a whole push sends and receives."""
    with Toxic(server.fake.port) as toxic:
        await push(system, toxic.name)
    server.blobs.clear()
    server.manifests.clear()
    return toxic.up, toxic.down


SAMPLES = 24


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("how", HOW)
async def test_f08_a_push_that_is_cut_anywhere(server: Registry, tmp_path: Path, how: How, way: str) -> None:
    """It goes on by itself; nothing is lost or left dangling. Sampled: the slow target cuts at every byte."""
    system = system_of(tmp_path)
    up, down = await sizes(server, system)
    total = up if way == "up" else down
    samples = SAMPLES // 12 if how == "silence" else SAMPLES
    for number in range(samples):
        after = number * total // samples
        server.blobs.clear()
        server.manifests.clear()
        with Toxic(server.fake.port, Cut(after, how, way)) as toxic:  # type: ignore[arg-type]
            await push(system, toxic.name)
            assert toxic.made, after
        check(server, after)


def check(server: Registry, after: object) -> None:
    """The whole image is there."""
    assert not server.dangling, after
    parsed = json.loads(server.manifests["t"])
    for item in (parsed["config"], *parsed["layers"]):
        assert sha(server.blobs[item["digest"]]) == item["digest"], after


@pytest.mark.parametrize("times", [1, 2])
async def test_f08_an_answer_that_is_lost_after_the_blob_was_taken(
    server: Registry, tmp_path: Path, times: int
) -> None:
    """The blob is looked for before it is sent again: it is sent once."""
    lost: list[str] = []

    def lose(seen: Seen) -> Reply:
        reply = server.answer(seen)
        if seen.method == "PUT" and "/blobs/" in seen.path and len(lost) < times:
            lost.append(seen.target)
            return Reply(raw=b"", end="cut")
        return reply

    server.fake._routes._answer = lose  # type: ignore[attr-defined]
    system = system_of(tmp_path)
    await push(system, server.fake.name)
    check(server, "")
    bodies = [seen.body for seen in server.fake.seen if seen.method == "PUT" and "/blobs/" in seen.path]
    assert len(lost) == times
    assert len(bodies) == len(set(bodies)) == 4


async def test_f08_failures_that_do_not_pass_are_told_once(server: Registry, tmp_path: Path) -> None:
    def refuse(seen: Seen) -> Reply:
        if seen.method == "PUT" and "/blobs/" in seen.path:
            return Reply(400)
        return server.answer(seen)

    server.fake._routes._answer = refuse  # type: ignore[attr-defined]
    with pytest.raises(RegistryError, match=r"writing blob: uploading layer to .*StatusCode: 400"):
        await push(system_of(tmp_path), server.fake.name)
    assert len([seen for seen in server.fake.seen if seen.method == "PUT"]) <= 6, "each layer once"
    assert not server.manifests


@contextmanager
def registry_process(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """docker-registry on a port that it comes back to."""
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(root / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (root / "registry.yml").write_text(json.dumps(config))
    command = ["docker-registry", "serve", str(root / "registry.yml")]
    with open(root / "log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(500):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", ["blob 2", "blob 40", "config 1", "manifest 1"])
async def test_f09_a_registry_that_is_killed_and_started_again(
    tmp_path: Path, images: Path, moment: str
) -> None:
    """The push goes on by itself, or fails as one that may be made again; which then ends."""
    require_peer("docker-registry")
    system = make_system(tmp_path)
    step, _, number = moment.partition(" ")
    seen = {"blob": 0, "config": 0, "manifest": 0}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    name, source = f"127.0.0.1:{port}", f"oci:{images}/l64"
    with ExitStack() as stack:
        first = stack.enter_context(registry_process(tmp_path, port))

        def restart() -> None:
            first.kill()
            first.wait()
            stack.enter_context(registry_process(tmp_path, port))

        async def tell(told: Step) -> None:
            seen[told.name] = seen.get(told.name, 0) + 1
            if (told.name, seen[told.name]) == (step, int(number)):
                await trio.to_thread.run_sync(restart)

        try:
            await push(system, name, source=source, tell=tell)
        except WherryError as error:
            assert error.code == "retryable", error  # noqa: PT017 - which of both happens is a race
        assert seen[step] >= int(number)
        await push(system, name, source=source)
        back = await copy(
            f"docker://{name}/x:t",
            f"dir:{tmp_path}/back",
            system,
            CopyOptions(source=INSECURE),
            load_policy(system, None, True),
            quiet,
            no_progress,
        )
    [entry] = json.loads((images / "l64" / "index.json").read_bytes())["manifests"]
    assert back.digest == entry["digest"]
