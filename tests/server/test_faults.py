"""The faults of the reference that we beat, by their numbers in protocol-reference 1.10.

Faults 1, 6 and 8 are tested where their hostile rows are: test_arguments.py and test_pipes.py.
"""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import msgspec
import pytest
import trio

from tests.fakes.registry import FakeRegistry, Reply, error
from tests.images import build
from tests.server.harness import (
    HANG,
    TRUSTING,
    Stored,
    ended,
    layout_of,
    make_system,
    serve_image,
    serving,
    spawned,
    stored,
)
from wherry.errors import LimitError
from wherry.protocol.messages import PolicyOptions
from wherry.protocol.options import ImageAccess, PlatformChoice
from wherry.server.images import ImageTable, PolicyCheck
from wherry.server.settings import ProxySettings
from wherry.transports import parse

LARGE = bytes(range(256)) * 12288


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return layout_of(tmp_path_factory.mktemp("large") / "image", LARGE)


# 2: replies that are too long


@pytest.mark.parametrize("text", ["<" * 60_000, "é" * 60_000, "\0" * 30_000, "\U0001f6a2" * 30_000])
async def test_fault_2_a_registry_s_message_is_cut(text: str, tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/x/manifests/latest", error(404, "MANIFEST_UNKNOWN", text))
        async with serving(make_system(tmp_path)) as peer:
            await peer.call("Initialize")
            answer = await peer.call("OpenImage", f"docker://{fake.name}/x:latest")
            assert len(answer.raw) <= 4096 + 256
            code, told = answer.failure
            assert (code, told[:7]) == ("other", "reading")
            assert (await peer.call("OpenImage", "oci:nosuch")).failure[0] == "other"


async def test_fault_2_a_client_s_own_text_is_cut(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        answer = await peer.call("<" * 32_000)
        assert len(answer.raw) <= 4096 + 256
        assert answer.failure[1].startswith("unknown method: <<<")
        answer = await peer.call("<" * 100)
        assert answer.failure[1] == "unknown method: " + "<" * 100


# 3: a blob that is cut because the server ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_fault_3_a_signal_is_told_on_the_error_pipe(
    number: signal.Signals, large: Stored, tmp_path: Path
) -> None:
    with spawned(tmp_path / "home", large.path.parent) as peer:
        await peer.open("oci:image")
        answer = await peer.call("GetRawBlob", 1, large.layers[0]["digest"])
        peer.process.send_signal(number)
        told = await peer.read(answer.fds[1])
        data = await peer.read(answer.fds[0])
        assert len(data) < len(LARGE)
        assert told == b'{"code":"retryable","message":"proxy terminated"}'
        assert await peer.message() is None
        assert await ended(peer) == (0, "")


@pytest.mark.parametrize("how", ["hang up", "Shutdown"])
async def test_fault_3_the_connection_s_end_is_told(how: str, large: Stored, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{large.path}")
        answer = await peer.call("GetRawBlob", 1, large.layers[0]["digest"])
        if how == "Shutdown":
            await peer.ask("Shutdown")
        else:
            peer.sock.close()
        assert await peer.read(answer.fds[1]) == b'{"code":"retryable","message":"proxy terminated"}'
        assert len(await peer.read(answer.fds[0])) < len(LARGE)


async def test_fault_3_sigterm_on_an_idle_server(images: Path, tmp_path: Path) -> None:
    with spawned(tmp_path / "home", images) as peer:
        await peer.open("oci:one")
        peer.process.send_signal(signal.SIGTERM)
        assert await peer.message() is None
        assert (await ended(peer))[0] == 0


# 4: a source that says nothing


async def test_fault_4_a_blob_that_stalls_is_retryable(tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"x" * 1000)
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image, layer=HANG)
        async with serving(make_system(tmp_path, idle=0.3)) as peer:
            await peer.open(name)
            digest = image.layers[0]["digest"]
            data, verdict = await peer.finished(await peer.call("GetBlob", 1, digest, 1000))
            assert data == b"part"
            code, text = verdict.failure
            assert (code, "sent nothing for 0.3 s" in text) == ("retryable", True)
            answer = await peer.call("GetRawBlob", 1, digest)
            assert await peer.read(answer.fds[0]) == b"part"
            told = json.loads(await peer.read(answer.fds[1]))
            assert (told["code"], told["message"]) == ("retryable", text)


@pytest.mark.parametrize("path", ["/v2/", "/v2/x/manifests/latest"])
@pytest.mark.parametrize(
    "reply", [Reply(raw=b"", end="hang"), Reply(raw=b"HTTP/1.1 200 OK\r\nContent-", end="hang"), HANG]
)
async def test_fault_4_an_open_that_stalls_is_retryable(path: str, reply: Reply, tmp_path: Path) -> None:
    if path == "/v2/" and reply is HANG:
        return  # a body that nobody needs is not waited for
    with FakeRegistry() as fake:
        fake.on("GET", path, reply)
        async with serving(make_system(tmp_path, idle=0.3)) as peer:
            await peer.call("Initialize")
            code, text = (await peer.call("OpenImage", f"docker://{fake.name}/x:latest")).failure
            assert (code, "timeout" in text) == ("retryable", True), text
            assert (await peer.call("OpenImage", "oci:nosuch")).failure[0] == "other"


async def test_fault_4_a_slow_client_is_no_stall(large: Stored, tmp_path: Path) -> None:
    """The nearest valid input: the source is never waited for, so nothing times out."""
    async with serving(make_system(tmp_path, idle=0.2)) as peer:
        await peer.open(f"oci:{large.path}")
        answer = await peer.call("GetBlob", 1, large.layers[0]["digest"], len(LARGE))
        await trio.sleep(0.6)
        data, verdict = await peer.finished(answer)
        assert (data == LARGE, verdict.value) == (True, None)


# 5: what a failed OpenImage leaves


REJECTING = '{"default":[{"type":"reject"}]}'


async def test_fault_5_failed_opens_leave_nothing(images: Path, tmp_path: Path) -> None:
    """The leak check finds descriptors and threads, `.scratch` is where an archive would be unpacked."""
    policy = tmp_path / "policy.json"
    policy.write_text(REJECTING)
    system = make_system(tmp_path)
    settings = ProxySettings(policy=PolicyOptions(path=str(policy)), access=ImageAccess(tls_verify=False))
    with FakeRegistry() as fake:
        served = serve_image(fake, "x", stored(images / "one"))
        async with serving(system, settings) as peer:
            await peer.call("Initialize")
            for name in ("oci-archive:one.tar", "oci-archive:one.tar.gz", "oci:one", "dir:s2dir"):
                kind, _, path = name.partition(":")
                for _ in range(5):
                    code, text = (await peer.call("OpenImage", f"{kind}:{images}/{path}")).failure
                    assert (code, text.endswith("is rejected by policy.")) == ("other", True), text
            for _ in range(5):
                assert (await peer.call("OpenImage", served)).failure[1].endswith("is rejected by policy.")
            assert list(Path(system.scratch).iterdir()) == []
        assert list(Path(system.scratch).iterdir()) == []


async def test_fault_5_no_platform_and_bad_archives_leave_nothing(images: Path, tmp_path: Path) -> None:
    system = make_system(tmp_path)
    settings = msgspec.structs.replace(TRUSTING, platform=PlatformChoice(os="plan9", architecture="mips"))
    async with serving(system, settings) as peer:
        await peer.call("Initialize")
        for name in ("oci:multi", "oci-archive:multi.tar", "oci-archive:notatar.tar", "oci-archive:nosuch"):
            kind, _, path = name.partition(":")
            for _ in range(5):
                assert (await peer.call("OpenImage", f"{kind}:{images}/{path}")).failure[0] == "other"
        assert list(Path(system.scratch).iterdir()) == []
        assert (await peer.call("OpenImage", f"oci-archive:{images}/one.tar.gz")).value == 1


# 7: which errors may pass by themselves


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(502), "retryable"),
        (Reply(503), "retryable"),
        (Reply(504), "retryable"),
        (Reply(429), "retryable"),
        (Reply(500), "other"),
        (error(404, "BLOB_UNKNOWN", "blob unknown to registry"), "other"),
        (Reply(404), "other"),
        (error(403, "DENIED"), "other"),
        (Reply(raw=b"", end="close"), "retryable"),
        (Reply(raw=b"", end="reset"), "retryable"),
    ],
)
async def test_fault_7_retry_classes_of_a_blob(reply: Reply, code: str, images: Path, tmp_path: Path) -> None:
    image = stored(images / "one")
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image, layer=reply)
        async with serving(make_system(tmp_path)) as peer:
            await peer.open(name)
            assert (await peer.call("GetRawBlob", 1, image.layers[0]["digest"])).failure[0] == code


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"part", length=1000, end="close"),
        Reply(body=b"part", length=1000, end="reset"),
        Reply(body=b"part", length=1, framing="chunked", end="close"),
    ],
)
async def test_fault_7_a_body_cut_short_is_retryable(reply: Reply, tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"x" * 1000)
    digest = image.layers[0]["digest"]
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image, layer=reply)
        async with serving(make_system(tmp_path)) as peer:
            await peer.open(name)
            _, verdict = await peer.finished(await peer.call("GetBlob", 1, digest, 1000))
            assert verdict.failure[0] == "retryable"
            answer = await peer.call("GetRawBlob", 1, digest)
            await peer.read(answer.fds[0])
            assert json.loads(await peer.read(answer.fds[1]))["code"] == "retryable"


async def test_fault_7_nobody_listens(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        name = fake.name
    async with serving(make_system(tmp_path)) as peer:
        await peer.call("Initialize")
        code, text = (await peer.call("OpenImage", f"docker://{name}/x:latest")).failure
        assert (code, text[-18:]) == ("retryable", "connection refused")


# 9: the digest of GetManifest


async def test_fault_9_the_digest_is_that_of_the_instance(images: Path, tmp_path: Path) -> None:
    listed = json.loads(stored(images / "multi").raw)["manifests"]
    [amd64] = [
        item["digest"]
        for item in listed
        if item["platform"]["architecture"] == "amd64" and "annotations" not in item
    ]
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"oci:{images}/multi")
        answer = await peer.call("GetManifest", 1)
        data, _ = await peer.finished(answer)
        assert answer.value == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert answer.value in {
            item["digest"] for item in listed if item["platform"]["architecture"] == "amd64"
        }
        assert amd64 in {item["digest"] for item in listed}


# 10: GetFullConfig keeps skopeo's bytes; the stored ones are an extended method's


async def test_fault_10_the_full_config_is_skopeo_s_and_the_raw_one_the_registry_s(
    images: Path, tmp_path: Path
) -> None:
    image = stored(images / "one")
    raw = image.blob(image.config["digest"])
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        handle = (await peer.call("OpenImage", f"oci:{images}/one", id=2)).value
        data, verdict = await peer.finished(await peer.call("GetFullConfig", handle))
        assert verdict.value is None
        assert data != raw
        assert set(json.loads(data)) < set(json.loads(raw)), "unknown members are dropped, as skopeo does"
        answer = await peer.call("GetRawConfig", handle, id=3)
        assert answer.value == image.config["digest"]
        assert await peer.read(answer.fds[0]) == raw


# 11: a converted configuration can be fetched


async def test_fault_11_the_converted_config_is_a_blob(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.open(f"dir:{images}/s2dir")
        manifest, _ = await peer.finished(await peer.call("GetManifest", 1))
        wanted = json.loads(manifest)["config"]
        assert wanted["mediaType"] == build.OCI_CONFIG
        full, _ = await peer.finished(await peer.call("GetFullConfig", 1))
        assert wanted["digest"] == f"sha256:{hashlib.sha256(full).hexdigest()}"
        answer = await peer.call("GetBlob", 1, wanted["digest"], wanted["size"])
        assert answer.value == wanted["size"]
        data, verdict = await peer.finished(answer)
        assert (data, verdict.value) == (full, None)
        answer = await peer.call("GetRawBlob", 1, wanted["digest"])
        assert (answer.value, len(answer.fds)) == (wanted["size"], 2)
        assert await peer.read(answer.fds[0]) == full
        assert await peer.read(answer.fds[1]) == b""
        answer = await peer.call("GetBlob", 1, wanted["digest"], 1)
        _, verdict = await peer.finished(answer)
        assert verdict.failure == ("other", f"expected 1 bytes in blob, got {len(full)}")


# 15: handles up to the last number that JSON readers agree on


async def test_handles_end_where_json_numbers_do(images: Path, tmp_path: Path) -> None:
    from wherry.policy import load_policy

    system = make_system(tmp_path)
    reference = parse(f"oci:{images}/one", system)
    policy = PolicyCheck(load_policy(system, None, True), False)

    async def handles(first: int, count: int) -> list[int]:
        async with trio.open_nursery() as nursery:
            table = ImageTable(nursery, system, 100, first)
            opened = [
                await table.open(reference, ImageAccess(), PlatformChoice(), policy) for _ in range(count)
            ]
            assert [table.get(handle).number for handle in opened] == opened
            if opened[-1] == 2**53 - 1:
                text = r"the handles of this connection are used up at 9007199254740991"
                with pytest.raises(LimitError, match=text):
                    await table.open(reference, ImageAccess(), PlatformChoice(), policy)
            table.close_all()
        return opened

    assert await handles(2**32 - 1, 3) == [2**32 - 1, 2**32, 2**32 + 1]
    assert await handles(2**53 - 2, 2) == [2**53 - 2, 2**53 - 1]


async def test_a_bug_of_ours_ends_one_request_only(tmp_path: Path) -> None:
    """What no code foresaw is an error of that request; the log has its traceback."""
    log: list[tuple[str, str]] = []
    settings = msgspec.structs.replace(TRUSTING, log=lambda level, text: log.append((level, text)))
    broken = msgspec.structs.replace(make_system(tmp_path), threads=None)
    image = layout_of(tmp_path / "image", b"x")
    async with serving(broken, settings) as peer:
        await peer.call("Initialize")
        handle = await peer.call("OpenImage", f"oci:{image.path}")
        for _ in range(2):
            answer = await peer.call("GetFullConfig", handle.value)
            code, text = answer.failure
            assert (code, text) == ("other", "internal error in GetFullConfig: AttributeError")
        assert (await peer.call("CloseImage", handle.value)).value is None
    bugs = [text for level, text in log if level == "error"]
    assert len(bugs) == 2
    assert "Traceback" in bugs[0]
