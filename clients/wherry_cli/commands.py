"""The one table of commands: what there is, what it is for, which module runs it, what is not built yet."""

from __future__ import annotations

from typing import NamedTuple

TRANSPORTS = "containers-storage, dir, docker, docker-archive, docker-daemon, oci, oci-archive"


class Command(NamedTuple):
    """A row. `module` has `run(call) -> int`; "" where `not_yet`, the issue that will build it, is set.

    `arguments`: for the help text. `takes`: how many there must be, where the parser itself refuses others.
    """

    name: str
    summary: str
    arguments: str
    module: str = ""
    about: str = ""
    hidden: bool = False
    takes: int | None = None
    not_yet: int = 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "copy",
        "Copy an image to another place",
        "SOURCE DESTINATION",
        "copy",
        "Images are named TRANSPORT:DETAILS, e.g. docker://registry.example/app:1 or oci:DIRECTORY:NAME.\n"
        f"Transports: {TRANSPORTS}",
    ),
    Command(
        "delete",
        "Delete an image",
        "IMAGE",
        "delete",
        "In a registry all tags of the image's digest go with it; --tag-only removes the one that is named.\n"
        "In an OCI layout (oci:) the blobs that no other image needs go too.",
    ),
    Command("generate-sigstore-key", "Make a pair of sigstore keys", "--output-prefix PREFIX", not_yet=8),
    Command("help", "Show what a command does", "[COMMAND]", "help"),
    Command(
        "inspect",
        "Show what an image is, without fetching its layers",
        "IMAGE",
        "inspect",
        "Shows name, digest, platform, labels, environment and layers as JSON; --raw the manifest's bytes,\n"
        "--config the configuration. A Go template given with --format chooses: --format '{{.Digest}}'.",
    ),
    Command("list-tags", "List the tags of a repository", "REPOSITORY", "list_tags"),
    Command(
        "login",
        "Log in to a registry",
        "REGISTRY[/PATH]",
        "login",
        "Keeps credentials that the registry takes in $XDG_RUNTIME_DIR/containers/auth.json, or where\n"
        "--authfile, $REGISTRY_AUTH_FILE or a credential helper says. With a path they count for what is\n"
        "below it alone.",
    ),
    Command("logout", "Log out of a registry", "REGISTRY[/PATH]", "logout"),
    Command("manifest-digest", "Compute the digest of a manifest file", "FILE", "manifest_digest"),
    Command("standalone-sign", "Sign a manifest file", "MANIFEST REFERENCE KEY -o SIGNATURE", not_yet=8),
    Command("standalone-verify", "Verify a signature file", "MANIFEST REFERENCE KEYS SIGNATURE", not_yet=8),
    Command("sync", "Copy many images", "--src TRANSPORT --dest TRANSPORT SOURCE DESTINATION", not_yet=7),
    Command(
        "experimental-image-proxy",
        "Serve the image proxy protocol on an inherited socket",
        "[--sockfd FD]",
        "image_proxy",
        "Speaks skopeo's image proxy protocol 0.2.8, and wherry's own after Hello (protocol.md).",
        hidden=True,
        takes=0,
    ),
    Command("layers", "Fetch layers of an image", "IMAGE [LAYER...]", hidden=True, not_yet=5),
    Command(
        "untrusted-signature-dump-without-verification",
        "Show what a signature claims",
        "SIGNATURE",
        hidden=True,
        not_yet=8,
    ),
    Command("completion", "Write a completion script for a shell", "SHELL", hidden=True, not_yet=5),
)

BY_NAME = {command.name: command for command in COMMANDS}
UNBUILT = frozenset(command.name for command in COMMANDS if command.not_yet)


def suggestions(typed: str) -> list[str]:
    """The commands that may have been meant: at most two edits away, or beginning with what was typed."""
    return [
        command.name
        for command in COMMANDS
        if not command.hidden
        and (command.name.startswith(typed.lower()) or _distance(typed.lower(), command.name) <= 2)
    ]


def _distance(one: str, other: str) -> int:
    """Levenshtein's distance, in bytes."""
    target = other.encode()
    above = list(range(len(target) + 1))
    for row, left in enumerate(one.encode(errors="surrogateescape"), 1):
        line = [row]
        for column, right in enumerate(target, 1):
            kept = above[column - 1] + (left != right)
            line.append(min(kept, above[column] + 1, line[-1] + 1))
        above = line
    return above[-1]
