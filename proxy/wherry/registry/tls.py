"""TLS settings of a registry, and the context that Python's ssl makes of them."""

from __future__ import annotations

import hashlib
import os
import ssl

from msgspec import Struct

from wherry.errors import InvalidError, file_error


class TlsSettings(Struct, frozen=True):
    """`verify`: whether certificates are checked; `cert_dir`: directory of *.crt (authorities beside the
    system's) and *.cert with *.key (client certificates), as containers-certs.d(5); "" for none."""

    verify: bool = True
    cert_dir: str = ""

    def fingerprint(self) -> str:
        """Differs where the settings, or the files they name, differ: connections are not shared then
        (C-21)."""
        seen = hashlib.sha256(f"{self.verify} {self.cert_dir}\0".encode("utf-8", "surrogateescape"))
        for name in _files(self.cert_dir):
            status = os.stat(os.path.join(self.cert_dir, name))
            seen.update(f"{name}\0{status.st_ino} {status.st_size} {status.st_mtime_ns}\0".encode())
        return seen.hexdigest()

    def context(self) -> ssl.SSLContext:
        """A client context: TLS 1.2 or newer, ALPN http/1.1.

        Raises InvalidError for files that hold no certificate or that lack their counterpart, FileError for
        what can't be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
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
