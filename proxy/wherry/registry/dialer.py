"""How an engine gets its connections: directly or through a proxy, with the TLS contexts that it keeps."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.config.proxies import Proxies
from wherry.registry.dial import Names, NothingCommonError, dial

if TYPE_CHECKING:
    import ssl

    from wherry.registry.dial import Connection, Guard, Limits
    from wherry.registry.origin import Origin
    from wherry.registry.tls import TlsSettings

CONTEXT_LIMIT: Final = 64


class Dialer:
    """Dials for one engine; `proxies` say what goes through one."""

    def __init__(self, limits: Limits, names: Names | None = None, proxies: Proxies | None = None) -> None:
        self._limits = limits
        self._names = names or Names()
        self._proxies = proxies or Proxies()
        self._contexts: dict[str, tuple[ssl.SSLContext, ...]] = {}

    async def connection(
        self, origin: Origin, tls: TlsSettings, fingerprint: str, guard: Guard | None
    ) -> Connection:
        """A new connection to an origin; `fingerprint` is that of `tls`.

        Raises as dial.dial and tunnel.dial_through, and what making a TLS context or finding a proxy raises.
        """
        if origin.scheme != "https":
            return await self._dial(origin, None, guard)
        *others, last = self._contexts_of(tls, fingerprint)
        for context in others:
            with suppress(NothingCommonError):
                return await self._dial(origin, context, guard)
        return await self._dial(origin, last, guard)

    def _contexts_of(self, tls: TlsSettings, fingerprint: str) -> tuple[ssl.SSLContext, ...]:
        contexts = self._contexts.get(fingerprint)
        if contexts is None:
            if len(self._contexts) >= CONTEXT_LIMIT:
                self._contexts.clear()
            contexts = self._contexts[fingerprint] = tls.contexts()
        return contexts

    async def _dial(self, origin: Origin, tls: ssl.SSLContext | None, guard: Guard | None) -> Connection:
        proxy = self._proxies.find(*origin)
        if proxy is None:
            return await dial(origin, tls, self._limits, guard, self._names)
        from wherry.registry.tunnel import dial_through

        return await dial_through(proxy, origin, tls, self._limits, guard, self._names)
