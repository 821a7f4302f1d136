"""The legacy face: the 13 methods of skopeo's image proxy 0.2.8, answer for answer (protocol-reference 1).

Every method checks its arguments in skopeo's order, with handles looked up in between, because clients
match the texts. Requests are answered strictly in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wherry.errors import ImageNotFoundError, InvalidError, LimitError
from wherry.model import digest as digests
from wherry.model.gojson import dumps
from wherry.protocol import legacy
from wherry.protocol.framing import REPLY_LIMIT
from wherry.protocol.messages import LEGACY_VERSION, LayerInfo
from wherry.server.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wherry.server.images import HeldImage
    from wherry.server.pipes import Pipe
    from wherry.server.state import ConnectionState

    Args = list[object]
    Handler = Callable[["LegacyFace", Args], Awaitable[Answer]]


class LegacyFace:
    """Answers legacy requests over a connection's state."""

    def __init__(self, state: ConnectionState) -> None:
        self._state = state
        self.initialized = False

    async def call(self, method: str, args: Args) -> Answer:
        """Answer one request, whose method is one of _HANDLERS. Raises WherryError with skopeo's text."""
        if not self.initialized and method not in ("Initialize", "FinishPipe"):
            raise InvalidError(legacy.NOT_INITIALIZED)
        legacy.check_arity(method, args)
        return await _HANDLERS[method](self, args)

    async def initialize(self, args: Args) -> Answer:
        if self.initialized:
            raise InvalidError("already initialized")
        await self._state.begin()
        self.initialized = True
        return Answer(LEGACY_VERSION)

    async def open_image(self, args: Args) -> Answer:
        return Answer(await self._open(legacy.image_reference(args[0])))

    async def open_image_optional(self, args: Args) -> Answer:
        try:
            return Answer(await self._open(legacy.image_reference(args[0])))
        except ImageNotFoundError:
            return Answer(0)

    async def _open(self, reference: str) -> int:
        settings = self._state.settings
        return await self._state.open(reference, settings.access, settings.platform)

    async def close_image(self, args: Args) -> Answer:
        self._state.images.close(legacy.image_handle(args[0]))
        return Answer()

    def _image(self, args: Args) -> HeldImage:
        return self._state.images.get(legacy.image_handle(args[0]))

    async def get_manifest(self, args: Args) -> Answer:
        image = self._image(args).image
        data = await image.oci_manifest()
        return self._piped(image.digest, *await self._state.transfers.document(data))

    async def get_full_config(self, args: Args) -> Answer:
        data = await self._image(args).image.oci_config()
        return self._piped(None, *await self._state.transfers.document(data))

    async def get_config(self, args: Args) -> Answer:
        data = await self._image(args).image.oci_config_section()
        return self._piped(None, *await self._state.transfers.document(data))

    async def get_blob(self, args: Args) -> Answer:
        held = self._image(args)
        text = legacy.blob_digest(args[1])
        size = legacy.number(args[2])
        wanted = digests.parse(text)
        made = await held.image.made_here(wanted)
        if made is not None:
            return await self._made_blob(made, size)
        found, reader, pipe = await self._state.transfers.verified(held, wanted, size)
        return self._piped(found, reader, pipe)

    async def _made_blob(self, data: bytes, size: int) -> Answer:
        """A converted configuration, which exists in this process only."""
        reader, pipe = await self._state.transfers.document(data)
        if size != len(data):
            pipe.error = InvalidError(f"expected {size} bytes in blob, got {len(data)}")
        return self._piped(len(data), reader, pipe)

    async def get_raw_blob(self, args: Args) -> Answer:
        held = self._image(args)
        wanted = digests.parse(legacy.blob_digest(args[1]))
        made = await held.image.made_here(wanted)
        if made is not None:
            data = await self._state.transfers.closing(made)
            return Answer(len(made), fds=(data, await self._state.transfers.closing(b"")))
        size, data, errors = await self._state.transfers.raw(held, wanted, held.image.size_of(wanted))
        return Answer(size, fds=(data, errors))

    async def get_layer_info(self, args: Args) -> Answer:
        layers = self._layers(args)
        size = len(dumps(layers))
        if size > REPLY_LIMIT - 256:
            raise LimitError(
                f"the layer infos have {size} bytes, more than a reply's limit of {REPLY_LIMIT}: "
                "use GetLayerInfoPiped"
            )
        return Answer(layers)

    async def get_layer_info_piped(self, args: Args) -> Answer:
        data = dumps(self._layers(args))
        return self._piped(None, *await self._state.transfers.document(data))

    def _layers(self, args: Args) -> object:
        parsed = self._image(args).image.parsed
        return msgspec.to_builtins(
            [LayerInfo(layer.digest, layer.size, layer.media_type) for layer in parsed.layers]
        )

    async def finish_pipe(self, args: Args) -> Answer:
        await self._state.pipes.finish(legacy.number(args[0]))
        return Answer()

    @staticmethod
    def _piped(value: object, reader: int, pipe: Pipe) -> Answer:
        return Answer(value, pipe.number, (reader,))


_HANDLERS: dict[str, Handler] = {
    "Initialize": LegacyFace.initialize,
    "OpenImage": LegacyFace.open_image,
    "OpenImageOptional": LegacyFace.open_image_optional,
    "CloseImage": LegacyFace.close_image,
    "GetManifest": LegacyFace.get_manifest,
    "GetFullConfig": LegacyFace.get_full_config,
    "GetConfig": LegacyFace.get_config,
    "GetBlob": LegacyFace.get_blob,
    "GetRawBlob": LegacyFace.get_raw_blob,
    "GetLayerInfo": LegacyFace.get_layer_info,
    "GetLayerInfoPiped": LegacyFace.get_layer_info_piped,
    "FinishPipe": LegacyFace.finish_pipe,
}
