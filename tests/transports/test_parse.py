"""Image names: which transport they mean, and what is said where they mean none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from tests.transports.contract import exactly, make_system
from wherry.errors import FileError, FileMissingError, InternalError, InvalidError, NotYetError, WherryError
from wherry.transports import TRANSPORT_NAMES, parse


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("foo", InvalidError, 'Invalid image name "foo", expected colon-separated transport:reference'),
        ("", InvalidError, 'Invalid image name "", expected colon-separated transport:reference'),
        ('fo"o\x01é☃\u200b', InvalidError,
         'Invalid image name "fo\\"o\\x01é☃\\u200b", expected colon-separated transport:reference'),
        ("ftp:foo", InvalidError, 'Invalid image name "ftp:foo", unknown transport "ftp"'),
        (":foo", InvalidError, 'Invalid image name ":foo", unknown transport ""'),
        ("OCI:foo", InvalidError, 'Invalid image name "OCI:foo", unknown transport "OCI"'),
        ("oci :foo", InvalidError, 'Invalid image name "oci :foo", unknown transport "oci "'),
        ("ostree:foo", InvalidError, 'The transport "ostree:" is not supported in this build'),
    ],
)  # fmt: skip
def test_names_that_mean_nothing(tmp_path: Path, name: str, kind: type[WherryError], text: str) -> None:
    with pytest.raises(kind, match=exactly(text)) as caught:
        parse(name, make_system(tmp_path))
    assert (caught.value.kind, caught.value.code) == ("invalid", "other")


@pytest.mark.parametrize(
    "name", ["docker-archive", "docker-daemon", "containers-storage", "tarball", "sif", "atomic"]
)
def test_transports_that_are_not_yet_built(tmp_path: Path, name: str) -> None:
    if name in TRANSPORT_NAMES:
        pytest.fail(f"{name} is built now: remove it here and from the list in wherry.transports")
    with pytest.raises(NotYetError, match=exactly(f'The transport "{name}:" is not yet built')):
        parse(f"{name}:x", make_system(tmp_path))


@pytest.mark.parametrize("name", ["dir", "oci", "oci-archive"])
def test_the_transport_of_a_reference_is_its_name(tmp_path: Path, name: str) -> None:
    assert name in TRANSPORT_NAMES
    assert parse(f"{name}:x", make_system(tmp_path)).transport == name


def _install(place: Path, name: str, value: str, code: str) -> None:
    """A distribution with one entry point, as pip would leave it."""
    info = place / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[wherry.transports]\n{name} = {value}\n")
    (place / "elsewhere_transport.py").write_text(code)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "elsewhere_transport", raising=False)
    return place


def test_other_distributions_add_transports(tmp_path: Path, site: Path) -> None:
    code = "def parse(text, system):\n    return (text, system.cwd)\n"
    _install(site, "elsewhere", "elsewhere_transport", code)
    assert parse("elsewhere:a:b", make_system(tmp_path)) == ("a:b", str(tmp_path))


def test_a_transport_that_is_not_built_may_come_from_elsewhere(tmp_path: Path, site: Path) -> None:
    _install(site, "sif", "elsewhere_transport", "def parse(text, system):\n    return text\n")
    assert parse("sif:x", make_system(tmp_path)) == "x"


@pytest.mark.parametrize("name", ["oci", "ostree"])
def test_names_of_ours_are_not_taken_over(tmp_path: Path, site: Path, name: str) -> None:
    _install(site, name, "elsewhere_transport", "def parse(text, system):\n    return 'taken'\n")
    if name == "oci":
        assert parse("oci:x", make_system(tmp_path)).transport == "oci"
        return
    with pytest.raises(InvalidError, match="is not supported in this build"):
        parse(f"{name}:x", make_system(tmp_path))


def test_an_entry_point_without_parse(tmp_path: Path, site: Path) -> None:
    _install(site, "elsewhere", "elsewhere_transport", "")
    with pytest.raises(InternalError, match=r"of the transport elsewhere: offers no parse"):
        parse("elsewhere:x", make_system(tmp_path))


def test_local_images_need_no_http() -> None:
    code = (
        "import sys; from wherry.transports import parse; from wherry.system import System;"
        "from wherry.protocol.options import PlatformChoice;"
        "[parse(name + ':x', System(platform=PlatformChoice(), threads=None))"
        " for name in ('oci', 'dir', 'oci-archive')];"
        "print({'httpx', 'h11', 'cryptography', 'structlog'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("transport", ["dir", "oci", "oci-archive"])
def test_paths_that_cannot_be_looked_up(tmp_path: Path, transport: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileMissingError, match=exactly("faccessat file/x: not a directory")):
        parse(f"{transport}:file/x", make_system(tmp_path))
    with pytest.raises(FileError, match=exactly(f"faccessat {'a' * 300}: file name too long")):
        parse(f"{transport}:{'a' * 300}", make_system(tmp_path))
    nowhere = structs.replace(make_system(tmp_path), cwd="")
    with pytest.raises(FileMissingError, match=exactly("getwd: no such file or directory")):
        parse(f"{transport}:x", nowhere)
    assert parse(f"{transport}:{tmp_path}/x", nowhere).policy_identity() == f"{tmp_path}/x"
