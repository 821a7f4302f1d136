"""What `inspect` shows: as JSON, and as the Go values that templates see (inspect.Output, v1.Image)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from wherry.model import gojson
from wherry.protocol.messages import InspectResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.protocol.messages import InspectedLayer
    from wherry_cli.gotemplate.values import Value


def read_summary(document: bytes) -> InspectResult:
    """The server's answer, parsed. Raises msgspec.DecodeError where it is none of ours."""
    return msgspec.json.decode(document, type=InspectResult)


def summary_json(result: InspectResult) -> str:
    """The summary as skopeo prints it; name and tag are left out where they are empty."""
    shown = {
        "Name": result.name,
        "Tag": result.tag,
        "Digest": result.digest,
        "RepoTags": result.repo_tags,
        "Created": result.created,
        "DockerVersion": result.docker_version,
        "Labels": _sorted(result.labels),
        "Architecture": result.architecture,
        "Os": result.os,
        "Layers": result.layers,
        "LayersData": None if result.layers_data is None else [_layer(each) for each in result.layers_data],
        "Env": result.env,
    }
    for name in ("Name", "Tag"):
        if not shown[name]:
            del shown[name]
    return gojson.dumps_indent(shown) + "\n"


def _layer(layer: InspectedLayer) -> dict[str, object]:
    return {
        "MIMEType": layer.media_type,
        "Digest": layer.digest,
        "Size": layer.size,
        "Annotations": _sorted(layer.annotations),
    }


def _sorted(entries: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if entries is None else {key: entries[key] for key in sorted(entries)}


def config_json(document: bytes) -> str:
    """The configuration, indented as skopeo prints it; the order of the members is the document's."""
    return gojson.dumps_indent(json.loads(document)) + "\n"


def summary_value(result: InspectResult) -> Value:
    """The summary as a Go inspect.Output."""
    from wherry_cli.gotemplate import values
    from wherry_cli.gotemplate.values import Field, string, strings, structure

    def layer(each: InspectedLayer) -> Value:
        return structure(
            "types.ImageInspectLayer",
            Field("MIMEType", string(each.media_type)),
            Field("Digest", string(each.digest, "digest.Digest")),
            Field("Size", values.integer(each.size, "int64")),
            Field("Annotations", values.string_map(each.annotations)),
        )

    layers = None if result.layers_data is None else tuple(map(layer, result.layers_data))
    return structure(
        "inspect.Output",
        Field("Name", string(result.name), omit_empty=True),
        Field("Tag", string(result.tag), omit_empty=True),
        Field("Digest", string(result.digest, "digest.Digest")),
        Field("RepoTags", strings(result.repo_tags)),
        Field("Created", values.time(result.created)),
        Field("DockerVersion", string(result.docker_version)),
        Field("Labels", values.string_map(result.labels)),
        Field("Architecture", string(result.architecture)),
        Field("Os", string(result.os)),
        Field("Layers", strings(result.layers)),
        Field("LayersData", values.Value("slice", "[]types.ImageInspectLayer", layers)),
        Field("Env", strings(result.env)),
    )


class _Members:
    """A JSON object of the configuration; Go wrote it, so that every member is of its type or missing."""

    def __init__(self, members: object) -> None:
        self._members: dict[str, object] = members if isinstance(members, dict) else {}

    def text(self, key: str) -> str:
        found = self._members.get(key)
        return found if isinstance(found, str) else ""

    def texts(self, key: str) -> list[str] | None:
        found = self._members.get(key)
        return [str(each) for each in found] if isinstance(found, list) else None

    def entries(self, key: str) -> dict[str, str] | None:
        found = self._members.get(key)
        return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else None

    def time(self, key: str) -> str | None:
        return self.text(key) or None

    def truth(self, key: str) -> bool:
        return self._members.get(key) is True

    def inner(self, key: str) -> _Members:
        return _Members(self._members.get(key))

    def several(self, key: str) -> list[_Members]:
        found = self._members.get(key)
        return [_Members(each) for each in found] if isinstance(found, list) else []


def config_value(document: bytes) -> Value:
    """The configuration as a Go *v1.Image (opencontainers/image-spec, specs-go/v1/config.go)."""
    from wherry_cli.gotemplate import values
    from wherry_cli.gotemplate.values import Field, string, structure

    image = _Members(json.loads(document))
    history = tuple(map(_history, image.several("history"))) or None
    platform = structure(
        "v1.Platform",
        Field("Architecture", string(image.text("architecture")), "architecture"),
        Field("OS", string(image.text("os")), "os"),
        Field("OSVersion", string(image.text("os.version")), "os.version", True),
        Field("OSFeatures", values.strings(image.texts("os.features")), "os.features", True),
        Field("Variant", string(image.text("variant")), "variant", True),
    )
    rootfs = image.inner("rootfs")
    return structure(
        "*v1.Image",
        Field("Created", values.time(image.time("created")), "created", True),
        Field("Author", string(image.text("author")), "author", True),
        Field("Platform", platform, embedded=True),
        Field("Config", _runtime(image.inner("config")), "config", True),
        Field(
            "RootFS",
            structure(
                "v1.RootFS",
                Field("Type", string(rootfs.text("type")), "type"),
                Field("DiffIDs", values.strings(rootfs.texts("diff_ids"), "digest.Digest"), "diff_ids"),
            ),
            "rootfs",
        ),
        Field("History", values.Value("slice", "[]v1.History", history), "history", True),
    )


def _runtime(config: _Members) -> Value:
    from wherry_cli.gotemplate import values
    from wherry_cli.gotemplate.values import Field, string, strings, structure

    return structure(
        "v1.ImageConfig",
        Field("User", string(config.text("User")), omit_empty=True),
        Field("ExposedPorts", values.string_set(config.entries("ExposedPorts")), omit_empty=True),
        Field("Env", strings(config.texts("Env")), omit_empty=True),
        Field("Entrypoint", strings(config.texts("Entrypoint")), omit_empty=True),
        Field("Cmd", strings(config.texts("Cmd")), omit_empty=True),
        Field("Volumes", values.string_set(config.entries("Volumes")), omit_empty=True),
        Field("WorkingDir", string(config.text("WorkingDir")), omit_empty=True),
        Field("Labels", values.string_map(config.entries("Labels")), omit_empty=True),
        Field("StopSignal", string(config.text("StopSignal")), omit_empty=True),
        Field("ArgsEscaped", values.boolean(config.truth("ArgsEscaped")), omit_empty=True),
    )


def _history(entry: _Members) -> Value:
    from wherry_cli.gotemplate import values
    from wherry_cli.gotemplate.values import Field, string, structure

    return structure(
        "v1.History",
        Field("Created", values.time(entry.time("created")), "created", True),
        Field("CreatedBy", string(entry.text("created_by")), "created_by", True),
        Field("Author", string(entry.text("author")), "author", True),
        Field("Comment", string(entry.text("comment")), "comment", True),
        Field("EmptyLayer", values.boolean(entry.truth("empty_layer")), "empty_layer", True),
    )
