"""The typed client of the wherry proxy: `Client` (blocking) and `AsyncClient` (trio).

    with Client.spawn() as client, client.open_image("oci:layout:tag") as image:
        for layer in image.layers():
            with image.blob(layer.digest, layer.size) as stream:
                ...

Errors are the types of `wherry.errors`; options and results are the
Structs of `wherry.protocol.messages`, and `TagsResult`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry_client._session import TagsResult
    from wherry_client._sync import BlobStream, Client, Image
    from wherry_client._trio import AsyncClient, AsyncImage

__all__ = ["AsyncClient", "AsyncImage", "BlobStream", "Client", "Image", "TagsResult"]


def __getattr__(name: str) -> object:
    # The blocking client must not cost the import of trio, nor the other way round.
    if name in ("Client", "Image", "BlobStream"):
        from wherry_client import _sync

        return getattr(_sync, name)
    if name in ("AsyncClient", "AsyncImage"):
        from wherry_client import _trio

        return getattr(_trio, name)
    if name == "TagsResult":
        from wherry_client import _session

        return _session.TagsResult
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
