"""Which instance of an index is wanted (skopeo-reference K7)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wherry.errors import InvalidError
from wherry.model import mediatype
from wherry.model.goquote import quote
from wherry.model.platforms import matches, wanted_platforms

if TYPE_CHECKING:
    from wherry.model.digest import Digest
    from wherry.model.manifest.values import Index, Instance
    from wherry.model.platforms import PlatformChoice

ZSTD_ANNOTATION = "io.github.containers.compression.zstd"


def choose(index: Index, wanted: PlatformChoice, host: PlatformChoice, prefer_gzip: bool = False) -> Digest:
    """The digest of the instance for the platform that `wanted` and, where it is empty, `host` name.

    OCI: the best platform, then one with zstd layers (or without, for `prefer_gzip`), then the first; entries
    without a platform fit every host, but worst. Docker: the first of the best platform.
    Raises InvalidError with skopeo's text where none fits.
    """
    platforms = wanted_platforms(wanted, host)
    docker = index.media_type == mediatype.DOCKER_LIST
    best: tuple[tuple[int, bool], Digest] | None = None
    for instance in index.instances:
        rank = _rank(instance, platforms)
        if rank is None:
            continue
        key = (rank, False if docker else _is_zstd(instance) == prefer_gzip)
        if best is None or key < best[0]:
            best = (key, instance.descriptor.digest)
    if best is not None:
        return best[1]
    first = platforms[0]
    raise InvalidError(
        f"no image found in {'manifest list' if docker else 'image index'} for "
        f"architecture {quote(first.architecture)}, variant {quote(first.variant)}, OS {quote(first.os)}"
    )


def _rank(instance: Instance, platforms: tuple[PlatformChoice, ...]) -> int | None:
    if instance.platform is None:
        return sys.maxsize
    for rank, platform in enumerate(platforms):
        if matches(instance.platform, platform):
            return rank
    return None


def _is_zstd(instance: Instance) -> bool:
    return instance.descriptor.annotation(ZSTD_ANNOTATION) == "true"
