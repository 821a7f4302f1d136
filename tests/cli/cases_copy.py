"""Cases of copy: every pair of transports, lists, options, refusals; each says what was written."""

from __future__ import annotations

from dataclasses import replace

from tests.cli.harness import Case
from tests.cli.table import case

HTTP = "--src-tls-verify=false --dest-tls-verify=false "
TO = "--dest-tls-verify=false "
FROM = "--src-tls-verify=false "
SOURCES = {
    "rich": "oci:{X}/rich",
    "s2": "dir:{X}/s2",
    "ocidir": "dir:{X}/ocidir",
    "archive": "oci-archive:{IMG}/one.tar",
    "archive-gz": "oci-archive:{IMG}/one.tar.gz",
    "docker": "docker://{REGISTRY}/repo/one",
    "docker-s2": "docker://{REGISTRY}/repo/s2:v2",
    "index": "oci:{X}/index",
    "list": "dir:{X}/list",
    "docker-list": "docker://{REGISTRY}/repo/list",
    "artifact": "oci:{X}/artifact",
    "nolayers": "oci:{X}/nolayers",
    "l64": "oci:{IMG}/l64",
    "sha512": "oci:{IMG}/sha512",
    "s1": "dir:{X}/s1",
    "zstd": "oci:{IMG}/zstd",
    "twice": "dir:{X}/rich-s2",
}
DESTINATIONS = {
    "oci": ("oci:d:name", "d"),
    "oci-untagged": ("oci:d", "d"),
    "dir": ("dir:d", "d"),
    "archive": ("oci-archive:d.tar:name", "d.tar"),
    "docker": ("docker://{REGISTRY}/out/{NAME}:t", "registry:out/{NAME}"),
}
SMALL = ("rich", "s2", "docker", "docker-s2", "ocidir", "archive", "index", "list")


def pair(source: str, target: str, flags: str = "", suffix: str = "") -> Case:
    """The copy of one source to one kind of destination."""
    name = f"{source}-to-{target}{suffix}"
    where, what = (text.replace("{NAME}", name) for text in DESTINATIONS[target])
    both = HTTP if "docker" in (source.partition("-")[0], target) else ""
    return case(
        name,
        f"copy {both}{flags}{SOURCES[source]} {where}",
        describe=(what,),
        unordered=source.startswith("docker"),
    )


PAIRS = [
    pair(source, target)
    for source in SOURCES
    for target in DESTINATIONS
    if source in SMALL
    or target in ("oci", "dir")
    or (target == "docker" and source in ("artifact", "l64", "nolayers"))
]
PAIRS += [
    pair(source, target, "--all ", "-all")
    for source in ("index", "list", "docker-list", "rich")
    for target in ("oci", "dir", "archive", "docker")
]
PAIRS += [
    pair(source, target, "--multi-arch index-only ", "-index-only")
    for source in ("index", "list", "rich")
    for target in ("oci", "dir")
]
PAIRS += [
    pair("index", "dir", "--multi-arch all ", "-multi-all"),
    pair("index", "dir", "--multi-arch system ", "-system"),
]
PAIRS += [
    pair(source, target, "--preserve-digests ", "-preserved")
    for source in ("s2", "rich", "list", "index")
    for target in ("oci", "dir")
]
PAIRS += [
    pair(source, target, f"--format {kind} ", f"-{kind}")
    for source, target, kind in (
        ("rich", "dir", "oci"),
        ("rich", "dir", "v2s2"),
        ("rich", "dir", "v2s1"),
        ("s2", "dir", "oci"),
        ("s2", "dir", "v2s2"),
        ("s2", "dir", "v2s1"),
        ("s2", "oci", "v2s2"),
        ("s2", "docker", "oci"),
        ("rich", "docker", "v2s2"),
        ("rich", "oci", "v2s2"),
        ("artifact", "dir", "v2s2"),
    )
]
PAIRS += [
    pair("list", "dir", "--all --format oci ", "-all-oci"),
    pair("index", "dir", "--all --format v2s2 ", "-all-v2s2"),
]
PAIRS += [pair("s2", "dir", "--preserve-digests --format oci ", "-preserved-oci")]
# schema1 is signed with a key made for the occasion: its bytes are never the same
PAIRS = [replace(one, describe=()) if one.id.endswith("-v2s1") else one for one in PAIRS]

RICH = "oci:{X}/rich"
OPTIONS = [
    case("quiet", f"copy --quiet {RICH} dir:d", describe=("d",)),
    case("quiet-shorthand", "copy -q -a oci:{X}/index dir:d"),
    case("quiet-failure", "copy -q oci:{X}/badlayer dir:d", describe=("d",)),
    case("digestfile", f"copy --digestfile digest {RICH} dir:d", describe=("digest",)),
    case("digestfile-converted", "copy --digestfile digest dir:{X}/s2 oci:d", describe=("digest",)),
    case("digestfile-list", "copy --all --digestfile digest oci:{X}/index dir:d", describe=("digest",)),
    case("digestfile-instance", "copy --digestfile digest oci:{X}/index dir:d", describe=("digest",)),
    case("digestfile-sha512", "copy --digestfile digest oci:{IMG}/sha512 dir:d", describe=("digest",)),
    case("digestfile-failure", "copy --digestfile digest oci:{X}/badlayer dir:d", describe=("digest",)),
    case(
        "digestfile-overwrites",
        f"copy --digestfile digest {RICH} dir:d",
        setup=(("write", "digest", "x" * 99),),
        describe=("digest",),
    ),
    case(
        "digestfile-impossible",
        f"copy --digestfile nowhere/digest {RICH} dir:d",
        describe=("d",),
        commits=True,
    ),
    case("digestfile-directory", f"copy --digestfile home {RICH} dir:d"),
    case("remove-signatures", "copy --remove-signatures dir:{X}/signed oci:d:n", describe=("d",)),
    case("remove-signatures-dir", "copy --remove-signatures dir:{X}/signed dir:d", describe=("d",)),
    case("remove-signatures-list", "copy --remove-signatures -a dir:{X}/list dir:d"),
    case("signed-to-dir", "copy dir:{X}/signed dir:d", describe=("d",)),
    case("signed-to-oci", "copy dir:{X}/signed oci:d:n", describe=("d",)),
    case("signed-to-archive", "copy dir:{X}/signed oci-archive:d.tar", describe=("d.tar",)),
    case("image-parallel-copies", f"copy --image-parallel-copies 1 {RICH} dir:d"),
    case(
        "from-digest",
        f"copy {FROM}docker://{{REGISTRY}}/repo/one@{{RICH}} dir:d",
        unordered=True,
        describe=("d",),
    ),
    case(
        "from-wrong-digest",
        f"copy {FROM}docker://{{REGISTRY}}/repo/one@sha256:{'1' * 64} dir:d",
        describe=("d",),
    ),
    case("to-digest", f"copy {TO}{RICH} docker://{{REGISTRY}}/out/to-digest@{{RICH}}"),
    case("to-wrong-digest", f"copy {TO}{RICH} docker://{{REGISTRY}}/out/wrong-digest@sha256:{'1' * 64}"),
    case("to-digest-of-list", f"copy {TO}oci:{{X}}/index docker://{{REGISTRY}}/out/list-digest@{{RICH}}"),
    case("to-unknown-digest", f"copy {TO}{RICH} docker://{{REGISTRY}}/out/unknown@@unknown-digest@@"),
    case("from-unknown-digest", f"copy {FROM}docker://{{REGISTRY}}/repo/one@@unknown-digest@@ dir:d"),
    case("additional-tag-ignored", f"copy --additional-tag x:y {RICH} dir:d"),
    case("additional-tag-untagged", f"copy --additional-tag x {RICH} dir:d"),
    case("additional-tag-invalid", f"copy --additional-tag X:y {RICH} dir:d"),
    case("additional-tag-csv", f"copy --additional-tag x:y,z {RICH} dir:d"),
    case("all-and-multi-arch", f"copy --all --multi-arch all {RICH} dir:d", describe=("d",)),
    case("all-false-and-multi-arch", f"copy --all=false --multi-arch all {RICH} dir:d"),
    case("multi-arch-unknown", f"copy --multi-arch x {RICH} dir:d", describe=("d",)),
    case("multi-arch-platforms", "copy --multi-arch linux/amd64,linux/arm64 oci:{X}/index dir:d"),
    case("format-unknown", f"copy --format x {RICH} dir:d", describe=("d",)),
    case("format-empty", f"copy --format= {RICH} dir:d"),
    case("compress-and-decompress", "copy --dest-compress --dest-decompress oci:{X}/nolayers dir:d"),
    case("compress-not-dir", "copy --dest-compress oci:{X}/nolayers oci:d"),
    case("decompress-not-dir", "copy --dest-decompress oci:{X}/nolayers oci:d"),
    case("compress-both-not-dir", "copy --dest-decompress --dest-compress oci:{X}/nolayers oci:d"),
    case("compress-format-unknown", "copy --dest-compress-format foo oci:{X}/nolayers oci:d"),
    case("force-compress-without-format", "copy --dest-force-compress-format oci:{X}/nolayers oci:d"),
    case("encrypt-layer-alone", f"copy --encrypt-layer 0 {RICH} oci:d"),
    case("encrypt-and-decrypt", f"copy --encryption-key jwe:x --decryption-key y {RICH} oci:d"),
    case("encryption-key-bad", f"copy --encryption-key nonsense {RICH} oci:d"),
    case("sign-identity-bad", f"copy --sign-identity x {RICH} dir:d"),
    case(
        "passphrase-file-two",
        f"copy --sign-by a --sign-by-sq-fingerprint b --sign-passphrase-file p {RICH} dir:d",
    ),
    case("deprecated-tls-verify", "copy --tls-verify=false oci:{X}/nolayers dir:d"),
    case(
        "deprecated-tls-verify-docker",
        "copy --tls-verify=false docker://{REGISTRY}/repo/one dir:d",
        unordered=True,
    ),
    case("deprecated-tls-verify-count", "copy --tls-verify=false", compare="usage"),
    case(
        "shared-blob-dir",
        "copy --dest-shared-blob-dir shared oci:{X}/rich oci:d:n",
        setup=(("mkdir", "shared"),),
        describe=("d", "shared"),
    ),
    case(
        "source-shared-blob-dir",
        "copy --src-shared-blob-dir {X}/several/blobs oci:{X}/noblobs dir:d",
        describe=("d",),
    ),
    case("platform", "--override-arch arm --override-variant v6 copy oci:{X}/index dir:d", describe=("d",)),
    case("platform-missing", "--override-arch s390x copy oci:{X}/index dir:d", describe=("d",)),
    case("platform-single", "--override-arch arm64 copy oci:{X}/rich dir:d"),
    case("no-instance", "copy oci:{X}/armindex dir:d", describe=("d",)),
    case("no-instance-list", "copy dir:{X}/armlist oci:d", describe=("d",)),
    case("no-instance-all", "copy -a oci:{X}/armindex dir:d"),
    case("empty-index-all", "copy -a oci:{X}/emptyindex dir:d", describe=("d",)),
    *(
        case(f"creds-{side}-{name}", f"copy {flags} docker://host.example/a docker://host.example/b")
        for side in ("src", "dest")
        for name, flags in {
            "empty": f"--{side}-creds ''",
            "no-user": f"--{side}-creds :x",
            "username-alone": f"--{side}-username me",
            "password-alone": f"--{side}-password me",
            "and-username": f"--{side}-creds a:b --{side}-username c --{side}-password d",
            "and-no-creds": f"--{side}-creds a:b --{side}-no-creds",
            "username-and-no-creds": f"--{side}-username a --{side}-password b --{side}-no-creds",
        }.items()
    ),
    case("creds-alias", f"copy {TO}--dcreds me:secret oci:{{X}}/nolayers docker://{{AUTHREG}}/out/alias"),
    case(
        "creds-alias-src",
        f"copy {FROM}--screds me:secret docker://{{AUTHREG}}/repo/one dir:d",
        unordered=True,
    ),
    case("creds-push", f"copy {TO}--dest-creds me:secret oci:{{X}}/nolayers docker://{{AUTHREG}}/out/creds"),
    case(
        "creds-push-wrong",
        f"copy {TO}--dest-creds me:wrong oci:{{X}}/nolayers docker://{{AUTHREG}}/out/wrong",
    ),
    case("creds-push-missing", f"copy {TO}oci:{{X}}/nolayers docker://{{AUTHREG}}/out/missing"),
    case("creds-pull-wrong", f"copy {FROM}--src-creds me:wrong docker://{{AUTHREG}}/repo/one dir:d"),
    case(
        "creds-pull-username",
        f"copy -q {FROM}--src-username me --src-password secret docker://{{AUTHREG}}/repo/one dir:d",
    ),
]

EXISTING = [
    case("dir-again", f"copy {RICH} dir:d", setup=(("copy", "d", "{X}/s2"),), describe=("d",)),
    case("dir-empty", f"copy {RICH} dir:d", setup=(("mkdir", "d"),), describe=("d",)),
    case(
        "dir-not-an-image",
        f"copy {RICH} dir:d",
        setup=(("mkdir", "d"), ("write", "d/note", "keep")),
        describe=("d",),
    ),
    case(
        "dir-bad-version",
        f"copy {RICH} dir:d",
        setup=(("mkdir", "d"), ("write", "d/version", "nonsense")),
        describe=("d",),
    ),
    case(
        "dir-future-version", f"copy {RICH} dir:d", setup=(("copy", "d", "{X}/futuredir"),), describe=("d",)
    ),
    case(
        "dir-without-version", f"copy {RICH} dir:d", setup=(("copy", "d", "{X}/noversion"),), describe=("d",)
    ),
    case("dir-is-a-file", f"copy {RICH} dir:d", setup=(("write", "d", "keep"),), describe=("d",)),
    case(
        "dir-extra-file",
        f"copy {RICH} dir:d",
        setup=(("copy", "d", "{X}/s2"), ("write", "d/extra", "x")),
        describe=("d",),
    ),
    case(
        "dir-failed-source",
        "copy oci:{X}/several:zzz dir:d",
        setup=(("copy", "d", "{X}/s2"),),
        describe=("d",),
    ),
    case("oci-same", f"copy {RICH} oci:d:latest", setup=(("copy", "d", "{X}/rich"),), describe=("d",)),
    case("oci-second-name", f"copy {RICH} oci:d:other", setup=(("copy", "d", "{X}/rich"),), describe=("d",)),
    case(
        "oci-name-moves",
        "copy oci:{X}/nolayers oci:d:latest",
        setup=(("copy", "d", "{X}/rich"),),
        describe=("d",),
    ),
    case("oci-untagged-again", f"copy {RICH} oci:d", setup=(("copy", "d", "{X}/rich"),), describe=("d",)),
    case(
        "oci-untagged-second",
        "copy oci:{X}/nolayers oci:d",
        setup=(("copy", "d", "{X}/untagged"),),
        describe=("d",),
    ),
    case(
        "oci-several",
        "copy oci:{X}/nolayers oci:d:two",
        setup=(("copy", "d", "{X}/several"),),
        describe=("d",),
    ),
    case(
        "oci-broken-index", f"copy {RICH} oci:d:x", setup=(("copy", "d", "{X}/brokenindex"),), describe=("d",)
    ),
    case("oci-is-a-file", f"copy {RICH} oci:d:x", setup=(("write", "d", "keep"),), describe=("d",)),
    case(
        "oci-other-directory",
        f"copy {RICH} oci:d:x",
        setup=(("mkdir", "d"), ("write", "d/note", "keep")),
        describe=("d",),
    ),
    case(
        "oci-all-again",
        "copy -a oci:{X}/index oci:d:latest",
        setup=(("copy", "d", "{X}/index"),),
        describe=("d",),
    ),
    case(
        "oci-instance-over-index",
        "copy oci:{X}/index oci:d:latest",
        setup=(("copy", "d", "{X}/index"),),
        describe=("d",),
    ),
    case(
        "archive-overwrites",
        f"copy {RICH} oci-archive:d.tar:n",
        setup=(("tar", "d.tar", "{X}/nolayers"),),
        describe=("d.tar",),
    ),
    case(
        "archive-overwrites-text",
        f"copy {RICH} oci-archive:d.tar:n",
        setup=(("write", "d.tar", "keep"),),
        describe=("d.tar",),
    ),
    case("archive-is-a-directory", f"copy {RICH} oci-archive:d", setup=(("mkdir", "d"),), describe=("d",)),
    case(
        "archive-failed-source",
        "copy oci:{X}/several:zzz oci-archive:d.tar",
        setup=(("write", "d.tar", "keep"),),
        describe=("d.tar",),
    ),
    case(
        "docker-again",
        f"copy {HTTP}docker://{{REGISTRY}}/repo/s2:v2 docker://{{REGISTRY}}/repo/s2:v2",
        unordered=True,
    ),
    case(
        "docker-other-repository",
        f"copy {HTTP}docker://{{REGISTRY}}/repo/s2:v2 docker://{{REGISTRY}}/out/other:t",
        unordered=True,
        describe=("registry:out/other",),
    ),
]

FAULTS = [
    *(
        case(
            f"{name}-to-{target}",
            f"copy oci:{{X}}/{name} {DESTINATIONS[target][0]}",
            describe=(DESTINATIONS[target][1],),
        )
        for name in [
            "badlayer",
            "shortlayer",
            "nolayer",
            "noconfig",
            "badconfig",
            "badmanifest",
            "badjson",
            "oddtype",
            "noblobs",
        ]
        for target in ("oci", "dir")
    ),
    case("badlayer-to-archive", "copy oci:{X}/badlayer oci-archive:d.tar", describe=("d.tar",)),
    case(
        "badlayer-to-docker",
        f"copy {TO}oci:{{X}}/badlayer docker://{{REGISTRY}}/out/badlayer",
        describe=("registry:out/badlayer",),
    ),
    case("longlayer-to-dir", "copy oci:{IMG}/longlayer dir:d"),
    case("garbage-to-dir", "copy dir:{X}/garbage dir:d"),
    case("nomanifest-to-dir", "copy dir:{X}/nomanifest dir:d"),
    case("futuredir-to-dir", "copy dir:{X}/futuredir dir:d"),
    case("notatar-to-dir", "copy oci-archive:{IMG}/notatar.tar dir:d"),
    case("foreign-to-oci", "copy oci:{X}/foreign oci:d:n", describe=("d",)),
    case("missing-archive", "copy oci-archive:nothing.tar dir:d", describe=("d",)),
    case("missing-oci", "copy oci:nothing dir:d", describe=("d",)),
    case("missing-dir", "copy dir:nothing dir:d", describe=("d",)),
    case("refused", f"copy {FROM}docker://{{CLOSED}}/x dir:d", describe=("d",)),
    case("refused-dest", f"copy {TO}{RICH} docker://{{CLOSED}}/x"),
    case("http-without-flag", "copy docker://{REGISTRY}/repo/one dir:d"),
    case("http-without-flag-dest", f"copy {RICH} docker://{{REGISTRY}}/out/x"),
    case("unknown-tag", f"copy {FROM}docker://{{REGISTRY}}/repo/one:nope dir:d"),
    case("unknown-repository", f"copy {FROM}docker://{{REGISTRY}}/repo/nope dir:d"),
    *(
        case(f"fake-{name}", f"copy {FROM}docker://{{FAKE}}/{name} dir:d", unordered=True)
        for name in [
            "plain",
            "nomanifest",
            "noname",
            "plainmanifest",
            "long",
            "html",
            "broken",
            "toomany",
            "noblob",
            "unauth",
            "odd",
        ]
    ),
    case("fake-retry", f"copy {FROM}--retry-times 1 --retry-delay 10ms docker://{{FAKE}}/html dir:d"),
    case("fake-retry-not", f"copy {FROM}--retry-times 1 docker://{{FAKE}}/nomanifest dir:d"),
]

POLICY = [
    case("reject", f"--policy {{ETC}}/reject.json copy {RICH} dir:d", describe=("d",)),
    case("reject-dir", "--policy {ETC}/reject.json copy dir:{X}/s2 oci:d"),
    case("reject-named", "--policy {ETC}/reject.json copy oci:{X}/several:one dir:d"),
    case("reject-docker", f"--policy {{ETC}}/reject.json copy {FROM}docker://{{REGISTRY}}/repo/one dir:d"),
    case("reject-quiet", f"--policy {{ETC}}/reject.json copy -q {RICH} dir:d"),
    case("reject-list", "--policy {ETC}/reject.json copy -a oci:{X}/index dir:d"),
    case("reject-insecure", f"--policy {{ETC}}/reject.json --insecure-policy copy -q {RICH} dir:d"),
    case("scoped-oci", f"--policy {{ETC}}/scoped.json copy {RICH} dir:d"),
    case("scoped-oci-other", "--policy {ETC}/scoped.json copy -q oci:{X}/nolayers dir:d"),
    case("scoped-dir", "--policy {ETC}/scoped.json copy -q dir:{X}/s2 dir:d"),
    case("scoped-dir-parent", "--policy {ETC}/scoped.json copy -q dir:{X}/ocidir dir:d"),
    case("scoped-docker", f"--policy {{ETC}}/scoped.json copy {FROM}docker://{{REGISTRY}}/repo/one dir:d"),
    case(
        "scoped-docker-other",
        f"--policy {{ETC}}/scoped.json copy -q {FROM}docker://{{REGISTRY}}/repo/s2:v2 dir:d",
    ),
    case("missing", f"--policy {{ETC}}/nothing.json copy {RICH} dir:d"),
    case("unknown-key", f"--policy {{ETC}}/unknownkey.json copy {RICH} dir:d"),
    case("no-default", f"--policy {{ETC}}/nodefault.json copy {RICH} dir:d"),
    case("empty", f"--policy {{ETC}}/empty.json copy {RICH} dir:d"),
    case("before-names", "--policy {ETC}/nothing.json copy foo bar"),
    case("after-count", "--policy {ETC}/nothing.json copy foo", compare="usage"),
    case("environment", f"copy {RICH} dir:d", env={"CONTAINERS_POLICY_JSON": "{ETC}/reject.json"}),
    case("environment-missing", f"copy {RICH} dir:d", env={"CONTAINERS_POLICY_JSON": "{ETC}/nothing.json"}),
    case("require-signed", f"--require-signed copy {RICH} dir:d"),
    case("require-signed-docker", f"--require-signed copy {FROM}docker://{{REGISTRY}}/repo/one dir:d"),
]
