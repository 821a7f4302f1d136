"""Tries again: how often, after which pause, and not more for more clients (registry/retry.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest
import trio
import trio.testing

from tests.fakes.registry import FakeRegistry, Reply, Seen, error
from tests.transports.docker_images import bearer_challenge
from wherry.errors import AuthError, NetworkError, NotFoundError, RegistryError, StalledError, WherryError
from wherry.model import digest
from wherry.model.name import Named
from wherry.protocol.options import Credentials, ImageAccess
from wherry.registry import blobs, manifests
from wherry.registry.client import Registries, RegistryClient, scope
from wherry.registry.dial import UnreachableError
from wherry.registry.retry import OPENS_AFTER, Breaker, Budget, GivenUpError, Persistence, one_try
from wherry.registry.tags import list_tags
from wherry.system import Retries, System

RULES = Retries(dice=lambda: 0.5)
"""As in use, but pauses are what they are on the average."""

MANIFEST = "/v2/x/manifests/t"
GOOD = Reply(headers={"Content-Type": "application/json"}, body=b"{}")
BUSY = RegistryError("busy", retryable=True, http_status=503)
THROTTLED = RegistryError("slow down", retryable=True, http_status=429)
CUT = NetworkError("unexpected EOF")
GONE = UnreachableError("dial tcp 127.0.0.1:1: connect: connection refused")
SILENT = StalledError("i/o timeout")


def asked_to_wait(seconds: float, status: int = 429) -> RegistryError:
    return RegistryError("slow down", retryable=True, http_status=status, retry_after=seconds)


@pytest.mark.parametrize(
    ("failure", "known", "pauses"),
    [
        (BUSY, True, [0.5, 1, 2]),
        (BUSY, False, [0.5, 1, 2]),
        (RegistryError("500", http_status=500), True, [0.5, 1, 2]),
        (THROTTLED, True, [2, 4, 8, 16]),
        (CUT, True, [0.5, 1, 2, 4, 8]),
        (CUT, False, [0.5, 1, 2, 4, 8]),
        (GONE, True, [0.5, 1, 2, 4, 8]),
        (GONE, False, []),
        (SILENT, True, [0.5, 1]),
        (SILENT, False, []),
        (asked_to_wait(1), True, [1.05] * 4),
        (asked_to_wait(60), True, [63] * 4),
        (asked_to_wait(7, 503), True, [7.35] * 3),
    ],
)
async def test_r37_r39_pauses(
    autojump_clock: trio.testing.MockClock, failure: WherryError, known: bool, pauses: list[float]
) -> None:
    budget = Budget(RULES)
    found: list[float] = []
    while (pause := budget.pause(failure, known=known)) is not None:
        found.append(pause)
        await trio.sleep(pause)
    assert found == pytest.approx(pauses)


async def test_r38_a_budget_ends_with_its_time(autojump_clock: trio.testing.MockClock) -> None:
    budget = Budget(msgspec.structs.replace(RULES, throttled=100))
    began = trio.current_time()
    pause: float | None = 0.0
    while pause is not None:
        await trio.sleep(pause)
        pause = budget.pause(asked_to_wait(60))
    assert 230 < trio.current_time() - began <= 300


async def test_no_pause_is_the_same_for_two(autojump_clock: trio.testing.MockClock) -> None:
    for failure, least, most in ((BUSY, 0.375, 0.625), (asked_to_wait(10), 10, 11)):
        pauses = {Budget(Retries()).pause(failure) for _ in range(50)}
        assert len(pauses) > 25
        assert all(pause is not None and least <= pause <= most for pause in pauses)


# --- a registry, and one client -------------------------------------------------------------------------


@pytest.fixture
def patient() -> trio.testing.MockClock:
    """Jumps once nothing has moved for a moment, which loopback never needs."""
    return trio.testing.MockClock(autojump_threshold=0.1)


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
async def registries(system: System, warned: list[str]) -> AsyncIterator[Registries]:
    async with Registries(msgspec.structs.replace(system, retries=RULES, warn=warned.append)) as made:
        yield made


@pytest.fixture
def client(fake: FakeRegistry, registries: Registries) -> RegistryClient:
    return registries.client(fake.name, ImageAccess(tls_verify=False))


async def get(client: RegistryClient) -> bytes:
    return (await manifests.get(client, Named(client.registry, "x"), "t")).raw


PASSING = [Reply(500), Reply(502), Reply(503), Reply(504)]
BROKEN = [
    Reply(raw=b"", end="close"),
    Reply(raw=b"", end="reset"),
    Reply(raw=b"HTTP/1.1 200 OK\r\nContent-", end="close"),
    Reply(body=b"{", length=2, end="close"),
    Reply(body=b"{", length=1, framing="chunked", end="close"),
]


@pytest.mark.parametrize("failure", [*PASSING, *BROKEN])
async def test_r39_a_failure_that_passes(
    fake: FakeRegistry,
    client: RegistryClient,
    patient: trio.testing.MockClock,
    warned: list[str],
    failure: Reply,
) -> None:
    # On a connection that served before, a failure would be taken for its age, and asked again at once.
    fake.on("GET", "/v2/", Reply(framing="close"))
    fake.on("GET", MANIFEST, failure, failure, failure, GOOD)
    assert await get(client) == b"{}"
    assert len(fake.asked("GET", MANIFEST)) >= 4
    assert [text.rpartition("; ")[2] for text in warned] == [
        f"trying again in {pause} s" for pause in ("0.5", "1.0", "2.0")
    ]


@pytest.mark.parametrize("failure", [Reply(400), Reply(403), Reply(404), Reply(401), Reply(416), Reply(501)])
async def test_r39_what_will_not_pass_is_asked_once(
    fake: FakeRegistry, client: RegistryClient, warned: list[str], failure: Reply
) -> None:
    fake.on("GET", MANIFEST, failure, GOOD)
    with pytest.raises(WherryError, match=r"^reading manifest t in "):
        await get(client)
    assert len(fake.asked("GET", MANIFEST)) == 1
    assert not warned


@pytest.mark.parametrize("where", ["ping", "token", "blob", "head", "tags"])
async def test_r39_every_request_that_only_asks(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock, where: str
) -> None:
    name, wanted = Named(client.registry, "x"), digest.of(b"abc")
    bearer_challenge(fake)
    fake.on("GET", MANIFEST, GOOD)
    if where == "ping":
        fake.on("GET", "/v2/", Reply(503), Reply(raw=b"", end="close"), Reply(200))
        assert await get(client) == b"{}"
    elif where == "token":
        fake.on("GET", "/token", Reply(502), Reply(raw=b"", end="close"), Reply(body=b'{"token":"t"}'))
        assert await get(client) == b"{}"
    elif where == "blob":
        fake.on("GET", f"/v2/x/blobs/{wanted}", Reply(504), Reply(raw=b"", end="reset"), Reply(body=b"abc"))
        async with blobs.open_blob(client, name, wanted) as blob:
            assert blob.size == 3
    elif where == "head":
        fake.on("HEAD", f"/v2/x/blobs/{wanted}", Reply(500), Reply(429), Reply(length=3))
        assert await blobs.exists(client, name, wanted, (scope("x", "pull"),)) == 3
    else:
        pages = (
            Reply(503),
            Reply(body=b'{"tags":["a"]', length=50, end="close"),
            Reply(body=b'{"tags":["a"]}'),
        )
        fake.on("GET", "/v2/x/tags/list", *pages)
        assert await list_tags(client, name) == ["a"]


async def test_a_registry_that_was_never_there_is_asked_once(
    registries: Registries, warned: list[str]
) -> None:
    with FakeRegistry() as gone:
        name = gone.name
    with pytest.raises(NetworkError, match="connect: connection refused"):
        await get(registries.client(name, ImageAccess(tls_verify=False)))
    assert not warned


async def test_a_registry_that_restarts(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock, warned: list[str]
) -> None:
    """Once it has answered, a refused connection means that it comes back (F-09)."""
    with FakeRegistry() as first:
        first.on("GET", MANIFEST, GOOD)
        client = RegistryClient(first.name, ImageAccess(tls_verify=False), client.system, client.engine)
        await get(client)
        port = first.port
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get, client)
        await trio.sleep(3)
        with FakeRegistry(port=port) as again:
            again.on("GET", MANIFEST, GOOD)
            await trio.sleep(10)
            assert len(again.asked("GET", MANIFEST)) == 1
    assert len(warned) >= 2
    assert "connection refused" in warned[-1]


async def test_r40_a_registry_that_does_not_answer_any_more(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock
) -> None:
    fake.on("GET", MANIFEST, GOOD, Reply(raw=b"", end="hang"))
    await get(client)
    began = trio.current_time()
    with pytest.raises(StalledError, match="timeout awaiting response headers") as caught:
        await get(client)
    assert caught.value.code == "retryable"
    assert trio.current_time() - began == pytest.approx(3 * 60 + 1.5, abs=1)


async def test_a_post_is_made_once(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on("POST", "/v2/x/blobs/uploads/", Reply(503))
    async with client.request("POST", "x/blobs/uploads/", (scope("x", "pull,push"),)) as answer:
        assert answer.exchange.status == 503
    assert len(fake.asked("POST", "/v2/x/blobs/uploads/")) == 1


# --- 429 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({}, 2),
        ({"Retry-After": "3"}, 3.15),
        ({"Retry-After": "-5"}, 1.05),
        ({"Retry-After": "0"}, 1.05),
        ({"Retry-After": "9223372036854775"}, 63),
        ({"Retry-After": "9" * 40}, 2),
        ({"Retry-After": "soon"}, 2),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:07 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 7.35),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 1.05),
        ({"Retry-After": "Thu, 31 Dec 9999 23:59:59 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 63),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:07 GMT"}, 2),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:07 GMT", "Date": "today"}, 2),
    ],
)
async def test_r37_what_retry_after_is_worth(
    fake: FakeRegistry,
    client: RegistryClient,
    patient: trio.testing.MockClock,
    headers: dict[str, str],
    waits: float,
) -> None:
    """F-17: dates count from the server's own, so a clock that is wrong by years changes nothing."""
    fake.on("GET", MANIFEST, Reply(429, headers), GOOD)
    await client.ping()
    began = trio.current_time()
    assert await get(client) == b"{}"
    assert trio.current_time() - began == pytest.approx(waits, abs=0.9)


async def test_r38_throttled_for_ever(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock
) -> None:
    limits = {"Retry-After": "50", "RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
    fake.on("GET", MANIFEST, error(429, "TOOMANYREQUESTS", **limits))
    began = trio.current_time()
    with pytest.raises(RegistryError, match=r"toomanyrequests$") as caught:
        await get(client)
    assert trio.current_time() - began <= 300
    assert (caught.value.code, caught.value.http_status, caught.value.retry_after) == ("retryable", 429, 50)
    assert caught.value.rate_limits == {
        "ratelimit-limit": "100;w=21600",
        "ratelimit-remaining": "0;w=21600",
    }
    assert len(fake.asked("GET", MANIFEST)) == 5


# --- many clients ---------------------------------------------------------------------------------------


async def _all_at_once(clients: list[RegistryClient]) -> Counter[str]:
    ends: Counter[str] = Counter()

    async def one(client: RegistryClient) -> None:
        try:
            await get(client)
            ends["whole"] += 1
        except WherryError as failed:
            ends[f"{failed.http_status} {failed.code}"] += 1

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(one, client)
    return ends


def crowd(registries: Registries, fake: FakeRegistry, size: int) -> list[RegistryClient]:
    """Clients of different users: they share nothing but the registry."""
    return [
        registries.client(
            fake.name, ImageAccess(tls_verify=False, credentials=Credentials(f"user{number}", "password"))
        )
        for number in range(size)
    ]


@pytest.mark.parametrize("status", [429, 503])
async def test_r38_many_clients_do_not_multiply(
    fake: FakeRegistry, registries: Registries, patient: trio.testing.MockClock, status: int
) -> None:
    """Each asks once before it knows; after that the registry's failures count, not the clients."""
    clients = crowd(registries, fake, 40)
    for client in clients:
        await client.ping()
    fake.on("GET", MANIFEST, Reply(status))
    began = trio.current_time()
    assert await _all_at_once(clients) == Counter({f"{status} retryable": 40})
    assert trio.current_time() - began <= 310
    assert len(fake.asked("GET", MANIFEST)) <= 40 + OPENS_AFTER * RULES.throttled


async def test_a_storm_that_ends(
    fake: FakeRegistry, registries: Registries, patient: trio.testing.MockClock
) -> None:
    """F-10: all get what they want, one after the other."""
    clients = crowd(registries, fake, 30)
    for client in clients:
        await client.ping()
    fake.on("GET", MANIFEST, *[Reply(429, {"Retry-After": "5"})] * 32, GOOD)
    assert await _all_at_once(clients) == Counter({"whole": 30})
    assert len(fake.asked("GET", MANIFEST)) == 62


async def test_one_request_for_a_token_in_a_storm(
    fake: FakeRegistry, client: RegistryClient, patient: trio.testing.MockClock
) -> None:
    """F-10: all tokens expire at once, in the middle of it all."""
    bearer_challenge(fake)
    fake.on("GET", "/token", *[Reply(body=b'{"token":"%d"}' % number) for number in range(9)])

    def judge(seen: Seen) -> Reply:
        return GOOD if seen.header("Authorization") == "Bearer 1" else Reply(401)

    fake.on("GET", MANIFEST, judge)
    assert await _all_at_once([client] * 20) == Counter({"whole": 20})
    assert len(fake.asked("GET", "/token")) == 2


async def test_a_breaker_closes_again(autojump_clock: trio.testing.MockClock) -> None:
    breaker, calls = Breaker("r"), []
    persistence = Persistence(RULES, breaker, lambda _: None)

    async def answer(failure: WherryError | None) -> str:
        calls.append(trio.current_time())
        if failure is not None:
            raise failure
        return "yes"

    once_only = Retries(failed=0, throttled=0, unreachable=0)
    for number in range(OPENS_AFTER):
        assert not breaker.is_open, number
        with pytest.raises(RegistryError, match=r"^busy$"):
            await persistence.run(partial(answer, BUSY), Budget(once_only))
    assert breaker.is_open
    began = trio.current_time()
    assert await persistence.run(partial(answer, None), Budget(RULES)) == "yes"
    assert trio.current_time() - began == pytest.approx(0.5)
    for _ in range(20):
        await persistence.run(partial(answer, None), Budget(RULES))
    assert not breaker.is_open
    assert trio.current_time() - began == pytest.approx(0.5)


async def test_an_operation_of_several_has_one_turn(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("r")
    persistence = Persistence(RULES, breaker, lambda _: None)
    for _ in range(OPENS_AFTER):
        breaker.failed(BUSY, None)

    async def inner() -> str:
        await trio.sleep(1)
        return "yes"

    async def outer() -> str:
        return await persistence.run(inner, Budget(RULES))

    assert breaker.is_open
    with trio.fail_after(30):
        assert await persistence.run(outer, Budget(RULES)) == "yes"


async def test_a_no_is_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    """One image that does not exist, asked for by many, says nothing of the registry."""
    breaker = Breaker("r")
    persistence = Persistence(RULES, breaker, lambda _: None)

    async def no() -> None:
        raise NotFoundError("manifest unknown", http_status=404)

    for _ in range(3 * OPENS_AFTER):
        with pytest.raises(NotFoundError, match="manifest unknown"):
            await persistence.run(no, Budget(RULES))
    assert not breaker.is_open


async def test_who_has_another_way_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("r")
    persistence = Persistence(RULES, breaker, lambda _: None)
    breaker.failed(asked_to_wait(50), 50)

    async def answer() -> str:
        return "yes"

    began = trio.current_time()
    with pytest.raises(GivenUpError, match=r"^registry r keeps failing: slow down$") as caught:
        await persistence.run(answer, one_try())
    assert (caught.value.code, caught.value.retry_after) == ("retryable", 50)
    assert trio.current_time() == began
    await trio.sleep(51)
    assert await persistence.run(answer, one_try()) == "yes"


async def test_a_breaker_forgets(autojump_clock: trio.testing.MockClock) -> None:
    breaker = Breaker("r")
    for _ in range(OPENS_AFTER):
        breaker.failed(BUSY, None)
    assert breaker.is_open
    await trio.sleep(70)
    assert not breaker.is_open


# --- what else an answer tells -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ('299 - "You pull too much"', '"You pull too much"'),
        (r'299 - "say \"hello\" \\ bye"', r'"say \"hello\" \\ bye"'),
        ('299 - "tab\there"', r'"tab\\x09here"'),
        ('299 - "\u202egnol os"'.encode().decode("latin-1"), '"\ufffdgnol os"'),
        ('299 - "see https://x/y?X-Amz-Signature=abc"', '"see https://x/y?…"'),
        ('299 - "\x1b[31mred"', None),
        ('299 - "torn', None),
        ('299 - "a" "Sun, 06 Nov 1994 08:49:37 GMT"', None),
        ('199 - "misc"', None),
        ('299 host "named"', None),
        ('299 - ""', None),
    ],
)
async def test_r74_warnings_of_the_registry(
    fake: FakeRegistry, client: RegistryClient, warned: list[str], header: str, text: str | None
) -> None:
    fake.on("GET", MANIFEST, Reply(200, {**GOOD.headers, "Warning": header}, b"{}"))  # type: ignore[dict-item]
    for _ in range(2):  # once per text
        await get(client)
    where = f'Warning from registry (first encountered at "{fake.url}{MANIFEST}"): '
    assert warned == ([] if text is None else [where + text])


async def test_warnings_of_others_are_not_the_registry_s(
    fake: FakeRegistry, other: FakeRegistry, client: RegistryClient, warned: list[str]
) -> None:
    fake.on("GET", MANIFEST, Reply(307, {"Location": f"{other.url}/m"}))
    other.on("GET", "/m", Reply(headers={"Warning": '299 - "buy more"'}, body=b"{}"))
    await get(client)
    assert not warned


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("go to https://s3/b?X-Amz-Signature=5ecret now", "go to https://s3/b?… now"),
        ("https://bob:5ecret@host/p", "https://…@host/p"),
        ("got Authorization: Bearer 5ecret.5ecret", "got Authorization: Bearer …"),
        ("got Basic NWVjcmV0NWVjcmV0", "got Basic …"),
        ("see https://docs/errors for more", "see https://docs/errors for more"),
    ],
)
async def test_r75_c10_errors_do_not_echo_secrets(
    fake: FakeRegistry, client: RegistryClient, said: str, shown: str
) -> None:
    fake.on("GET", MANIFEST, error(403, "DENIED", said))
    with pytest.raises(AuthError, match="denied: ") as caught:
        await get(client)
    assert str(caught.value).endswith(f"denied: {shown}")


async def test_a_redirect_s_signature_is_in_no_error(
    fake: FakeRegistry, other: FakeRegistry, client: RegistryClient, warned: list[str]
) -> None:
    fake.on("GET", MANIFEST, Reply(307, {"Location": f"{other.url}/m?sig=5ecret"}))
    other.on("GET", "/m", Reply(raw=b"", end="close"), Reply(403))
    with pytest.raises(AuthError, match="StatusCode: 403"):
        await get(client)
    assert len(warned) == 1
    assert not any("5ecret" in text for text in warned)
