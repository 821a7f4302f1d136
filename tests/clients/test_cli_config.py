"""The global flags that name configuration files: --registries-conf (G30) and --tls-details (G27)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.test_cli_run import HELLO, wherry


def test_registries_conf(tmp_path: Path) -> None:
    """Its mirrors are asked; it must exist, for commands that ask a registry (skopeo's texts)."""
    conf = tmp_path / "registries.conf"
    conf.write_text('[[registry]]\nprefix = "a.invalid"\nlocation = "127.0.0.1:1"\n')
    ended = wherry("--registries-conf", str(conf), "inspect", "docker://a.invalid/x")
    assert ended.status == 1
    assert ended.error == (
        'Error parsing image name "docker://a.invalid/x": fetching manifest latest in 127.0.0.1:1/x: '
        'pinging container registry 127.0.0.1:1: Get "https://127.0.0.1:1/v2/": '
        "dial tcp 127.0.0.1:1: connect: connection refused"
    )
    ended = wherry("--registries-conf", "nope", "inspect", "docker://a.invalid/x")
    assert ended.error == (
        'Error parsing image name "docker://a.invalid/x": '
        "loading registries configuration: open nope: no such file or directory"
    )
    assert wherry("--registries-conf", "nope", "--insecure-policy", "inspect", HELLO).status == 0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, 'reading "{F}": open {F}: no such file or directory'),
        ("surprise: 1", 'parsing "{F}": yaml: Object contains unknown field `surprise`'),
        ("minVersion: 1.4", 'parsing TLS details "{F}": unrecognized TLS minimum version "1.4"'),
    ],
)
def test_tls_details_is_read_for_every_image(tmp_path: Path, content: str | None, text: str) -> None:
    path = tmp_path / "tls.yaml"
    if content is not None:
        path.write_text(content)
    for command in (("inspect", HELLO), ("--insecure-policy", "copy", HELLO, f"dir:{tmp_path}/d")):
        ended = wherry("--tls-details", str(path), *command)
        assert (ended.status, ended.error) == (1, text.replace("{F}", str(path)))
    assert not (tmp_path / "d").exists()
    path.write_text("minVersion: 1.3\ncipherSuites: [TLS_AES_128_GCM_SHA256]\nnamedGroups: [x25519]\n")
    assert wherry("--tls-details", str(path), "inspect", HELLO).status == 0
