"""Credentials that wherry, skopeo and podman keep for each other, and a real credential helper."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.require import require_peer, require_skopeo_ref
from tests.peers.servers import Registry, running_registry

HELLO = f"oci:{Path(__file__).parents[2] / 'docs' / 'examples' / 'hello'}:latest"
WHERRY = [sys.executable, "-m", "wherry_cli"]


def debian_skopeo() -> list[str]:
    return [str(require_peer("skopeo"))]


def current_skopeo() -> list[str]:
    return [str(require_skopeo_ref())]


def podman() -> list[str]:
    return [str(require_peer("podman"))]


SKOPEOS = pytest.mark.parametrize("peer", [debian_skopeo, current_skopeo])
TOOLS = pytest.mark.parametrize("peer", [debian_skopeo, current_skopeo, podman])


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    require_peer("docker-registry")
    require_peer("htpasswd")
    with running_registry(tmp_path_factory.mktemp("locked"), login=("alice", "s3cret wörd:x")) as running:
        yield running


class Shell:
    """Runs commands with a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "TMPDIR": os.environ["TMPDIR"],
            "CONTAINERS_REGISTRIES_CONF": "/dev/null",
            "LANG": "C.UTF-8",
        }
        self.authfile = folder / "run/containers/auth.json"
        for name in ("home", "run"):
            (folder / name).mkdir(mode=0o700)

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words], input=stdin, capture_output=True, text=True, env=self.environ, check=False, timeout=60
        )

    def __call__(self, *words: str, stdin: str = "") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout

    def login(self, program: list[str], registry: Registry, where: str = "") -> str:
        flags = ["--tls-verify=false", "-u", registry.username, "--password-stdin"]
        return self(*program, "login", *flags, registry.name + where, stdin=registry.password)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@TOOLS
def test_a_peer_uses_what_wherry_kept(peer, locked: Registry, shell: Shell) -> None:  # type: ignore[no-untyped-def]
    program = peer()
    shell.login(WHERRY, locked)
    assert shell(*program, "login", "--get-login", locked.name) == "alice\n"
    said = shell(*program, "login", "--tls-verify=false", locked.name)
    assert "Existing credentials are valid. Already logged in to" in said
    assert shell(*program, "logout", locked.name) == f"Removed login credentials for {locked.name}\n"
    assert shell.run(*WHERRY, "login", "--get-login", locked.name).returncode == 1


@TOOLS
def test_wherry_uses_what_a_peer_kept(peer, locked: Registry, shell: Shell) -> None:  # type: ignore[no-untyped-def]
    shell.login(peer(), locked)
    assert shell(*WHERRY, "login", "--get-login", locked.name) == "alice\n"
    assert "Already logged in to" in shell(*WHERRY, "login", "--tls-verify=false", locked.name)
    assert shell(*WHERRY, "logout", locked.name) == f"Removed login credentials for {locked.name}\n"
    assert shell.authfile.read_text() == '{\n\t"auths": {}\n}'


@SKOPEOS
def test_images_are_moved_with_the_kept_credentials(peer, locked: Registry, shell: Shell) -> None:  # type: ignore[no-untyped-def]
    """Pushed by one, read by the other, with a namespace's credentials alone."""
    program = peer()
    insecure = ["--insecure-policy", "copy", "--dest-tls-verify=false"]
    shell.login(WHERRY, locked, "/team")
    shell(*WHERRY, *insecure, HELLO, locked.docker("team/hello:1"))
    shell(*program, *insecure, HELLO, locked.docker("team/hello:2"))
    tags = json.loads(shell(*WHERRY, "list-tags", "--tls-verify=false", locked.docker("team/hello")))
    assert sorted(tags["Tags"]) == ["1", "2"]
    digests = {
        shell(
            *command,
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            locked.docker("team/hello:1"),
        )
        for command in (WHERRY, program)
    }
    assert len(digests) == 1
    refused = shell.run(*WHERRY, "inspect", "--tls-verify=false", locked.docker("other/hello:1"))
    assert refused.returncode == 1
    assert "authentication required" in refused.stderr


def test_authfile_flags_and_the_variable(locked: Registry, shell: Shell, tmp_path: Path) -> None:
    """Both sides of a copy with files of their own; the shared flag; $REGISTRY_AUTH_FILE."""
    good, bad = str(tmp_path / "good.json"), str(tmp_path / "bad.json")
    locked.authfile(Path(good))
    Path(bad).write_text(json.dumps({"auths": {locked.name: {"auth": "eDp5"}}}))
    Path(bad).chmod(0o600)
    copy = [*WHERRY, "--insecure-policy", "copy", "--dest-tls-verify=false", "--src-tls-verify=false"]
    target = locked.docker("flags/hello:1")
    for flags, status in (
        (["--dest-authfile", good], 0),
        (["--authfile", good], 0),
        (["--authfile", bad, "--dest-authfile", good], 0),
        (["--authfile", good, "--dest-authfile", bad], 1),
        (["--src-authfile", good], 1),
        ([], 1),
    ):
        assert shell.run(*copy, *flags, HELLO, target).returncode == status, flags
    assert shell.run(*copy, "--src-authfile", good, target, f"dir:{tmp_path}/d").returncode == 0
    inspect = [*WHERRY, "inspect", "--tls-verify=false", target]
    assert shell.run(*inspect).returncode == 1
    shell.environ["REGISTRY_AUTH_FILE"] = good
    assert shell.run(*inspect).returncode == 0
    assert shell.run(*inspect, "--authfile", bad).returncode == 1
    assert shell.run(*inspect, "--no-creds").returncode == 1
    assert shell.run(*inspect, "--authfile", "").returncode == 1


def test_the_proxy_takes_an_authfile(locked: Registry, shell: Shell, tmp_path: Path) -> None:
    """`experimental-image-proxy --authfile`, by a client that speaks the legacy protocol."""
    shell.login(WHERRY, locked)
    shell(
        *WHERRY, "--insecure-policy", "copy", "--dest-tls-verify=false", HELLO, locked.docker("proxy/hello:1")
    )
    program = (
        "import json, socket, subprocess, sys\n"
        "ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "child = subprocess.Popen(sys.argv[2:], stdin=theirs)\n"
        "theirs.close()\n"
        "def ask(method, *args):\n"
        "    ours.send(json.dumps({'method': method, 'args': args}).encode())\n"
        "    return json.loads(ours.recv(1 << 16))\n"
        "ask('Initialize')\n"
        "print(json.dumps(ask('OpenImage', sys.argv[1])))\n"
        "ours.close(); child.wait()\n"
    )
    command = [*WHERRY, "--insecure-policy", "experimental-image-proxy", "--tls-verify=false"]
    image = locked.docker("proxy/hello:1")
    for flags, opened in ((["--authfile", str(shell.authfile)], True), ([], True), (["--no-creds"], False)):
        answer = json.loads(shell(sys.executable, "-c", program, image, *command, *flags))
        assert answer["success"] is opened, (flags, answer)


def test_login_over_tls(tls_registry: Registry, shell: Shell) -> None:
    flags = ["-u", tls_registry.username, "--password-stdin"]
    words = [*WHERRY, "login", *flags, tls_registry.name]
    unknown = shell.run(*words, stdin=tls_registry.password)
    assert unknown.returncode == 1
    assert "certificate" in unknown.stderr
    assert not shell.authfile.exists()
    trusted = ["--cert-dir", str(tls_registry.cert_dir)]
    assert shell(*words, *trusted, stdin=tls_registry.password) == "Login Succeeded!\n"
    # The directory of the configuration files does as well.
    folder = Path(shell.environ["HOME"]) / ".config/containers/certs.d"
    folder.mkdir(parents=True)
    (folder / tls_registry.name).symlink_to(str(tls_registry.cert_dir))
    assert "Already logged in to" in shell(*WHERRY, "login", tls_registry.name)
    shell(*WHERRY, "--insecure-policy", "copy", HELLO, tls_registry.docker("login/hello:1"))


# --- a real helper ----------------------------------------------------------------------------------------


@pytest.fixture
def with_pass(shell: Shell) -> Iterator[Shell]:
    """docker-credential-pass with a store and a key of its own."""
    for name in ("docker-credential-pass", "pass", "gpg"):
        require_peer(name)
    with tempfile.TemporaryDirectory(prefix="g-") as folder:  # short: the agent's socket lies there
        shell.environ |= {"GNUPGHOME": folder, "PASSWORD_STORE_DIR": f"{folder}/store"}
        key = ["--batch", "--passphrase", "", "--quick-gen-key", "P <p@x>", "default", "default", "never"]
        shell("gpg", *key)
        shell("pass", "init", "p@x")
        try:
            yield shell
        finally:
            shell("gpgconf", "--kill", "all")


def test_docker_credential_pass(locked: Registry, with_pass: Shell, tmp_path: Path) -> None:
    shell = with_pass
    shell.authfile.parent.mkdir()
    shell.authfile.write_text(json.dumps({"credHelpers": {locked.name: "pass"}}))
    shell.authfile.chmod(0o600)
    before = shell.authfile.read_bytes()
    assert shell.run(*WHERRY, "login", "--get-login", locked.name).stderr.endswith(
        f'msg="not logged into {locked.name}"\n'
    )
    shell.login(WHERRY, locked)
    assert shell.authfile.read_bytes() == before
    assert shell(*WHERRY, "login", "--get-login", locked.name) == "alice\n"
    assert shell(*debian_skopeo(), "login", "--get-login", locked.name) == "alice\n"
    target = locked.docker("pass/hello:1")
    shell(*WHERRY, "--insecure-policy", "copy", "--dest-tls-verify=false", HELLO, target)
    store = Path(shell.environ["PASSWORD_STORE_DIR"])
    assert locked.password.encode() not in b"".join(path.read_bytes() for path in store.rglob("*.gpg"))
    assert shell(*WHERRY, "logout", locked.name) == f"Removed login credentials for {locked.name}\n"
    assert shell.run(*WHERRY, "inspect", "--tls-verify=false", target).returncode == 1


def test_docker_credential_pass_as_creds_store(locked: Registry, with_pass: Shell) -> None:
    """Docker's way, which skopeo does not read."""
    shell = with_pass
    given = {"ServerURL": locked.name, "Username": locked.username, "Secret": locked.password}
    shell("docker-credential-pass", "store", stdin=json.dumps(given))
    config = Path(shell.environ["HOME"]) / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"auths": {locked.name: {}}, "credsStore": "pass"}))
    config.chmod(0o600)
    said = shell(*WHERRY, "login", "--tls-verify=false", locked.name)
    assert "Existing credentials are valid" in said
    shutil.rmtree(config.parent)
    assert shell.run(*WHERRY, "login", "--get-login", locked.name).returncode == 1
