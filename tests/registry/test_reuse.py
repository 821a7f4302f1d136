"""What many images of one owner share: one ping, one token for each scope, one connection. Counted."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.registry import MANIFEST_TYPE, Answer, FakeRegistry, Reply, Seen
from wherry.protocol.messages import InspectOptions
from wherry.protocol.options import Credentials, ImageAccess
from wherry.server.embed import embedded
from wherry.server.settings import ProxySettings
from wherry.system import System
from wherry_client import AsyncClient

INSPECTS = 50
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
CONFIG_DIGEST = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
CONFIG_ENTRY = {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": CONFIG_DIGEST,
    "size": len(CONFIG),
}
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": CONFIG_ENTRY, "layers": []}
).encode()
MANIFEST_DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
REPOSITORIES = ("x", "y")


@pytest.fixture
def bearer(fake: FakeRegistry) -> FakeRegistry:
    """Two repositories of one image behind bearer tokens, whose server gives each scope its own."""
    offer = {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="s"'}

    def token(seen: Seen) -> Reply:
        query = parse_qs(urlsplit(seen.target).query)
        return Reply(body=json.dumps({"token": query["scope"][0], "expires_in": 300}).encode())

    fake.on("GET", "/v2/", Reply(401, offer, b'{"errors":[{"code":"UNAUTHORIZED"}]}'))
    fake.on("GET", "/token", token)
    for name in REPOSITORIES:
        replies = {
            "manifests/latest": Reply(headers={"Content-Type": MANIFEST_TYPE}, body=MANIFEST),
            f"blobs/{CONFIG_DIGEST}": Reply(body=CONFIG),
            "tags/list": Reply(body=b'{"tags":["latest"]}'),
        }
        for path, reply in replies.items():
            fake.on("GET", f"/v2/{name}/{path}", guarded(reply, f"Bearer repository:{name}:pull", offer))
    return fake


def guarded(reply: Reply, wanted: str, offer: dict[str, str]) -> Answer:
    """`reply` for those who send the token that is wanted."""
    return lambda seen: reply if seen.header("Authorization") == wanted else Reply(401, offer)


async def inspect_all(system: System, fake: FakeRegistry, accesses: Sequence[ImageAccess]) -> None:
    """Inspect the repositories in turn, with the rights in turn, over one connection to a server."""
    async with embedded(system, ProxySettings()) as sock, AsyncClient.over(sock) as client:
        for number in range(INSPECTS):
            access = accesses[number * len(accesses) // INSPECTS]
            repository = REPOSITORIES[number % len(REPOSITORIES)]
            options = InspectOptions(access=access)
            summary = json.loads(await client.inspect(f"docker://{fake.name}/{repository}", options))
            assert (summary["digest"], summary["repo_tags"]) == (MANIFEST_DIGEST, ["latest"])


async def test_fifty_inspects_ask_for_one_token_a_scope(system: System, bearer: FakeRegistry) -> None:
    await inspect_all(system, bearer, [ImageAccess(tls_verify=False)])
    each = INSPECTS // len(REPOSITORIES)
    wanted = {"/v2/": 1, "/token": len(REPOSITORIES)}
    for name in REPOSITORIES:
        for path in ("manifests/latest", f"blobs/{CONFIG_DIGEST}", "tags/list"):
            wanted[f"/v2/{name}/{path}"] = each
    assert Counter(seen.path for seen in bearer.seen) == wanted
    # The first of the connections that were opened was an attempt at TLS; one more carried all requests.
    assert {seen.connection for seen in bearer.seen} == {2}
    assert bearer.connections == 2


async def test_other_rights_share_nothing(system: System, bearer: FakeRegistry) -> None:
    users = [Credentials("one", "secret"), Credentials("two", "secret")]
    await inspect_all(system, bearer, [ImageAccess(tls_verify=False, credentials=user) for user in users])
    assert len(bearer.asked("GET", "/v2/")) == len(users)
    asked = bearer.asked("GET", "/token")
    assert len(asked) == len(users) * len(REPOSITORIES)
    assert len({seen.header("Authorization") for seen in asked}) == len(users)
    assert len({seen.connection for seen in bearer.seen}) == len(users)
