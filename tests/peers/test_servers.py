"""The registries that other tests stand on do what their fixtures promise."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.peers.servers import Registry, running_registry

HELLO = Path(__file__).parents[2] / "docs" / "examples" / "hello"


def test_the_plain_registry_answers(registry: Registry) -> None:
    with urllib.request.urlopen(f"{registry.url}/v2/", timeout=10) as answer:
        assert answer.status == 200


def test_the_tls_registry_wants_its_password(tls_registry: Registry, skopeo: Path, tmp_path: Path) -> None:
    target = tls_registry.docker("servers/hello:1")
    copy = [str(skopeo), "--insecure-policy", "copy", "--dest-cert-dir", str(tls_registry.cert_dir)]
    refused = subprocess.run(
        [*copy, f"oci:{HELLO}:latest", target], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "unauthorized" in refused.stderr or "authentication required" in refused.stderr
    login = ["--dest-authfile", str(tls_registry.authfile(tmp_path / "auth.json"))]
    subprocess.run([*copy, *login, f"oci:{HELLO}:latest", target], capture_output=True, check=True)


def test_a_registry_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)ended with status \d+:\n.*"),
        running_registry(tmp_path, program="false"),
    ):
        pytest.fail("it cannot have started")


def test_two_registries_share_nothing(registry: Registry, tmp_path: Path) -> None:
    with running_registry(tmp_path / "other") as other:
        assert other.url != registry.url
        with urllib.request.urlopen(f"{other.url}/v2/_catalog", timeout=10) as answer:
            assert json.load(answer) == {"repositories": []}
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"{other.url}/v2/", timeout=10)
