"""Manifests for tests, valid until a test changes a member."""

from __future__ import annotations

import json

from wherry.model import mediatype
from wherry.model.digest import of

Object = dict[str, object]


def descriptor(
    content: bytes = b"layer", media_type: str = mediatype.OCI_LAYER_GZIP, **more: object
) -> Object:
    return {"mediaType": media_type, "digest": of(content), "size": len(content), **more}


def oci(**more: object) -> Object:
    config = descriptor(b"{}", mediatype.OCI_CONFIG)
    value: Object = {"schemaVersion": 2, "mediaType": mediatype.OCI_MANIFEST, "config": config}
    return value | {"layers": [descriptor()]} | more


def schema2(**more: object) -> Object:
    config = descriptor(b"{}", mediatype.DOCKER_CONFIG)
    value: Object = {"schemaVersion": 2, "mediaType": mediatype.DOCKER_SCHEMA2, "config": config}
    return value | {"layers": [descriptor(media_type=mediatype.DOCKER_LAYER_GZIP)]} | more


def schema1(**more: object) -> Object:
    compatibility = json.dumps({"id": "a" * 64, "created": "2020-01-02T03:04:05Z", "os": "linux"})
    value: Object = {"schemaVersion": 1, "name": "a/b", "tag": "t", "architecture": "amd64"}
    value |= {"fsLayers": [{"blobSum": of(b"layer")}], "history": [{"v1Compatibility": compatibility}]}
    return value | more


def index(**more: object) -> Object:
    platform = {"os": "linux", "architecture": "amd64"}
    entry = descriptor(b"m", mediatype.OCI_MANIFEST, platform=platform)
    return {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [entry]} | more


def docker_list(**more: object) -> Object:
    platform = {"os": "linux", "architecture": "amd64", "features": ["sse4"]}
    entry = descriptor(b"m", mediatype.DOCKER_SCHEMA2, platform=platform)
    return {"schemaVersion": 2, "mediaType": mediatype.DOCKER_LIST, "manifests": [entry]} | more


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()
