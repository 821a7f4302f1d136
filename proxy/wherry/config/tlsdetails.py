"""The file of --tls-details: TLS versions, cipher suites and groups (containers-tls-details.yaml(5), G27)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from wherry.config import search, strictyaml
from wherry.errors import InvalidError, context
from wherry.model.goquote import quote
from wherry.protocol.options import TlsDetails

if TYPE_CHECKING:
    from wherry.system import System

LIMIT: Final = 64 * 1024
VERSIONS: Final = ("1.0", "1.1", "1.2", "1.3")
GROUPS: Final = ("secp256r1", "secp384r1", "secp521r1", "x25519", "X25519MLKEM768")

_CBC_AND_GCM: Final = (
    "AES_128_CBC_SHA",
    "AES_256_CBC_SHA",
    "AES_128_CBC_SHA256",
    "AES_128_GCM_SHA256",
    "AES_256_GCM_SHA384",
    "RC4_128_SHA",
)
_BY_EXCHANGE: Final = {
    "RSA": (*_CBC_AND_GCM, "3DES_EDE_CBC_SHA"),
    "ECDHE_RSA": (*_CBC_AND_GCM, "3DES_EDE_CBC_SHA", "CHACHA20_POLY1305_SHA256"),
    "ECDHE_ECDSA": (*_CBC_AND_GCM, "CHACHA20_POLY1305_SHA256"),
}
CIPHER_SUITES: Final = frozenset(
    [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        *(f"TLS_{by}_WITH_{suite}" for by, suites in _BY_EXCHANGE.items() for suite in suites),
    ]
)
"""The IANA names that are known: those of Go's crypto/tls, its insecure ones too."""


class _File(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    min_version: str = ""
    cipher_suites: tuple[str, ...] | None = None
    named_groups: tuple[str, ...] = ()


def load(system: System, path: str) -> TlsDetails:
    """Read the file that the user named.

    Raises FileError or LimitError (`reading "PATH": …`), and InvalidError for what is no YAML or has unknown
    keys (`parsing "PATH": …`) and for values that are not known (`parsing TLS details "PATH": …`).
    """
    with context(f"reading {quote(path)}"):
        raw = search.read(system, path, LIMIT).raw
    with context(f"parsing {quote(path)}"):
        file = strictyaml.decode(raw, _File)
    with context(f"parsing TLS details {quote(path)}"):
        if file.min_version and file.min_version not in VERSIONS:
            raise InvalidError(f"unrecognized TLS minimum version {quote(file.min_version)}")
        _check("cipher suite", file.cipher_suites or (), CIPHER_SUITES)
        _check("named group", file.named_groups, frozenset(GROUPS))
    return TlsDetails(file.min_version, file.cipher_suites, file.named_groups)


def _check(what: str, names: tuple[str, ...], known: frozenset[str]) -> None:
    for name in names:
        if name not in known:
            raise InvalidError(f"unrecognized TLS {what} {quote(name)}")
