"""`list-tags` of long lists: printed as they come, each page asked for once, and no more kept than a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.test_cli_run import wherry
from tests.fakes.registry import FakeRegistry, Reply, Seen
from tests.server.harness import make_system
from wherry.errors import RegistryError
from wherry.protocol.messages import TagsOptions
from wherry.protocol.options import ImageAccess
from wherry.server.embed import embedded
from wherry.server.settings import ProxySettings
from wherry_client import AsyncClient

LIST = "/v2/x/tags/list"


def serve_tags(fake: FakeRegistry, pages: int, a_page: int, bad: int | None = None) -> list[str]:
    """Serve pages of tags, one of them perhaps with what is none; returns the tags."""
    tags = [f"v{number:05}" for number in range(pages * a_page)]

    def answer(seen: Seen) -> Reply:
        page = int(seen.target.partition("?page=")[2] or 0)
        found = [*tags[page * a_page : (page + 1) * a_page], *(["a b"] if page == bad else [])]
        link = {"Link": f'<{LIST}?page={page + 1}>; rel="next"'} if page + 1 < pages else {}
        return Reply(headers=link, body=json.dumps({"name": "x", "tags": found}).encode())

    fake.on("GET", LIST, answer)
    return tags


@pytest.mark.parametrize("pages", [1, 7])
def test_many_pages_are_one_document(pages: int) -> None:
    """Byte for byte what skopeo prints (tests/cli holds its answer for one page)."""
    with FakeRegistry() as fake:
        tags = serve_tags(fake, pages, 50)
        ended = wherry("list-tags", "--tls-verify=false", f"docker://{fake.name}/x")
        document = json.dumps({"Repository": f"{fake.name}/x", "Tags": tags}, indent=4) + "\n"
        assert ended == (0, document, "")
        assert len(fake.asked("GET", LIST)) == pages


@pytest.mark.parametrize("bad", [0, 3])
def test_a_list_that_breaks_off(bad: int) -> None:
    """Nothing was printed yet, or what was printed is no whole document; the status tells in both cases."""
    with FakeRegistry() as fake:
        tags = serve_tags(fake, 5, 2, bad)
        ended = wherry("list-tags", "--tls-verify=false", "--retry-times=3", f"docker://{fake.name}/x")
        assert ended.status == 1
        assert ended.error.endswith('registry returned invalid tag "a b": invalid tag format')
        assert [tag for tag in tags if tag in ended.stdout] == tags[: bad * 2]
        assert len(fake.asked("GET", LIST)) == bad + 1
    with pytest.raises(json.JSONDecodeError, match="Expecting"):
        json.loads(ended.stdout)


async def test_tags_come_before_the_last_page_is_asked_for(tmp_path: Path) -> None:
    """A client that takes its time keeps the server from asking on: neither side holds the whole list."""
    pages, a_page = 30, 5000
    options = TagsOptions(access=ImageAccess(tls_verify=False))
    with FakeRegistry() as fake:
        tags = serve_tags(fake, pages, a_page)
        async with (
            embedded(make_system(tmp_path), ProxySettings()) as sock,
            AsyncClient.over(sock) as client,
            client.tags(f"docker://{fake.name}/x", options) as (repository, found),
        ):
            assert repository == f"{fake.name}/x"
            first = await anext(found)
            assert list(first) == tags[:a_page]
            # A pipe holds 64 KiB, a page here is 45 KB: some are on their way, most can't be.
            assert len(fake.asked("GET", LIST)) < pages // 2
            rest = [tag async for page in found for tag in page]
        assert [*first, *rest] == tags
        assert len(fake.asked("GET", LIST)) == pages


async def test_an_error_after_the_first_page(tmp_path: Path) -> None:
    options = TagsOptions(access=ImageAccess(tls_verify=False))
    with FakeRegistry() as fake:
        serve_tags(fake, 3, 2, bad=2)
        async with embedded(make_system(tmp_path), ProxySettings()) as sock, AsyncClient.over(sock) as client:
            with pytest.raises(RegistryError, match=r'invalid tag "a b": invalid tag format$'):
                await client.list_tags(f"docker://{fake.name}/x", options)
            # And the connection serves on.
            serve_tags(fake, 1, 2)
            assert (await client.list_tags(f"docker://{fake.name}/x", options)).tags == ("v00000", "v00001")
