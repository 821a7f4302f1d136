"""Media types of manifests, configs and layers: the names, their kinds, and how a manifest's is found out
(OCI image-spec media-types.md; Docker's image manifest version 2, schemas 1 and 2).
"""

from __future__ import annotations

from wherry.errors import CorruptError, InvalidError, LimitError
from wherry.model import strictjson
from wherry.model.goquote import quote

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_FOREIGN_GZIP = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
OCI_FOREIGN_ZSTD = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

REQUESTED = (
    OCI_MANIFEST,
    DOCKER_SCHEMA2,
    DOCKER_SCHEMA1_SIGNED,
    DOCKER_SCHEMA1,
    DOCKER_LIST,
    OCI_INDEX,
)
"""What a registry is asked for, in the order of the Accept header."""

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
MANIFESTS = frozenset(REQUESTED)

_TO_OCI = {
    DOCKER_LAYER: OCI_LAYER,
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
    DOCKER_LAYER_ZSTD: OCI_LAYER_ZSTD,
    DOCKER_FOREIGN: OCI_FOREIGN,
    DOCKER_FOREIGN_GZIP: OCI_FOREIGN_GZIP,
}
_TO_DOCKER = {
    OCI_LAYER: DOCKER_LAYER,
    OCI_LAYER_GZIP: DOCKER_LAYER_GZIP,
    OCI_FOREIGN: DOCKER_FOREIGN,
    OCI_FOREIGN_GZIP: DOCKER_FOREIGN_GZIP,
}
_ENCRYPTED = frozenset(
    f"{layer}+encrypted"
    for layer in (OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_FOREIGN, OCI_FOREIGN_GZIP, OCI_FOREIGN_ZSTD)
)
# Types that servers send where they know nothing about the file; the body decides then.
_UNINFORMATIVE = frozenset({"", "application/json", "application/octet-stream", "binary/octet-stream"})


def is_index(media_type: str) -> bool:
    """Whether this is a list of manifests (OCI index or Docker manifest list)."""
    return media_type in INDEXES


def is_image(media_type: str) -> bool:
    """Whether this is the manifest of one image (OCI, Docker schema 2 or 1)."""
    return media_type in MANIFESTS and media_type not in INDEXES


def is_foreign(media_type: str) -> bool:
    """Whether a layer of this type may have to be fetched from its `urls`."""
    return media_type.startswith(OCI_FOREIGN) or media_type in (DOCKER_FOREIGN, DOCKER_FOREIGN_GZIP)


def layer_to_oci(media_type: str) -> str:
    """The OCI type of a Docker schema 2 layer type; raises InvalidError for a type without one."""
    try:
        return _TO_OCI[media_type]
    except KeyError:
        raise InvalidError(f"Unknown media type during manifest conversion: {quote(media_type)}") from None


def layer_to_docker(media_type: str) -> str:
    """The Docker schema 2 type of an OCI layer type; raises InvalidError for a type without one."""
    try:
        return _TO_DOCKER[media_type]
    except KeyError:
        raise InvalidError(_no_docker_layer(media_type)) from None


def _no_docker_layer(media_type: str) -> str:
    shown = quote(media_type)
    if media_type == OCI_FOREIGN_ZSTD:
        return (
            f"Error during manifest conversion: {shown}: zstd compression is not supported for docker images"
        )
    if media_type == OCI_LAYER_ZSTD:
        return (
            f"Error during manifest conversion: {shown}: "
            "zstd compression is not officially supported for docker images"
        )
    if media_type in _ENCRYPTED:
        return f"during manifest conversion: encrypted layers ({shown}) are not supported in docker images"
    return f"Unknown media type during manifest conversion: {shown}"


def guess(raw: bytes) -> str:
    """The media type of a manifest as its own bytes tell it; "" where they do not.

    As skopeo does it: `mediaType`, else `schemaVersion` with `signatures`, `config.mediaType`, `manifests`.
    """
    try:
        value = strictjson.loads(raw, limit=strictjson.MANIFEST_LIMIT, what="manifest")
    except (CorruptError, LimitError):
        return ""
    return guess_value(value)


def guess_value(value: object) -> str:
    """`guess` of a manifest that is parsed already."""
    if not isinstance(value, dict):
        return ""
    media_type = value.get("mediaType") or ""
    if not isinstance(media_type, str):
        return ""
    if media_type in MANIFESTS and media_type not in SCHEMA1:
        return media_type
    version = value.get("schemaVersion")
    if isinstance(version, bool):
        return ""
    if version == 1:
        return DOCKER_SCHEMA1 if value.get("signatures") is None else DOCKER_SCHEMA1_SIGNED
    return _guess_version2(value) if version == 2 else ""


def _guess_version2(value: dict[str, object]) -> str:
    """Version 2 without a type of its own: OCI before 1.0.2, or an artifact."""
    config = value.get("config") or {}
    config_type = (config.get("mediaType") or "") if isinstance(config, dict) else None
    if not isinstance(config_type, str):
        return ""
    if config_type == OCI_CONFIG:
        return OCI_MANIFEST
    if config_type == DOCKER_CONFIG:
        return DOCKER_SCHEMA2
    manifests = value.get("manifests") or []
    if not isinstance(manifests, list):
        return ""
    if manifests:
        return config_type or OCI_INDEX
    return OCI_MANIFEST


def normalize(media_type: str, raw: bytes) -> str:
    """The type to parse a manifest with, of what its carrier said (a Content-Type, or "") and its bytes.

    A manifest type is taken as it is said, without parameters. What says nothing of manifests (`text/html`,
    `text/plain`, nothing) leaves it to the bytes: skopeo takes such an answer for schema 1 and fails with a
    text about an unsupported schema version (R-51). Raises CorruptError where the bytes do not tell either,
    and where some other type was said than the bytes have (R-50).
    """
    said = media_type.partition(";")[0].strip().lower()
    if said in MANIFESTS:
        return said
    found = guess(raw)
    uninformative = said in _UNINFORMATIVE or said.startswith("text/")
    if found in MANIFESTS and not uninformative:
        raise CorruptError(
            f"rejecting ambiguous manifest, it is of type {found} but was sent as {quote(said)}"
        )
    if found in MANIFESTS:
        return found
    if uninformative:
        raise CorruptError("manifest has no recognizable media type")
    raise CorruptError(f"manifest has no recognizable media type, and it was sent as {quote(media_type)}")
