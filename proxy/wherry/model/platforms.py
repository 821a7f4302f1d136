"""Platforms: Go's names for operating systems and architectures, variants, and which of them an image may
have to run here (OCI image-index.md; skopeo-reference K7).
"""

from __future__ import annotations

from msgspec import Struct


class PlatformChoice(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which instance of an index is wanted; an empty member means the host's own value."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


class Platform(Struct, frozen=True):
    """The platform of an instance, as its index says it; "" and () where it says nothing."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


_ARCHITECTURES = {
    "x86_64": "amd64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "aarch64": "arm64",
    "armv5tel": "arm",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv7hl": "arm",
    "armv8l": "arm",
    "ppc64": "ppc64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
    "mips": "mips",
    "mipsel": "mipsle",
    "mips64": "mips64",
    "mips64el": "mips64le",
}
_VARIANTS = {
    "armv5tel": "v5",
    "armv6l": "v6",
    "armv7l": "v7",
    "armv7hl": "v7",
    "armv8l": "v8",
    "aarch64": "v8",
}
# From the most capable to the least capable; an image of a later one runs on an earlier one.
_COMPATIBLE = {"arm": ("v8", "v7", "v6", "v5"), "arm64": ("v8",)}


def host_platform(machine: str, os: str = "linux") -> PlatformChoice:
    """The platform of a host, of its machine name as uname(2) gives it (`x86_64`).

    An unknown machine name is taken for an architecture's name.
    """
    machine = machine.lower()
    return PlatformChoice(
        os=os.lower(),
        architecture=_ARCHITECTURES.get(machine, machine),
        variant=_VARIANTS.get(machine, ""),
    )


def wanted_platforms(wanted: PlatformChoice, host: PlatformChoice) -> tuple[PlatformChoice, ...]:
    """What an image may be built for, best first; never empty.

    The host's variant counts only where the architecture was left to the host.
    """
    architecture = wanted.architecture or host.architecture
    variant = wanted.variant or ("" if wanted.architecture else host.variant)
    known = _COMPATIBLE.get(architecture, ())
    if not variant:
        variants = ("", *known)
    elif variant in known:
        variants = (*known[known.index(variant) :], "")
    else:
        variants = (variant, "")
    os = wanted.os or host.os
    return tuple(PlatformChoice(os=os, architecture=architecture, variant=each) for each in variants)


def matches(image: Platform, wanted: PlatformChoice) -> bool:
    """Whether an image's platform is exactly one that `wanted_platforms` gave."""
    return (image.os, image.architecture, image.variant) == (
        wanted.os,
        wanted.architecture,
        wanted.variant,
    )
