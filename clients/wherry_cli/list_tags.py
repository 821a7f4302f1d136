"""`wherry list-tags REPOSITORY`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidError
from wherry.model import gojson

if TYPE_CHECKING:
    from wherry.protocol.messages import TagsResult
    from wherry_cli.call import Call
    from wherry_client import AsyncClient


def run(call: Call) -> int:
    """Print the repository's name and its tags, in the order of the server, as JSON."""
    if len(call.arguments) != 1:
        call.write_usage()
        raise InvalidError("Exactly one non-option argument expected")
    from wherry.protocol.messages import TagsOptions
    from wherry_cli.access import image_access
    from wherry_cli.request import ask

    options = TagsOptions(access=image_access(call))
    call.refuse_unbuilt()

    async def question(client: AsyncClient) -> TagsResult:
        return await client.list_tags(call.arguments[0], options)

    result = ask(call, question)
    document = {"Repository": result.repository} if result.repository else {}
    call.write(gojson.dumps_indent({**document, "Tags": result.tags}) + "\n")
    return 0
