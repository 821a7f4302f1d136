"""The tags of a repository (skopeo-list-tags(1))."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from wherry import transports
from wherry.errors import InvalidError, context
from wherry.interfaces import ListsTags
from wherry.model import name
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from wherry.protocol.options import ImageAccess
    from wherry.system import System


@asynccontextmanager
async def listed_tags(
    text: str, system: System, access: ImageAccess
) -> AsyncIterator[tuple[str, AsyncIterator[Sequence[str]]]]:
    """List the tags of `docker://REPOSITORY`: its name, and the tags as they come, some at a time.

    Raises InvalidError for a name that has a tag or digest, or whose transport has no tags.
    """
    transport, colon, _ = text.partition(":")
    if not colon:
        raise InvalidError(f"Invalid {quote(text)}: does not specify a transport")
    if transport not in transports.KNOWN_NAMES:
        raise InvalidError(f"Invalid {quote(text)}: does not specify a transport")
    if transport not in _LISTED:
        raise InvalidError(
            f"Unsupported transport '{transport}' for tag listing. Only supported: docker, docker-archive"
        )
    if transport == "docker":
        _check_repository(text)
    reference = transports.parse(text, system)
    if not isinstance(reference, ListsTags):
        raise InvalidError(f"the transport {transport} can't list tags")
    repository = name.parse_normalized(reference.docker_reference()).name
    async with AsyncExitStack() as stack:
        with context(_LISTING):
            pages = await stack.enter_async_context(reference.tag_pages(system, access))
        yield repository, _told(pages)


async def _told(pages: AsyncIterator[Sequence[str]]) -> AsyncIterator[Sequence[str]]:
    while True:
        with context(_LISTING):
            page = await anext(pages, None)
        if page is None:
            return
        yield page


_LISTED = ("docker", "docker-archive")
_LISTING = "Error listing repository tags"


def _check_repository(text: str) -> None:
    if not text.startswith("docker://"):
        raise InvalidError(f"docker: image reference {text} does not start with docker://")
    named = name.parse_normalized(text.removeprefix("docker://"))
    if not named.is_name_only:
        raise InvalidError("No tag or digest allowed in reference")
