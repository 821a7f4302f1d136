"""What clients do to the proxy: every method of 0.2.8, its successes and its errors.

Groups of named scenarios; each group is one file in golden/. The registry's are in registry_scenarios.py.
"""

from __future__ import annotations

import re
from typing import Any

from tests.images import build
from tests.wire.registry_scenarios import REGISTRY
from tests.wire.steps import (
    Call,
    CloseFd,
    Data,
    End,
    Finish,
    Raw,
    Receive,
    Scenario,
    Send,
    Step,
    Wait,
    error,
    scenario,
    tail,
)

INIT = Call("Initialize")
LAYER = build.digest(build.ONE.blob)
SIZE = len(build.ONE.blob)
BIG = build.digest(build.BIG.blob)
BIG_SIZE = len(build.BIG.blob)
ABSENT = "sha256:" + "0" * 64
SYNTAX: Any = {"differs": "JSON syntax", "ours": error("invalid request: .+")}
TRUNCATED: Any = {"differs": "truncated requests", "ours": error("invalid request: .+")}

# Policy files that the tests put beside the images.
POLICIES = {
    "accept.json": '{"default":[{"type":"insecureAcceptAnything"}]}',
    "reject.json": '{"default":[{"type":"reject"}]}',
    "scopes.json": '{"default":[{"type":"reject"}],"transports":{"oci":{"{CWD}/one":'
    '[{"type":"insecureAcceptAnything"}],"{CWD}/multi:latest":[{"type":"insecureAcceptAnything"}]},'
    '"dir":{"":[{"type":"insecureAcceptAnything"}],"{CWD}/s2list":[{"type":"reject"}]}}}',
    "unknownkey.json": '{"default":[{"type":"reject"}],"surprise":1}',
    "nodefault.json": '{"transports":{}}',
    "nonsense.json": "{nonsense",
}


def raw(text: str | bytes, **more: Any) -> Raw:
    return Raw(text.encode() if isinstance(text, str) else text, **more)


def got(pipe: str, method: str, *args: Any) -> tuple[Step, ...]:
    """A call whose data comes by a FinishPipe pipe, read whole."""
    return (Call(method, *args, pipe=pipe), Finish(pipe), Data(pipe))


def whole(reference: str) -> Scenario:
    """All metadata of an image, in every form."""
    return scenario(
        INIT,
        Call("OpenImage", reference),
        *got("manifest", "GetManifest", 1),
        *got("full", "GetFullConfig", 1),
        *got("config", "GetConfig", 1),
        Call("GetLayerInfo", 1),
        *got("layers", "GetLayerInfoPiped", 1),
        Call("CloseImage", 1),
    )


IMAGE_METHODS = ("GetManifest", "GetFullConfig", "GetConfig", "GetLayerInfo", "GetLayerInfoPiped")
ID_METHODS = ("CloseImage", *IMAGE_METHODS)
# Values that are no string or no number, as Go names their types.
MISTYPED: tuple[Any, ...] = (None, True, [], {}, 1.5)

REQUESTS: dict[str, Scenario] = {
    "initialize": scenario(INIT, Call("Initialize"), Call("Shutdown")),
    "initialize_with_args": scenario(
        Call("Initialize", 1), Call("Initialize", None), INIT, Call("Initialize", 1)
    ),
    "before_initialize": scenario(
        *(
            Call(method)
            for method in ("OpenImage", "OpenImageOptional", *ID_METHODS, "GetBlob", "GetRawBlob")
        ),
        Call("FinishPipe", 1),
        Call("Nope"),
        INIT,
    ),
    "shutdown_before_initialize": scenario(Call("Shutdown")),
    "shutdown_with_args": scenario(INIT, Call("Shutdown", 1, "two")),
    "unknown_methods": scenario(
        Call("nope"),
        INIT,
        Call("Nope", 1),
        Call("initialize"),
        Call(""),
        Call("<&>\u2028\u2029"),
        Call('schneeflöckchen ☃ 𝄞 \x00\x01\b\f\n\r\t"\\/\x7f\x80'),
        raw("null"),
        raw("{}"),
    ),
    "arg_counts": scenario(
        INIT,
        *(
            Call(method)
            for method in ("OpenImage", "OpenImageOptional", *ID_METHODS, "GetBlob", "GetRawBlob")
        ),
        *(Call(method, 1, 2) for method in ("OpenImage", "OpenImageOptional", *ID_METHODS)),
        Call("GetBlob", 1),
        Call("GetBlob", 1, 2, 3, 4),
        Call("GetRawBlob", 1),
        Call("GetRawBlob", 1, 2, 3),
    ),
    "reference_types": scenario(
        INIT,
        *(Call(method, value) for method in ("OpenImage", "OpenImageOptional") for value in MISTYPED),
    ),
    "id_types": scenario(
        INIT,
        *(Call(method, value) for method in ID_METHODS for value in ("1", *MISTYPED[:-1])),
        *(Call("GetBlob", value, LAYER, 1) for value in ("1", *MISTYPED[:-1])),
        *(Call("GetRawBlob", value, LAYER) for value in ("1", *MISTYPED[:-1])),
        *(Call("FinishPipe", value) for value in ("1", *MISTYPED[:-1])),
    ),
    "ids_unknown": scenario(
        INIT,
        *(Call(method, value) for method in ID_METHODS for value in (0, 99)),
        *(Call("GetBlob", value, LAYER, 1) for value in (0, 99)),
        *(Call("GetRawBlob", value, LAYER) for value in (0, 99)),
        Call("CloseImage", 2**53 - 1),
        Call("CloseImage", 2**53),
        Call("CloseImage", 2**53 + 2),
        raw('{"method":"CloseImage","args":[1e300]}'),
        raw('{"method":"CloseImage","args":[18446744073709551616]}'),
    ),
    "ids_odd": scenario(
        INIT,
        Call("OpenImage", "oci:one"),
        *(
            raw(
                '{"method":"GetLayerInfo","args":[%s]}' % number,  # noqa: UP031
                differs="odd numbers",
                ours=error(".+"),
            )
            for number in ("1.9", "-1", "-0.5", "-1e300", "0.5", "99.5")
        ),
        Call("CloseImage", 1),
    ),
    "numbers_as_floats": scenario(
        INIT,
        Call("OpenImage", "oci:one"),
        raw('{"method":"GetLayerInfo","args":[1.0]}'),
        raw('{"method":"GetLayerInfo","args":[1e0]}'),
        raw('{"method":"GetLayerInfo","args":[10E-1]}'),
        raw('{"method":"GetLayerInfo","args":[0.1e1]}'),
        raw('{"method":"GetLayerInfo","args":[-0]}'),
        raw('{"method":"GetLayerInfo","args":[0.0]}'),
        raw('{"method":"FinishPipe","args":[4294967301]}'),
        raw('{"method":"FinishPipe","args":[9007199254740992]}'),
    ),
    "finish_pipe": scenario(
        Call("FinishPipe", 1),
        Call("FinishPipe", 0),
        INIT,
        Call("FinishPipe", 1, 2, "three"),
        Call("OpenImage", "oci:one"),
        *got("a", "GetManifest", 1),
        Finish("a"),
        Call("GetFullConfig", 1, pipe="b", read=False),
        Finish("b"),
        Data("b"),
        Call("GetManifest", 1, pipe="c", read=False),
        Call("GetLayerInfoPiped", 1, pipe="d"),
        Finish("d"),
        Finish("c"),
        Data("c"),
        Data("d"),
    ),
    "finish_pipe_without_args": scenario(
        INIT,
        Call("FinishPipe", differs="FinishPipe without arguments", ours=error(".+")),
        End(differs="FinishPipe without arguments", ours={"exit": 0, "stdout": ""}),
    ),
    "finish_pipe_null_args": scenario(
        raw(
            '{"method":"FinishPipe","args":null}',
            differs="FinishPipe without arguments",
            ours=error(".+"),
        ),
        End(differs="FinishPipe without arguments", ours={"exit": 0, "stdout": ""}),
    ),
    "bad_json": scenario(
        *(
            raw(text, **SYNTAX)
            for text in ("garbage", "{", '{"method":"Initialize"', "[", '"', "{'method':1}")
        ),
        *(
            raw(text, **SYNTAX)
            for text in (" ", "\n", '{"method":"Initialize",}', '{"method":"a\nb"}', "\xff")
        ),
        *(
            raw(text, **SYNTAX)
            for text in ('{"method":"Initialize"}x', '{"method":"Nope"}{}', "nul", "-", "01")
        ),
        raw(b"\xef\xbb\xbf{}", **SYNTAX),
        INIT,
    ),
    "bad_shapes": scenario(
        *(raw(text) for text in ("[]", '"text"', "1", "true", "[1,2]", '{"method":1}', '{"method":[]}')),
        *(raw(text) for text in ('{"method":{}}', '{"method":true}', '{"method":"Nope","args":{}}')),
        *(raw(f'{{"method":"Nope","args":{args}}}') for args in ('"x"', "1", "false")),
        raw('{"method":"Nope","args":[1e999]}'),
        raw('{"method":null,"args":null}'),
        INIT,
    ),
    "lenient_json": scenario(
        raw('{"METHOD":"Initialize","Args":[]}'),
        raw('{"Method":"OpenImage","ARGS":["oci:one"]}'),
        raw('{"\u017fmethod":"Nope","method":"Initialize"}'),
        raw('{"method":"Initialize","arg\u017f":[1]}'),
        raw('  {"method" : "GetLayerInfo" ,\t"args":\r\n[ 1 ] }  \n'),
        raw('{"id":7,"jsonrpc":"2.0","method":"CloseImage","args":[1],"more":{"deep":[null]}}'),
        raw('{"args":[],"method":"Initialize"}'),
        raw('{"method":"Initialize","args":null}'),
        raw('{"method":"Initialize"}'),
        raw('{"method":"In\\u0069tialize"}'),
        raw(b'{"method":"bad \xff\xfe utf-8"}'),
        raw('{"method":"lone \\ud800 surrogate"}'),
        raw('{"method":"pair \\ud83d\\ude00"}'),
    ),
    "duplicate_keys": scenario(
        INIT,
        raw(
            '{"method":"Nope","method":"Initialize"}',
            differs="duplicate keys",
            ours={"recv": re.compile(r'\{"success":false,.*(already initialized|[Dd]uplicate).*\}')},
        ),
    ),
    "request_of_32768_bytes": scenario(
        INIT, raw('{"method":"Initialize","pad":"' + "x" * (32768 - 32) + '"}')
    ),
    "request_of_32769_bytes": scenario(
        INIT,
        raw('{"method":"Initialize","pad":"' + "x" * (32769 - 32) + '"}', **TRUNCATED),
        Call("Initialize"),
    ),
    "request_of_100000_bytes": scenario(INIT, raw('{"method":"' + "x" * 99987 + '"}', **TRUNCATED), INIT),
    "long_error": scenario(Call("n" * 4000)),
    "reply_of_192089_bytes": scenario(
        Call(
            "<" * 32000,
            differs="oversized replies",
            ours={
                "recv": re.compile(
                    r'\{"success":false,"value":null,"pipeid":0,"error_code":"other",.{9,32000}'
                )
            },
        ),
        INIT,
    ),
    "pipelined": scenario(
        Send(INIT.packet),
        Send(Call("OpenImage", "oci:one").packet),
        Send(Call("GetManifest", 1).packet),
        Receive(),
        Receive(),
        Receive(pipe="a"),
        Finish("a"),
        Data("a"),
    ),
}


def opens(*references: str) -> tuple[Step, ...]:
    return tuple(Call(method, name) for name in references for method in ("OpenImage", "OpenImageOptional"))


def opens_tail(reference: str, start: str, ending: str = ".+") -> tuple[Step, ...]:
    methods = ("OpenImage", "OpenImageOptional")
    return tuple(Call(method, reference, **tail(start, ending)) for method in methods)


ENOENT = "(?i:no such file or directory)"

OPEN: dict[str, Scenario] = {
    "names": scenario(
        INIT,
        *opens(
            "foo", "", ":", "nosuch:foo", "nosuch:", "oci", "OCI:one", "docker:foo", "docker://", "docker:/x"
        ),
        *opens("docker://UPPER/case", "docker://a/b@sha256:12", "docker://a/b:c@sha256:12", "docker://-bad"),
        *opens("docker://a/b:" + "t" * 129, "docker://" + "a" * 256, "docker://x/<&>"),
        *opens("docker://a/b:tag@" + ABSENT, "docker://" + "0" * 64),
        *opens("oci:one:bad tag", "oci:one:@1x", "oci:one:latest:x"),
        *opens_tail("oci:", "open index.json: ", ENOENT),
        *opens_tail("oci::", "open index.json: ", ENOENT),
        *opens_tail("oci::tag", "open index.json: ", ENOENT),
        *opens_tail("oci-archive:", ""),
        *opens_tail("dir:", "open manifest.json: ", ENOENT),
    ),
    "serial_numbers": scenario(
        INIT,
        *(Call("OpenImage", "oci:one") for _ in range(3)),
        Call("CloseImage", 2),
        Call("OpenImage", "oci:nowhere", **tail("open nowhere/index.json: ", ENOENT)),
        Call("OpenImageOptional", "oci:one"),
        Call("CloseImage", 2),
        Call("GetLayerInfo", 4),
    ),
    "oci_not_found": scenario(
        INIT,
        *opens("oci:one:nope", "oci:twotags:nope", "oci:twotags", "oci:one:@0", "oci:one:@5"),
        *opens_tail("oci:nowhere", "open nowhere/index.json: ", ENOENT),
        *opens_tail("oci:nowhere:tag", "open nowhere/index.json: ", ENOENT),
        *opens_tail("oci:s2dir", "open s2dir/index.json: ", ENOENT),
        *opens_tail("oci:one.tar", "open one.tar/index.json: ", "(?i:not a directory)"),
        *opens_tail("oci:badindex", "", ".+"),
        *opens_tail("oci:nomanifest", "open nomanifest/blobs/sha256/", "[0-9a-f]{64}: " + ENOENT),
    ),
    "oci_tags": scenario(
        INIT,
        *opens(
            "oci:one:latest",
            "oci:twotags:first",
            "oci:twotags:second",
            "oci:untagged",
            "oci:{CWD}/one:latest",
        ),
        *(step for number in range(1, 11, 2) for step in got(f"m{number}", "GetManifest", number)),
    ),
    "dir_not_found": scenario(
        INIT,
        *opens_tail("dir:nowhere", "open nowhere/manifest.json: ", ENOENT),
        *opens_tail("dir:one", "open one/manifest.json: ", ENOENT),
        *opens_tail(
            "dir:one.tar",
            'reading version file \\"one.tar/version\\": open one.tar/version: ',
            "(?i:not a directory)",
        ),
    ),
    "oci_archive": scenario(
        INIT,
        *opens("oci-archive:one.tar:nope", "oci-archive:twotags.tar"),
        *opens("oci-archive:nowhere.tar", "oci-archive:nowhere.tar:tag"),
        *opens("oci-archive:one.tar:latest", "oci-archive:twotags.tar:second"),
        *opens_tail("oci-archive:notatar.tar", "", ".+"),
    ),
    "odd_media_type": scenario(INIT, *opens("oci:oddtype")),
    "policy_reject": scenario(
        INIT,
        *opens("oci:one", "dir:s2dir", "oci:multi", "oci-archive:one.tar"),
        before=("--policy", "policy/reject.json", "--tmpdir", "{TMP}"),
    ),
    "policy_accept": scenario(INIT, *opens("oci:one"), before=("--policy=policy/accept.json",)),
    "policy_scopes": scenario(
        INIT,
        *opens(
            "oci:one", "oci:one:latest", "oci:two", "oci:multi:latest", "oci:multi", "dir:s2dir", "dir:s2list"
        ),
        before=("--policy", "policy/scopes.json", "--override-arch", "amd64"),
    ),
    "policy_precedes_not_found": scenario(
        INIT,
        *opens("oci:one:nope"),
        *opens_tail("oci:nowhere", "open nowhere/index.json: ", ENOENT),
        *opens_tail("oci:nomanifest", "open nomanifest/blobs/sha256/", "[0-9a-f]{64}: " + ENOENT),
        before=("--policy", "policy/reject.json"),
    ),
    "require_signed": scenario(
        INIT,
        *opens("oci:one", "oci:{CWD}/one:latest", "dir:s2dir", "oci-archive:one.tar"),
        before=("--require-signed", "--policy", "policy/accept.json", "--tmpdir={TMP}"),
    ),
    "platform_flags": scenario(
        INIT,
        Call("OpenImage", "oci:multi"),
        *got("a", "GetManifest", 1),
        Call("OpenImage", "dir:s2list"),
        *got("b", "GetManifest", 2),
        Call("OpenImage", "oci-archive:multi.tar"),
        Call("GetLayerInfo", 3),
        before=("--insecure-policy", "--override-arch", "arm64", "--override-os=linux"),
    ),
    "platform_flags_after": scenario(
        INIT,
        Call("OpenImage", "oci:multi"),
        *got("a", "GetManifest", 1),
        before=(),
        after=("--override-variant", "v7", "--override-arch=arm", "--insecure-policy"),
    ),
    "platform_variant_falls_back": scenario(
        INIT,
        *opens("oci:multi"),
        Call("GetLayerInfo", 1),
        *opens("dir:s2list"),
        before=("--insecure-policy", "--override-arch=arm", "--override-variant=v8"),
    ),
    "platform_variant_too_new": scenario(
        INIT,
        *opens("oci:multi", "dir:s2list"),
        before=("--insecure-policy", "--override-arch=arm", "--override-variant=v6"),
    ),
    "platform_missing": scenario(
        INIT,
        *opens("oci:multi", "dir:s2list", "oci:one", "dir:s2dir"),
        before=("--insecure-policy", "--override-arch=s390x", "--override-os=linux"),
    ),
    "platform_os_missing": scenario(
        INIT,
        *opens("oci:multi"),
        before=("--insecure-policy", "--override-arch=amd64", "--override-os=plan9"),
    ),
}

INITIALIZE: dict[str, Scenario] = {
    "no_policy_file": scenario(
        Call("Initialize", **tail("open policy/nowhere.json: ", ENOENT)),
        Call("OpenImage", "oci:one"),
        Call("Initialize", **tail("open policy/nowhere.json: ", ENOENT)),
        before=("--policy", "policy/nowhere.json"),
    ),
    **{
        f"policy_{name}": scenario(
            Call("Initialize", **tail('invalid policy in \\"policy/' + name + '.json\\": ')),
            Call("Shutdown"),
            before=("--policy", f"policy/{name}.json"),
        )
        for name in ("nonsense",)
    },
    **{
        f"policy_{name}": scenario(INIT, before=("--policy", f"policy/{name}.json"))
        for name in ("unknownkey", "nodefault")
    },
    "creds_and_no_creds": scenario(INIT, after=("--creds", "a:b", "--no-creds")),
    "username_without_password": scenario(INIT, after=("--username", "a")),
    "password_without_username": scenario(INIT, after=("--password", "a")),
    "creds_and_username": scenario(INIT, after=("--creds", "a:b", "--username", "a")),
    "username_and_no_creds": scenario(INIT, after=("--username", "a", "--password", "b", "--no-creds")),
    "creds_without_password": scenario(INIT, after=("--creds", "alone")),
    "creds_empty": scenario(INIT, after=("--creds", "")),
    "creds_without_user": scenario(INIT, after=("--creds", ":b")),
    "token": scenario(INIT, after=("--registry-token", "t", "--no-creds")),
    "two_faults": scenario(INIT, INIT, before=("--policy", "policy/nowhere.json"), after=("--username", "a")),
}

IMAGES: dict[str, Scenario] = {
    **{
        name: whole(f"oci:{name}")
        for name in (
            *("one", "two", "plain", "zstd", "big", "foreign", "sparse", "emptyconfig", "sha512", "multi"),
            *("l64", "badlayer"),
        )
    },
    **{name: whole(f"dir:{name}") for name in ("s2dir", "s2types", "s2list", "ocidir")},
    "archive_one": whole("oci-archive:one.tar"),
    "archive_one_gz": whole("oci-archive:one.tar.gz"),
    "archive_multi": whole("oci-archive:multi.tar"),
    "l400": scenario(
        INIT, Call("OpenImage", "oci:l400"), Call("GetLayerInfo", 1), *got("a", "GetLayerInfoPiped", 1)
    ),
    "l3000_piped": scenario(
        INIT, Call("OpenImage", "oci:l3000"), *got("a", "GetLayerInfoPiped", 1), *got("b", "GetManifest", 1)
    ),
    "l3000_inline": scenario(
        INIT,
        Call("OpenImage", "oci:l3000"),
        Call("GetLayerInfo", 1, differs="oversized replies", ours=error(".+")),
        End(differs="oversized replies", ours={"exit": 0, "stdout": ""}),
    ),
    "artifact": scenario(
        INIT,
        Call("OpenImage", "oci:artifact"),
        *got("a", "GetManifest", 1),
        *(Call(method, 1) for method in ("GetFullConfig", "GetConfig")),
        Call("GetLayerInfo", 1),
    ),
    **{
        name: scenario(
            INIT, Call("OpenImage", f"dir:{name}"), Call("GetManifest", 1), Call("GetLayerInfo", 1)
        )
        for name in ("s1dir", "s1signed", "s2odd")
    },
    **{
        name: scenario(
            INIT,
            Call("OpenImage", f"oci:{name}"),
            *got("a", "GetManifest", 1),
            Call("GetFullConfig", 1, **more),
            Call("GetConfig", 1, **more),
            Call("GetLayerInfo", 1),
        )
        for name, more in (
            ("badconfig", {}),
            ("noconfig", tail("open noconfig/blobs/sha256/", "[0-9a-f]{64}: " + ENOENT)),
        )
    },
    "badmanifest": scenario(  # hostile-cases D-01
        INIT,
        Call("OpenImage", "oci:badmanifest", differs="hostile", ours=error(".+")),
        Call("OpenImageOptional", "oci:badmanifest", differs="hostile", ours=error(".+")),
    ),
    "after_close": scenario(
        INIT,
        Call("OpenImage", "oci:one"),
        Call("CloseImage", 1),
        *(Call(method, 1) for method in ID_METHODS),
        Call("GetBlob", 1, LAYER, SIZE),
        Call("GetRawBlob", 1, LAYER),
    ),
}


BAD_DIGESTS: tuple[Any, ...] = (
    *(1, None, [], "", "x", "sha256:", "sha256:12", LAYER.upper(), "sha256:" + "A" * 64),
    *("md5:" + "0" * 32, "sha512:" + "0" * 64, "sha256:" + "g" * 64, "sha1:" + "0" * 40),
    *("sha384:" + "0" * 10, "SHA256:" + "0" * 64, "x+y.z:12", LAYER + " "),
)


def blob(name: str, *more: Step, reference: str = "") -> Scenario:
    return scenario(INIT, Call("OpenImage", reference or f"oci:{name}"), *more)


def raw_blob(pipe: str, digest: str) -> tuple[Step, ...]:
    return (Call("GetRawBlob", 1, digest, pipe=pipe), Data(pipe), Data(pipe, "err"))


BLOBS: dict[str, Scenario] = {
    "get_blob": blob("one", *got("a", "GetBlob", 1, LAYER, SIZE), *got("b", "GetBlob", 1, LAYER, SIZE)),
    "get_blob_big": blob("big", *got("a", "GetBlob", 1, BIG, BIG_SIZE)),
    "get_blob_sha512": blob("sha512", *got("a", "GetBlob", 1, build.digest(build.ONE.blob, "sha512"), SIZE)),
    "get_blob_dir": blob(
        "", *got("a", "GetBlob", 1, LAYER, SIZE), *raw_blob("b", LAYER), reference="dir:s2dir"
    ),
    "get_blob_archive": blob(
        "", *got("a", "GetBlob", 1, LAYER, SIZE), *raw_blob("b", LAYER), reference="oci-archive:one.tar"
    ),
    "get_blob_archive_gz": blob(
        "", *got("a", "GetBlob", 1, LAYER, SIZE), *raw_blob("b", LAYER), reference="oci-archive:one.tar.gz"
    ),
    "get_blob_of_another_image": blob(
        "multi", *got("a", "GetBlob", 1, build.digest(build.TWO.blob), 4608 + 6)
    ),
    "wrong_sizes": blob(
        "one",
        *got("a", "GetBlob", 1, LAYER, 1),
        *got("b", "GetBlob", 1, LAYER, SIZE + 1),
        *got("c", "GetBlob", 1, LAYER, 0),
        *got("d", "GetBlob", 1, LAYER, 2**53 - 1),
        Call("GetBlob", 1, LAYER, 2**53),
    ),
    "size_types": blob("one", *(Call("GetBlob", 1, LAYER, value) for value in ("1", *MISTYPED[:-1]))),
    "size_negative": blob(
        "one",
        Call("GetBlob", 1, LAYER, -1, pipe="a", differs="odd numbers", ours=error(".+")),
        Call("CloseImage", 1),
    ),
    "digests": blob(
        "one",
        *(
            Call(method, 1, value, *size)
            for method, size in (("GetBlob", (SIZE,)), ("GetRawBlob", ()))
            for value in BAD_DIGESTS
        ),
    ),
    "order_of_checks": blob(
        "one",
        Call("GetBlob", 99, 1, "x"),
        Call("GetBlob", 1, 1, "x"),
        Call("GetBlob", 1, "x", "x"),
        Call("GetBlob", "x", "x", "x"),
        Call("GetRawBlob", 99, 1),
    ),
    "missing": blob(
        "nolayer",
        Call("GetBlob", 1, LAYER, SIZE, **tail("open nolayer/blobs/sha256/" + LAYER[7:] + ": ", ENOENT)),
        Call("GetRawBlob", 1, LAYER, **tail("open nolayer/blobs/sha256/" + LAYER[7:] + ": ", ENOENT)),
        Call("GetRawBlob", 1, ABSENT, **tail("open nolayer/blobs/sha256/" + ABSENT[7:] + ": ", ENOENT)),
        Call("GetLayerInfo", 1),
    ),
    "missing_dir": blob(
        "",
        Call("GetBlob", 1, ABSENT, 1, **tail("open s2dir/" + ABSENT[7:] + ": ", ENOENT)),
        Call("GetRawBlob", 1, ABSENT, **tail("open s2dir/" + ABSENT[7:] + ": ", ENOENT)),
        reference="dir:s2dir",
    ),
    "bad_bytes": blob("badlayer", *got("a", "GetBlob", 1, LAYER, SIZE), *raw_blob("b", LAYER)),
    "short_blob": blob("shortlayer", *got("a", "GetBlob", 1, LAYER, SIZE), *raw_blob("b", LAYER)),
    "long_blob": blob("longlayer", *got("a", "GetBlob", 1, LAYER, SIZE), *raw_blob("b", LAYER)),
    "raw_blob": blob("one", *raw_blob("a", LAYER), *raw_blob("b", LAYER)),
    "raw_blob_big": blob("big", *raw_blob("a", BIG)),
    "raw_blobs_at_once": blob(
        "big",
        *(Call("GetRawBlob", 1, BIG, pipe=name, read=False) for name in "abc"),
        Call("GetLayerInfo", 1),
        *(step for name in "cba" for step in (Data(name), Data(name, "err"))),
    ),
    "close_image_while_streaming": blob(
        "big",
        Call("GetRawBlob", 1, BIG, pipe="raw", read=False),
        Call("GetBlob", 1, BIG, BIG_SIZE, pipe="a", read=False),
        Wait("raw", 65536),
        Wait("a", 65536),
        Call("CloseImage", 1),
        Call("GetRawBlob", 1, BIG),
        Data("raw"),
        Data("raw", "err"),
        Call("OpenImage", "oci:big"),
        Call("CloseImage", 2),
    ),
    "early_close_small": blob(
        "one",
        Call("GetBlob", 1, LAYER, SIZE, pipe="a", read=False),
        Wait("a", SIZE),
        CloseFd("a"),
        Finish("a"),
        Call("GetRawBlob", 1, LAYER, pipe="b", read=False),
        Wait("b", SIZE),
        CloseFd("b"),
        Data("b", "err"),
        Call("GetManifest", 1, pipe="c", read=False),
        Wait("c", 500),
        CloseFd("c"),
        Finish("c"),
    ),
    "early_close_big": blob(
        "big",
        Call("GetBlob", 1, BIG, BIG_SIZE, pipe="a", read=False),
        Wait("a", 65536),
        CloseFd("a"),
        Finish("a", differs="tail", ours=error(".*broken pipe", "EPIPE")),
        Call("GetRawBlob", 1, BIG, pipe="b", read=False),
        Wait("b", 65536),
        CloseFd("b"),
        Data(
            "b",
            "err",
            differs="tail",
            ours={"data": re.compile(r'\{"code":"EPIPE","message":".*broken pipe"\}')},
        ),
        Call("GetLayerInfo", 1),
    ),
    "early_close_layer_info": blob(
        "l3000",
        Call("GetLayerInfoPiped", 1, pipe="a", read=False),
        Wait("a", 65536),
        CloseFd("a"),
        Finish("a", differs="tail", ours=error(".*broken pipe", "EPIPE")),
    ),
    "config_of_an_oci_image": blob("emptyconfig", *raw_blob("a", build.digest(b"{}"))),
}

# The config that skopeo's converted manifest of s2dir names (golden/images.jsonl); wherry can deliver it.
CONVERTED = "sha256:11efc83dcc71584312c91e183d69058bd27975bea6c44ddf55f31976884840c4"
BLOBS["config_of_a_converted_image"] = blob(
    "",
    Call(
        "GetRawBlob",
        1,
        CONVERTED,
        pipe="a",
        differs="converted config",
        ours={
            "recv": '{"success":true,"value":1009,"pipeid":0,"error_code":"","error":""}',
            "fds": 2,
        },
    ),
    Data(
        "a",
        text=False,
        differs="converted config",
        ours={"data": {"size": 1009, "sha256": CONVERTED[7:]}},
    ),
    Data("a", "err", differs="converted config", ours={"data": ""}),
    Call("CloseImage", 1),
    reference="dir:s2dir",
)

SERVER_ENDS = {"data": re.compile(r'\{"code":"[A-Za-z]+","message":".+"\}')}

LIFECYCLE: dict[str, Scenario] = {
    "client_closes_at_once": scenario(End()),
    "client_closes": scenario(INIT, Call("OpenImage", "oci:one"), End()),
    "client_closes_with_archive_open": scenario(INIT, Call("OpenImage", "oci-archive:one.tar.gz"), End()),
    "shutdown": scenario(INIT, Call("OpenImage", "oci:one"), Call("Shutdown")),
    "shutdown_in_a_queue": scenario(
        Send(INIT.packet), Send(Call("Shutdown").packet), Send(Call("Nope").packet), Receive(), Receive()
    ),
    "zero_packet": scenario(
        INIT,
        raw(b"", differs="zero packets", ours={"eof": True, "exit": 0, "stdout": ""}),
    ),
    "unfinished_pipes": scenario(
        INIT,
        Call("OpenImage", "oci:one"),
        Call("GetManifest", 1, pipe="a"),
        Call("GetBlob", 1, LAYER, SIZE, pipe="b", read=False),
        Call("Shutdown"),
    ),
    "raw_blob_cut_by_the_end": scenario(
        INIT,
        Call("OpenImage", "oci:big"),
        Call("GetRawBlob", 1, BIG, pipe="a", read=False),
        Wait("a", 65536),
        Send(Call("Shutdown").packet),
        End(),
        Data("a", "err", differs="server end", ours=SERVER_ENDS),
    ),
    "blob_cut_by_the_end": scenario(
        INIT,
        Call("OpenImage", "oci:big"),
        Call("GetBlob", 1, BIG, BIG_SIZE, pipe="a", read=False),
        Wait("a", 65536),
        End(),
    ),
    "sockfd": scenario(INIT, Call("OpenImage", "oci:one"), after=("--sockfd", "{SOCKFD}"), stdin="null"),
    "sockfd_equals": scenario(INIT, Call("Shutdown"), after=("--sockfd={SOCKFD}",), stdin="null"),
}

STARTUP: dict[str, Scenario] = {
    "not_a_socket": scenario(
        End(
            close=False,
            stderr=True,
            differs="tail",
            ours={"exit": 1, "stdout": "", "stderr": re.compile(r'time="\{TIME\}" level=fatal msg=".+"\n')},
        ),
        stdin="null",
    ),
    "bad_fd": scenario(
        End(
            close=False,
            stderr=True,
            differs="tail",
            ours={"exit": 1, "stdout": "", "stderr": re.compile(r'time="\{TIME\}" level=fatal msg=".+"\n')},
        ),
        after=("--sockfd=99",),
    ),
    "unknown_flag": scenario(End(close=False, stderr=True), after=("--decryption-key", "x")),
    "argument": scenario(End(close=False, stderr=True), after=("surplus",)),
    "sockfd_no_number": scenario(End(close=False, stderr=True), after=("--sockfd", "x")),
    "flag_without_value": scenario(End(close=False, stderr=True), after=("--creds",)),
    "insecure_and_signed": scenario(
        End(close=False, stderr=True), before=("--insecure-policy", "--require-signed")
    ),
    "root_tls_verify": scenario(INIT, End(stderr=True), before=("--tls-verify=false", "--insecure-policy")),
}

GROUPS: dict[str, dict[str, Scenario]] = {
    "requests": REQUESTS,
    "initialize": INITIALIZE,
    "open": OPEN,
    "images": IMAGES,
    "blobs": BLOBS,
    "lifecycle": LIFECYCLE,
    "startup": STARTUP,
    "registry": REGISTRY,
}
