"""How an image is reached and chosen: values that travel in requests, and that the engine takes as they are.

They mirror skopeo's common image flags (skopeo-copy(1), skopeo-inspect(1)). What is ambient (files, home,
environment) is in `wherry.system.System`; what is asked for is here.
"""

from __future__ import annotations

from msgspec import Struct

# Defined in the lower layer, where the choice is made; a member of requests here.
from wherry.model.platforms import PlatformChoice as PlatformChoice


class Credentials(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A user and his password for a registry, or the identity token that stands for both (OAuth2's refresh
    token, from which a token server makes others)."""

    username: str
    password: str
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=…)"


class TlsDetails(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What TLS may be (containers-tls-details.yaml(5)): the least version ("1.2"), the cipher suites by their
    IANA names (None: the usual ones), the groups for key exchange (none: the usual ones)."""

    min_version: str = ""
    cipher_suites: tuple[str, ...] | None = None
    named_groups: tuple[str, ...] = ()


class ImageAccess(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One side of an operation: with which rights and over which TLS it is reached.

    `tls_verify`: None leaves it to the configuration (which verifies); False also allows plain http.
    `cert_dir`: directory of *.crt (CAs) and *.cert with *.key (client certificates).
    `registry_token`: sent as Bearer token as it is; no token server is asked.
    `shared_blob_dir`: for oci:, blobs are in this directory (ALGORITHM/HEX) instead of the layout's own.
    """

    credentials: Credentials | None = None
    anonymous: bool = False
    registry_token: str | None = None
    authfile: str | None = None
    cert_dir: str | None = None
    tls_verify: bool | None = None
    daemon_host: str | None = None
    shared_blob_dir: str | None = None
    user_agent: str = ""

    def __repr__(self) -> str:
        token = "…" if self.registry_token else None
        return (
            f"ImageAccess(credentials={self.credentials!r}, registry_token={token}, "
            f"authfile={self.authfile!r}, cert_dir={self.cert_dir!r}, tls_verify={self.tls_verify!r})"
        )
