"""The tags of a repository (distribution-spec, section Listing Tags), page by page."""

from __future__ import annotations

import hashlib
import re
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.errors import CorruptError, InvalidError, LimitError, RegistryError, context
from wherry.model import digest as digests
from wherry.model import strictjson
from wherry.model.goquote import quote
from wherry.registry import origin
from wherry.registry.client import RegistryClient, scope
from wherry.registry.errors import read_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from wherry.model.name import Named
    from wherry.registry.engine import Exchange

PAGE_LIMIT: Final = 16 * 1024 * 1024
TAG_LIMIT: Final = 10_000_000
PAGES_LIMIT: Final = 10_000
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


async def list_tags(
    client: RegistryClient,
    name: Named,
    warn: Callable[[str], None] = lambda _: None,
    *,
    most_tags: int = TAG_LIMIT,
    most_pages: int = PAGES_LIMIT,
) -> list[str]:
    """All tags, each once, as `tag_pages` gives and raises."""
    tags: dict[str, None] = {}
    async for page in tag_pages(client, name, warn, most_tags=most_tags, most_pages=most_pages):
        tags.update(dict.fromkeys(page))
    return list(tags)


async def tag_pages(
    client: RegistryClient,
    name: Named,
    warn: Callable[[str], None] = lambda _: None,
    *,
    most_tags: int = TAG_LIMIT,
    most_pages: int = PAGES_LIMIT,
) -> AsyncGenerator[list[str], None]:
    """The tags in the registry's order, a page at a time; `warn` is told of a Link that leads elsewhere.

    Empty tags and digests among them are left out, as in skopeo, and tags that stand on the same page or the
    one before already: what is kept does not grow with the number of tags. Raises RegistryError for other
    tags that are none, LimitError, NotFoundError, AuthError, NetworkError, StalledError.
    """
    path: str | None = f"{name.path}/tags/list"
    seen: set[bytes] = set()
    last: dict[str, None] = {}
    count = pages = 0
    budget = client.budget()
    while path is not None and _is_new(path, seen):
        if pages >= most_pages:
            raise LimitError(f"the tag list of {name.name} has more than {most_pages} pages")
        pages += 1
        found, path = await client.persist(partial(_page, client, name, path, warn), budget)
        budget.renew()
        tags = dict.fromkeys(tag for tag in found if _is_tag(tag))
        new = [tag for tag in tags if tag not in last]
        # A page without a new tag ends the list: some registries link to the same pages for ever.
        if not new or not _is_new(" ".join(tags), seen):
            return
        count += len(new)
        if count > most_tags:
            raise LimitError(f"the tag list is longer than {most_tags} tags")
        last = tags
        yield new


def _is_new(text: str, seen: set[bytes]) -> bool:
    """Whether `text` comes for the first time; `seen` keeps digests, which are small whatever it is."""
    digest = hashlib.sha256(text.encode()).digest()
    known = digest in seen
    seen.add(digest)
    return not known


async def _page(
    client: RegistryClient, name: Named, path: str, warn: Callable[[str], None]
) -> tuple[list[str], str | None]:
    """What stands on one page; and the next page's path below /v2/, None where there is none."""
    async with AsyncExitStack() as stack:
        with context("getting repository tags"):
            answer = await stack.enter_async_context(client.request("GET", path, (scope(name.path, "pull"),)))
        if answer.exchange.status != 200:
            with context("fetching tags list"):
                raise await read_error(answer.exchange)
        with context("decoding tag list response"):
            found = _parse_page(await answer.read(PAGE_LIMIT))
        return found, _next(answer.exchange, warn)


def _parse_page(body: bytes) -> list[str]:
    """The tags of a page; "" stands for null, which some registries send."""
    value = strictjson.loads(body, limit=PAGE_LIMIT, what="tag list")
    found = value.get("tags") if isinstance(value, dict) else None
    if found is None:
        return []
    if not isinstance(found, list) or not all(tag is None or isinstance(tag, str) for tag in found):
        raise CorruptError("tag list is not a list of strings")
    return [tag or "" for tag in found]


def _is_tag(tag: str) -> bool:
    """Whether a tag counts. Raises RegistryError for one that no registry should have."""
    if _TAG.fullmatch(tag):
        return True
    if not tag or _is_digest(tag):
        return False
    raise RegistryError(f"registry returned invalid tag {quote(tag[:200])}: invalid tag format")


def _is_digest(tag: str) -> bool:
    try:
        digests.parse(tag)
    except InvalidError:
        return False
    return True


def _next(exchange: Exchange, warn: Callable[[str], None]) -> str | None:
    """The path and query of a Link header; its host does not matter (R-34)."""
    link = exchange.header("Link")
    if not link:
        return None
    here = exchange.request.url
    target = origin.parse(link.partition(";")[0].strip().strip("<>"), base=here, what="Link")
    if target.origin != here.origin:
        warn(f"the tag list of {here.authority} links to {target.authority}, which is not followed there")
    if not target.target.startswith("/v2/"):
        raise RegistryError(f"Link {quote(target.shown)} leads out of the registry's API")
    return target.target.removeprefix("/v2/")
