"""A hostile registry for any client: each case is what the registry does, and what a client may make of it.

    python -m tests.registry.hostile PROGRAM [PROGRAM...]

runs the cases with programs whose command line is skopeo's, and prints a table. The rows' own tests say more
of what wherry answers; here the same inputs meet whole programs.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.fakes.registry import MANIFEST_TYPE, FakeRegistry, Reply, Seen, ranged
from tests.transports.docker_images import CONFIG, LAYER, bearer_challenge, image, serve, sha

Outcome = Literal["whole", "refused", "taken", "no end"]
"""The image came as it was meant; the program failed; it ended well without that; it did not end."""

LIMIT_S: Final = 20
BLOB: Final = f"/v2/x/blobs/{sha(LAYER)}"
MANIFEST: Final = "/v2/x/manifests/latest"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Case:
    """`row`: of hostile-cases.md; `arrange`: makes a registry that serves x:latest do it."""

    row: str
    what: str
    arrange: Callable[[FakeRegistry], object]
    expected: Outcome
    command: Literal["copy", "list-tags"] = "copy"
    tag: str = ":latest"


def blob(*replies: Reply | Callable[[Seen], Reply]) -> Callable[[FakeRegistry], object]:
    return lambda fake: fake.on("GET", BLOB, *replies)


def manifest(raw: bytes, media_type: str = MANIFEST_TYPE) -> Callable[[FakeRegistry], object]:
    return lambda fake: fake.manifest("x", "latest", raw, media_type)


def answered(*replies: Reply) -> Callable[[FakeRegistry], object]:
    """With a manifest as the last answer to what asks for it."""
    good = Reply(headers={"Content-Type": MANIFEST_TYPE}, body=image(LAYER))
    return lambda fake: fake.on("GET", MANIFEST, *replies, good)


def changed(old: bytes, new: bytes) -> Callable[[FakeRegistry], object]:
    raw = image(LAYER)
    assert old in raw
    return manifest(raw.replace(old, new))


def token(body: bytes) -> Callable[[FakeRegistry], object]:
    return lambda fake: bearer_challenge(fake, token=body)


def wider_scope(fake: FakeRegistry) -> None:
    """A registry that would like a token for somebody else's repository."""
    bearer_challenge(fake)
    evil = 'Bearer error="insufficient_scope",scope="repository:other:*"'
    fake.on("GET", MANIFEST, Reply(401, {"WWW-Authenticate": evil}))


def tags(link: str) -> Callable[[FakeRegistry], object]:
    body = json.dumps({"name": "x", "tags": ["a"]}).encode()
    reply = Reply(headers={"Link": f'<{link}>; rel="next"'}, body=body)
    return lambda fake: fake.on("GET", "/v2/x/tags/list", reply)


def redirected(fake: FakeRegistry) -> None:
    fake.on("GET", BLOB, Reply(307, {"Location": BLOB}))


SIZE: Final = b'"size": %d' % len(LAYER)
CUT: Final = Reply(body=LAYER[:1000], length=len(LAYER), end="close")
REST: Final = LAYER[1000:]


def rest(first: int, total: int = len(LAYER)) -> Reply:
    return Reply(206, {"Content-Range": f"bytes {first}-{len(LAYER) - 1}/{total}"}, REST)


def both(raw: bytes) -> bytes:
    return json.dumps(json.loads(raw) | {"manifests": []}).encode()


CASES: Final = (
    Case("R-01", "a layer of other bytes", blob(Reply(body=LAYER[::-1])), "refused"),
    Case("R-02", "a layer that is cut, and served from there on", blob(CUT, ranged(LAYER)), "whole"),
    Case(
        "R-03", "a layer without length that is cut", blob(Reply(body=LAYER[:-9], framing="close")), "refused"
    ),
    Case("R-04", "a layer longer than it is", blob(Reply(body=LAYER * 2)), "refused"),
    Case("R-06", "a wrong size in the manifest", changed(SIZE, SIZE + b"0"), "refused"),
    Case("R-07", "a negative size in the manifest", changed(SIZE, b'"size": -1'), "refused"),
    Case("R-08", "a size of 2^63 in the manifest", changed(SIZE, b'"size": 9223372036854775808'), "refused"),
    Case("R-12", "a redirect to itself", redirected, "refused"),
    Case("R-22", "a token server that gives no token", token(b"{}"), "refused"),
    Case("R-24", "a token with a line feed", token(b'{"token":"a\\r\\nX: y"}'), "refused"),
    Case("R-28", "a challenge for another repository", wider_scope, "refused"),
    Case("R-33", "a tag list whose next page is itself", tags("/v2/x/tags/list"), "whole", "list-tags"),
    Case(
        "R-37",
        "429, Retry-After -5, and then the manifest",
        answered(Reply(429, {"Retry-After": "-5"})),
        "whole",
    ),
    Case("R-39", "503, and then the manifest", answered(Reply(503)), "whole"),
    Case(
        "R-39",
        "a connection that breaks, and then the manifest",
        answered(Reply(raw=b"", end="reset")),
        "whole",
    ),
    Case("R-44", "a rest of a layer from elsewhere", blob(CUT, rest(999)), "refused"),
    Case("R-44", "a rest of a layer of another length", blob(CUT, rest(1000, len(LAYER) + 1)), "refused"),
    Case("R-45", "all of a layer instead of its rest", blob(CUT, Reply(body=LAYER)), "refused"),
    Case("R-48", "a manifest served as an index", manifest(image(LAYER), INDEX_TYPE), "refused"),
    Case("R-49", "a manifest that is an index too", manifest(both(image(LAYER))), "refused"),
    Case("R-52", "a manifest with a key twice", changed(b'"layers"', b'"layers": [], "layers"'), "refused"),
    Case(
        "R-54", "a manifest nested 20,000 deep", manifest(b'{"a":' * 20_000 + b"1" + b"}" * 20_000), "refused"
    ),
    Case(
        "R-56",
        "a manifest that is not UTF-8",
        changed(b'"schemaVersion"', b'"\xff": 1, "schemaVersion"'),
        "refused",
    ),
    Case("R-57", "a digest that is a path", changed(sha(LAYER).encode(), b"sha256:../../x"), "refused"),
    Case("R-68", "204 instead of a manifest", lambda fake: fake.on("GET", MANIFEST, Reply(204)), "refused"),
)


def run(program: list[str], case: Case, folder: Path) -> Outcome:
    """What the program makes of the case; `folder` is empty, and its home."""
    with FakeRegistry() as fake:
        serve(fake, LAYER)
        case.arrange(fake)
        name = f"docker://{fake.name}/x"
        out = folder / "out"
        if case.command == "copy":
            words = ["--insecure-policy", "copy", "--src-tls-verify=false", name + case.tag, f"dir:{out}"]
        else:
            words = ["list-tags", "--tls-verify=false", name]
        try:
            done = subprocess.run(
                [*program, *words],
                env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
                capture_output=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return "no end"
    if done.returncode:
        return "refused"
    if case.command == "list-tags":
        return "whole" if json.loads(done.stdout)["Tags"] == ["a"] else "taken"
    return "whole" if _is_whole(out) else "taken"


def _is_whole(out: Path) -> bool:
    """Whether the directory holds the image as it was meant."""
    digests = {hashlib.sha256(path.read_bytes()).digest() for path in out.iterdir()}
    return digests >= {hashlib.sha256(data).digest() for data in (image(LAYER), CONFIG, LAYER)}


def table(programs: list[list[str]]) -> Iterator[str]:
    """Lines of Markdown: a row for each case, a column for each program."""
    names = " | ".join(Path(program[0]).name for program in programs)
    yield f"| row | the registry's answer | {names} |"
    yield "| --- " * (2 + len(programs)) + "|"
    for case in CASES:
        found = []
        for program in programs:
            with tempfile.TemporaryDirectory() as folder:
                found.append(run(program, case, Path(folder)))
        yield f"| {case.row} | {case.what} | {' | '.join(found)} |"


if __name__ == "__main__":
    for line in table([shlex.split(word) for word in sys.argv[1:]]):
        print(line)
