"""What a push leaves behind at the registry: sessions that came to nothing, mounts that became uploads."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry, Reply, error
from tests.streams.ends import SocketBlob
from wherry.errors import CorruptError, NetworkError, RegistryError
from wherry.interfaces import Blob, no_progress
from wherry.model import digest as digests
from wherry.model.name import Named
from wherry.protocol.options import ImageAccess
from wherry.registry.client import Registries
from wherry.registry.uploads import mount, upload
from wherry.streams.blobs import BytesBlob, FileBlob
from wherry.system import System

DATA = b"a blob" * 1000
DIGEST = digests.of(DATA)
START = "/v2/x/blobs/uploads/"


async def push(fake: FakeRegistry, system: System, blob: Blob, *, known: bool = True) -> None:
    async with Registries(system) as registries:
        await upload(
            registries.client(fake.name, ImageAccess(tls_verify=False)),
            Named(fake.name, "x"),
            blob,
            digest=DIGEST if known else None,
            size=len(DATA) if known else None,
            progress=no_progress,
        )


@pytest.fixture
def patient() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0.3)


@pytest.mark.parametrize("known", [True, False])
async def test_a_refused_upload_is_deleted(fake: FakeRegistry, system: System, known: bool) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u?session=1"}))
    fake.on("PATCH", "/u", Reply(202, {"Location": "/u?session=2"}))
    fake.on("PUT", "/u", error(400, "BLOB_UPLOAD_INVALID"))
    fake.on("DELETE", "/u", Reply(204))
    with pytest.raises(RegistryError, match=f"^uploading layer to {fake.url}/u: blob upload invalid"):
        await push(fake, system, BytesBlob(DATA), known=known)
    (deleted,) = fake.asked("DELETE", "/u")
    assert deleted.target == ("/u?session=1" if known else "/u?session=2"), "where the session is by then"


@pytest.mark.parametrize("known", [True, False])
async def test_r72_nobody_waits_for_a_100_continue(fake: FakeRegistry, system: System, known: bool) -> None:
    """It is not asked for: the body follows its head, to a registry that never says to go on."""
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PATCH", "/u", Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", Reply(201))
    await push(fake, system, BytesBlob(DATA), known=known)
    assert [seen.header("Expect") for seen in fake.seen] == [None] * len(fake.seen)
    assert b"".join(seen.body for seen in fake.seen) == DATA


async def test_f08_a_cut_between_patch_and_put(fake: FakeRegistry, system: System) -> None:
    """Nothing is left of the session, and the failure is one that may pass."""
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PATCH", "/u", Reply(202, {"Location": "/v"}))
    fake.on("PUT", "/v", Reply(raw=b"", end="cut"))
    with pytest.raises(NetworkError, match=r'Put "http://.*/v": ') as caught:
        await push(fake, system, BytesBlob(DATA), known=False)
    assert caught.value.retryable
    assert len(fake.asked("DELETE", "/v")) == 1


async def test_an_upload_whose_source_breaks_is_deleted(fake: FakeRegistry, system: System) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(NetworkError, match="unexpected EOF"):
            await push(fake, system, SocketBlob(ours, len(DATA)))
    assert len(fake.asked("DELETE", "/u")) == 1


async def test_a_cancelled_upload_is_deleted(fake: FakeRegistry, system: System) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", Reply(raw=b"", end="hang"))
    with trio.move_on_after(0.3) as scope:
        await push(fake, system, BytesBlob(DATA))
    assert scope.cancelled_caught
    assert len(fake.asked("DELETE", "/u")) == 1


async def test_a_registry_that_hangs_is_not_waited_for_to_delete_it(
    fake: FakeRegistry, system: System, patient: trio.testing.MockClock
) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", error(500, "UNKNOWN"))
    fake.on("DELETE", "/u", Reply(raw=b"", end="hang"))
    began = trio.current_time()
    with pytest.raises(RegistryError, match="500"):
        await push(fake, system, BytesBlob(DATA))
    assert trio.current_time() - began < 3, "the error of the upload, within the time for deleting"


async def test_a_finished_upload_is_not_deleted(fake: FakeRegistry, system: System) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", Reply(201))
    await push(fake, system, BytesBlob(DATA))
    assert not fake.asked("DELETE", "/u")


@contextmanager
def file_of(data: bytes) -> Iterator[FileBlob]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield FileBlob(file.fileno(), 0, len(data))


SAID = {"Docker-Content-Digest": DIGEST}


@pytest.mark.parametrize(
    ("sent", "answer", "cancelled"),
    [
        (DATA, Reply(201, SAID), 0),
        (DATA, Reply(201), 0),
        (DATA, Reply(201, {"Docker-Content-Digest": digests.of(b"")}), 0),
        (DATA[::-1], Reply(201), 1),
        (DATA[::-1], error(400, "DIGEST_INVALID"), 1),
    ],
    ids=["confirmed", "unconfirmed", "contradicted", "wrong and taken", "wrong and refused"],
)
async def test_the_digest_of_a_file_that_nobody_saw(
    fake: FakeRegistry, system: System, sent: bytes, answer: Reply, cancelled: int
) -> None:
    """The kernel sends it; what the registry does not confirm is read again: a wrong file is always seen."""
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    fake.on("PUT", "/u", answer)
    async with Registries(system) as registries:
        client = registries.client(fake.name, ImageAccess(tls_verify=False))
        with file_of(sent) as blob:
            moved = await upload(
                client, Named(fake.name, "x"), blob, digest=DIGEST, size=len(DATA), progress=no_progress
            )
    assert fake.asked("PUT", "/u")[0].body == sent
    assert (moved.count, moved.digests) == (len(DATA), {"sha256": digests.of(sent)})
    assert len(fake.asked("DELETE", "/u")) == cancelled


async def test_a_file_of_another_length_is_no_whole_request(fake: FakeRegistry, system: System) -> None:
    fake.on("POST", START, Reply(202, {"Location": "/u"}))
    with file_of(DATA[1:]) as blob, pytest.raises(CorruptError, match="Size mismatch when copying sha256:"):
        await push(fake, system, blob)
    with file_of(DATA + b"more") as blob, pytest.raises(CorruptError, match="the content is longer than"):
        await push(fake, system, blob)
    assert not fake.asked("PUT", "/u")


async def test_what_a_registry_did_not_mount_is_deleted_with_both_scopes(
    fake: FakeRegistry, system: System
) -> None:
    challenge = f'Bearer realm="{fake.url}/token",service="s"'
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": challenge}))
    fake.on("GET", "/token", Reply(body=b'{"token":"t"}'))
    fake.on("POST", START, Reply(202, {"Location": "/u?session=1"}))
    fake.on("DELETE", "/u", Reply(204))
    async with Registries(system) as registries:
        client = registries.client(fake.name, ImageAccess(tls_verify=False))
        assert not await mount(client, Named(fake.name, "x"), "y", DIGEST)
    assert fake.asked("POST", START)[0].target == f"{START}?from=y&mount=sha256%3A{DIGEST[7:]}"
    assert fake.asked("DELETE", "/u")[0].header("Authorization") == "Bearer t"
    (token,) = fake.asked("GET", "/token")
    assert "scope=repository%3Ax%3Apull%2Cpush&scope=repository%3Ay%3Apull" in token.target
