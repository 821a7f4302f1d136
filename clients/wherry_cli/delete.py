"""`wherry delete IMAGE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import InvalidError

if TYPE_CHECKING:
    from wherry.protocol.messages import DeleteResult
    from wherry_cli.call import Call
    from wherry_client import AsyncClient


def run(call: Call) -> int:
    """Delete an image, or with --tag-only a tag of it; nothing is printed."""
    if len(call.arguments) != 1:
        call.write_usage()
        raise InvalidError("Usage: delete imageReference")
    from wherry.protocol.messages import DeleteOptions
    from wherry_cli.access import image_access
    from wherry_cli.request import ask

    options = DeleteOptions(access=image_access(call), tag_only=call.given.on("tag-only"))
    call.refuse_unbuilt()

    async def question(client: AsyncClient) -> DeleteResult:
        return await client.delete(call.arguments[0], options)

    ask(call, question)
    return 0
