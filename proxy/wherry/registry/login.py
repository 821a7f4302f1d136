"""Whether a registry takes a user's credentials (what skopeo login asks)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from wherry.config.access import configured_registry
from wherry.registry.client import sharing
from wherry.registry.errors import read_error

if TYPE_CHECKING:
    from wherry.protocol.options import Credentials, ImageAccess
    from wherry.system import System


async def check_login(registry: str, credentials: Credentials, access: ImageAccess, system: System) -> None:
    """GET /v2/ of a registry (`host[:port]`) as the user of `credentials`; nothing else of `access` but its
    TLS settings counts.

    Raises AuthError with `http_status` 401 where the registry or its token server refuses them, and what
    reaching it raises.
    """
    access = configured_registry(registry, access, system)
    access = structs.replace(access, credentials=credentials, anonymous=False, authfile=None)
    async with (
        sharing(system) as registries,
        registries.client(registry, access).request("GET", "", ()) as answer,
    ):
        if answer.exchange.status != 200:
            raise await read_error(answer.exchange)
