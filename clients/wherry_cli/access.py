"""Flags → options: with which rights an image is reached, for which platform, under which policy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.errors import InvalidError, LimitError, file_error
from wherry.protocol.messages import PolicyOptions
from wherry.protocol.options import Credentials, ImageAccess, PlatformChoice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry_cli.call import Call
    from wherry_cli.flagparser import Given

_CREDS_LIMIT = 64 * 1024


def image_access(call: Call, prefix: str = "") -> ImageAccess:
    """How one side is reached; `prefix`: "", "src-" or "dest-".

    Raises InvalidError where the credentials contradict each other, and FileError or LimitError for a
    --creds-file that can't be read.
    """
    given = call.given
    return ImageAccess(
        credentials=_credentials(call, prefix),
        anonymous=given.on(f"{prefix}no-creds"),
        registry_token=given.text(f"{prefix}registry-token"),
        authfile=_authfile(given, call.environ, prefix),
        cert_dir=given.text(f"{prefix}cert-dir") or None,
        tls_verify=tls_verify(given, prefix),
        daemon_host=given.text(f"{prefix}daemon-host") or None,
        shared_blob_dir=given.text(f"{prefix}shared-blob-dir") or None,
    )


def _authfile(given: Given, environ: Mapping[str, str], prefix: str) -> str | None:
    """The side's own flag; else the shared one, whose default is $REGISTRY_AUTH_FILE. An empty one means the
    search of containers-auth.json(5)."""
    for key in (f"{prefix}authfile", "authfile"):
        if given.present(key):
            return given.text(key) or None
    return environ.get("REGISTRY_AUTH_FILE") or None


def tls_verify(given: Given, prefix: str = "") -> bool | None:
    """The side's own flag; else copy's old one for both sides; else the one before the command."""
    for key in (f"{prefix}tls-verify", "tls-verify", "root-tls-verify"):
        if given.present(key):
            return given.switch(key)
    return None


def _credentials(call: Call, prefix: str) -> Credentials | None:
    given = call.given
    creds = given.text(f"{prefix}creds")
    username, password = given.text(f"{prefix}username"), given.text(f"{prefix}password")
    file = given.text(f"{prefix}creds-file")
    if given.on(f"{prefix}no-creds"):
        for name, value in (("creds", creds), ("username", username), ("creds-file", file)):
            if value is not None:
                raise InvalidError(f"{name} and no-creds cannot be specified at the same time")
    if creds is not None and username is not None:
        raise InvalidError("creds and username cannot be specified at the same time")
    if file is not None and (creds is not None or username is not None or password is not None):
        raise InvalidError("creds-file and other credentials cannot be specified at the same time")
    if username is not None and password is None:
        raise InvalidError("password must be specified when username is specified")
    if username is None and password is not None:
        raise InvalidError("username must be specified when password is specified")
    if creds is not None:
        return _split(creds)
    if file is not None:
        return _split(_read_creds(file, call.cwd))
    return Credentials(username, password) if username is not None and password is not None else None


def _read_creds(name: str, cwd: str) -> str:
    """The first line of a file: `USER[:PASSWORD]`, which no other user sees in the list of processes."""
    try:
        with open(os.path.join(cwd, name), "rb") as file:
            raw = file.read(_CREDS_LIMIT + 1)
    except OSError as error:
        raise file_error("open", name, error) from None
    if len(raw) > _CREDS_LIMIT:
        raise LimitError(f"{name} exceeded maximum allowed size of {_CREDS_LIMIT} bytes")
    return raw.decode(errors="surrogateescape").partition("\n")[0].removesuffix("\r")


def _split(creds: str) -> Credentials:
    if not creds:
        raise InvalidError("credentials can't be empty")
    username, _, password = creds.partition(":")
    if not username:
        raise InvalidError("username can't be empty")
    return Credentials(username, password)


def platform_choice(given: Given) -> PlatformChoice:
    """The platform that the `--override-` flags ask for."""
    return PlatformChoice(
        os=given.text("override-os") or "",
        architecture=given.text("override-arch") or "",
        variant=given.text("override-variant") or "",
    )


def policy_options(given: Given) -> PolicyOptions:
    """Which trust policy counts."""
    return PolicyOptions(
        path=given.text("policy") or None,
        insecure=given.on("insecure-policy"),
        require_signed=given.on("require-signed"),
    )
