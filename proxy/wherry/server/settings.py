"""What a server was started with: skopeo's flags of experimental-image-proxy, as values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from wherry.protocol.messages import Limits, PolicyOptions
from wherry.protocol.options import ImageAccess, PlatformChoice

Level = Literal["debug", "info", "warning", "error"]
Log = Callable[[Level, str], None]


def silent(level: Level, text: str) -> None:
    """The Log of who wants none."""


class ProxySettings(Struct, frozen=True, kw_only=True):
    """The options that hold for every image that a connection opens, unless its request names its own.

    `access`, `platform`, `policy`: as the flags say. `refuse`: a text that Initialize fails with (skopeo
    reports contradictory credentials there, not at its start); "" for none. `log`: takes a
    level and a text; the server itself writes nowhere.
    """

    access: ImageAccess = field(default_factory=ImageAccess)
    platform: PlatformChoice = field(default_factory=PlatformChoice)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    refuse: str = ""
    log: Log = silent
    limits: Limits = field(default_factory=Limits)
