"""Blobs, pipes, and the ends of a server."""

from __future__ import annotations

import re
from typing import Any

from tests.images import build
from tests.wire.shared_steps import (
    ABSENT,
    BIG,
    BIG_SIZE,
    ENOENT,
    INIT,
    LAYER,
    MISTYPED,
    SIZE,
    got,
    raw,
    raw_blob,
)
from tests.wire.steps import (
    Call,
    CloseFd,
    Data,
    End,
    Finish,
    Receive,
    Scenario,
    Send,
    Step,
    Wait,
    error,
    scenario,
    tail,
)

BAD_DIGESTS: tuple[Any, ...] = (
    *(1, None, [], "", "x", "sha256:", "sha256:12", LAYER.upper(), "sha256:" + "A" * 64),
    *("md5:" + "0" * 32, "sha512:" + "0" * 64, "sha256:" + "g" * 64, "sha1:" + "0" * 40),
    *("sha384:" + "0" * 10, "SHA256:" + "0" * 64, "x+y.z:12", LAYER + " "),
)


def blob(name: str, *more: Step, reference: str = "") -> Scenario:
    return scenario(INIT, Call("OpenImage", reference or f"oci:{name}"), *more)


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

OPENED = '{"success":true,"value":1,"pipeid":0,"error_code":"","error":""}'
SERVER_ENDS = {"data": re.compile(r'\{"code":"[A-Za-z]+","message":".+"\}')}

LIFECYCLE: dict[str, Scenario] = {
    "client_closes_at_once": scenario(End()),
    "client_closes": scenario(INIT, Call("OpenImage", "oci:one"), End()),
    "client_closes_with_archive_open": scenario(INIT, Call("OpenImage", "oci-archive:one.tar.gz"), End()),
    "shutdown": scenario(INIT, Call("OpenImage", "oci:one"), Call("Shutdown")),
    "shutdown_in_a_queue": scenario(
        Send(INIT.packet), Send(Call("Shutdown").packet), Send(Call("Nope").packet), Receive(), Receive()
    ),
    "zero_packet": scenario(  # no request ends wherry
        INIT,
        raw(b"", differs="zero packets", ours=error(".+")),
        Call("OpenImage", "oci:one", differs="zero packets", ours={"recv": OPENED}),
        End(differs="zero packets", ours={"exit": 0, "stdout": ""}),
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
