"""Where certificates of a registry are (3.2), and that names can't lead out of there (C-20)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import trustme

from tests.config.system import system
from tests.fakes.registry import FakeRegistry
from wherry.config import certs, registries_load
from wherry.config.access import configured
from wherry.errors import FileError, InvalidError, NetworkError
from wherry.model import name
from wherry.protocol.options import ImageAccess
from wherry.streams.threads import DataThreads
from wherry.transports import docker

PLACES = ("etc/docker/certs.d", "etc/containers/certs.d", "home/.config/containers/certs.d")


def test_the_first_directory_that_exists(tmp_path: Path) -> None:
    """Even if it is empty, and the next one is not."""
    given = system(tmp_path)
    assert certs.directory(given, "a.example:5000") is None
    for place in PLACES:
        (tmp_path / place / "a.example:5000").mkdir(parents=True)
        assert certs.directory(given, "a.example:5000") == str(tmp_path / place / "a.example:5000")
    assert certs.directory(given, "a.example") is None


def test_the_directory_of_an_ipv6_literal(tmp_path: Path) -> None:
    given = system(tmp_path)
    (tmp_path / PLACES[0] / "[::1]:5000").mkdir(parents=True)
    named = name.parse_normalized("[::1]:5000/a")
    assert certs.directory(given, named.domain) == str(tmp_path / PLACES[0] / "[::1]:5000")
    assert certs.directory(given, "[::1]") is None


async def test_docker_hub_has_the_name_that_users_know(tmp_path: Path) -> None:
    (tmp_path / PLACES[1] / "docker.io").mkdir(parents=True)
    (tmp_path / PLACES[1] / "registry-1.docker.io").mkdir()
    given = system(tmp_path)
    config = registries_load.load(given)
    found = await configured(name.parse_normalized("busybox"), ImageAccess(), given, config)
    assert found.cert_dir == str(tmp_path / PLACES[1] / "docker.io")


async def test_the_callers_directory_comes_first(tmp_path: Path) -> None:
    (tmp_path / PLACES[1] / "a.example").mkdir(parents=True)
    named = name.parse_normalized("a.example/x")
    given = system(tmp_path)
    config = registries_load.load(given)
    found = await configured(named, ImageAccess(cert_dir="mine"), given, config)
    assert found.cert_dir == "mine"


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "etc/docker").mkdir(parents=True)
    (tmp_path / "etc/docker/certs.d").write_text("a file")
    with pytest.raises(FileError, match=r"^faccessat .*/etc/docker/certs\.d/a\.example: not a directory$"):
        certs.directory(system(tmp_path), "a.example")
    loop = tmp_path / "home/.config/containers/certs.d"
    loop.parent.mkdir(parents=True)
    os.symlink("certs.d", loop)
    with pytest.raises(FileError, match=r"too many levels of symbolic links$"):
        certs.directory(system(tmp_path), "a.example")


@pytest.mark.parametrize(
    "text",
    [
        "//../..:5000/x",
        "//..:5000/x",
        "//a.example:5000/../x",
        "//.:5000/x",
        "//a.example%2f..:5000/x",
        "//a.example:5000\0/x",
    ],
)
def test_c20_names_that_would_lead_elsewhere_are_no_names(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidError, match=r"^invalid reference format"):
        docker.parse(text, system(tmp_path))
    docker.parse("//a.example:5000/x", system(tmp_path))


async def test_certificates_of_the_directory_are_used(tmp_path: Path) -> None:
    """An authority in certs.d/HOST:PORT, which may be a link, as volumes of clusters have them."""
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    given = system(tmp_path)
    given = type(given)(
        root=given.root, home=given.home, cwd=given.cwd, platform=given.platform, threads=DataThreads()
    )
    with FakeRegistry(tls=context) as fake:
        fake.manifest("x", "latest", b"{}")
        reference = docker.parse(f"//{fake.name}/x", given)
        with pytest.raises(NetworkError, match="certificate signed by unknown authority"):
            async with reference.source(given, ImageAccess()):
                pass
        folder = tmp_path / "etc/containers/certs.d" / fake.name
        folder.mkdir(parents=True)
        authority.cert_pem.write_to_path(str(tmp_path / "data"))
        os.symlink(tmp_path / "data", folder / "ca.crt")
        async with reference.source(given, ImageAccess()) as source:
            assert (await source.manifest()).raw == b"{}"
        text = "missing client certificate client.cert for key client.key"
        (folder / "client.key").write_text("")
        with pytest.raises(InvalidError, match=re.escape(text)):
            async with reference.source(given, ImageAccess()):
                pass
