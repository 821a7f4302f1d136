"""Moving what a plan names: layers side by side, then the configuration."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio
from msgspec import Struct

from wherry.errors import CorruptError, WherryError, context
from wherry.interfaces import TriesAgain
from wherry.model import digest as digests
from wherry.model import mediatype
from wherry.model.descriptor import Descriptor
from wherry.protocol.messages import Step
from wherry.streams.blobs import BytesBlob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wherry.copy.known import KnownBlobs
    from wherry.copy.plan import CopyPlan
    from wherry.image.open import Image
    from wherry.interfaces import Blob, ImageDestination, ImageSource, Progress, ReuseHints

    Tell = Callable[[Step], Awaitable[None]]


class Tally(Struct):
    """What moved so far: for the result."""

    copied: int = 0
    reused: int = 0
    bytes: int = 0


GRACE = 1.0  # seconds


class _Running:
    """The layers of one image in progress, and which of them failed."""

    def __init__(self) -> None:
        self._scopes: dict[int, trio.CancelScope] = {}
        self.failures: dict[int, WherryError] = {}

    def scope(self, position: int) -> trio.CancelScope:
        scope = self._scopes[position] = trio.CancelScope()
        return scope

    def failed(self, position: int, error: WherryError) -> None:
        """Stop the others: later layers now, earlier ones soon, so that the same error is told every time."""
        self.failures[position] = error
        for other, scope in self._scopes.items():
            if other > position:
                scope.cancel()
            else:
                scope.deadline = min(scope.deadline, trio.current_time() + GRACE)


class Transfer:
    """Runs plans from one source to one destination."""

    def __init__(
        self,
        source: ImageSource,
        destination: ImageDestination,
        hints: ReuseHints,
        known: KnownBlobs,
        parallel: int,
        tell: Tell,
        progress: Progress,
    ) -> None:
        self._source = source
        self._destination = destination
        self._hints = hints
        self._known = known
        self._slots = trio.CapacityLimiter(max(1, min(parallel, destination.accepts.parallel_blobs)))
        self._tell = tell
        self._progress = progress
        self.tally = Tally()

    async def layers(self, plan: CopyPlan) -> None:
        """Copy the plan's layers. A layer that occurs twice is copied once and told of twice, as skopeo does.

        Raises the error of the first layer, in the manifest's order, of those that failed.
        """
        started: set[str] = set()
        running = _Running()
        await self._known.look_up(item.blob.digest for item in plan.layers if not item.skip)
        async with trio.open_nursery() as nursery:
            for position, item in enumerate(plan.layers):
                if item.skip:
                    continue
                # Taken here, so that layers start, and are told of, in the manifest's order.
                token = object()
                await self._slots.acquire_on_behalf_of(token)
                if running.failures:
                    self._slots.release_on_behalf_of(token)
                    break
                await self._tell(Step("blob", item.blob.digest, total=item.blob.size))
                if item.blob.digest in started:
                    self._slots.release_on_behalf_of(token)
                    continue
                started.add(item.blob.digest)
                nursery.start_soon(self._layer, item.blob, token, position, running)
        if running.failures:
            raise running.failures[min(running.failures)]

    async def _layer(self, layer: Descriptor, token: object, position: int, running: _Running) -> None:
        try:
            with running.scope(position):
                await self._blob(layer)
        except WherryError as error:
            running.failed(position, error)
        finally:
            self._slots.release_on_behalf_of(token)

    async def _blob(self, wanted: Descriptor) -> None:
        with context(f"trying to reuse blob {wanted.digest} at destination"):
            found = await self._reuse(wanted)
        if found:
            return

        async def read_and_write() -> Descriptor:
            async with AsyncExitStack() as stack:
                with context(f"reading blob {wanted.digest}"):
                    blob = await stack.enter_async_context(self._source.blob(wanted))
                with context("writing blob"):
                    return await self._put(blob, wanted)

        stored = await self._persist(read_and_write, wanted)
        if stored is not None:
            self._known.was_read(wanted)
            self._known.is_there(stored.digest)
            self.tally.copied += 1
            self.tally.bytes += stored.size

    async def _persist(
        self, send: Callable[[], Awaitable[Descriptor]], wanted: Descriptor
    ) -> Descriptor | None:
        """What `send` stored, after as many tries as the destination has a use for; None where it turns out
        to be there: the answer to the last try was lost."""
        destination = self._destination
        pause = destination.another_try(wanted) if isinstance(destination, TriesAgain) else None
        while True:
            try:
                return await send()
            except WherryError as error:
                seconds = None if pause is None else pause(error)
                if seconds is None:
                    raise
            await trio.sleep(seconds)
            if await self._reuse(wanted):
                return None

    async def _reuse(self, wanted: Descriptor) -> bool:
        hints = self._known.hints(wanted.digest, self._hints)
        found = await self._destination.reuse_blob(wanted, hints)
        if found is None:
            return False
        self._known.is_there(found.digest)
        self.tally.reused += 1
        return True

    async def _put(self, blob: Blob, wanted: Descriptor) -> Descriptor:
        try:
            return await self._destination.put_blob(blob, wanted, self._progress)
        except CorruptError as error:
            error.args = (f"happened during read: {error}",)
            raise

    async def config(self, image: Image, plan: CopyPlan) -> None:
        """Copy the configuration: the image's own bytes, or those that the conversion made."""
        if plan.config is None:
            return
        if plan.convert:
            raw = (await image.converted()).config_raw
            descriptor = Descriptor(mediatype.OCI_CONFIG, digests.of(raw), len(raw))
            await self._tell(Step("config", descriptor.digest, total=descriptor.size))
        else:
            descriptor = plan.config
            await self._tell(Step("config", descriptor.digest, total=descriptor.size))
            with context(f"reading config blob {descriptor.digest}"):
                raw = await image.config_blob()
        with context("writing blob"):
            if await self._reuse(descriptor):
                return
            stored = await self._persist(
                lambda: self._destination.put_blob(BytesBlob(raw), descriptor, self._progress), descriptor
            )
        if stored is not None:
            self._known.is_there(descriptor.digest)
            self.tally.copied += 1
            self.tally.bytes += len(raw)
