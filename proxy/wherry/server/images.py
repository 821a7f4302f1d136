"""The open images of a connection, by handle.

Each image is held by a task of its own, which entered its source and leaves it: sources may have nurseries
inside, and those must be left by the task that entered them, whatever the order of CloseImage.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio
from msgspec import Struct

from wherry.errors import InvalidError, LimitError
from wherry.image.open import PolicyTrust, open_image
from wherry.policy import Policy
from wherry.protocol.legacy import MAX_SAFE_INTEGER
from wherry.server.bugs import told
from wherry.server.settings import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.image.open import Image
    from wherry.interfaces import Reference
    from wherry.protocol.options import ImageAccess, PlatformChoice
    from wherry.server.settings import Log
    from wherry.system import System


class PolicyCheck(Struct, frozen=True):
    """The trust policy that an image must pass, and whether a signature is required whatever it says."""

    policy: Policy
    require_signed: bool


class HeldImage:
    """An open image, its users, and whether CloseImage has come."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.number = 0
        self._users = 0
        self._closed = False
        self._released = trio.Event()

    @contextmanager
    def in_use(self) -> Iterator[Image]:
        """Keep the source open for the block: a blob runs to its end after CloseImage."""
        self._users += 1
        try:
            yield self.image
        finally:
            self._users -= 1
            self._release()

    def close(self) -> None:
        """Let the source be left once nobody uses it."""
        self._closed = True
        self._release()

    def _release(self) -> None:
        if self._closed and self._users == 0:
            self._released.set()

    async def released(self) -> None:
        await self._released.wait()


class ImageTable:
    """Handles: from 1, never reused, up to 2^53-1, so that every JSON reader takes them."""

    def __init__(
        self, nursery: trio.Nursery, system: System, limit: int, first: int = 1, log: Log = silent
    ) -> None:
        self._log = log
        self._nursery = nursery
        self._system = system
        self._limit = limit
        self._next = first
        self._held: dict[int, HeldImage] = {}

    async def open(
        self, reference: Reference, access: ImageAccess, platform: PlatformChoice, policy: PolicyCheck
    ) -> int:
        """Open an image and give it a handle. Raises what opening raises; then nothing is left open."""
        if len(self._held) >= self._limit:
            raise LimitError(f"{self._limit} images are open on this connection, which is the limit")
        if self._next > MAX_SAFE_INTEGER:
            raise LimitError(f"the handles of this connection are used up at {MAX_SAFE_INTEGER}")
        held: HeldImage = await self._nursery.start(self._hold, reference, access, platform, policy)
        held.number = self._next
        self._next += 1
        self._held[held.number] = held
        return held.number

    async def _hold(
        self,
        reference: Reference,
        access: ImageAccess,
        platform: PlatformChoice,
        policy: PolicyCheck,
        *,
        task_status: trio.TaskStatus[HeldImage],
    ) -> None:
        held = None
        try:
            async with reference.source(self._system, access) as source:
                trust = PolicyTrust(policy.policy, policy.require_signed, reference, source)
                held = HeldImage(await open_image(source, self._system, platform, trust))
                task_status.started(held)
                await held.released()
        except Exception as bug:
            if held is None:
                raise  # The request's own error; later there is no request any more.
            told(self._log, "CloseImage", bug)

    def get(self, handle: int) -> HeldImage:
        held = self._held.get(handle)
        if held is None:
            raise InvalidError(f"no image {handle}")
        return held

    def close(self, handle: int) -> None:
        self.get(handle).close()
        del self._held[handle]

    def close_all(self) -> None:
        """No request can come any more: release what no transfer uses."""
        for held in self._held.values():
            held.close()
        self._held.clear()
