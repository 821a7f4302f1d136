"""Registries that a connection's images share, made with the first of them: HTTP is a slow import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from wherry.protocol.options import ImageAccess
    from wherry.registry.client import Registries, RegistryClient
    from wherry.system import System


class SharedRegistries:
    """Implements wherry.system.RegistryPool; `async with` ends its connections. For one owner alone."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._made: Registries | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        if self._made is not None:
            await self._made.__aexit__(*details)

    def registries(self) -> Registries:
        """What is shared, from now on made."""
        if self._made is None:
            from wherry.registry.client import Registries

            self._made = Registries(self._system)
        return self._made

    def client(self, registry: str, access: ImageAccess) -> RegistryClient:
        """As wherry.registry.client.Registries."""
        return self.registries().client(registry, access)
