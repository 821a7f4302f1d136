"""Deleting an image, or one tag of it (skopeo-delete(1))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry import transports
from wherry.errors import InvalidError, context
from wherry.interfaces import Deletable, DeletesTags
from wherry.protocol.messages import DeleteResult

if TYPE_CHECKING:
    from wherry.protocol.messages import DeleteOptions
    from wherry.system import System


async def delete(text: str, system: System, options: DeleteOptions) -> DeleteResult:
    """Delete an image; the policy is not asked.

    Raises InvalidError for an image that can't be deleted (`Deleting images not implemented for dir: images`)
    and what the transport's own `delete` raises.
    """
    with context(f"Invalid source name {text}"):
        reference = transports.parse(text, system)
    if options.tag_only:
        if not isinstance(reference, DeletesTags):
            raise InvalidError(f"{reference.transport}: images have no tags that could be deleted alone")
        return DeleteResult(await reference.delete_tag(system, options.access))
    if not isinstance(reference, Deletable):
        # An archive of a layout speaks of itself as one (M7).
        named = "oci" if reference.transport == "oci-archive" else reference.transport
        raise InvalidError(f"Deleting images not implemented for {named}: images")
    return DeleteResult(await reference.delete(system, options.access))
