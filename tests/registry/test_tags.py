"""Tag lists, page by page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.fakes.registry import FakeRegistry, Reply
from wherry.errors import CorruptError, LimitError, NotFoundError, RegistryError, WherryError
from wherry.model.name import Named
from wherry.protocol.options import ImageAccess
from wherry.registry.client import Registries, RegistryClient
from wherry.registry.tags import PAGES_LIMIT, TAG_LIMIT, list_tags, tag_pages
from wherry.system import System

LIST = "/v2/x/tags/list"


@pytest.fixture
async def client(fake: FakeRegistry, system: System) -> AsyncIterator[RegistryClient]:
    async with Registries(system) as registries:
        yield registries.client(fake.name, ImageAccess(tls_verify=False))


def page(*tags: str | None, link: str = "") -> Reply:
    headers = {"Link": f'<{link}>; rel="next"'} if link else {}
    return Reply(headers=headers, body=json.dumps({"name": "x", "tags": tags}).encode())


async def tags_of(client: RegistryClient) -> list[str]:
    return await list_tags(client, Named(client.registry, "x"))


async def test_pages_in_the_server_s_order(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on(
        "GET",
        LIST,
        page("b", "a", link=f"{LIST}?last=a&n=2"),
        page("d", "c", link=f"{fake.url}{LIST}?last=c"),
        page("e"),
    )
    assert await tags_of(client) == ["b", "a", "d", "c", "e"]
    assert [seen.target for seen in fake.asked("GET", LIST)] == [LIST, f"{LIST}?last=a&n=2", f"{LIST}?last=c"]


@pytest.mark.parametrize("body", [b"{}", b'{"tags":null}', b'{"tags":[]}'])
async def test_a_repository_without_tags(fake: FakeRegistry, client: RegistryClient, body: bytes) -> None:
    fake.on("GET", LIST, Reply(body=body))
    assert await tags_of(client) == []


@pytest.mark.parametrize("cycle", [1, 3])
async def test_r33_links_in_a_circle(fake: FakeRegistry, client: RegistryClient, cycle: int) -> None:
    pages = [page(f"t{at}", link=f"{LIST}?at={(at + 1) % cycle}") for at in range(cycle)]
    fake.on("GET", LIST, *pages, *pages, *pages)
    assert await tags_of(client) == [f"t{at}" for at in range(cycle)]
    assert len(fake.asked("GET", LIST)) <= cycle + 1


async def test_r33_pages_without_a_new_tag(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on("GET", LIST, *[page("a", link=f"{LIST}?at={at}") for at in range(50)])
    assert await tags_of(client) == ["a"]
    assert len(fake.asked("GET", LIST)) == 2


async def test_r33_pages_that_come_again_under_new_links(fake: FakeRegistry, client: RegistryClient) -> None:
    """What is remembered of a page is small, but it is enough."""
    fake.on("GET", LIST, *[page(f"t{at % 3}", link=f"{LIST}?at={at}") for at in range(50)])
    assert [found async for found in tag_pages(client, Named(fake.name, "x"))] == [["t0"], ["t1"], ["t2"]]
    assert len(fake.asked("GET", LIST)) == 4


async def test_r36_duplicates(fake: FakeRegistry, client: RegistryClient) -> None:
    """Of the tags that a page and the one before share none comes twice; of all pages together, in a list."""
    answers = (
        page("a", "b", "b", link=f"{LIST}?at=1"),
        page("b", "c", link=f"{LIST}?at=2"),
        page("d", "a"),
    )
    fake.on("GET", LIST, *answers, *answers)
    pages = [found async for found in tag_pages(client, Named(fake.name, "x"))]
    assert pages == [["a", "b"], ["c"], ["d", "a"]]
    assert await tags_of(client) == ["a", "b", "c", "d"]


async def test_r34_a_link_to_another_host(
    fake: FakeRegistry, other: FakeRegistry, client: RegistryClient
) -> None:
    fake.on("GET", LIST, page("a", link=f"{other.url}{LIST}?last=a"), page("b"))
    warnings: list[str] = []
    assert await list_tags(client, Named(fake.name, "x"), warnings.append) == ["a", "b"]
    assert warnings == [f"the tag list of {fake.name} links to {other.name}, which is not followed there"]
    assert not other.seen


@pytest.mark.parametrize("link", ["/elsewhere", "javascript:1", "http://u@h/v2/"])
async def test_a_link_that_leads_out(fake: FakeRegistry, client: RegistryClient, link: str) -> None:
    fake.on("GET", LIST, page("a", link=link))
    with pytest.raises(RegistryError, match="Link"):
        await tags_of(client)


@pytest.mark.parametrize(
    ("tag", "kept"),
    [
        ("", False),
        (None, False),
        ("sha256:" + "a" * 64, False),
        ("v1.0_x-y", True),
        ("a" * 128, True),
    ],
)
async def test_r36_tags_that_are_left_out(
    fake: FakeRegistry, client: RegistryClient, tag: str | None, kept: bool
) -> None:
    fake.on("GET", LIST, page("a", tag, "b", "a"))
    assert await tags_of(client) == (["a", tag, "b"] if kept else ["a", "b"])


@pytest.mark.parametrize("tag", ["../x", "a" * 129, "\u202ea", "a b", ".a", "-a", "sha256:abc", "a\n"])
async def test_r36_tags_that_fail_the_list(fake: FakeRegistry, client: RegistryClient, tag: str) -> None:
    fake.on("GET", LIST, page("a", tag))
    with pytest.raises(
        RegistryError, match=r"registry returned invalid tag .*: invalid tag format"
    ) as caught:
        await tags_of(client)
    assert tag not in str(caught.value) or tag.isprintable()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"tags":"a"}', CorruptError),
        (b'{"tags":[1]}', CorruptError),
        (b'{"tags":["a"],"tags":["b"]}', CorruptError),
        (b'{"tags":["a"', CorruptError),
        (b"[" * 1000, LimitError),
        (b" " * (16 << 20) + b"{}", LimitError),
    ],
)
async def test_r32_pages_that_are_none(
    fake: FakeRegistry, client: RegistryClient, body: bytes, kind: type[WherryError]
) -> None:
    fake.on("GET", LIST, Reply(body=body), Reply(body=b" " * ((16 << 20) - 14) + b'{"tags":["a"]}'))
    with pytest.raises(kind, match=r"^decoding tag list response: "):
        await tags_of(client)
    assert await tags_of(client) == ["a"]


async def test_r32_more_tags_than_anybody_has(fake: FakeRegistry, client: RegistryClient) -> None:
    assert (TAG_LIMIT, PAGES_LIMIT) == (10_000_000, 10_000)
    pages = page("a", "b", "a", link=f"{LIST}?last=b"), page("a", "c")
    fake.on("GET", LIST, *pages, *pages)
    name = Named(client.registry, "x")
    assert await list_tags(client, name, most_tags=3) == ["a", "b", "c"]
    with pytest.raises(LimitError, match="the tag list is longer than 2 tags"):
        await list_tags(client, name, most_tags=2)


async def test_r32_a_page_that_never_ends(fake: FakeRegistry, client: RegistryClient) -> None:
    """Chunk after chunk: what is read has a limit, whatever was announced."""
    endless = b'{"tags":[' + b'"a",' * 5_000_000
    fake.on("GET", LIST, Reply(body=endless, framing="chunked", length=0, end="hang"))
    with pytest.raises(LimitError, match="exceeded maximum allowed size of 16777216 bytes"):
        await tags_of(client)


async def test_r33_more_pages_than_anybody_needs(fake: FakeRegistry, client: RegistryClient) -> None:
    fake.on("GET", LIST, *[page(f"t{at}", link=f"{LIST}?at={at}") for at in range(10)], page("end"))
    name = Named(client.registry, "x")
    with pytest.raises(LimitError, match=r"has more than 3 pages$"):
        await list_tags(client, name, most_pages=3)
    assert len(fake.asked("GET", LIST)) == 3


async def test_a_page_that_is_torn_is_asked_for_again(fake: FakeRegistry, client: RegistryClient) -> None:
    """And the pages before it are not."""
    torn = Reply(body=b'{"tags":["b"', length=100, end="close")
    fake.on("GET", LIST, page("a", link=f"{LIST}?last=a"), torn, Reply(502), page("b"))
    assert await tags_of(client) == ["a", "b"]
    assert [seen.target for seen in fake.asked("GET", LIST)] == [LIST, *[f"{LIST}?last=a"] * 3]


async def test_no_such_repository(fake: FakeRegistry, client: RegistryClient) -> None:
    with pytest.raises(NotFoundError, match=r"^fetching tags list: name unknown$"):
        await tags_of(client)
