"""What a connection has and does: images, pipes, transfers, policy. Its two faces, legacy and extended,
call it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from wherry import transports
from wherry.errors import InvalidError
from wherry.policy import load_policy
from wherry.server.images import ImageTable, PolicyCheck
from wherry.server.pipes import PipeTable
from wherry.server.transfers import Transfers

if TYPE_CHECKING:
    from wherry.protocol.messages import PolicyOptions
    from wherry.protocol.options import ImageAccess, PlatformChoice
    from wherry.server.settings import ProxySettings
    from wherry.system import System


class ConnectionState:
    """Of one connection, and gone with it. `nursery` holds its images and transfers."""

    def __init__(self, nursery: trio.Nursery, system: System, settings: ProxySettings) -> None:
        self.nursery = nursery
        self.system = system
        self.settings = settings
        self.pipes = PipeTable(settings.limits.pipes)
        self.images = ImageTable(nursery, system, settings.limits.images, log=settings.log)
        self.transfers = Transfers(nursery, system, self.pipes, settings.log)
        self._policies: dict[PolicyOptions, PolicyCheck] = {}

    async def begin(self) -> None:
        """Initialize: report what the server was started with and can't be (skopeo does so here).

        Raises InvalidError for contradictory flags, PolicyError for a missing or malformed policy.
        """
        if self.settings.refuse:
            raise InvalidError(self.settings.refuse)
        await self.policy(self.settings.policy)

    async def policy(self, options: PolicyOptions) -> PolicyCheck:
        """The trust policy; read once and kept as long as the connection (skopeo: as the process)."""
        if options not in self._policies:
            # The file may be a pipe that nobody writes into: other requests and our end don't wait for that.
            load = partial(load_policy, self.system, options.path, options.insecure)
            policy = await trio.to_thread.run_sync(load, abandon_on_cancel=True)
            self._policies[options] = PolicyCheck(policy, options.require_signed)
        return self._policies[options]

    async def open(self, text: str, access: ImageAccess, platform: PlatformChoice) -> int:
        """Open an image as the policy allows; its handle."""
        reference = transports.parse(text, self.system)
        policy = await self.policy(self.settings.policy)
        return await self.images.open(reference, access, platform, policy)

    def no_more_requests(self) -> None:
        """Release what only further requests could have used; transfers run on."""
        self.images.close_all()
        self.pipes.no_more_requests()
