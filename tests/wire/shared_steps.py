"""Names, digests and runs of steps that several groups of scenarios use."""

from __future__ import annotations

from typing import Any

from tests.images import build
from tests.wire.steps import (
    Call,
    Data,
    Finish,
    Raw,
    Scenario,
    Step,
    error,
    scenario,
    tail,
)

INIT = Call("Initialize")
LAYER = build.digest(build.ONE.blob)
SIZE = len(build.ONE.blob)
BIG = build.digest(build.BIG.blob)
BIG_SIZE = len(build.BIG.blob)
ABSENT = "sha256:" + "0" * 64
SYNTAX: Any = {"differs": "JSON syntax", "ours": error("invalid request: .+")}
TRUNCATED: Any = {"differs": "truncated requests", "ours": error("invalid request: .+")}


def raw(text: str | bytes, **more: Any) -> Raw:
    return Raw(text.encode() if isinstance(text, str) else text, **more)


def got(pipe: str, method: str, *args: Any) -> tuple[Step, ...]:
    """A call whose data comes by a FinishPipe pipe, read whole."""
    return (Call(method, *args, pipe=pipe), Finish(pipe), Data(pipe))


def whole(reference: str) -> Scenario:
    """All metadata of an image, in every form."""
    return scenario(
        INIT,
        Call("OpenImage", reference),
        *got("manifest", "GetManifest", 1),
        *got("full", "GetFullConfig", 1),
        *got("config", "GetConfig", 1),
        Call("GetLayerInfo", 1),
        *got("layers", "GetLayerInfoPiped", 1),
        Call("CloseImage", 1),
    )


IMAGE_METHODS = ("GetManifest", "GetFullConfig", "GetConfig", "GetLayerInfo", "GetLayerInfoPiped")
ID_METHODS = ("CloseImage", *IMAGE_METHODS)
# Values that are no string or no number, as Go names their types.
MISTYPED: tuple[Any, ...] = (None, True, [], {}, 1.5)


def opens(*references: str, **more: Any) -> tuple[Step, ...]:
    return tuple(
        Call(method, name, **more) for name in references for method in ("OpenImage", "OpenImageOptional")
    )


def opens_tail(reference: str, start: str, ending: str = ".+") -> tuple[Step, ...]:
    methods = ("OpenImage", "OpenImageOptional")
    return tuple(Call(method, reference, **tail(start, ending)) for method in methods)


ENOENT = "(?i:no such file or directory)"


def raw_blob(pipe: str, digest: str) -> tuple[Step, ...]:
    return (Call("GetRawBlob", 1, digest, pipe=pipe), Data(pipe), Data(pipe, "err"))
