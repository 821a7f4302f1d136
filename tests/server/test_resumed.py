"""Through the proxy: a blob that is cut reaches the client whole, with one pipe and one verdict."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from tests.fakes.registry import FakeRegistry, Reply, ranged
from tests.server.harness import layout_of, make_system, serve_image, serving
from wherry.system import Retries

LAYER = os.urandom(1 << 20) * 3
CUT = 2_000_000


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("method", ["GetBlob", "GetRawBlob"])
async def test_a_blob_that_is_cut_goes_on(method: str, end: str, tmp_path: Path) -> None:
    """GetBlob hashes what passes; GetRawBlob has the kernel move it."""
    image = layout_of(tmp_path / "image", LAYER)
    digest = image.layers[0]["digest"]
    world = msgspec.structs.replace(make_system(tmp_path), retries=Retries(pause=0.001))
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image)
        torn = Reply(body=LAYER[:CUT], length=len(LAYER), end=end)  # type: ignore[arg-type]
        fake.on("GET", f"/v2/x/blobs/{digest}", torn, Reply(503), ranged(LAYER))
        async with serving(world) as peer:
            await peer.open(name)
            if method == "GetBlob":
                data, verdict = await peer.finished(await peer.call("GetBlob", 1, digest, len(LAYER)))
                assert verdict.body["success"] is True, verdict.body
            else:
                answer = await peer.call("GetRawBlob", 1, digest)
                data = await peer.read(answer.fds[0])
                assert await peer.read(answer.fds[1]) == b""
        assert hashlib.sha256(data).hexdigest() == digest.partition(":")[2]
        assert len(fake.asked("GET", f"/v2/x/blobs/{digest}")) == 3
