"""The extended face: methods that a client may use after Hello, concurrently, each request with an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wherry import __version__
from wherry.errors import ImageNotFoundError, InvalidError, context
from wherry.model import digest as digests
from wherry.protocol import messages
from wherry.protocol.framing import INLINE_LIMIT
from wherry.server.answers import Answer, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from wherry.protocol.messages import Event, Step
    from wherry.protocol.options import PlatformChoice
    from wherry.server.state import ConnectionState

    Handler = Callable[["ExtendedFace", Any, int], Awaitable[Answer]]
    Tell = Callable[[Event], Awaitable[None]]


class ExtendedFace:
    """Answers extended requests over a connection's state; `tell` sends an event to the client."""

    def __init__(self, state: ConnectionState, tell: Tell, cancel: Callable[[int], bool]) -> None:
        self._state = state
        self._tell = tell
        self._cancel = cancel
        self.version: int | None = None
        self._progress = False

    async def call(self, method: str, args: Sequence[object], number: int) -> Answer:
        """Answer the request `number`. Raises WherryError."""
        kind = messages.BY_NAME[method]
        try:
            request = msgspec.convert(list(args), kind, strict=True)
        except (msgspec.ValidationError, OverflowError) as error:
            raise InvalidError(f"{method}: {error}") from None
        return await _HANDLERS[kind](self, request, number)

    async def hello(self, request: messages.Hello, number: int) -> Answer:
        offered = [v for v in messages.EXTENDED_VERSIONS if v in request.hello.protocol]
        if not offered:
            raise InvalidError(
                f"no version of the extended protocol in common: the client has "
                f"{list(request.hello.protocol)}, this server {list(messages.EXTENDED_VERSIONS)}"
            )
        self.version = max(offered)
        self._progress = "progress" in request.hello.want
        return Answer(
            plain(
                messages.ServerHello(
                    protocol=self.version,
                    server=f"wherry/{__version__}",
                    legacy=messages.LEGACY_VERSION,
                    methods=tuple(messages.BY_NAME),
                    limits=self._state.settings.limits,
                )
            )
        )

    async def ping(self, request: messages.Ping, number: int) -> Answer:
        return Answer()

    async def cancel(self, request: messages.Cancel, number: int) -> Answer:
        return Answer(self._cancel(request.id))

    async def open_image_with(self, request: messages.OpenImageWith, number: int) -> Answer:
        options = request.options
        try:
            handle = await self._state.open(
                request.reference,
                options.access or self._state.settings.access,
                _or(options.platform, self._state.settings.platform),
            )
        except ImageNotFoundError:
            if not options.optional:
                raise
            handle = 0
        return Answer(handle)

    async def get_raw_manifest(self, request: messages.GetRawManifest, number: int) -> Answer:
        image = self._state.images.get(request.image).image
        data = image.manifest.raw
        return Answer(image.digest, fds=(await self._state.transfers.closing(data),))

    async def get_raw_config(self, request: messages.GetRawConfig, number: int) -> Answer:
        image = self._state.images.get(request.image).image
        data = await image.config()
        reader = await self._state.transfers.closing(data)
        return Answer(image.config_descriptor().digest, fds=(reader,))

    async def open_blob(self, request: messages.OpenBlob, number: int) -> Answer:
        held = self._state.images.get(request.image)
        wanted = digests.parse(request.digest)
        size, data, status = await self._state.transfers.tracked(held, wanted, request.options)
        return Answer(size, fds=(data, status))

    async def inspect(self, request: messages.Inspect, number: int) -> Answer:
        from wherry.image.inspect import inspect

        data = await inspect(request.reference, self._state.system, request.options)
        return await self._document(data)

    async def list_tags(self, request: messages.ListTags, number: int) -> Answer:
        from wherry.image.tags import listed_tags

        listed = listed_tags(request.reference, self._state.system, request.options.access)
        repository, data, status = await self._state.transfers.lines(listed)
        return Answer(repository, fds=(data, status))

    async def delete(self, request: messages.Delete, number: int) -> Answer:
        from wherry.image.delete import delete

        return Answer(plain(await delete(request.reference, self._state.system, request.options)))

    async def copy(self, request: messages.Copy, number: int) -> Answer:
        from wherry.copy import copy
        from wherry.copy.progress import reporting

        async def tell(step: Step) -> None:
            await self._tell(messages.Event("step", number, step))

        with context("Error loading trust policy"):
            policy = await self._state.policy(request.options.policy)
        async with reporting(self._tell if self._progress else None, number) as reporter:
            result = await copy(
                request.source,
                request.destination,
                self._state.system,
                request.options,
                policy.policy,
                tell,
                reporter.moved,
            )
        data = msgspec.json.encode(result)
        if len(data) <= INLINE_LIMIT:
            return Answer(plain(result))
        return await self._document(data)

    async def _document(self, data: bytes) -> Answer:
        reader = await self._state.transfers.closing(data)
        return Answer(plain(messages.Document(len(data))), fds=(reader,))


def _or(wanted: PlatformChoice, otherwise: PlatformChoice) -> PlatformChoice:
    return wanted if wanted.os or wanted.architecture or wanted.variant else otherwise


_HANDLERS: dict[type[messages.Method[object]], Handler] = {
    messages.Hello: ExtendedFace.hello,
    messages.Ping: ExtendedFace.ping,
    messages.Cancel: ExtendedFace.cancel,
    messages.OpenImageWith: ExtendedFace.open_image_with,
    messages.GetRawManifest: ExtendedFace.get_raw_manifest,
    messages.GetRawConfig: ExtendedFace.get_raw_config,
    messages.OpenBlob: ExtendedFace.open_blob,
    messages.Inspect: ExtendedFace.inspect,
    messages.ListTags: ExtendedFace.list_tags,
    messages.Delete: ExtendedFace.delete,
    messages.Copy: ExtendedFace.copy,
}
