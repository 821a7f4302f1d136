"""What a registry's errors become; a current skopeo, where there is one, says the same."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.fakes.registry import FakeRegistry, Reply, error
from wherry.errors import (
    AuthError,
    ImageNotFoundError,
    NotFoundError,
    RegistryError,
    WherryError,
)
from wherry.protocol.options import ImageAccess
from wherry.registry import errors
from wherry.system import System
from wherry.transports import docker

DETAILED = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"t"}}]}'
TWO = b'{"errors":[{"code":"DENIED","message":"first"},{"code":"UNKNOWN","message":"second"}]}'


def bearer(**parameters: str) -> dict[str, str]:
    shown = ",".join(f'{name}="{value}"' for name, value in parameters.items())
    return {"WWW-Authenticate": f"Bearer {shown}"}


CASES: list[tuple[Reply, type[WherryError], str, str]] = [
    (error(404, "MANIFEST_UNKNOWN"), ImageNotFoundError, "other", "manifest unknown"),
    (error(404, "MANIFEST_UNKNOWN", "manifest unknown"), ImageNotFoundError, "other", "manifest unknown"),
    (Reply(404, body=DETAILED), ImageNotFoundError, "other", "manifest unknown"),
    (error(404, "MANIFEST_UNKNOWN", "gone"), ImageNotFoundError, "other", "manifest unknown: gone"),
    (error(404, "NAME_UNKNOWN"), NotFoundError, "other", "name unknown"),
    (
        Reply(404, body=DETAILED.replace(b"MANIFEST", b"NAME")),
        NotFoundError,
        "other",
        "name unknown: manifest unknown",
    ),
    (error(404, "NOBODY_KNOWS", "Not Found"), NotFoundError, "other", "unknown: Not Found"),
    (error(404, "NOBODY_KNOWS"), NotFoundError, "other", "unknown"),
    (Reply(404, body=b'{"errors":[]}'), NotFoundError, "other", 'StatusCode: 404, "{\\"errors\\":[]}"'),
    (Reply(404, body=b"{}"), NotFoundError, "other", 'StatusCode: 404, "{}"'),
    (Reply(404, body=b"\xff\x00\n\t<a>"), NotFoundError, "other", 'StatusCode: 404, "\\xff\\x00\\n\\t<a>"'),
    (Reply(404, body=b"a" * 50), NotFoundError, "other", f'StatusCode: 404, "{"a" * 50}"'),
    (Reply(404, body=b"a" * 51), NotFoundError, "other", f'StatusCode: 404, "{"a" * 50}..."'),
    (Reply(400, body=b'{"details":"broken"}'), RegistryError, "other", "unknown: broken"),
    (Reply(429, body=b'{"details":"slow"}'), RegistryError, "retryable", "toomanyrequests: slow"),
    (error(429, "TOOMANYREQUESTS"), RegistryError, "retryable", "toomanyrequests"),
    (Reply(401, body=b"<html>"), AuthError, "other", "authentication required"),
    (error(401, "UNAUTHORIZED"), AuthError, "other", "unauthorized"),
    (error(401, "UNAUTHORIZED", "who?"), AuthError, "other", "unauthorized: who?"),
    (Reply(401, body=b'{"details":"no"}'), AuthError, "other", "unauthorized: no"),
    (Reply(401, bearer(error="invalid_token")), AuthError, "other", "authentication required"),
    (
        Reply(401, bearer(error="insufficient_scope", error_description="not you")),
        AuthError,
        "other",
        "denied: not you",
    ),
    (Reply(401, bearer(error="other")), AuthError, "other", "authentication required"),
    (Reply(403, body=TWO), AuthError, "other", "denied: first"),
    (Reply(502, reason="Bad"), RegistryError, "retryable", "received unexpected HTTP status: 502 Bad"),
    (Reply(503, reason="Away"), RegistryError, "retryable", "received unexpected HTTP status: 503 Away"),
    (Reply(504, reason="Late"), RegistryError, "retryable", "received unexpected HTTP status: 504 Late"),
    (Reply(500, body=TWO, reason="Oh"), RegistryError, "other", "received unexpected HTTP status: 500 Oh"),
    (Reply(206, reason="Part"), RegistryError, "other", "received unexpected HTTP status: 206 Part"),
]
IDS = [f"{reply.status}-{number}" for number, (reply, *_) in enumerate(CASES)]
# After five tries, which the client makes too once it waits out 429 answers.
ASKED_OF_SKOPEO = [(reply, text) for reply, _, _, text in CASES if reply.status != 429]


@pytest.mark.parametrize(("reply", "kind", "code", "text"), CASES, ids=IDS)
async def test_texts(
    fake: FakeRegistry, system: System, reply: Reply, kind: type[WherryError], code: str, text: str
) -> None:
    fake.on("GET", "/v2/x/manifests/t", reply)
    whole = f"reading manifest t in {fake.name}/x: {text}"
    with pytest.raises(WherryError, match=rf"\A{re.escape(whole)}\Z") as caught:
        async with docker.parse(f"//{fake.name}/x:t", system).source(system, ImageAccess(tls_verify=False)):
            pass
    assert (type(caught.value), caught.value.code, caught.value.http_status) == (kind, code, reply.status)


@pytest.mark.parametrize(("reply", "text"), ASKED_OF_SKOPEO, ids=[text[:40] for _, text in ASKED_OF_SKOPEO])
def test_skopeo_says_the_same(fake: FakeRegistry, skopeo_ref: Path, reply: Reply, text: str) -> None:
    fake.on("GET", "/v2/x/manifests/t", reply)
    done = subprocess.run(
        [str(skopeo_ref), "inspect", "--raw", "--tls-verify=false", f"docker://{fake.name}/x:t"],
        capture_output=True,
        text=True,
        check=False,
    )
    shown = f"reading manifest t in {fake.name}/x: {text}"
    said = re.search(r'level=fatal msg="((?:[^"\\]|\\.)*)"', done.stderr)
    assert said is not None, done.stderr
    assert said[1].encode().decode("unicode_escape").endswith(shown)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0", 1.0),
        ("-5", 1.0),
        ("9223372036854775807", 60.0),
        ("9" * 30, 60.0),
        ("9" * 31, None),
        ("1.5", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_r37_retry_after(header: str | None, seconds: float | None) -> None:
    assert errors.retry_after(header) == seconds


async def test_r75_a_megabyte_of_message(fake: FakeRegistry, system: System) -> None:
    """Read up to 1 MiB, shown up to 1 KiB, and nothing in it reaches a terminal."""
    evil = "\x1b[31m\r\n\u202e" + "a" * 100_000
    fake.on("GET", "/v2/x/manifests/t", Reply(400, body=_json(evil)), Reply(400, body=_json("a" * 1_100_000)))
    reference = docker.parse(f"//{fake.name}/x:t", system)
    for start in (
        "unsupported: \\\\x1b\\[31m\\\\x0d\\\\x0a\ufffdaaa",
        "exceeded maximum allowed size of 1048576",
    ):
        with pytest.raises(RegistryError, match=start) as caught:
            async with reference.source(system, ImageAccess(tls_verify=False)):
                pass
        assert len(str(caught.value)) < 1200


def _json(message: str) -> bytes:
    import json

    return json.dumps({"errors": [{"code": "UNSUPPORTED", "message": message}]}).encode()


async def test_a_torn_error_still_has_its_status(fake: FakeRegistry, system: System) -> None:
    fake.on("GET", "/v2/x/manifests/t", Reply(404, body=b'{"errors":', length=100, end="close"))
    with pytest.raises(NotFoundError, match='StatusCode: 404, ""'):
        async with docker.parse(f"//{fake.name}/x:t", system).source(system, ImageAccess(tls_verify=False)):
            pass
