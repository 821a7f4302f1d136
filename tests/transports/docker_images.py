"""Images at the fake registry, and how tests reach them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.fakes.registry import MANIFEST_TYPE, FakeRegistry, Reply
from wherry.interfaces import Reference
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.model.digest import Digest
from wherry.protocol.options import Credentials, ImageAccess
from wherry.streams.blobs import BytesBlob
from wherry.system import System
from wherry.transports import directory, docker

INSECURE = ImageAccess(tls_verify=False)
LOGIN = ImageAccess(tls_verify=False, credentials=Credentials("alice", "s3cret"))
BEARER = "Bearer t0ken"
LAYER = os.urandom(200_000)
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def sha(data: bytes) -> Digest:
    return digest.of(data)


def described(data: bytes, media_type: str = LAYER_TYPE) -> Descriptor:
    return Descriptor(media_type, sha(data), len(data))


def image(*layers: bytes) -> bytes:
    def entry(data: bytes, media_type: str) -> dict[str, object]:
        return {"mediaType": media_type, "digest": sha(data), "size": len(data)}

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": entry(CONFIG, "application/vnd.oci.image.config.v1+json"),
            "layers": [entry(layer, LAYER_TYPE) for layer in layers],
        }
    ).encode()


def serve(fake: FakeRegistry, *layers: bytes) -> str:
    """Put an image with these layers at x:latest; returns its digest."""
    for data in (CONFIG, *layers):
        fake.on("GET", f"/v2/x/blobs/{sha(data)}", Reply(body=data))
    return fake.manifest("x", "latest", image(*layers))


def reference(fake: FakeRegistry, rest: str, system: System) -> Reference:
    return docker.parse(f"//{fake.name}/{rest}", system)


async def fetch(fake: FakeRegistry, wanted: Descriptor, system: System, into: Path, access=INSECURE) -> None:  # type: ignore[no-untyped-def]
    """Copy one blob of x:latest to a directory image, which verifies it."""
    target = directory.parse(str(into), system)
    async with (
        reference(fake, "x", system).source(system, access) as source,
        target.destination(system, ImageAccess()) as destination,
        source.blob(wanted) as blob,
    ):
        await destination.put_blob(blob, wanted)


def files_of(folder: Path, least: int) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= least]


def basic_challenge(fake: FakeRegistry) -> None:
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))


def bearer_challenge(fake: FakeRegistry, realm: str = "", token: bytes = b'{"token":"t0ken"}') -> None:
    realm = realm or f"{fake.url}/token"
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}))
    fake.on("GET", "/token", Reply(body=token))


def accept_upload(fake: FakeRegistry, location: str, *, at: FakeRegistry | None = None) -> None:
    """A session at `location`; the upload itself is taken at /upload of `at`."""
    headers = {"Location": location} if location else {}
    fake.on("POST", "/v2/x/blobs/uploads/", Reply(202, headers))
    (at or fake).on("PUT", "/upload", Reply(201))


async def push(fake: FakeRegistry, system: System, data: bytes = b"hello", access=LOGIN) -> None:  # type: ignore[no-untyped-def]
    async with reference(fake, "x", system).destination(system, access) as destination:
        await destination.put_blob(BytesBlob(data), described(data))
