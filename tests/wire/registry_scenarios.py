"""Scenarios against registries: a docker-registry, one with canned answers, and a closed port."""

from __future__ import annotations

import re
from typing import Any

from tests.images import build
from tests.wire.registry import CANNED
from tests.wire.shared_steps import ABSENT, BIG, INIT, got, opens
from tests.wire.steps import Call, Data, End, Finish, Scenario, Step, Wait, error, scenario, tail

ONE = build.digest(build.ONE.blob)
HTTP = ("--tls-verify=false",)


def over_http(*steps: Step, **more: Any) -> Scenario:
    return scenario(INIT, *steps, after=HTTP, registry=True, **more)


def whole(repository: str) -> Scenario:
    return over_http(
        Call("OpenImage", f"docker://{{REGISTRY}}/{repository}"),
        *got("manifest", "GetManifest", 1),
        *got("full", "GetFullConfig", 1),
        *got("config", "GetConfig", 1),
        Call("GetLayerInfo", 1),
        *got("layers", "GetLayerInfoPiped", 1),
        Call("CloseImage", 1),
    )


# Final answers that skopeo calls retryable.
CANNED_OURS: dict[str, Any] = {
    "http-400": {
        "differs": "retry classes",
        "ours": error(re.escape("reading manifest http-400 in {FAKE}/canned: unsupported: no")),
    },
    "2": {"differs": "retry classes", "ours": error("fetching blob: blob unknown to registry")},
}


def told(pipe: str) -> re.Pattern[str]:
    """A size though the registry tells none: clients of the field fail on -1."""
    head, tail = '{"success":true,"value":', f',"pipeid":{pipe},"error_code":"","error":""}}'
    return re.compile(re.escape(head) + "[0-9]+" + re.escape(tail))


REGISTRY: dict[str, Scenario] = {
    "one": whole("wire/one"),
    "one_by_tag": whole("wire/one:latest"),
    "multi": whole("wire/multi"),
    "s2": whole("wire/sub/s2:latest"),
    "s2list": whole("wire/s2list"),
    "l64": whole("wire/l64"),
    "by_digest": over_http(
        Call(
            "OpenImage",
            "docker://{REGISTRY}/wire/one@sha256:e40049e5b7060c4555c18bb0b7a4218a961c4a208ba1886ba70c02e72ca3aa6a",
        ),
        *got("a", "GetManifest", 1),
        *opens(f"docker://{{REGISTRY}}/wire/one@{ABSENT}"),
        *opens("docker://{REGISTRY}/wire/one@sha256:12"),
    ),
    "artifact": over_http(
        Call("OpenImage", "docker://{REGISTRY}/wire/artifact"),
        *got("a", "GetManifest", 1),
        Call("GetFullConfig", 1),
        Call("GetLayerInfo", 1),
    ),
    "blobs": over_http(
        Call("OpenImage", "docker://{REGISTRY}/wire/one"),
        *got("a", "GetBlob", 1, ONE, len(build.ONE.blob)),
        *got("b", "GetBlob", 1, ONE, 1),
        Call("GetRawBlob", 1, ONE, pipe="c"),
        Data("c"),
        Data("c", "err"),
        Call("CloseImage", 1),
    ),
    "blobs_big": over_http(
        Call("OpenImage", "docker://{REGISTRY}/wire/big"),
        *got("a", "GetBlob", 1, BIG, len(build.BIG.blob)),
        Call("GetRawBlob", 1, BIG, pipe="c", read=False),
        Call("GetRawBlob", 1, BIG, pipe="d", read=False),
        Wait("c", 4096),
        Call("CloseImage", 1),
        Data("d"),
        Data("d", "err"),
        Data("c"),
        Data("c", "err"),
    ),
    "not_found": over_http(
        *opens("docker://{REGISTRY}/wire/one:nope"),
        *opens("docker://{REGISTRY}/no/such"),
        *opens("docker://{REGISTRY}/wire/one:latest"),
    ),
    "platform_missing": over_http(
        *opens("docker://{REGISTRY}/wire/multi"),
        before=("--insecure-policy", "--override-arch=s390x", "--override-os=linux"),
    ),
    "policy_reject": over_http(
        *opens("docker://{REGISTRY}/wire/one"),
        *opens("docker://{REGISTRY}/wire/one:nope"),
        before=("--policy", "policy/reject.json"),
    ),
    "require_signed": over_http(
        *opens("docker://{REGISTRY}/wire/one"), before=("--require-signed", "--policy", "policy/accept.json")
    ),
    "refused": over_http(
        *opens(
            "docker://{REFUSED}/a/b:tag",
            **tail(
                "fetching manifest tag in {REFUSED}/a/b: pinging container registry {REFUSED}: ",
                code="retryable",
            ),
        )
    ),
    "http_without_leave": scenario(
        INIT,
        *opens(
            "docker://{REGISTRY}/wire/one",
            **tail(
                "fetching manifest latest in {REGISTRY}/wire/one: pinging container registry {REGISTRY}: "
            ),
        ),
        registry=True,
    ),
    "creds_are_accepted": scenario(
        INIT,
        Call("OpenImage", "docker://{REGISTRY}/wire/one"),
        after=(*HTTP, "--creds", "user:pass word"),
        registry=True,
    ),
    "blob_unknown": over_http(
        Call("OpenImage", "docker://{REGISTRY}/wire/one"),
        Call(
            "GetBlob",
            1,
            ABSENT,
            1,
            differs="retry classes",
            ours=error("fetching blob: blob unknown to registry"),
        ),
        Call(
            "GetRawBlob",
            1,
            ABSENT,
            differs="retry classes",
            ours=error("fetching blob: blob unknown to registry"),
        ),
    ),
    **{
        f"canned_{tag}": over_http(*opens(f"docker://{{FAKE}}/canned:{tag}", **CANNED_OURS.get(tag, {})))
        for tag in CANNED
        if tag != "long-message"
    },
    "canned_long-message": over_http(
        *opens("docker://{FAKE}/canned:long-message", differs="oversized replies", ours=error(".{,32000}")),
        End(differs="oversized replies", ours={"exit": 0, "stdout": ""}),
    ),
    "canned_blobs": over_http(
        Call("OpenImage", "docker://{FAKE}/canned:good"),
        *(Call("GetRawBlob", 1, ABSENT[:-1] + last, **CANNED_OURS.get(last, {})) for last in "12345"),
        *(Call("GetBlob", 1, ABSENT[:-1] + last, 9, **CANNED_OURS.get(last, {})) for last in "12345"),
    ),
    "size_not_told": over_http(
        Call("OpenImage", "docker://{FAKE}/canned:good"),
        Call("GetRawBlob", 1, ONE, pipe="a", differs="-1 sizes", ours={"recv": told("0"), "fds": 2}),
        Data("a"),
        Data("a", "err"),
        Call(
            "GetBlob",
            *(1, ONE, len(build.ONE.blob)),
            pipe="b",
            differs="-1 sizes",
            ours={"recv": told("{b}"), "fds": 1},
        ),
        Finish("b"),
        Data("b"),
    ),
}
