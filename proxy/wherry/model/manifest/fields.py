"""Reading the members of a manifest's objects, with errors that name the member.

JSON null and absence mean the same, as they do in Go, which wrote most manifests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import CorruptError, InvalidError, LimitError
from wherry.model import digest as digests
from wherry.model import mediatype, strictjson
from wherry.model.descriptor import Descriptor
from wherry.model.goquote import quote, quote_list

if TYPE_CHECKING:
    from wherry.model.digest import Digest

Object = dict[str, object]

_DESCRIPTOR_KEYS = (
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "platform",
    "artifactType",
)
# The members by which parsers tell the kinds of manifests apart (CVE-2021-41190).
_ESSENTIAL = ("config", "fsLayers", "history", "layers", "manifests")


def document(raw: bytes) -> Object:
    """The manifest's JSON object; raises CorruptError or LimitError."""
    value = strictjson.loads(raw, limit=strictjson.MANIFEST_LIMIT, what="manifest")
    if not isinstance(value, dict):
        raise CorruptError("manifest is not a JSON object")
    return value


def check_unambiguous(value: Object, media_type: str, allowed: tuple[str, ...]) -> None:
    """Refuse a manifest that could be taken for another kind, or for another type than the given one.

    Raises CorruptError: `rejecting ambiguous manifest, unexpected fields …`.
    """
    check_case(value, (*_ESSENTIAL, "schemaVersion", "mediaType", "artifactType", "subject"), "manifest")
    unexpected = [key for key in _ESSENTIAL if key not in allowed and value.get(key) is not None]
    if unexpected:
        raise CorruptError(
            f"rejecting ambiguous manifest, unexpected fields {quote_list(unexpected)} "
            f"in supposedly {media_type}"
        )
    said = text(value, "mediaType", "manifest")
    if said and said != media_type:
        raise CorruptError(
            f"rejecting ambiguous manifest, its mediaType is {quote(said)} in supposedly {media_type}"
        )


def check_version(value: Object, version: int) -> None:
    """Raises CorruptError (`unsupported schema version 3`) where the manifest says another version."""
    found = integer(value, "schemaVersion", "manifest")
    if found is not None and found != version:
        raise CorruptError(f"unsupported schema version {found}")


def check_case(value: Object, known: tuple[str, ...], where: str) -> None:
    """Refuse members that differ from a known one in case only: Go reads them, others do not."""
    folded = {key.casefold(): key for key in known}
    for key in value:
        meant = folded.get(key.casefold(), key)
        if meant != key:
            raise CorruptError(f"{where} has the key {quote(key)}, which differs from {quote(meant)} in case")


def text(value: Object, key: str, where: str) -> str:
    """A string member, "" where it is absent."""
    found = value.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise CorruptError(f"{where}.{key} is not a string")
    return found


def integer(value: Object, key: str, where: str) -> int | None:
    """An integer member, None where it is absent."""
    found = value.get(key)
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool):
        raise CorruptError(f"{where}.{key} is not an integer")
    return found


def array(value: Object, key: str, where: str, limit: int) -> list[Object]:
    """An array of objects, [] where it is absent; raises LimitError for more than `limit`."""
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise CorruptError(f"{where}.{key} is not an array")
    if len(found) > limit:
        raise LimitError(f"{where}.{key} has {len(found)} entries, more than {limit}")
    for position, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise CorruptError(f"{where}.{key}[{position}] is not an object")
    return found


def texts(value: Object, key: str, where: str) -> tuple[str, ...]:
    """An array of strings, () where it is absent."""
    found = value.get(key)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise CorruptError(f"{where}.{key} is not an array of strings")
    return tuple(found)


def annotation_map(value: Object, where: str) -> dict[str, str]:
    """The annotations of a manifest or descriptor."""
    found = value.get("annotations")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CorruptError(f"{where}.annotations is not an object")
    return {key: text(found, key, f"{where}.annotations") for key in found}


def digest(value: Object, key: str, where: str) -> Digest:
    """A digest member, which must be there and well formed (R-57, R-58)."""
    try:
        return digests.parse(text(value, key, where))
    except InvalidError as error:
        raise CorruptError(f"{where}.{key}: {error}") from None


def descriptor(value: object, where: str) -> Descriptor:
    """A content descriptor; its size must be there, and not be negative (R-07, R-08)."""
    if not isinstance(value, dict):
        raise CorruptError(f"{where} is not an object" if value is not None else f"{where} is missing")
    check_case(value, _DESCRIPTOR_KEYS, where)
    size = integer(value, "size", where)
    if size is None:
        raise CorruptError(f"{where}.size is missing")
    if size < 0:
        raise CorruptError(f"{where}.size is negative: {size}")
    return Descriptor(
        media_type=text(value, "mediaType", where),
        digest=digest(value, "digest", where),
        size=size,
        urls=texts(value, "urls", where),
        annotations=annotation_map(value, where),
    )


def kind(raw: bytes, media_type: str) -> tuple[Object, str]:
    """The parsed manifest and the type to read it as (mediatype.normalize of what its carrier said)."""
    normalized = mediatype.normalize(media_type, raw)
    return document(raw), normalized
