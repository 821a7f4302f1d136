"""The commands beside real registries of several kinds: on IPv6, as a pull-through mirror, with paging."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.peers.require import require_ipv6_loopback, require_named, require_peer
from tests.peers.servers import Registry, running_cuelabs, running_registry

LAYOUT = Path(__file__).parents[2] / "docs" / "examples" / "hello"
HELLO = f"oci:{LAYOUT}:latest"


@dataclass
class Home:
    """A user's home, and wherry run in it; `registries_conf`: what that file says."""

    folder: Path
    registries_conf: str = ""

    def run(self, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        config = self.folder / "registries.conf"
        config.write_text(self.registries_conf)
        environ = {
            "PATH": os.environ["PATH"],
            "TMPDIR": os.environ["TMPDIR"],
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder),
            "CONTAINERS_REGISTRIES_CONF": str(config),
        }
        command = [sys.executable, "-m", "wherry_cli", "--insecure-policy", *map(str, words)]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=environ, check=False, timeout=60
        )

    def __call__(self, *words: str | Path, stdin: str = "") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def wherry(tmp_path: Path) -> Home:
    home = tmp_path / "home"
    home.mkdir()
    return Home(home)


def stored(layout: Path) -> bytes:
    """The bytes of the only manifest of an OCI layout."""
    [entry] = json.loads((layout / "index.json").read_bytes())["manifests"]
    return (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()


# --- IPv6 -------------------------------------------------------------------------------------------------


def test_a_registry_on_ipv6(wherry: Home, tmp_path: Path) -> None:
    require_ipv6_loopback()
    require_peer("docker-registry")
    with running_registry(tmp_path / "registry", address="::1") as server:
        assert server.name.startswith("[::1]:")
        image = server.docker("ns/hello:1")
        wherry("copy", "--dest-tls-verify=false", HELLO, image)
        wherry("copy", "--src-tls-verify=false", image, f"oci:{tmp_path}/back:1")
        assert stored(tmp_path / "back") == stored(LAYOUT)
        told = json.loads(wherry("inspect", "--tls-verify=false", image))
        assert (told["Name"], told["RepoTags"]) == (f"{server.name}/ns/hello", ["1"])
        listed = json.loads(wherry("list-tags", "--tls-verify=false", server.docker("ns/hello")))
        assert listed == {"Repository": f"{server.name}/ns/hello", "Tags": ["1"]}
        by_digest = server.docker(f"ns/hello@{told['Digest']}")
        assert wherry("inspect", "--raw", "--tls-verify=false", by_digest).encode() == stored(LAYOUT)
        wherry("delete", "--tls-verify=false", image)
        assert wherry.run("inspect", "--tls-verify=false", image).returncode == 2
        refused = wherry.run("inspect", "--tls-verify=false", f"docker://[fe80::1%lo]:{server.name[6:]}/x")
        assert refused.returncode == 1
        assert "invalid reference format" in refused.stderr


def test_tls_and_login_on_ipv6(wherry: Home, tmp_path: Path) -> None:
    """Certificates and credentials are found by the address as it stands in the image's name."""
    require_ipv6_loopback()
    require_peer("docker-registry")
    require_peer("htpasswd")
    with running_registry(
        tmp_path / "registry", address="::1", tls=True, login=("alice", "s3cret")
    ) as server:
        image = server.docker("ns/hello:1")
        certificates = wherry.folder / ".config/containers/certs.d" / server.name
        certificates.parent.mkdir(parents=True)
        certificates.symlink_to(str(server.cert_dir))
        login = ["login", "-u", "alice", "--password-stdin", f"{server.name}/ns"]
        assert wherry(*login, stdin="s3cret") == "Login Succeeded!\n"
        kept = json.loads((wherry.folder / "containers/auth.json").read_bytes())
        assert list(kept["auths"]) == [f"{server.name}/ns"]
        wherry("copy", HELLO, image)
        assert json.loads(wherry("list-tags", server.docker("ns/hello")))["Tags"] == ["1"]
        refused = wherry.run("inspect", server.docker("other/hello:1"))
        assert refused.returncode == 1
        assert "authentication required" in refused.stderr
        assert wherry("logout", f"{server.name}/ns").startswith("Removed login credentials for [::1]:")


# --- a pull-through mirror --------------------------------------------------------------------------------


@pytest.fixture(params=["127.0.0.1", "::1"])
def mirror(request: pytest.FixtureRequest, registry: Registry, tmp_path: Path) -> Iterator[Registry]:
    """A cache of the session's registry, on an address of its own."""
    address = str(request.param)
    if ":" in address:
        require_ipv6_loopback()
    with running_registry(tmp_path / "mirror", address=address, mirror_of=registry.url) as running:
        yield running


def test_a_pull_through_mirror(mirror: Registry, registry: Registry, wherry: Home, tmp_path: Path) -> None:
    """The mirror fetches what it has not; what it has is read there, the registry is not asked."""
    repository = f"mirrored/{'ipv6' if ':' in mirror.name[:-6] else 'ipv4'}"
    wherry("copy", "--dest-tls-verify=false", HELLO, registry.docker(f"{repository}:1"))
    # Nobody listens at the registry's place: what is read is read at the mirror.
    wherry.registries_conf = (
        '[[registry]]\nprefix = "registry.test"\nlocation = "127.0.0.1:1"\n'
        f'[[registry.mirror]]\nlocation = "{mirror.name}"\ninsecure = true\n'
    )
    image = f"docker://registry.test/{repository}:1"
    wherry("copy", image, f"oci:{tmp_path}/back:1")
    assert stored(tmp_path / "back") == stored(LAYOUT)
    told = json.loads(wherry("inspect", "--no-tags", image))
    assert told["Name"] == f"registry.test/{repository}"
    held = {path.parent.name for path in (tmp_path / "mirror/data").rglob("data") if path.is_file()}
    for blob in (LAYOUT / "blobs/sha256").iterdir():
        assert blob.name in held, f"the mirror did not keep {blob.name}"
    # By digest too, from what the mirror kept.
    wherry("copy", f"docker://registry.test/{repository}@{told['Digest']}", f"oci:{tmp_path}/digest:1")
    assert stored(tmp_path / "digest") == stored(LAYOUT)


def test_a_mirror_without_the_image_is_passed_over(
    mirror: Registry, registry: Registry, wherry: Home, tmp_path: Path
) -> None:
    with running_registry(tmp_path / "primary") as primary:
        wherry("copy", "--dest-tls-verify=false", HELLO, primary.docker("only/here:1"))
        wherry.registries_conf = (
            f'[[registry]]\nprefix = "registry.test"\nlocation = "{primary.name}"\ninsecure = true\n'
            f'[[registry.mirror]]\nlocation = "{mirror.name}"\ninsecure = true\n'
        )
        wherry("copy", "docker://registry.test/only/here:1", f"oci:{tmp_path}/back:1")
        assert stored(tmp_path / "back") == stored(LAYOUT)


# --- registries that page and untag -----------------------------------------------------------------------


@pytest.fixture(params=["docker-registry 2.8", "distribution 3", "cuelabs"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    kind = str(request.param)
    if kind == "cuelabs":
        with running_cuelabs(require_named("CUELABS_REGISTRY")) as running:
            yield running
        return
    program = require_named("DISTRIBUTION_V3") if kind == "distribution 3" else "docker-registry"
    if kind != "distribution 3":
        require_peer(program)
    with running_registry(tmp_path / "registry", program=program) as running:
        yield running


def test_push_pull_and_delete(server: Registry, wherry: Home, skopeo: Path, tmp_path: Path) -> None:
    """The image goes and comes back whole, skopeo sees the same, and a deletion deletes."""
    image = server.docker("push/hello:1")
    wherry("copy", "--dest-tls-verify=false", HELLO, image)
    wherry("copy", "--src-tls-verify=false", image, f"oci:{tmp_path}/back:1")
    assert stored(tmp_path / "back") == stored(LAYOUT)
    assert {path.name for path in (tmp_path / "back/blobs/sha256").iterdir()} == {
        path.name for path in (LAYOUT / "blobs/sha256").iterdir()
    }
    seen = subprocess.run(
        [str(skopeo), "inspect", "--raw", "--tls-verify=false", image], capture_output=True, check=True
    )
    assert seen.stdout == stored(LAYOUT)
    # Again, and elsewhere in the registry: nothing is missing there
    wherry("copy", "--dest-tls-verify=false", HELLO, image)
    other = server.docker("push/other:1")
    wherry("copy", "--src-tls-verify=false", "--dest-tls-verify=false", image, other)
    assert wherry("inspect", "--raw", "--tls-verify=false", other).encode() == stored(LAYOUT)
    wherry("delete", "--tls-verify=false", image)
    assert wherry.run("inspect", "--tls-verify=false", image).returncode == 2
    assert wherry("inspect", "--raw", "--tls-verify=false", other).encode() == stored(LAYOUT)


def test_an_index_is_pushed_and_pulled(server: Registry, wherry: Home, images: Path, tmp_path: Path) -> None:
    image = server.docker("push/multi:1")
    whole = ["copy", "--all", "--preserve-digests"]
    wherry(*whole, "--dest-tls-verify=false", f"oci:{images}/multi", image)
    wherry(*whole, "--src-tls-verify=false", image, f"oci:{tmp_path}/back:1")
    assert stored(tmp_path / "back") == stored(images / "multi")


def test_untagging(server: Registry, wherry: Home, request: pytest.FixtureRequest) -> None:
    """--tag-only takes one tag away, or refuses where the registry would delete the others with it."""
    for tag in ("a", "b"):
        wherry("copy", "--dest-tls-verify=false", HELLO, server.docker(f"untag/hello:{tag}"))
    done = wherry.run("delete", "--tag-only", "--tls-verify=false", server.docker("untag/hello:a"))
    listed = json.loads(wherry("list-tags", "--tls-verify=false", server.docker("untag/hello")))["Tags"]
    if "docker-registry 2.8" in request.node.name:
        assert done.returncode == 1
        assert "is shared with the tags b" in done.stderr
        assert sorted(listed) == ["a", "b"]
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert listed == ["b"]
    assert wherry("inspect", "--raw", "--tls-verify=false", server.docker("untag/hello:b"))


@dataclass
class Gateway:
    """`name`: of a place that passes requests on to a registry and has it list two tags a page, which these
    registries do only for who asks them to (`?n=`); `asked`: the targets of the requests for tags."""

    name: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def paging_gateway(registry: Registry) -> Iterator[Gateway]:
    gateway = Gateway()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            target = self.path
            if "/tags/list" in target:
                gateway.asked.append(target)
                target += "" if "n=" in target else "?n=2"
            try:
                with urllib.request.urlopen(registry.url + target, timeout=10) as answer:
                    status, headers, body = answer.status, answer.headers, answer.read()
            except urllib.error.HTTPError as error:
                status, headers, body = error.code, error.headers, error.read()
            self.send_response(status)
            for name in ("Content-Type", "Link", "Docker-Content-Digest"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests say what they want to know themselves."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway.name = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="gateway")
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()


def test_tags_page_by_page(server: Registry, wherry: Home, request: pytest.FixtureRequest) -> None:
    tags = [f"t{number}" for number in range(5)]
    wherry("copy", "--dest-tls-verify=false", HELLO, server.docker("paged/hello:t0"))
    raw = stored(LAYOUT)
    for tag in tags[1:]:
        kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        put = urllib.request.Request(f"{server.url}/v2/paged/hello/manifests/{tag}", raw, kind, method="PUT")
        urllib.request.urlopen(put, timeout=10).close()
    with paging_gateway(server) as gateway:
        listed = json.loads(wherry("list-tags", "--tls-verify=false", f"docker://{gateway.name}/paged/hello"))
    assert sorted(listed["Tags"]) == tags
    # 2.8 knows no pages, and gives all at once.
    assert len(gateway.asked) == (1 if "docker-registry 2.8" in request.node.name else 3), gateway.asked
