"""Tokens: what is asked, what is accepted, when one is asked for again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry, Reply
from wherry.errors import AuthError, InvalidError, LimitError, RegistryError, WherryError
from wherry.model.name import Named
from wherry.protocol.options import Credentials, ImageAccess
from wherry.registry import manifests, origin
from wherry.registry.challenge import Challenge
from wherry.registry.client import Registries, RegistryClient, scope
from wherry.registry.token import Token, basic, parse_token, token_server, token_url
from wherry.system import System

ALICE = Credentials("alice", "s:cret ü")
NOW = 1000.0


@pytest.mark.parametrize(
    ("body", "expires"),
    [
        (b'{"token":"t"}', 60),
        (b'{"access_token":"t","token":""}', 60),
        (b'{"token":"t","access_token":"u","expires_in":300}', 300),
        (b'{"token":"t","expires_in":0}', 60),
        (b'{"token":"t","expires_in":-9}', 60),
        (b'{"token":"t","expires_in":59.5}', 60),
        (b'{"token":"t","expires_in":1000000000000}', 86400),
        (b'{"token":"t","expires_in":"300"}', 60),
        (b'{"token":"t","expires_in":true}', 60),
        (b'{"token":"t","expires_in":300,"issued_at":"1970-01-01T00:00:00Z"}', 300),
        (b'{"token":"t","expires_in":300,"issued_at":"9999-01-01T00:00:00Z"}', 300),
    ],
)
def test_r26_lifetimes(body: bytes, expires: float) -> None:
    assert parse_token(body, NOW) == Token("t", NOW + expires)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{}", "answered without a token"),
        (b'{"token":""}', "answered without a token"),
        (b'{"token":7}', "answered without a token"),
        (b'["t"]', "answered without a token"),
        (b"null", "answered without a token"),
        (b"<html>secret", r"decoding bearer token: bearer token response is not valid JSON: "),
        (b'{"token":"a","token":"b"}', "decoding bearer token: "),
        (b"", "decoding bearer token: "),
        (b'{"token":"' + b"a" * (1 << 20) + b'"}', "exceeded maximum allowed size of 1048576 bytes"),
    ],
)
def test_r22_r25_what_is_no_token(body: bytes, text: str) -> None:
    with pytest.raises(AuthError, match=text) as caught:
        parse_token(body, NOW)
    assert "secret" not in str(caught.value)
    assert caught.value.code == "other"


def bearer(realm: str, **more: str) -> Challenge:
    return Challenge("bearer", {"realm": realm, **more})


PUBLIC, LOOPBACK = "8.8.8.8", "127.0.0.1"


@pytest.mark.parametrize(
    ("realm", "peer", "insecure", "allowed"),
    [
        ("https://auth.example/token", PUBLIC, False, True),
        ("http://auth.example/token", PUBLIC, False, False),
        ("http://auth.example/token", PUBLIC, True, True),
        ("http://127.0.0.1:5600/token", LOOPBACK, False, True),
    ],
)
def test_r16_plain_http_realms(realm: str, peer: str, insecure: bool, allowed: bool) -> None:
    if allowed:
        assert token_server(bearer(realm), registry_peer=peer, insecure=insecure).realm == origin.parse(realm)
    else:
        with pytest.raises(AuthError, match=r"bearer realm http://auth\.example/token is not https"):
            token_server(bearer(realm), registry_peer=peer, insecure=insecure)


@pytest.mark.parametrize(
    ("realm", "registry", "peer", "insecure", "text"),
    [
        ("https://a/", PUBLIC, "1.1.1.1", False, None),
        ("https://a/", PUBLIC, "10.0.0.1", False, "names a token server at 10.0.0.1"),
        ("https://a/", PUBLIC, "169.254.169.254", True, "names a token server at 169.254.169.254"),
        ("http://a/", LOOPBACK, LOOPBACK, False, None),
        ("http://a/", LOOPBACK, PUBLIC, False, "bearer realm http://a/ is not https"),
        ("http://a/", LOOPBACK, PUBLIC, True, None),
    ],
)
def test_r19_the_address_counts(
    realm: str, registry: str, peer: str, insecure: bool, text: str | None
) -> None:
    """Whatever the name was: it is what the name resolved to that is judged."""
    guard = token_server(bearer(realm), registry_peer=registry, insecure=insecure).guard
    if text is None:
        guard(peer)
    else:
        with pytest.raises(AuthError, match=text):
            guard(peer)


def test_what_is_asked() -> None:
    server = token_server(
        bearer("https://a/t?z=1&a=%20", service="s p"), registry_peer=PUBLIC, insecure=False
    )
    scopes = (scope("b", "pull,push"), scope("c", "pull"))
    expected = (
        "/t?a=+&account=alice&scope=repository%3Ab%3Apull%2Cpush&scope=repository%3Ac%3Apull&service=s+p&z=1"
    )
    assert token_url(server, ALICE, scopes).target == expected
    plain = token_server(bearer("https://a"), registry_peer=PUBLIC, insecure=False)
    assert token_url(plain, None, ()).target == "/"
    assert basic(ALICE) == "Basic YWxpY2U6czpjcmV0IMO8"


# --- a registry that asks for tokens ------------------------------------------------------------------


@pytest.fixture
async def registries(system: System) -> AsyncIterator[Registries]:
    async with Registries(system) as made:
        yield made


@pytest.fixture
def client(fake: FakeRegistry, registries: Registries) -> RegistryClient:
    tokens(fake, "one", "two", "three")
    return registries.client(fake.name, ImageAccess(tls_verify=False, credentials=ALICE))


def tokens(fake: FakeRegistry, *values: str, expires: int = 300) -> None:
    challenge = f'Bearer realm="{fake.url}/token",service="s"'
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": challenge}))
    bodies = [json.dumps({"token": value, "expires_in": expires}).encode() for value in values]
    fake.on("GET", "/token", *[Reply(body=body) for body in bodies])
    fake.manifest("x", "latest", b"{}")


async def pull(client: RegistryClient, repository: str = "x") -> None:
    await manifests.get(client, Named(client.registry, repository), "latest")


def used(fake: FakeRegistry, repository: str = "x") -> list[str | None]:
    path = f"/v2/{repository}/manifests/latest"
    return [seen.header("Authorization") for seen in fake.asked("GET", path)]


async def test_one_request_at_a_time(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.manifest("y", "latest", b"{}")
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(pull, client)
    assert used(fake) == ["Bearer one"] * 10
    await pull(client, "y")
    assert used(fake, "y") == ["Bearer two"]
    assert len(fake.asked("GET", "/v2/")) == 1


async def test_a_token_is_renewed_when_it_expires(
    fake: FakeRegistry, client: RegistryClient, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.2
    for pause in (0, 299, 2):
        await trio.sleep(pause)
        await pull(client)
    assert used(fake) == ["Bearer one", "Bearer one", "Bearer two"]


async def test_r27_a_token_that_is_refused_is_renewed_once(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    path = "/v2/x/manifests/latest"
    good = Reply(headers={"Content-Type": "application/json"}, body=b"{}")
    fake.on("GET", path, Reply(401), good)
    await pull(client)
    assert used(fake) == ["Bearer one", "Bearer two"]
    fake.on("GET", path, Reply(401))
    with pytest.raises(AuthError, match="authentication required"):
        await pull(client)
    assert len(used(fake)) == 4


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        ("repository:x:pull,push", True),
        ("repository:x:*", True),
        ("repository:other:pull", False),
        ("registry:catalog:*", False),
        ("repository:other:*", False),
        ("x", False),
    ],
)
async def test_r28_only_the_same_repository_is_widened(
    fake: FakeRegistry, client: RegistryClient, asked: str, again: bool
) -> None:
    challenge = f'Bearer error="insufficient_scope",scope="{asked}"'
    refused = Reply(401, {"WWW-Authenticate": challenge})
    fake.on("GET", "/v2/x/manifests/latest", refused, Reply(body=b"{}"))
    if again:
        await pull(client)
    else:
        with pytest.raises(AuthError, match="requested access to the resource is denied"):
            await pull(client)
    targets = [seen.target for seen in fake.asked("GET", "/token")]
    assert len(targets) == (2 if again else 1)
    assert not any("other" in target or "catalog" in target for target in targets)


@pytest.mark.parametrize("order", [["Basic", "Bearer"], ["Bearer", "Basic"]])
async def test_r20_bearer_before_basic(fake: FakeRegistry, client: RegistryClient, order: list[str]) -> None:
    offers = {"Basic": 'Basic realm="r"', "Bearer": f'Bearer realm="{fake.url}/token"'}
    headers = tuple(("WWW-Authenticate", offers[scheme]) for scheme in order)
    fake.on("GET", "/v2/", Reply(401, headers))
    await pull(client)
    assert used(fake) == ["Bearer one"]


@pytest.mark.parametrize(
    ("reply", "kind", "text", "code"),
    [
        (
            Reply(401, body=b'{"details":"no"}'),
            AuthError,
            "unable to retrieve auth token: invalid username/password: unauthorized: no",
            "other",
        ),
        (Reply(429), RegistryError, "too many requests to registry", "retryable"),
        (
            Reply(500, reason="Oh"),
            AuthError,
            "Requesting bearer token: received unexpected HTTP status: 500 Oh",
            "other",
        ),
        (
            Reply(503, reason="Oh"),
            RegistryError,
            "Requesting bearer token: received unexpected HTTP status: 503 Oh",
            "retryable",
        ),
        (
            Reply(body=b" " * (1 << 21)),
            LimitError,
            "reading bearer token response: exceeded maximum allowed size of 1048576 bytes",
            "other",
        ),
    ],
)
async def test_a_token_server_that_refuses(
    fake: FakeRegistry, client: RegistryClient, reply: Reply, kind: type[WherryError], text: str, code: str
) -> None:
    fake.on("GET", "/token", reply)
    with pytest.raises(kind, match=f"^fetching manifest latest in .*/x: {text}$") as caught:
        await pull(client)
    assert caught.value.code == code
    fake.on("GET", "/token", Reply(body=b'{"token":"later"}'))
    await pull(client)  # a failure is not remembered
    assert used(fake) == ["Bearer later"]


async def test_r03_a_token_answer_that_is_torn(fake: FakeRegistry, client: RegistryClient) -> None:
    whole = b'{"token":"later"}'
    fake.on("GET", "/token", Reply(body=whole[:-1], framing="close"), Reply(body=whole, framing="close"))
    with pytest.raises(AuthError, match="decoding bearer token: "):
        await pull(client)
    await pull(client)
    assert used(fake) == ["Bearer later"]


async def test_a_token_of_the_user_s(
    fake: FakeRegistry, registries: Registries, client: RegistryClient
) -> None:
    mine = registries.client(fake.name, ImageAccess(tls_verify=False, registry_token="mine"))
    await pull(mine)
    assert used(fake) == ["Bearer mine"]
    assert not fake.asked("GET", "/token")
    evil = registries.client(fake.name, ImageAccess(tls_verify=False, registry_token="a b"))
    with pytest.raises(InvalidError, match="the registry token holds more than visible ASCII characters"):
        await pull(evil)


async def test_anonymous_is_anonymous(
    fake: FakeRegistry, registries: Registries, client: RegistryClient
) -> None:
    access = ImageAccess(tls_verify=False, credentials=ALICE, anonymous=True)
    await pull(registries.client(fake.name, access))
    (asked,) = fake.asked("GET", "/token")
    assert asked.header("Authorization") is None
    assert asked.target == "/token?scope=repository%3Ax%3Apull&service=s"


async def test_secrets_are_in_no_text(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on("GET", "/v2/x/manifests/latest", Reply(401))
    with pytest.raises(AuthError, match="authentication required") as caught:
        await pull(client)
    for text in (repr(caught.value), str(caught.value), repr(client)):
        assert "s:cret" not in text
        assert "one" not in text.replace("None", "")
