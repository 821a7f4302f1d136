"""The extended protocol: Hello, ids, Cancel, time limits, events, documents, OpenBlob."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.registry import FakeRegistry, Reply, error
from tests.server.harness import (
    HANG,
    TRUSTING,
    Stored,
    layout_of,
    make_system,
    request,
    serve_image,
    serving,
    stored,
    until,
)
from wherry.protocol import messages

LARGE = bytes(range(256)) * 12288
ABSENT = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return layout_of(tmp_path_factory.mktemp("large") / "image", b"small", LARGE)


# Hello and ids


async def test_hello_says_who_serves_and_implies_initialize(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        hello = await peer.hello()
        assert (hello["protocol"], hello["legacy"]) == (1, "0.2.8")
        assert hello["server"].startswith("wherry/")
        assert hello["methods"] == list(messages.BY_NAME)
        assert hello["limits"] == msgspec.to_builtins(TRUSTING.limits)
        assert (await peer.call("OpenImage", f"oci:{images}/one", id=2)).body == {
            "success": True,
            "value": 1,
            "pipeid": 0,
            "error_code": "",
            "error": "",
            "id": 2,
        }


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "Hello: "),
        ([{}], "Hello: "),
        ([{"protocol": 1}], "Hello: "),
        ([{"protocol": []}], "no version of the extended protocol in common: the client has []"),
        ([{"protocol": [2, 9]}], "no version of the extended protocol in common: the client has [2, 9]"),
        ([{"protocol": [1]}, 1], "Hello: "),
    ],
)
async def test_a_refused_hello_leaves_the_legacy_protocol(args: Any, text: str, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        answer = await peer.call("Hello", *args, id=1)
        assert answer.body["error"].startswith(text)
        assert answer.body["detail"]["kind"] == "invalid"
        assert (await peer.call("Ping", id=2)).failure == ("other", "unknown method: Ping")
        assert (await peer.call("Initialize", id=3)).value == "0.2.8"


@pytest.mark.parametrize("number", [0, -1, 1.5, 2**53, "1", None, True, [1]])
async def test_hello_needs_an_id(number: Any, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        answer = await peer.call("Hello", {"protocol": [1]}, id=number)
        assert answer.failure == ("other", "Hello needs an id: a whole number from 1 to 2^53-1")
        assert (await peer.call("Hello", {"protocol": [1]}, id=2**53 - 1)).body["id"] == 2**53 - 1


async def test_a_newer_client_is_met_halfway(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        greeting = {"protocol": [1, 2, 3], "future": {"member": 1}}
        assert (await peer.call("Hello", greeting, id=1)).value["protocol"] == 1


async def test_ids_before_hello_are_ignored(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        assert "id" not in (await peer.call("Initialize", id=1)).body
        assert "id" not in (await peer.call("FinishPipe", 1, id=1)).body
        await peer.hello()
        assert (await peer.call("Ping", id=1)).body["id"] == 1


async def test_requests_overtake_each_other(images: Path, tmp_path: Path) -> None:
    """A registry that says nothing holds up nobody else; legacy requests among them keep their order."""
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            await peer.ask("OpenImage", f"docker://{fake.name}/x:latest", id=2)
            await peer.ask("Ping", id=3)
            assert (await peer.reply()).body["id"] == 3
            await peer.ask("OpenImage", f"oci:{images}/one")
            await peer.ask("GetLayerInfo", 1)
            await peer.ask("Nope")
            assert (await peer.reply()).value == 1
            assert len((await peer.reply()).value) == 1
            last = await peer.reply()
            assert last.failure == ("other", "unknown method: Nope")
            assert "id" not in last.body
            assert (await peer.call("Cancel", 2, id=4)).body["id"] in (2, 4)


async def test_finish_pipe_with_an_id_blocks_nobody(large: Stored, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        await peer.call("OpenImage", f"oci:{large.path}", id=2)
        layer = large.layers[1]
        answer = await peer.call("GetBlob", 1, layer["digest"], layer["size"], id=3)
        await peer.ask("FinishPipe", answer.pipe, id=4)
        assert (await peer.call("Ping", id=5)).body["id"] == 5
        assert (await peer.call("GetLayerInfo", 1)).value
        assert await peer.read(answer.fds[0]) == LARGE
        assert (await peer.reply()).body["id"] == 4


async def test_s13_a_pipe_is_finished_once(large: Stored, tmp_path: Path) -> None:
    """Two requests that wait for one pipe at the same time: one of them ends it."""
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        await peer.call("OpenImage", f"oci:{large.path}", id=2)
        layer = large.layers[1]
        answer = await peer.call("GetBlob", 1, layer["digest"], layer["size"], id=3)
        for number in (4, 5):
            await peer.ask("FinishPipe", answer.pipe, id=number)
        assert await peer.read(answer.fds[0]) == LARGE
        answers = [await peer.reply(), await peer.reply()]
        assert sorted(answer.body["error"] for answer in answers) == ["", "finishpipe: no active pipe 1"]


async def test_an_id_in_flight_is_not_taken_twice(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            await peer.ask("OpenImage", f"docker://{fake.name}/x:latest", id=2)
            answer = await peer.call("Ping", id=2)
            assert answer.failure == ("other", "request 2 is already in flight")
            assert answer.body["id"] == 2
            await peer.ask("Cancel", 2, id=3)
            answers = {(await peer.reply()).body["id"] for _ in range(2)}
            assert answers == {2, 3}
            assert (await peer.call("Ping", id=2)).body["id"] == 2, "answered: the id is free again"


async def test_the_limit_of_requests_in_flight(tmp_path: Path) -> None:
    limits = msgspec.structs.replace(TRUSTING.limits, inflight=3)
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with serving(make_system(tmp_path), msgspec.structs.replace(TRUSTING, limits=limits)) as peer:
            assert (await peer.hello())["limits"]["inflight"] == 3
            for number in (2, 3, 4):
                await peer.ask("OpenImage", f"docker://{fake.name}/x:latest", id=number)
            answer = await peer.call("Ping", id=5)
            assert answer.failure[1] == "3 requests are in flight on this connection, which is the limit"
            assert (answer.body["id"], answer.body["detail"]["kind"]) == (5, "limit")
            await peer.ask("Cancel", 2, id=6)
            assert {(await peer.reply()).body["id"] for _ in range(2)} == {2, 6}
            assert (await peer.call("Initialize")).failure == ("other", "already initialized")


async def test_unknown_methods_carry_their_id(tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        answer = await peer.call("Nope", id=2)
        assert (answer.failure, answer.body["id"]) == (("other", "unknown method: Nope"), 2)


@pytest.mark.parametrize("kind", [kind for kind in messages.EXTENDED if kind.__name__ != "Hello"])
async def test_s01_wrong_arguments_of_extended_methods(
    kind: type[messages.Method[object]], tmp_path: Path
) -> None:
    wrong: tuple[list[Any], ...] = (
        [[]],
        [{"a": 1}],
        [None],
        [True] * 4,
        [1.5, 1.5],
        ["x"] * 5,
        [1, "x", {"nosuch": 1}],
        ["x", {"nosuch": 1}],
        ["x", "y", {"nosuch": 1}],
        [2**70],
    )
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        for number, args in enumerate(wrong, 2):
            answer = await peer.call(kind.__name__, *args, id=number)
            code, text = answer.failure
            assert code == "other"
            assert text.startswith(f"{kind.__name__}: "), text
            assert answer.body["detail"]["kind"] == "invalid"
        assert (await peer.call("Ping", id=99)).value is None


# Cancel and time limits


async def test_cancel_ends_a_request_at_once(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            await peer.ask("OpenImage", f"docker://{fake.name}/x:latest", id=2)
            await until(lambda: bool(fake.seen))
            await peer.ask("Cancel", 2, id=3)
            answers = {answer.body["id"]: answer for answer in [await peer.reply(), await peer.reply()]}
            assert answers[3].value is True
            assert answers[2].failure == ("cancelled", "OpenImage was cancelled")
            assert answers[2].body["detail"]["kind"] == "cancelled"
            assert (await peer.call("Cancel", 2, id=4)).value is False
            assert (await peer.call("Cancel", 77, id=5)).value is False


async def test_a_time_limit_of_a_request(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            await peer.ask("OpenImage", f"docker://{fake.name}/x:latest", id=2, timeout_ms=100)
            answer = await peer.reply()
            assert answer.failure == ("cancelled", "OpenImage: 100 ms are over")
            assert (await peer.call("Ping", id=3, timeout_ms=60_000)).body["id"] == 3


async def test_a_cancelled_copy_leaves_the_old_image(images: Path, tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"x" * 1000)
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image, layer=HANG)
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            target = tmp_path / "target"
            await peer.ask("Copy", f"oci:{images}/one", f"oci:{target}:t", COPY, id=2)
            copied = await peer.reply_to(2)
            assert copied.body["success"], copied.body
            before = (target / "index.json").read_bytes()
            await peer.ask("Copy", name, f"oci:{target}:t", COPY, id=3)
            await until(lambda: any("/blobs/" in seen.path for seen in fake.seen))
            await peer.ask("Cancel", 3, id=4)
            answer = await peer.reply_to(3)
            assert answer.failure == ("cancelled", "Copy was cancelled")
            assert (target / "index.json").read_bytes() == before
            assert not [path for path in target.rglob("*") if path.name.startswith(".")]


# OpenBlob


async def test_open_blob_tells_how_it_ended(large: Stored, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        await peer.call("OpenImage", f"oci:{large.path}", id=2)
        layer = large.layers[1]
        rows: list[tuple[list[Any], dict[str, Any]]] = [
            ([], {"bytes": len(LARGE), "digest": layer["digest"], "verified": True}),
            ([{"size": len(LARGE)}], {"bytes": len(LARGE), "digest": layer["digest"], "verified": True}),
            ([{"verify": False}], {"bytes": len(LARGE)}),
        ]
        for number, (options, wanted) in enumerate(rows, 3):
            answer = await peer.call("OpenBlob", 1, layer["digest"], *options, id=number)
            assert (answer.value, answer.pipe, len(answer.fds)) == (len(LARGE), 0, 2)
            assert await peer.read(answer.fds[0]) == LARGE
            line = await peer.read(answer.fds[1])
            assert line.endswith(b"}\n")
            assert json.loads(line) == wanted


async def test_open_blob_tells_what_went_wrong(tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"as it was")
    digest = image.layers[0]["digest"]
    image.file(digest).write_bytes(b"as it is.")
    found = f"sha256:{hashlib.sha256(b'as it is.').hexdigest()}"
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        await peer.call("OpenImage", f"oci:{image.path}", id=2)
        answer = await peer.call("OpenBlob", 1, digest, id=3)
        assert await peer.read(answer.fds[0]) == b"as it is."
        status = json.loads(await peer.read(answer.fds[1]))
        text = f"corrupted blob, expecting {digest}, got {found}"
        assert status["error"] == {"kind": "corrupt", "message": text}
        answer = await peer.call("OpenBlob", 1, digest, {"size": 8, "verify": False}, id=4)
        await peer.read(answer.fds[0])
        status = json.loads(await peer.read(answer.fds[1]))
        assert status["error"]["message"] == "expected 8 bytes in blob, got 9"
        answer = await peer.call("OpenBlob", 1, ABSENT, id=5)
        assert answer.body["detail"]["kind"] == "not_found"


async def test_open_blob_when_the_reader_or_the_connection_goes(large: Stored, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        await peer.call("OpenImage", f"oci:{large.path}", id=2)
        answer = await peer.call("OpenBlob", 1, large.layers[1]["digest"], id=3)
        peer.close_fd(answer.fds[0])
        status = json.loads(await peer.read(answer.fds[1]))
        assert status["error"] == {"kind": "cancelled", "message": "write |1: broken pipe"}
        answer = await peer.call("OpenBlob", 1, large.layers[1]["digest"], id=4)
        peer.sock.close()
        status = json.loads(await peer.read(answer.fds[1]))
        assert status["error"]["message"] == "proxy terminated"
        assert status["error"]["retryable"] is True


# Documents


async def test_raw_documents_are_the_stored_bytes(images: Path, tmp_path: Path) -> None:
    image = stored(images / "l400")
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        await peer.call("OpenImage", f"oci:{images}/l400", id=2)
        answer = await peer.call("GetRawManifest", 1, id=3)
        assert (answer.value, answer.pipe) == (image.digest, 0)
        assert await peer.read(answer.fds[0]) == image.raw
        answer = await peer.call("GetRawConfig", 1, id=4)
        assert answer.value == image.config["digest"]
        assert await peer.read(answer.fds[0]) == image.blob(image.config["digest"])


async def test_a_document_that_nobody_reads_is_let_go(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        await peer.call("OpenImage", f"oci:{images}/l3000", id=2)
        answer = await peer.call("GetRawManifest", 1, id=3)
        peer.close_fd(answer.fds[0])
        unread = await peer.call("GetRawManifest", 1, id=4)
        assert len(unread.fds) == 1
        assert (await peer.call("Ping", id=5)).value is None


async def test_inspect_is_a_document(images: Path, tmp_path: Path) -> None:
    image = stored(images / "one")
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        views = {"manifest": image.raw, "raw-config": image.blob(image.config["digest"])}
        for number, (view, wanted) in enumerate(views.items(), 2):
            answer = await peer.call("Inspect", f"oci:{images}/one", {"view": view}, id=number)
            assert answer.value == {"bytes": len(wanted), "media_type": "application/json"}
            assert await peer.read(answer.fds[0]) == wanted
        answer = await peer.call("Inspect", f"oci:{images}/one", id=9)
        summary = json.loads(await peer.read(answer.fds[0]))
        assert summary["digest"] == image.digest
        assert summary["layers"] == [layer["digest"] for layer in image.layers]


async def test_list_tags_comes_by_lines(tmp_path: Path) -> None:
    access = {"access": {"tls_verify": False}}
    with FakeRegistry() as fake:
        more = {"Link": '</v2/x/tags/list?last=a>; rel="next"'}
        pages = Reply(headers=more, body=b'{"tags":["b","a"]}'), Reply(body=b'{"tags":["d"]}')
        fake.on("GET", "/v2/x/tags/list", *pages, pages[0], Reply(body=b'{"tags":["../d"]}'))
        fake.on("GET", "/v2/y/tags/list", error(404, "NAME_UNKNOWN"))
        fake.on("GET", "/v2/z/tags/list", Reply(body=b'{"tags":[]}'))
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            answer = await peer.call("ListTags", f"docker://{fake.name}/x", access, id=2)
            assert answer.value == f"{fake.name}/x"
            assert await peer.read(answer.fds[0]) == b'["b","a"]\n["d"]\n'
            assert json.loads(await peer.read(answer.fds[1])) == {"bytes": 16}
            answer = await peer.call("ListTags", f"docker://{fake.name}/x", access, id=5)
            assert await peer.read(answer.fds[0]) == b'["b","a"]\n'
            status = json.loads(await peer.read(answer.fds[1]))
            text = 'Error listing repository tags: registry returned invalid tag "../d": invalid tag format'
            assert (status["bytes"], status["error"]["message"]) == (0, text)
            answer = await peer.call("ListTags", f"docker://{fake.name}/z", access, id=6)
            assert await peer.read(answer.fds[0]) == b""
            assert json.loads(await peer.read(answer.fds[1])) == {"bytes": 0}
            answer = await peer.call("ListTags", f"docker://{fake.name}/y", access, id=3)
            assert answer.failure[0] == "other"
            assert answer.body["detail"]["http_status"] == 404
            answer = await peer.call("ListTags", f"docker://{fake.name}/x:tag", access, id=4)
            assert answer.failure == ("other", "No tag or digest allowed in reference")


# Copy and its events

COPY = {"policy": {"insecure": True}, "source": {"tls_verify": False}}


@pytest.mark.parametrize("kind", [socket.SOCK_SEQPACKET, socket.SOCK_STREAM])
async def test_copy_tells_its_steps(kind: int, images: Path, tmp_path: Path) -> None:
    image = stored(images / "two")
    async with serving(make_system(tmp_path), kind=kind) as peer:
        await peer.hello()
        await peer.ask("Copy", f"oci:{images}/two", f"oci:{tmp_path}/target:new", COPY, id=7)
        seen = []
        while "event" in (message := await peer.reply()).body:
            assert (message.body["event"], message.body["id"]) == ("step", 7)
            seen.append(message.body["step"])
        assert {step["name"] for step in seen} <= set(messages.STEPS)
        blobs = [step["digest"] for step in seen if step["name"] == "blob"]
        assert sorted(blobs) == sorted(layer["digest"] for layer in image.layers)
        assert message.value["digest"] == image.digest
        assert json.loads(message.value["manifest"]) == image.manifest
        [entry] = json.loads((tmp_path / "target" / "index.json").read_bytes())["manifests"]
        assert entry["digest"] == image.digest


async def test_copy_tells_progress_to_who_wants_it(tmp_path: Path) -> None:
    image = layout_of(tmp_path / "image", b"x" * 100_000)
    with FakeRegistry() as fake:
        name = serve_image(fake, "x", image, layer=Reply(body=b"x" * 70_000, length=100_000, end="hang"))
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello("progress")
            await peer.ask("Copy", name, f"oci:{tmp_path}/target:new", COPY, id=2)
            while (message := await peer.reply()).body["event"] != "progress":
                assert message.body["event"] == "step"
            assert message.body["id"] == 2
            assert message.body["bytes"] > 0
            await peer.ask("Cancel", 2, id=3)
            assert (await peer.reply_to(2)).failure[0] == "cancelled"


async def test_errors_of_copy_are_typed(images: Path, tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/x/manifests/latest", error(404, "MANIFEST_UNKNOWN", "manifest unknown"))
        fake.on("GET", "/v2/y/manifests/latest", Reply(503, {"Retry-After": "7"}))
        rows: list[tuple[str, str, dict[str, Any]]] = [
            ("oci:nosuch", "oci:t", {"kind": "not_found"}),
            (f"oci:{images}/one:nope", "oci:t", {"kind": "not_found", "exit_status": 2}),
            (f"docker://{fake.name}/x", "oci:t", {"kind": "not_found", "http_status": 404, "exit_status": 2}),
            (f"docker://{fake.name}/y", "oci:t", {"kind": "registry", "http_status": 503, "retryable": True}),
            (f"oci:{images}/one", "tarball:t", {"kind": "invalid"}),
        ]
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            for number, (source, destination, wanted) in enumerate(rows, 2):
                await peer.ask("Copy", source, destination, COPY, id=number)
                answer = await peer.reply_to(number)
                detail = answer.body["detail"]
                assert {key: detail.get(key) for key in wanted} == wanted, answer.body


async def test_open_image_with_options_of_its_own(images: Path, tmp_path: Path) -> None:
    async with serving(make_system(tmp_path)) as peer:
        await peer.hello()
        arm = {"platform": {"os": "linux", "architecture": "arm64"}}
        handle = (await peer.call("OpenImageWith", f"oci:{images}/multi", arm, id=2)).value
        answer = await peer.call("GetRawConfig", handle, id=3)
        assert json.loads(await peer.read(answer.fds[0]))["architecture"] == "arm64"
        optional = {"optional": True}
        assert (await peer.call("OpenImageWith", f"oci:{images}/one:nope", optional, id=4)).value == 0
        answer = await peer.call("OpenImageWith", f"oci:{images}/one:nope", id=5)
        assert answer.body["detail"] == {"kind": "not_found", "exit_status": 2}
        answer = await peer.call("OpenImageWith", "oci:nosuch", optional, id=6)
        assert answer.body["detail"]["kind"] == "not_found"


async def test_shutdown_needs_no_id_and_gets_no_reply(tmp_path: Path) -> None:
    for members in ({}, {"id": 5}):
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            await peer.send(request("Shutdown", **members))
            assert await peer.message() is None


async def test_hanging_up_cancels_everything(tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        fake.on("GET", "/v2/", Reply(raw=b"", end="hang"))
        async with serving(make_system(tmp_path)) as peer:
            await peer.hello()
            for number in range(2, 20):
                await peer.ask("OpenImage", f"docker://{fake.name}/x:latest", id=number)
            await until(lambda: bool(fake.seen))
