"""`wherry manifest-digest FILE`: the digest by which a registry knows a manifest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.errors import InvalidError, context, file_error
from wherry.model.manifest import manifest_digest

if TYPE_CHECKING:
    from wherry_cli.call import Call


def run(call: Call) -> int:
    """Print the digest of the file's bytes, or of a signed schema 1 manifest's payload."""
    call.refuse_unbuilt()
    if len(call.arguments) != 1:
        raise InvalidError(f"Usage: {call.program} manifest-digest manifest")
    name = call.arguments[0]
    with context(f"Error reading manifest from {name}"):
        raw = _read(name, os.path.join(call.cwd, name) if name else name)
    with context("Error computing digest"):
        call.write(f"{manifest_digest(raw)}\n")
    return 0


def _read(name: str, path: str) -> bytes:
    operation = "open"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        operation = "read"
        with open(fd, "rb") as file:
            return file.read()
    except OSError as error:
        raise file_error(operation, name, error) from None
