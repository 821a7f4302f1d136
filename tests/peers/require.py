"""Which real programs a test needs, and what happens where one is missing.

On a laptop the test skips and says why. In CI a program that Debian packages is a failure, because
`make test` installs it (.ci/packages.txt): a skip there would hide a hole.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Final

import pytest

# program -> the Debian package that brings it
PACKAGES: Final = {
    "buildah": "buildah",
    "docker-credential-pass": "golang-docker-credential-helpers",
    "docker-registry": "docker-registry",
    "gpg": "gnupg",
    "htpasswd": "apache2-utils",
    "jq": "jq",
    "openssl": "openssl",
    "pass": "pass",
    "podman": "podman",
    "skopeo": "skopeo",
    "strace": "strace",
    "tinyproxy": "tinyproxy-bin",
    "umoci": "umoci",
}


def in_ci() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")


def require_peer(name: str) -> Path:
    """The path of program `name`; without it the test skips (fails in CI if Debian packages it)."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    if in_ci() and name in PACKAGES:
        pytest.fail(f"{name} is missing, though .ci/packages.txt installs {PACKAGES[name]}", pytrace=False)
    hint = f" (Debian package {PACKAGES[name]})" if name in PACKAGES else ""
    pytest.skip(f"{name} is not installed{hint}")


def require_skopeo_ref() -> Path:
    """The current skopeo that $SKOPEO_REF names; without it the test skips."""
    named = os.environ.get("SKOPEO_REF", "")
    if not named:
        pytest.skip("SKOPEO_REF names no current skopeo")
    path = Path(named)
    if not os.access(path, os.X_OK):
        pytest.fail(f"SKOPEO_REF={named} is no executable file", pytrace=False)
    return path


def require_named(variable: str) -> str:
    """The program that an environment variable names, which nobody packages; else the test skips."""
    program = os.environ.get(variable, "")
    if not program:
        pytest.skip(f"{variable} names no registry")
    return program


def require_ipv6_loopback() -> None:
    """Skips the test on a machine that has no [::1]."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"there is no IPv6 loopback: {error}")
