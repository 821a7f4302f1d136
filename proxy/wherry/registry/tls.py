"""TLS settings of a registry, and the context that Python's ssl makes of them."""

from __future__ import annotations

import hashlib
import os
import ssl
import warnings
from typing import Final

from msgspec import Struct

from wherry.errors import InvalidError, file_error
from wherry.model.goquote import quote
from wherry.protocol.options import TlsDetails


class TlsSettings(Struct, frozen=True):
    """`verify`: whether certificates are checked; `cert_dir`: directory of *.crt (authorities beside the
    system's) and *.cert with *.key (client certificates), as containers-certs.d(5); "" for none. `details`:
    which versions, cipher suites and groups are allowed."""

    verify: bool = True
    cert_dir: str = ""
    details: TlsDetails = TlsDetails()

    def fingerprint(self) -> str:
        """Differs where the settings, or the files they name, differ: connections are not shared then
        (C-21)."""
        seen = hashlib.sha256(
            f"{self.verify} {self.details} {self.cert_dir}\0".encode("utf-8", "surrogateescape")
        )
        for name in _files(self.cert_dir):
            status = os.stat(os.path.join(self.cert_dir, name))
            seen.update(f"{name}\0{status.st_ino} {status.st_size} {status.st_mtime_ns}\0".encode())
        return seen.hexdigest()

    def contexts(self) -> tuple[ssl.SSLContext, ...]:
        """Client contexts, to be tried in turn while the server finds no group that it shares with one: until
        3.15, Python's contexts offer one group or OpenSSL's own choice. ALPN http/1.1.

        Raises InvalidError for files that hold no certificate or that lack their counterpart and for groups
        that OpenSSL does not know, FileError for what can't be read.
        """
        if not self.details.named_groups:
            return (self._context(),)
        found = []
        for group in self.details.named_groups:
            context = self._context()
            try:
                context.set_ecdh_curve(_GROUPS.get(group, group))
            except ValueError:
                continue  # another one may do: the list says what is allowed
            found.append(context)
        if not found:
            names = ", ".join(map(quote, self.details.named_groups))
            raise InvalidError(f"{ssl.OPENSSL_VERSION} knows none of the TLS named groups {names}")
        return tuple(found)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _restrict(context, self.details)
        context.set_alpn_protocols(["http/1.1"])
        if self.verify:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        names = _files(self.cert_dir)
        for name in names:
            _load(context, self.cert_dir, name, names)
        return context


_VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_GROUPS: Final = {"secp256r1": "prime256v1", "x25519": "X25519"}
_CIPHERS: Final = {
    "3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "RC4_128_SHA": "RC4-SHA",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
    "AES_128_CBC_SHA256": "AES128-SHA256",
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
}


def _restrict(context: ssl.SSLContext, details: TlsDetails) -> None:
    """Versions and cipher suites. Those of TLS 1.3 are always allowed, as in Go; a list without any of TLS
    1.2 leaves TLS 1.3 alone."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    security = ""
    if details.min_version in ("1.0", "1.1"):
        # OpenSSL has these versions, whose signatures are of SHA-1, at its lowest level of security only.
        security = "@SECLEVEL=0"
        context.set_ciphers(f"DEFAULT:{security}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it is the user's wish
            context.minimum_version = _VERSIONS[details.min_version]
    elif details.min_version:
        context.minimum_version = _VERSIONS[details.min_version]
    if details.cipher_suites is None:
        return
    names = [name for suite in details.cipher_suites if (name := _openssl_name(suite))]
    try:
        context.set_ciphers(":".join([*names, security] if security else names))
    except ssl.SSLError:
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # none of TLS 1.2 that this OpenSSL has


def _openssl_name(suite: str) -> str:
    """OpenSSL's name of an IANA cipher suite; "" for one of TLS 1.3, whose choice OpenSSL keeps to itself."""
    exchange, found, cipher = suite.removeprefix("TLS_").partition("_WITH_")
    if not found:
        return ""
    name = _CIPHERS[cipher]
    return name if exchange == "RSA" else f"{exchange.replace('_', '-')}-{name}"


def _files(folder: str) -> list[str]:
    """The names that matter, sorted; a directory that does not exist or that we may not read counts as
    empty, as in skopeo."""
    if not folder:
        return []
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith((".crt", ".cert", ".key")))
    except (FileNotFoundError, PermissionError):
        return []
    except OSError as error:
        raise file_error("open", folder, error) from error


def _load(context: ssl.SSLContext, folder: str, name: str, names: list[str]) -> None:
    path = os.path.join(folder, name)
    base, kind = os.path.splitext(name)
    try:
        if kind == ".crt":
            context.load_verify_locations(path)
        elif kind == ".cert":
            if f"{base}.key" not in names:
                raise InvalidError(
                    f"missing key {base}.key for client certificate {name}. "
                    "Note that CA certificates should use the extension .crt"
                )
            context.load_cert_chain(path, os.path.join(folder, f"{base}.key"), password=_no_password)
        elif f"{base}.cert" not in names:
            raise InvalidError(f"missing client certificate {base}.cert for key {name}")
    except ssl.SSLError as error:
        raise InvalidError(f"{path} holds no certificate that can be used: {error.reason or error}") from None
    except FileNotFoundError:
        return  # removed since the directory was listed
    except OSError as error:
        raise file_error("open", path, error) from error


def _no_password() -> str:
    """Instead of OpenSSL's prompt on the terminal."""
    return ""
