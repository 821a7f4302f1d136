"""Image configs: the bytes stay the truth, and these views are taken from them.

`oci_config_json` is what GetFullConfig and `inspect --config` answer, and what a Docker config becomes when
an image is converted to OCI: Go's json.Marshal of image-spec's v1.Image (1.1.2-dev). Members that the struct
lacks are not in the view; they are kept wherever the config's own bytes are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from wherry.errors import InvalidError
from wherry.model import gojson, gostruct, mediatype, strictjson
from wherry.model.gostruct import Member, Place

if TYPE_CHECKING:
    from wherry.model.gostruct import Kind

_CONFIG = (
    Member("User", gostruct.STRING),
    Member("ExposedPorts", gostruct.STRING_SET),
    Member("Env", gostruct.STRINGS),
    Member("Entrypoint", gostruct.STRINGS),
    Member("Cmd", gostruct.STRINGS),
    Member("Volumes", gostruct.STRING_SET),
    Member("WorkingDir", gostruct.STRING),
    Member("Labels", gostruct.STRING_MAP),
    Member("StopSignal", gostruct.STRING),
    Member("ArgsEscaped", gostruct.BOOL),
)
_ROOTFS = (
    Member("type", gostruct.STRING, omit_empty=False),
    Member("diff_ids", gostruct.DIGESTS, omit_empty=False),
)
_HISTORY = (
    Member("created", gostruct.TIME_POINTER),
    Member("created_by", gostruct.STRING),
    Member("author", gostruct.STRING),
    Member("comment", gostruct.STRING),
    Member("empty_layer", gostruct.BOOL),
)
_IMAGE = (
    Member("created", gostruct.TIME_POINTER),
    Member("author", gostruct.STRING),
    Member("architecture", gostruct.STRING, omit_empty=False, embedded="Platform"),
    Member("os", gostruct.STRING, omit_empty=False, embedded="Platform"),
    Member("os.version", gostruct.STRING, embedded="Platform"),
    Member("os.features", gostruct.STRINGS, embedded="Platform"),
    Member("variant", gostruct.STRING, embedded="Platform"),
    Member("config", gostruct.structure("v1.ImageConfig", _CONFIG)),
    Member("rootfs", gostruct.structure("v1.RootFS", _ROOTFS), omit_empty=False),
    Member("history", gostruct.array(gostruct.structure("v1.History", _HISTORY))),
)
_OCI = gostruct.structure("v1.Image", _IMAGE)

_HEALTHCHECK = (
    Member("Test", gostruct.STRINGS),
    Member("StartPeriod", gostruct.DURATION),
    Member("StartInterval", gostruct.DURATION),
    Member("Interval", gostruct.DURATION),
    Member("Timeout", gostruct.DURATION),
    Member("Retries", gostruct.INT),
)
_DOCKER_CONFIG = (
    Member("Hostname", gostruct.STRING),
    Member("Domainname", gostruct.STRING),
    Member("User", gostruct.STRING),
    Member("AttachStdin", gostruct.BOOL),
    Member("AttachStdout", gostruct.BOOL),
    Member("AttachStderr", gostruct.BOOL),
    Member("ExposedPorts", gostruct.STRING_SET),
    Member("Tty", gostruct.BOOL),
    Member("OpenStdin", gostruct.BOOL),
    Member("StdinOnce", gostruct.BOOL),
    Member("Env", gostruct.STRINGS),
    Member("Cmd", gostruct.STRING_OR_STRINGS),
    Member("Healthcheck", gostruct.structure("manifest.Schema2HealthConfig", _HEALTHCHECK)),
    Member("ArgsEscaped", gostruct.BOOL),
    Member("Image", gostruct.STRING),
    Member("Volumes", gostruct.STRING_SET),
    Member("WorkingDir", gostruct.STRING),
    Member("Entrypoint", gostruct.STRING_OR_STRINGS),
    Member("NetworkDisabled", gostruct.BOOL),
    Member("MacAddress", gostruct.STRING),
    Member("OnBuild", gostruct.STRINGS),
    Member("Labels", gostruct.STRING_MAP),
    Member("StopSignal", gostruct.STRING),
    Member("StopTimeout", gostruct.INT_POINTER),
    Member("Shell", gostruct.STRING_OR_STRINGS),
)
_DOCKER_CONFIG_KIND = gostruct.structure("manifest.Schema2Config", _DOCKER_CONFIG)
# What Docker wrote before schema 2, and inside schema 1; skopeo reads it from OCI configs too.
_V1_IMAGE = (
    Member("id", gostruct.STRING),
    Member("parent", gostruct.STRING),
    Member("comment", gostruct.STRING),
    Member("created", gostruct.TIME),
    Member("container", gostruct.STRING),
    Member("container_config", _DOCKER_CONFIG_KIND),
    Member("docker_version", gostruct.STRING),
    Member("author", gostruct.STRING),
    Member("config", _DOCKER_CONFIG_KIND),
    Member("architecture", gostruct.STRING),
    Member("variant", gostruct.STRING),
    Member("os", gostruct.STRING),
    Member("Size", gostruct.INT64),
)
_DOCKER_ROOTFS = (Member("type", gostruct.STRING), Member("diff_ids", gostruct.DIGESTS))
_DOCKER_HISTORY = (
    Member("created", gostruct.TIME),
    Member("author", gostruct.STRING),
    Member("created_by", gostruct.STRING),
    Member("comment", gostruct.STRING),
    Member("empty_layer", gostruct.BOOL),
)
_DOCKER_IMAGE = (
    *(member._replace(embedded="Schema2V1Image") for member in _V1_IMAGE if member.name != "parent"),
    Member("parent", gostruct.DIGEST),
    Member("rootfs", gostruct.structure("manifest.Schema2RootFS", _DOCKER_ROOTFS)),
    Member(
        "history",
        gostruct.array(
            gostruct.structure("manifest.Schema2History", _DOCKER_HISTORY),
        ),
    ),
    Member("os.version", gostruct.STRING),
    Member("os.features", gostruct.STRINGS),
)
_V1 = gostruct.structure("manifest.Schema2V1Image", _V1_IMAGE)
_DOCKER = gostruct.structure("manifest.Schema2Image", _DOCKER_IMAGE)


class InspectConfig(Struct, frozen=True):
    """What `inspect` shows of a config. `created`: RFC 3339, None where an OCI config has none;
    `labels`, `env`: None where there are none at all (shown as null)."""

    created: str | None
    docker_version: str
    labels: dict[str, str] | None
    architecture: str
    variant: str
    os: str
    env: tuple[str, ...] | None
    author: str


def oci_config_json(raw: bytes) -> bytes:
    """The config as an OCI image config, in Go's bytes.

    `raw`: an OCI or Docker schema 2 config. Raises CorruptError or LimitError where it is no strict JSON,
    InvalidError where a member has a type that Go refuses.
    """
    image = _decode(_OCI, raw)
    config = image["config"]
    written = gostruct.encode(image, _IMAGE)
    # `omitzero`, not `omitempty`: an empty map or array is there, and keeps `config` there as {}.
    if isinstance(config, dict) and _is_zero(config):
        del written["config"]
    else:
        written["config"] = gostruct.encode(config, _CONFIG)
    history = written.get("history")
    if isinstance(history, list):
        written["history"] = [gostruct.encode(entry, _HISTORY) for entry in history]
    return gojson.dumps(written)


def config_section(raw: bytes) -> bytes:
    """The `config` member alone, as an OCI one in Go's bytes (GetConfig); `{}` where there is none."""
    return gojson.dumps(gostruct.encode(_decode(_OCI, raw)["config"], _CONFIG))


def inspect_fields(raw: bytes, media_type: str) -> InspectConfig:
    """What `inspect` shows, of a config's bytes and the media type of the *manifest* that it belongs to.

    For schema 1, `raw` is the first history entry's v1Compatibility text. Raises as oci_config_json.
    """
    if media_type == mediatype.OCI_MANIFEST:
        image = _decode(_OCI, raw)
        version = _decode(_V1, raw)["docker_version"]
    else:
        image = _decode(_V1 if media_type in mediatype.SCHEMA1 else _DOCKER, raw)
        version = image["docker_version"]
    config = image["config"]
    given = config if isinstance(config, dict) else {}
    env = given.get("Env")
    labels = given.get("Labels")
    created = image["created"]
    return InspectConfig(
        created=None if created is None else str(created),
        docker_version=str(version),
        labels=labels if isinstance(labels, dict) else None,
        architecture=str(image["architecture"]),
        variant=str(image["variant"]),
        os=str(image["os"]),
        env=tuple(env) if isinstance(env, list) else None,
        author=str(image["author"]),
    )


def _decode(kind: Kind, raw: bytes) -> dict[str, object]:
    value = strictjson.loads(raw, limit=strictjson.CONFIG_LIMIT, what="image configuration")
    if value is None:
        value = {}
    decoded = kind.decode(value, Place(""))
    if not isinstance(decoded, dict):
        raise InvalidError(f"json: cannot unmarshal image configuration into {kind.name}")
    return decoded


def _is_zero(config: dict[str, object]) -> bool:
    return all(config[member.name] == member.kind.zero for member in _CONFIG)
