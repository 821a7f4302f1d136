"""What a server was started with: skopeo's flags of experimental-image-proxy, as values."""

from __future__ import annotations

from msgspec import Struct, field

from wherry.protocol.messages import Limits, PolicyOptions
from wherry.protocol.options import ImageAccess, PlatformChoice


class ProxySettings(Struct, frozen=True, kw_only=True):
    """The options that hold for every image that a connection opens, unless its request names its own.

    `access`, `platform`, `policy`: as the flags say. `refuse`: a text that Initialize fails with (skopeo
    reports contradictory credentials there, not at its start); "" for none. `debug`: log requests and
    replies on stderr.
    """

    access: ImageAccess = field(default_factory=ImageAccess)
    platform: PlatformChoice = field(default_factory=PlatformChoice)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    refuse: str = ""
    debug: bool = False
    limits: Limits = field(default_factory=Limits)
