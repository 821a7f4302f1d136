"""What each start of the command imports: allow-lists, because imports are most of a cold command's time."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.registry import FakeRegistry, Reply

ROOT = Path(__file__).parents[2]
HELLO = "oci:docs/examples/hello:latest"

# Runs the command in this process and tells, on the last line of stderr, which modules it brought.
PROBE = """
import json, os, sys
before = set(sys.modules)
from wherry_cli.__main__ import run
status = run(sys.argv[1:], (0, 1, 2), os.getcwd(), dict(os.environ))
print(json.dumps([status, sorted(set(sys.modules) - before)]), file=sys.stderr)
"""

# The parser and its tables need these of the standard library: regular expressions and typing, mostly.
LIGHT = frozenset(
    (
        *("__future__", "_collections", "_functools", "_operator", "_sre", "_typing", "collections"),
        *(
            "contextlib",
            "copyreg",
            "enum",
            "functools",
            "gc",
            "importlib",
            "itertools",
            "keyword",
            "operator",
        ),
        *("re", "reprlib", "types", "typing", "warnings", "wherry", "wherry_cli"),
    )
)
LIGHT_OURS = frozenset(
    (
        *("wherry", "wherry.errors", "wherry.model", "wherry.model.goquote", "wherry_cli"),
        *(f"wherry_cli.{name}" for name in ("__main__", "call", "commands", "flagparser", "flags")),
        *(f"wherry_cli.{name}" for name in ("flagvalues", "help", "helptext", "log")),
    )
)
HEAVY = frozenset(
    (
        *("argparse", "asyncio", "cffi", "concurrent", "cryptography", "email", "h11", "http", "httpcore"),
        *(
            "httpx",
            "msgspec",
            "pydoc",
            "rich",
            "socket",
            "ssl",
            "structlog",
            "subprocess",
            "tempfile",
            "trio",
        ),
        *("unittest", "urllib", "xml", "yaml"),
    )
)
# trio brings these along.
WITH_TRIO = frozenset(("email", "socket", "ssl", "subprocess", "tempfile", "trio", "urllib"))


def modules(*argv: str, status: int = 0, stdin: int = subprocess.DEVNULL) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *argv], cwd=ROOT, stdin=stdin, capture_output=True, check=True
    )
    ended, names = json.loads(done.stderr.splitlines()[-1])
    assert ended == status, done.stderr
    return set(names)


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] in ("wherry", "wherry_cli", "wherry_client")}


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("skopeo", "--version"), 0),
        (("wherry", "--help"), 0),
        (("skopeo", "experimental-image-proxy", "--help"), 0),
        (("wherry", "help", "copy"), 0),
        (("wherry", "copy", "--no-such-flag"), 1),
        (("wherry", "copy", "one"), 1),
        (("wherry",), 1),
        (("wherry", "no-such-command"), 1),
        (("wherry", "sync", "--src", "docker"), 1),
    ],
)
def test_answers_about_the_command_itself_are_light(argv: tuple[str, ...], status: int) -> None:
    names = modules(*argv, status=status)
    allowed = LIGHT_OURS | {"wherry_cli.copy", "wherry_cli.output"}
    assert ours(names) <= allowed
    assert {name for name in tops(names) if not name.startswith("_")} <= LIGHT


def test_manifest_digest_needs_the_model_alone() -> None:
    names = modules("wherry", "manifest-digest", "docs/examples/hello/index.json")
    assert tops(names) & HEAVY <= {"msgspec"}
    assert {name for name in ours(names) - LIGHT_OURS if not name.startswith("wherry.model.")} == {
        "wherry_cli.manifest_digest"
    }


OF_A_SERVER = ("config", "image", "interfaces", "model", "policy", "protocol", "server", "streams", "system")


def assert_serves_files_only(names: set[str]) -> None:
    """A server that has met no registry: no HTTP, no X.509, no copying."""
    assert tops(names) & HEAVY <= WITH_TRIO | {"msgspec"}
    engine = {name for name in ours(names) - LIGHT_OURS if name.startswith("wherry.")}
    allowed = {f"wherry.{name}" for name in OF_A_SERVER}
    others = {name for name in engine if ".".join(name.split(".")[:2]) not in allowed}
    assert others <= {
        *("wherry.registry", "wherry.registry.shared", "wherry.transports", "wherry.transports.files"),
        *("wherry.transports.paths", "wherry.transports.oci"),
        *("wherry.transports.oci.layout", "wherry.transports.oci.source"),
    }


def test_inspect_of_a_layout() -> None:
    names = modules("wherry", "inspect", HELLO)
    assert_serves_files_only(names)
    assert {name for name in ours(names) - LIGHT_OURS if name.startswith("wherry_cli.")} == {
        f"wherry_cli.{name}"
        for name in ("access", "coredumps", "inspect", "inspected", "request", "system_from")
    }
    assert "wherry_client._sync" not in names


@pytest.mark.parametrize("redirected", [False, True])
def test_httpx_comes_with_the_first_redirect(redirected: bool) -> None:
    """With its command line, where rich and click are there, it would be half of this start."""
    with FakeRegistry() as fake:
        tags = "/v2/x/tags/list"
        fake.on("GET", f"{tags}/there", Reply(body=b'{"tags":["a"]}'))
        there = Reply(307, {"Location": f"{tags}/there"})
        fake.on("GET", tags, there if redirected else Reply(body=b'{"tags":["a"]}'))
        names = modules("wherry", "list-tags", "--tls-verify=false", f"docker://{fake.name}/x")
        assert bool(fake.asked("GET", f"{tags}/there")) is redirected
    assert ("httpx" in names) is redirected
    if not redirected:
        assert not tops(names) & {
            "httpx",
            "httpcore",
            "http",
            "rich",
            "click",
            "pygments",
            "asyncio",
            "cryptography",
        }


def test_template_modules_only_for_a_template() -> None:
    names = modules("wherry", "inspect", "--format", "{{.Os}}", HELLO)
    assert "wherry_cli.gotemplate.runner" in names


def test_proxy_that_serves_nothing_yet() -> None:
    client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with client, server:
        client.send(b'{"method":"Initialize","args":[]}')
        client.send(b'{"method":"Shutdown","args":[]}')
        names = modules(
            "skopeo", "experimental-image-proxy", "--insecure-policy", "--sockfd", "0", stdin=server.fileno()
        )
        reply = json.loads(client.recv(32768))
    assert (reply["success"], reply["value"]) == (True, "0.2.8")
    assert_serves_files_only(names)
    assert {name for name in ours(names) - LIGHT_OURS if name.startswith("wherry_cli.")} == {
        f"wherry_cli.{name}" for name in ("access", "coredumps", "image_proxy", "system_from")
    }
    assert not {name for name in names if name.startswith("wherry_client")}
