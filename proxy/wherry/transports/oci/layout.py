"""OCI image layout: names, index.json and oci-layout as values (OCI image-spec, image-layout.md).

No I/O. An index is kept as the JSON object that was read, so what we do not know survives an edit; which
entry a name picks, and where a new entry goes, are c/image's rules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from wherry.errors import CorruptError, ImageNotFoundError, InvalidError
from wherry.model import digest, gojson, mediatype, strictjson
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from wherry.model.digest import Digest

INDEX: Final = "index.json"
LAYOUT: Final = "oci-layout"
BLOBS: Final = "blobs"
REF_NAME: Final = "org.opencontainers.image.ref.name"
LAYOUT_BYTES: Final = b'{"imageLayoutVersion":"1.0.0"}'
INDEX_LIMIT: Final = strictjson.MANIFEST_LIMIT
"""Bytes of index.json that are read, and that are written: what we write has to be readable."""

MANIFEST_TYPES: Final = (mediatype.OCI_MANIFEST, mediatype.OCI_INDEX)
"""What a layout of ours holds."""

_NAMEABLE: Final = frozenset((*MANIFEST_TYPES, mediatype.DOCKER_SCHEMA2, mediatype.DOCKER_LIST))
_COMPONENT = r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
_NAME: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")

Json = dict[str, object]


class Entry(Struct, frozen=True):
    """What index.json says of one manifest. `size` is None where it says nothing of it; the digest is text
    as it was found, because an entry that nobody asks for may hold anything."""

    media_type: str
    digest: str
    size: int | None
    name: str | None


def check_name(name: str) -> None:
    """Raise InvalidError (`Invalid image _x`) unless `name` is "" or a name that the specification allows."""
    if name and not _NAME.fullmatch(name):
        raise InvalidError(f"Invalid image {name}")


def parse_source_index(text: str) -> int:
    """The number of `@number` (D-08); raises InvalidError with Go's texts."""
    wrong = None
    if not _INTEGER.fullmatch(text):
        wrong = "invalid syntax"
    elif len(text) > 64 or not -(2**63) <= int(text) < 2**63:
        wrong = "value out of range"
    if wrong is not None:
        raise InvalidError(
            f"Invalid source index @{text}: not an integer: strconv.Atoi: parsing {quote(text)}: {wrong}"
        )
    if int(text) < 0:
        raise InvalidError(f"Invalid source index @{int(text)}: must not be negative")
    return int(text)


def blob_name(wanted: Digest) -> str:
    """Where a blob is below the directory of blobs: `sha256/…`."""
    return f"{digest.algorithm(wanted)}/{digest.encoded(wanted)}"


def check_layout(raw: bytes, shown: str) -> None:
    """Raise CorruptError or InvalidError unless this `oci-layout` file says a version 1 (D-09)."""
    value = strictjson.loads(raw, limit=INDEX_LIMIT, what=shown)
    version = value.get("imageLayoutVersion") if isinstance(value, dict) else None
    if not isinstance(version, str):
        raise CorruptError(f"{shown} has no imageLayoutVersion")
    if version.partition(".")[0] != "1":
        raise InvalidError(f"{shown}: image layout version {quote(version)} is not supported, only 1.x is")


def new_index() -> Json:
    """An index.json without entries."""
    return {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": []}


def parse_index(raw: bytes, shown: str) -> Json:
    """Read an index.json; its entries are checked as far as `entries` needs it.

    Raises CorruptError with Go's texts where skopeo has one, LimitError.
    """
    if not raw:
        raise CorruptError("EOF")
    value = strictjson.loads(raw, limit=INDEX_LIMIT, what=shown)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CorruptError(f"json: cannot unmarshal {_go_kind(value)} into Go value of type v1.Index")
    entries(value)
    return value


def entries(index: Json) -> list[Entry]:
    """The manifests that an index lists; raises CorruptError where a member has a wrong type."""
    return [_entry(item) for item in _listed(index)]


def _listed(index: Json) -> list[Json]:
    listed = index.get("manifests")
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise _wrong_type(listed, "manifests", "[]v1.Descriptor")
    for item in listed:
        if not isinstance(item, dict):
            raise _wrong_type(item, "manifests", "v1.Descriptor")
    return cast("list[Json]", listed)


def _entry(item: Json) -> Entry:
    annotations = item.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise _wrong_type(annotations, "manifests.annotations", "map[string]string")
    name = annotations.get(REF_NAME)
    if name is not None and not isinstance(name, str):
        raise _wrong_type(name, "manifests.annotations", "string")
    size = item.get("size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
        raise _wrong_type(size, "manifests.size", "int64")
    return Entry(_text(item, "mediaType"), _text(item, "digest"), size, name)


def _text(item: Json, member: str) -> str:
    value = item.get(member)
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = "digest.Digest" if member == "digest" else "string"
        raise _wrong_type(value, f"manifests.{member}", kind)
    return value


def _wrong_type(value: object, member: str, wanted: str) -> CorruptError:
    return CorruptError(
        f"json: cannot unmarshal {_go_kind(value)} into Go struct field Index.{member} of type {wanted}"
    )


def _go_kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def pick(index: Json, name: str, number: int | None) -> Entry:
    """The entry that a source reference means: by name, by number, or the only one.

    Raises ImageNotFoundError (`no descriptor found for reference "nope"`), InvalidError.
    """
    listed = entries(index)
    if number is not None:
        if number >= len(listed):
            raise InvalidError(f"index {number} is too large, only {len(listed)} entries available")
        return listed[number]
    if name:
        return _pick_named(listed, name)
    if len(listed) != 1:
        raise InvalidError("more than one image in oci, choose an image")
    return listed[0]


def _pick_named(listed: list[Entry], name: str) -> Entry:
    named = [entry for entry in listed if entry.name == name]
    for entry in named:
        if entry.media_type in _NAMEABLE:
            return entry
    if named:
        types = " ".join(quote(entry.media_type) for entry in named)
        raise InvalidError(f"reference {quote(name)} matches unsupported manifest MIME types [{types}]")
    raise ImageNotFoundError(f"no descriptor found for reference {quote(name)}")


def entry_digest(entry: Entry) -> Digest:
    """The entry's digest, proven to be one; raises CorruptError with skopeo's text."""
    try:
        return digest.parse(entry.digest)
    except InvalidError as error:
        raise CorruptError(f"unexpected digest reference {entry.digest}: {error}") from None


def added(index: Json, media_type: str, found: Digest, size: int, name: str) -> Json:
    """The index with an entry for a manifest: `name` moves here from an older entry, which stays without it;
    an entry of the same digest without a name is replaced."""
    entry: Json = {"mediaType": media_type, "digest": found, "size": size}
    if name:
        entry["annotations"] = {REF_NAME: name}
    listed = [dict(item) for item in _listed(index)]
    if name:
        _remove_name(listed, name)
    for place, item in enumerate(listed):
        if item.get("digest") == found and not _entry(item).name:
            listed[place] = entry
            return {**index, "manifests": listed}
    return {**index, "manifests": [*listed, entry]}


def without(index: Json, position: int) -> Json:
    """The index without the entry at `position`."""
    listed = _listed(index)
    return {**index, "manifests": [*listed[:position], *listed[position + 1 :]]}


def _remove_name(listed: list[Json], name: str) -> None:
    for item in listed:
        if _entry(item).name == name:
            annotations = dict(cast("Json", item["annotations"]))
            del annotations[REF_NAME]
            if annotations:
                item["annotations"] = annotations
            else:
                del item["annotations"]
            return


def index_bytes(index: Json) -> bytes:
    """index.json as skopeo writes it: compact, no newline."""
    return gojson.dumps(index)
