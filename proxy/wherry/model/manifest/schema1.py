"""Docker image manifests, version 2, schema 1: recognised, listed and inspected; conversion comes later.

A signed one carries JSON web signatures inside itself; its digest is that of the payload they sign, which is
the manifest without them (libtrust's pretty signatures).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from wherry.errors import CorruptError, context
from wherry.model import mediatype, strictjson
from wherry.model.descriptor import Descriptor
from wherry.model.goquote import quote
from wherry.model.manifest import fields
from wherry.model.manifest.values import LAYER_LIMIT, ImageManifest, Schema1

if TYPE_CHECKING:
    from wherry.model.digest import Digest
    from wherry.model.manifest.fields import Object

_ID = re.compile("[a-f0-9]{64}")


def parse(raw: bytes, value: Object, media_type: str) -> ImageManifest:
    """A schema 1 manifest of its bytes and its parsed JSON; raises CorruptError or LimitError.

    Consecutive entries with the same ID count once, as Docker and skopeo do it. Signatures are not checked.
    """
    version = fields.integer(value, "schemaVersion", "manifest")
    if version != 1:
        raise CorruptError(f"unsupported schema version {version or 0}")
    fields.check_unambiguous(value, media_type, ("fsLayers", "history"))
    blobs = _blobs(value)
    entries = fields.array(value, "history", "manifest", LAYER_LIMIT)
    texts = [
        fields.text(entry, "v1Compatibility", f"manifest.history[{position}]")
        for position, entry in enumerate(entries)
    ]
    if len(blobs) != len(texts):
        raise CorruptError("length of history not equal to number of layers")
    if not blobs:
        raise CorruptError("no FSLayers in manifest")
    history = [_compatibility(text, position) for position, text in enumerate(texts)]
    kept = _distinct(history)
    oldest_first = kept[::-1]
    return ImageManifest(
        raw=raw,
        media_type=media_type,
        config=None,
        layers=tuple(Descriptor(media_type="", digest=blobs[each], size=-1) for each in oldest_first),
        schema1=Schema1(
            name=fields.text(value, "name", "manifest"),
            tag=fields.text(value, "tag", "manifest"),
            architecture=fields.text(value, "architecture", "manifest"),
            history=tuple(texts[each] for each in kept),
            throwaway=tuple(history[each].get("throwaway") is True for each in oldest_first),
        ),
    )


def _blobs(value: Object) -> list[Digest]:
    entries = fields.array(value, "fsLayers", "manifest", LAYER_LIMIT)
    return [
        fields.digest(entry, "blobSum", f"manifest.fsLayers[{position}]")
        for position, entry in enumerate(entries)
    ]


def _compatibility(text: str, position: int) -> Object:
    value = strictjson.loads(
        text.encode(), limit=strictjson.MANIFEST_LIMIT, what=f"v2s1 history entry {position}"
    )
    if not isinstance(value, dict):
        raise CorruptError(f"parsing v2s1 history entry {position}: not a JSON object")
    identity = fields.text(value, "id", f"history[{position}]")
    if not _ID.fullmatch(identity):
        raise CorruptError(f"image ID {quote(identity)} is invalid")
    return value


def _distinct(history: list[Object]) -> list[int]:
    """Positions of the entries that count, newest first; raises CorruptError where the chain is broken."""
    ids = [str(entry["id"]) for entry in history]
    parents = [fields.text(entry, "parent", "history") for entry in history]
    if parents[-1]:
        raise CorruptError("Invalid parent ID in the base layer of the image")
    seen: set[str] = set()
    last = ""
    for identity in ids:
        if identity != last and identity in seen:
            raise CorruptError(f"ID {identity} appears multiple times in manifest")
        last = identity
        seen.add(identity)
    kept = [len(ids) - 1]
    for position in range(len(ids) - 2, -1, -1):
        if ids[position] == ids[kept[-1]]:
            continue
        if parents[position] != ids[kept[-1]]:
            raise CorruptError(f"Invalid parent ID. Expected {ids[kept[-1]]}, got {quote(parents[position])}")
        kept.append(position)
    return kept[::-1]


def signed_payload(raw: bytes) -> bytes:
    """What the signatures inside a signed manifest sign: its first `formatLength` bytes and `formatTail`.

    Raises CorruptError, also where the signatures do not agree about it. The signatures are not verified.
    """
    value = fields.document(raw)
    with context("error unmarshalling signatures"):
        signatures = fields.array(value, "signatures", "manifest", LAYER_LIMIT)
    if not signatures:
        raise CorruptError("missing signature key")
    parts = {_protected(signature) for signature in signatures}
    if len({length for length, _ in parts}) > 1:
        raise CorruptError("conflicting format length")
    if len(parts) > 1:
        raise CorruptError("conflicting format tail")
    length, tail = parts.pop()
    if not 0 <= length <= len(raw):
        raise CorruptError("invalid format length")
    return raw[:length] + tail


def _protected(signature: Object) -> tuple[int, bytes]:
    header = strictjson.loads(
        _decode(fields.text(signature, "protected", "signature")),
        limit=strictjson.SIGNATURE_LIMIT,
        what="protected header",
    )
    if not isinstance(header, dict):
        raise CorruptError("error unmarshalling protected header: not a JSON object")
    length = fields.integer(header, "formatLength", "protected header")
    if length is None:
        raise CorruptError("missing formatted length")
    tail = header.get("formatTail")
    if not isinstance(tail, str):
        raise CorruptError("missing formatted tail")
    return length, _decode(tail)


def _decode(text: str) -> bytes:
    compact = text.replace("\n", "").replace(" ", "").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise CorruptError(f"base64 decode error: {error}") from None


def is_signed(raw: bytes) -> bool:
    """Whether the bytes are a signed schema 1 manifest."""
    return mediatype.guess(raw) == mediatype.DOCKER_SCHEMA1_SIGNED
