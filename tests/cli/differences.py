"""Where wherry's command line deliberately says something else (docs/differences.md has the list).

TAILS: the texts agree up to and including a marker; what follows was written by Go's net, TLS, JSON, time,
tar or strconv code and only has to be there. OURS: wherry's own answer, as patterns.
A failed copy leaves the old image where skopeo leaves what it had written: `test_golden` knows that for all.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from tests.cli.harness import Ours

GO_TAIL = "the tail of the text is Go's own"
_NET = ("*-refused", "*-refused-tls", "*/refused", "*/refused-dest", "*http-without-flag*")

TAILS: dict[str, str] = {
    "inspect-images/x-bad[tj]*-config": "Error reading OCI-formatted configuration data: ",
    "inspect-images/x-arrayconfig-config": "Error reading OCI-formatted configuration data: ",
    "inspect-images/x-bad[tj]*-plain": "msg=",
    "inspect-images/x-arrayconfig-plain": "msg=",
    "inspect-images/x-brokenindex-*": r"{X}/brokenindex\": ",
    "inspect-images/img-badindex-plain": r"{IMG}/badindex\": ",
    "inspect-images/x-garbage-[pc]*": "Error parsing manifest for image: ",
    "inspect-images/archive-notatar*": r"notatar.tar\": ",
    "references/inspect-oci-archive-is-a-directory": r"{X}/rich\": ",
    "references/copy-oci-archive-is-a-directory": "{X}/rich:: ",
    "references/inspect-oci-archive-empty": r"oci-archive:\": ",
    "references/copy-oci-archive-empty": "oci-archive::: ",
    "references/*-oci-index-not-a-number": "not an integer: ",
    "destinations/to-oci-empty": "initializing destination oci::: ",
    "*/fake-brokentags": "decoding tag list response: ",
    "manifest-digest/bad-signatures": "Error computing digest: ",
    "global/strings-bad-csv": "flag: ",
    "copy-existing/oci-broken-index": "initializing destination oci:d:x: ",
    "copy-faults/garbage-to-dir": "dir:{X}/garbage: ",
    "copy-faults/notatar-to-dir": "notatar.tar:: ",
    "copy-faults/badlayer-to-docker": "writing blob: ",
    "copy-policy/empty": r"{ETC}/empty.json\": ",
} | {one: "pinging container registry {" for one in _NET}


def fatal(pattern: str) -> str:
    """One fatal line whose escaped message is pattern."""
    return rf'time="TIME" level=fatal msg="?{pattern}"?\n'


def _not_yet(before: str = "") -> Ours:
    return Ours(
        1, fatal(before + r".*not yet.*"), r"(Getting image (source|list) signatures\n)?(Copying [^\n]*\n)*"
    )


_NO_LAYOUT_FILE = r'(time="TIME" level=warning msg="[^\n]*"\n)?'
_SHA512 = (
    r"Getting image source signatures\nCopying blob sha512:[^\n]*\nCopying config sha512:[^\n]*\n"
    r"Writing manifest to image destination\n"
)

OURS: dict[str, tuple[str, Ours]] = {
    "global/version": ("the version is our own", Ours(0, "", r"(wherry|skopeo) version [0-9][^\n]*\n")),
    "global/version-shorthand": (
        "the version is our own",
        Ours(0, "", r"(wherry|skopeo) version [0-9][^\n]*\n"),
    ),
    "references/inspect-docker-daemon-bare": (
        "a later transport",
        _not_yet(r'Error parsing image name \\"docker-daemon:'),
    ),
    "references/inspect-docker-archive-missing": (
        "a later transport",
        _not_yet(r'Error parsing image name \\"docker-archive:'),
    ),
    "references/copy-docker-archive-missing": ("a later transport", _not_yet()),
    "destinations/to-sif": ("a later transport", _not_yet()),
    "copy-options/encryption-key-bad": ("encryption is a later issue", _not_yet()),
    "inspect-images/x-badmanifest-*": (
        "D-01: refused",
        Ours(1, fatal("Error retrieving manifest for image: .+")),
    ),
    "inspect-images/img-badmanifest-plain": (
        "D-01: refused",
        Ours(1, fatal("Error retrieving manifest for image: .+")),
    ),
    "copy-faults/badmanifest-to-*": ("D-01: refused", Ours(1, fatal(".+"))),
    "inspect-images/x-nolayoutfile-*": (
        "D-09: a layout without its version file gets a warning",
        Ours(
            1,
            _NO_LAYOUT_FILE
            + fatal(r".*\\\"oci:\{X\}/nolayoutfile\\\": more than one image in oci, choose an image"),
        ),
    ),
    "copy-faults/oddtype-to-*": (
        "R-50: another type in the index than in the manifest",
        Ours(1, fatal("initializing image from source .*rejecting ambiguous manifest, .+")),
    ),
    "inspect-images/*oddtype-[pc]*": (
        "R-50: another type in the index than in the manifest",
        Ours(1, fatal("Error parsing manifest for image: rejecting ambiguous manifest, .+")),
    ),
    "inspect-images/*s1*-config": (
        "conversion of schema 1 is a later issue",
        _not_yet("Error reading OCI-formatted configuration data: "),
    ),
    "inspect-images/*s1*-config-raw": (
        "conversion of schema 1 is a later issue",
        _not_yet("Error reading configuration blob: "),
    ),
    "manifest-digest/no-signatures": (
        "skopeo prints the digest of nothing",
        Ours(1, fatal("Error computing digest: missing signature key")),
    ),
    "copy-faults/fake-toomany": (
        "several layers fail: the one that gave up first is told, skopeo tells the first in the manifest",
        Ours(
            1,
            fatal("reading blob sha256:[0-9a-f]{64}: fetching blob: received unexpected HTTP status: 500 .+"),
            r"Getting image source signatures\n(Copying blob [^\n]*\n)+",
        ),
    ),
    "copy-faults/longlayer-to-dir": (
        "R-06: a blob that is longer than it should be is not read to its end",
        Ours(
            1,
            fatal("writing blob: happened during read: the content is longer than 10263 bytes"),
            r"Getting image source signatures\nCopying blob [^\n]*\n",
        ),
    ),
    "copy-existing/dir-extra-file": (
        "D-13: a file that is none of a dir: image's stays",
        Ours(
            0,
            "",
            r"Getting image source signatures\n(Copying [^\n]*\n)*Writing manifest to image destination\n",
        ),
    ),
    "copy-existing/archive-is-a-directory": (
        "D-15: told before anything is copied",
        Ours(1, fatal(r"initializing destination oci-archive:d:: creating tar file .+: is a directory")),
    ),
    "copy-pairs/sha512-to-oci": ("skopeo cannot store sha512 blobs in a layout", Ours(0, "", _SHA512)),
} | {
    f"copy-pairs/{name}": ("a conversion of a later issue", _not_yet())
    for name in (
        "rich-to-dir-v2s2",
        "rich-to-dir-v2s1",
        "s2-to-dir-v2s1",
        "rich-to-docker-v2s2",
        "rich-to-oci-v2s2",
        "artifact-to-dir-v2s2",
        "index-to-dir-all-v2s2",
        "s1-to-oci",
    )
}


def tail_of(case_id: str) -> str:
    """The marker after which the case's error text is free, "" when all of it counts."""
    return next((marker for glob, marker in TAILS.items() if fnmatchcase(case_id, glob)), "")


def ours_of(case_id: str) -> tuple[str, Ours] | None:
    """The reason and answer of a case that wherry answers in its own way."""
    return next((answer for glob, answer in OURS.items() if fnmatchcase(case_id, glob)), None)


def matches(pattern: str, text: str) -> bool:
    """Whether pattern covers all of text."""
    return re.fullmatch(pattern, text, re.DOTALL) is not None
