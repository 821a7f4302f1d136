"""Texts of policy.json (golden/policies.json: what skopeo says of them, recorded by record.py)."""

from __future__ import annotations

A64 = "a" * 64
B64 = "b" * 64
REJECT = '[{"type":"reject"}]'


def default(requirement: str) -> str:
    return f'{{"default":[{requirement}]}}'


def with_top(more: str) -> str:
    return f'{{"default":[{{"type":"insecureAcceptAnything"}}]{more}}}'


def scope(transport: str, name: str) -> str:
    return with_top(f',"transports":{{"{transport}":{{"{name}":{REJECT}}}}}')


def signed_by(more: str) -> str:
    return default(f'{{"type":"signedBy","keyType":"GPGKeys"{more}}}')


def sigstore(more: str) -> str:
    return default(f'{{"type":"sigstoreSigned"{more}}}')


def identity(value: str) -> str:
    return signed_by(f',"keyPath":"/k","signedIdentity":{value}')


FULCIO = '"caPath":"x","oidcIssuer":"y","subjectEmail":"z"'

TOP = [
    with_top(""),
    "{}",
    "null",
    "[]",
    '"x"',
    "1",
    '{"default":[]}',
    '{"default":null}',
    '{"default":{}}',
    '{"default":"x"}',
    '{"default":[null]}',
    '{"default":["x"]}',
    '{"default":[[]]}',
    '{"default":[{}]}',
    '{"default":[{"type":1}]}',
    with_top(',"foo":1'),
    with_top(',"Default":[]'),
    with_top(',"default":[]'),
    with_top(',"transports":{}'),
    with_top(',"transports":null'),
    with_top(',"transports":[]'),
    with_top(',"transports":{"docker":null}'),
    with_top(',"transports":{"docker":{"":[]}}'),
    with_top(',"transports":{"docker":{"x":null}}'),
    with_top(',"transports":{"nosuch":{"x y":[{"type":"reject"}]}}'),
    with_top(f',"transports":{{"docker":{{"a":{REJECT},"a":{REJECT}}}}}'),
    with_top(',"transports":{"docker":{},"docker":{}}'),
    with_top(',"transports":{},"transports":{}'),
    with_top(',"transports":{"docker":{"x":[{"type":"nosuch"}]}}'),
    with_top(',"transports":{"docker":{"x":[{"type":"reject","a":2}]}}'),
    default('{"type":"insecureAcceptAnything","x":1}'),
    default('{"type":"insecureAcceptAnything","type":"insecureAcceptAnything"}'),
    default('{"Type":"insecureAcceptAnything"}'),
    default('{"type":"nosuch"}'),
    default('{"type":"reject","x":1}'),
    default('{"type":"reject"}'),
    default('{"type":"insecureAcceptAnything"},{"type":"reject"}'),
    default('{"type":"signedBaseLayer"}'),
    default('{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}'),
    default('{"type":"signedBaseLayer","baseLayerIdentity":{}}'),
    default('{"type":"signedBaseLayer","baseLayerIdentity":null}'),
]
SCOPES = [
    scope(transport, name)
    for transport, name in [
        ("dir", "/"),
        ("dir", "a"),
        ("dir", "/a/"),
        ("dir", "/a/../b"),
        ("dir", "//a"),
        ("dir", ""),
        ("oci", "/a//b"),
        ("oci", "/a:t"),
        ("oci-archive", "b"),
        ("sif", "b"),
        ("docker-archive", "b"),
        ("docker-archive", ""),
        ("tarball", "/x"),
        ("docker-daemon", f"sha256:{A64}"),
        ("docker-daemon", "x"),
        ("containers-storage", "x"),
        ("containers-storage", "[/x]"),
        ("containers-storage", "[overlay@/x]docker.io/a"),
        ("containers-storage", "[x]"),
        ("containers-storage", "[@/x]"),
        ("containers-storage", "[]"),
        ("containers-storage", "[/x]a@b"),
        ("containers-storage", "[/x]a@b@c@d"),
        ("containers-storage", f"[/x]a@{B64}"),
        ("containers-storage", f"[/x]a@sha256:{A64}@{B64}"),
        ("atomic", "a b"),
        ("atomic", "host/ns/st:tag"),
        ("atomic", "host/ns/st/x"),
        ("ostree", "x"),
        ("docker", "anything/at all"),
    ]
]
SIGNED_BY = [
    signed_by(""),
    signed_by(',"keyPath":"/k"'),
    signed_by(',"keyPath":""'),
    signed_by(',"keyPath":"/k","keyData":"YQ=="'),
    signed_by(',"keyPaths":["/k"]'),
    signed_by(',"keyPaths":[]'),
    signed_by(',"keyPaths":null'),
    signed_by(',"keyPaths":[1]'),
    signed_by(',"keyData":"YQ=="'),
    signed_by(',"keyData":"YW\\nI="'),
    signed_by(',"keyData":"YQ"'),
    signed_by(',"keyData":"YWJjYQ=x"'),
    signed_by(',"keyData":"YWJjYQ="'),
    signed_by(',"keyData":"YWJjY==="'),
    signed_by(',"keyData":"YQ==YQ=="'),
    signed_by(',"keyData":"YWJj!"'),
    signed_by(',"keyData":"!"'),
    signed_by(',"keyData":""'),
    signed_by(',"keyData":null'),
    signed_by(',"keyData":[97]'),
    signed_by(',"keyPath":1'),
    signed_by(',"keyPath":"/k","x":1'),
    default('{"type":"signedBy","keyPath":"/k"}'),
    default('{"type":"signedBy","keyType":"x","keyPath":"/k"}'),
    default('{"type":"signedBy","keyType":1,"keyPath":"/k"}'),
    default('{"type":"signedBy","keyType":"X509Certificates","keyPath":"/k"}'),
]
IDENTITIES = [
    identity(value)
    for value in [
        '{"type":"matchExact"}',
        '{"type":"matchRepoDigestOrExact"}',
        '{"type":"matchRepository"}',
        "null",
        "{}",
        '"x"',
        '{"type":"x"}',
        '{"type":"matchExact","y":1}',
        '{"type":"exactReference"}',
        '{"type":"exactReference","dockerReference":"busybox"}',
        '{"type":"exactReference","dockerReference":"busybox:x"}',
        '{"type":"exactReference","dockerReference":"Foo:x"}',
        '{"type":"exactRepository","dockerRepository":"busybox"}',
        '{"type":"exactRepository","dockerRepository":"A"}',
        '{"type":"exactRepository","dockerRepository":1}',
        '{"type":"remapIdentity","prefix":"a.com","signedPrefix":"b.com/x"}',
        '{"type":"remapIdentity","prefix":"a.com/","signedPrefix":"b.com/x"}',
        '{"type":"remapIdentity","prefix":"","signedPrefix":"b.com/x"}',
        '{"type":"remapIdentity","prefix":"foo"}',
    ]
]
SIGSTORE = [
    sigstore(more)
    for more in [
        "",
        ',"keyPath":"/k"',
        ',"keyPath":""',
        ',"keyPaths":[]',
        ',"keyPaths":["a"]',
        ',"keyPaths":null',
        ',"keyDatas":[]',
        ',"keyDatas":["YQ=="]',
        ',"keyDatas":[1]',
        ',"keyDatas":"x"',
        ',"keyData":"YQ=="',
        ',"keyData":"YQ==","keyPath":"x"',
        ',"fulcio":{}',
        ',"fulcio":null',
        ',"fulcio":"x"',
        ',"fulcio":{"caPath":"x"}',
        ',"fulcio":{"caPath":"x","caData":"YQ=="}',
        ',"fulcio":{"caPath":"x","oidcIssuer":"y"}',
        f',"fulcio":{{{FULCIO}}}',
        f',"fulcio":{{{FULCIO}}},"rekorPublicKeyPath":"r"',
        f',"fulcio":{{{FULCIO},"q":1}},"rekorPublicKeyPath":"r"',
        ',"keyPath":"x","rekorPublicKeyPath":"r","rekorPublicKeyData":"YQ=="',
        ',"keyPath":"x","rekorPublicKeyPaths":[]',
        ',"keyPath":"x","rekorPublicKeyDatas":[]',
        ',"keyPath":"x","rekorPublicKeyDatas":["YQ=="]',
        ',"keyPath":"x","rekorPublicKeyPaths":["YQ=="]',
        ',"pki":{}',
        ',"pki":{"caRootsPath":"x"}',
        ',"pki":{"caRootsPath":"x","caRootsData":"YQ=="}',
        ',"pki":{"caRootsPath":"x","subjectEmail":"e"}',
        ',"pki":{"caRootsPath":"x","subjectHostname":"e"}',
        ',"pki":{"caRootsPath":"x","subjectHostname":"e"},"rekorPublicKeyPath":"r"',
        ',"pki":{"caRootsPath":"x","caIntermediatesPath":"a","caIntermediatesData":"YQ==","subjectHostname":"e"}',
        ',"pki":null',
        ',"keyPath":"x","nope":1',
        ',"keyPath":"x","signedIdentity":{"type":"matchRepository"}',
    ]
]
POLICIES = (*TOP, *SCOPES, *SIGNED_BY, *IDENTITIES, *SIGSTORE)
