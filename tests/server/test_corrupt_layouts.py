"""Layouts whose blobs are not what their manifest says, read through the proxy and the client library."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from wherry.errors import CorruptError, WherryError
from wherry.protocol import messages
from wherry_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROXY = [sys.executable, "-m", "wherry_cli", "experimental-image-proxy", "--insecure-policy"]


@pytest.fixture
def client() -> Iterator[Client]:
    with Client.spawn(PROXY) as client:
        yield client


def test_d02_config_differs_from_its_digest(client: Client, images: Path) -> None:
    with client.open_image(f"oci:{images}/badconfig") as image:
        with pytest.raises(
            CorruptError, match=r"^config validation failed: blob digest sha256:\w+ does not match"
        ):
            image.config()
        with pytest.raises(CorruptError, match=r"^config validation failed: "):
            image.raw_config()
    with client.open_image(f"oci:{images}/one") as image:
        assert image.config().startswith(b'{"created":')


def test_d03_blob_differs_from_its_digest(client: Client, images: Path) -> None:
    with client.open_image(f"oci:{images}/badlayer") as image:
        (layer,) = image.layers()
        with pytest.raises(CorruptError, match=rf"^corrupted blob, expecting {layer.digest}$") as caught:
            client.piped(messages.GetBlob(image.handle, layer.digest, layer.size))
        assert caught.value.code == "other"
        # The server sends a raw blob as it is; the library does not let it pass.
        with (
            image.blob(layer.digest, layer.size) as stream,
            pytest.raises(CorruptError, match=rf"^expected blob {layer.digest}, got sha256:"),
        ):
            stream.readall()
    with client.open_image(f"oci:{images}/one") as image:
        (layer,) = image.layers()
        with image.blob(layer.digest, layer.size) as stream:
            assert len(stream.readall() or b"") == layer.size


def test_a_missing_blob_is_told_at_once(client: Client, images: Path) -> None:
    with client.open_image(f"oci:{images}/nolayer") as image:
        (layer,) = image.layers()
        with pytest.raises(WherryError, match=r"no such file or directory$"):
            image.blob(layer.digest, layer.size)
