"""`wherry list-tags REPOSITORY`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from wherry.errors import InvalidError, WherryError
from wherry.model import gojson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry_cli.call import Call
    from wherry_client import AsyncClient


def run(call: Call) -> int:
    """Print the repository's name and its tags, in the order of the server, as JSON, as they come."""
    if len(call.arguments) != 1:
        call.write_usage()
        raise InvalidError("Exactly one non-option argument expected")
    from wherry.protocol.messages import TagsOptions
    from wherry_cli.access import image_access
    from wherry_cli.request import ask

    options = TagsOptions(access=image_access(call))
    call.refuse_unbuilt()

    async def question(client: AsyncClient) -> None:
        async with client.tags(call.arguments[0], options) as (repository, pages):
            printed = _Document(call, repository)
            try:
                async for page in pages:
                    await printed.add(page)
            except WherryError as error:
                # What was printed can't be taken back: no second try may print it again.
                error.retryable = error.retryable and not printed.begun
                raise
            await printed.end()

    ask(call, question)
    return 0


class _Document:
    """skopeo's JSON document, written piece by piece."""

    def __init__(self, call: Call, repository: str) -> None:
        self._call = call
        self._head = "{\n" + (f'    "Repository": {gojson.quote(repository)},\n' if repository else "")
        self.begun = False

    async def add(self, tags: Sequence[str]) -> None:
        """Write some tags."""
        listed = ",".join(f"\n        {gojson.quote(tag)}" for tag in tags)
        if listed:
            await self._write("," + listed if self.begun else f'{self._head}    "Tags": [{listed}')
            self.begun = True

    async def end(self) -> None:
        """Write what follows the last tag."""
        await self._write("\n    ]\n}\n" if self.begun else f'{self._head}    "Tags": []\n}}\n')

    async def _write(self, text: str) -> None:
        """In a thread: who reads may be slow, and signals and time limits count meanwhile."""
        await trio.to_thread.run_sync(self._call.write, text, abandon_on_cancel=True)
