"""`wherry copy SOURCE DESTINATION`."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from wherry.errors import FileError, InvalidError, WherryError, context, file_error
from wherry.model.goquote import quote
from wherry_cli.output import step_line

if TYPE_CHECKING:
    from wherry.protocol.messages import CopyOptions, CopyResult, Step
    from wherry_cli.call import Call
    from wherry_cli.flagparser import Given
    from wherry_client import AsyncClient

Instances = Literal["system", "all", "index-only"]
Format = Literal["", "oci", "v2s2", "v2s1"]

_DEFAULT_PARALLEL = 6


def run(call: Call) -> int:
    """Copy an image, telling each step on standard output, and write its digest where --digestfile says."""
    if len(call.arguments) != 2:
        call.write_usage()
        raise InvalidError("Exactly two arguments expected")
    if call.given.present("tls-verify"):
        text = "'--tls-verify' is deprecated, instead use: --src-tls-verify, --dest-tls-verify"
        call.log.write("warning", text)
    from wherry_cli.request import ask

    source, destination = call.arguments
    options = _options(call, destination)
    quiet = call.given.on("quiet")

    def tell(step: Step) -> None:
        if not quiet:
            with suppress(FileError):  # a full disk under the progress is no reason to stop the copy
                call.write(step_line(step))

    async def question(client: AsyncClient) -> CopyResult:
        return await client.copy(source, destination, options, tell)

    result = ask(call, question)
    digestfile = call.given.text("digestfile")
    if digestfile:
        with context(f"Failed to write digest to file {quote(digestfile)}"):
            _write_file(digestfile, os.path.join(call.cwd, digestfile), result.digest.encode())
    return 0


def _options(call: Call, destination: str) -> CopyOptions:
    """What the flags ask for, checked in skopeo's order. Raises InvalidError, NotYetError."""
    from wherry.protocol.messages import CopyOptions
    from wherry_cli.access import image_access, platform_choice, policy_options

    given = call.given
    source_access = image_access(call, "src-")
    destination_access = image_access(call, "dest-")
    _check_compression(given)
    _check_additional_tags(given)
    instances = _instances(given)
    _check_keys(given)
    transport = destination.partition(":")[0]
    without_effect = _warn_of_compression(call) if transport != "dir" else set()
    if transport != "docker-archive":
        without_effect.add("additional-tag")
    kind = _format(given)
    _check_passphrase(given)
    if transport == "dir" and given.on("dest-compress") and given.on("dest-decompress"):
        problem = "Cannot compress and decompress at the same time"
        raise InvalidError(f"initializing destination {destination}: {problem}")
    if given.on("dest-force-compress-format") and not given.text("dest-compress-format"):
        raise InvalidError("cannot use ForceCompressionFormat with undefined default compression format")
    call.refuse_unbuilt(without_effect)
    return CopyOptions(
        source=source_access,
        destination=destination_access,
        platform=platform_choice(given),
        policy=policy_options(given),
        instances=instances,
        format=kind,
        preserve_digests=given.on("preserve-digests"),
        remove_signatures=given.on("remove-signatures"),
        verify_push=given.on("verify-push"),
        parallel=given.number("image-parallel-copies") or _DEFAULT_PARALLEL,
    )


def _check_compression(given: Given) -> None:
    name = given.text("dest-compress-format")
    known = ("gzip", "bzip2", "xz", "zstd", "zstd:chunked")
    if name and name.lower() not in known:
        raise InvalidError(f"cannot find compressor for {quote(name)}")


def _check_additional_tags(given: Given) -> None:
    from wherry.model.name import parse_normalized

    for text in given.texts("additional-tag"):
        try:
            tag = parse_normalized(text).tag
        except WherryError as error:
            raise InvalidError(f"error parsing additional-tag '{text}': {error}") from None
        if not tag:
            raise InvalidError(f"additional-tag '{text}' must be a tagged reference")


def _instances(given: Given) -> Instances:
    name = given.text("multi-arch")
    if name is not None and given.on("all"):
        raise InvalidError("Cannot use --all and --multi-arch flags together")
    match name:
        case None:
            return "all" if given.on("all") else "system"
        case "system" | "all" | "index-only":
            return name
    raise InvalidError(
        f"unknown multi-arch option {quote(name)}. "
        "Choose one of the supported options: 'system', 'all', or 'index-only'"
    )


def _check_keys(given: Given) -> None:
    if given.texts("encryption-key") and given.texts("decryption-key"):
        raise InvalidError("--encryption-key and --decryption-key cannot be specified together")
    if given.present("encrypt-layer") and not given.texts("encryption-key"):
        raise InvalidError("--encrypt-layer can only be used with --encryption-key")
    identity = given.text("sign-identity")
    if identity:
        from wherry.model.name import parse_normalized

        with context("Could not parse --sign-identity"):
            if str(parse_normalized(identity)) != identity:
                raise InvalidError("repository name must be canonical")


def _check_passphrase(given: Given) -> None:
    signers = ("sign-by", "sign-by-sq-fingerprint", "sign-by-sigstore-private-key")
    if given.text("sign-passphrase-file") and sum(map(bool, map(given.text, signers))) > 1:
        raise InvalidError(
            "Only one of --sign-by, --sign-by-sq-fingerprint and --sign-by-sigstore-private-key "
            "can be used with --sign-passphrase-file"
        )


def _warn_of_compression(call: Call) -> set[str]:
    """Warn of flags that only count for dir: destinations; those flags' names."""
    useless = [name for name in ("dest-compress", "dest-decompress") if call.given.present(name)]
    for name in useless:
        if call.given.on(name):
            call.log.write("warning", f"--{name} can only be used if the destination transport is 'dir'")
    return set(useless)


def _format(given: Given) -> Format:
    name = given.text("format")
    match name:
        case None:
            return ""
        case "oci" | "v2s1" | "v2s2":
            return name
    raise InvalidError(
        f"unknown format {quote(name)}. Choose one of the supported formats: 'oci', 'v2s1', or 'v2s2'"
    )


def _write_file(name: str, path: str, data: bytes) -> None:
    try:
        with open(path, "wb", opener=lambda file, flags: os.open(file, flags, 0o644)) as file:
            file.write(data)
    except OSError as error:
        raise file_error("open", name, error) from None
