"""What policy.json may require of an image (containers-policy.json(5); skopeo-reference Q1 to Q5)."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

IdentityKind = Literal[
    "matchExact",
    "matchRepoDigestOrExact",
    "matchRepository",
    "exactReference",
    "exactRepository",
    "remapIdentity",
]


class SignedIdentity(Struct, frozen=True):
    """Which name a signature must carry. `name`: of exactReference and exactRepository; `prefix`,
    `signed_prefix`: of remapIdentity."""

    kind: IdentityKind = "matchRepoDigestOrExact"
    name: str = ""
    prefix: str = ""
    signed_prefix: str = ""


class AcceptAnything(Struct, frozen=True):
    """`insecureAcceptAnything`."""


class Reject(Struct, frozen=True):
    """`reject`."""


class SignedBy(Struct, frozen=True):
    """`signedBy`: a simple signature by one of the keys, of which exactly one source is given."""

    key_type: str
    key_path: str
    key_paths: tuple[str, ...] | None
    key_data: bytes | None
    identity: SignedIdentity


class SignedBaseLayer(Struct, frozen=True):
    """`signedBaseLayer`: parsed, and always refused, as by the reference."""

    identity: SignedIdentity


class Fulcio(Struct, frozen=True):
    """Which certificates of Fulcio are trusted."""

    ca_path: str
    ca_data: bytes | None
    oidc_issuer: str
    subject_email: str


class Pki(Struct, frozen=True):
    """Which certificates of a public key infrastructure are trusted."""

    ca_roots_path: str
    ca_roots_data: bytes | None
    ca_intermediates_path: str
    ca_intermediates_data: bytes | None
    subject_email: str
    subject_hostname: str


class SigstoreSigned(Struct, frozen=True):
    """`sigstoreSigned`: a sigstore signature; exactly one source of keys, at most one of Rekor's."""

    identity: SignedIdentity
    key_path: str
    key_paths: tuple[str, ...] | None
    key_data: bytes | None
    key_datas: tuple[bytes, ...] | None
    fulcio: Fulcio | None
    pki: Pki | None
    rekor_path: str
    rekor_paths: tuple[str, ...] | None
    rekor_data: bytes | None
    rekor_datas: tuple[bytes, ...] | None


Requirement = AcceptAnything | Reject | SignedBy | SignedBaseLayer | SigstoreSigned
Requirements = tuple[Requirement, ...]
