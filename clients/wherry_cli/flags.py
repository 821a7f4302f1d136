"""The one table of flags: what each command takes, under which names, and what is not built yet.

Names, types and visibility are skopeo's (skopeo-copy(1), skopeo-inspect(1), …); the texts are ours. The
flags that say how an image is reached have one row for all their spellings: `plain` lists the commands that
take the name as it is, `sided` those that take it with `src-` and `dest-`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["bool", "string", "strings", "int", "uint", "ints", "duration"]

GLOBAL = "global"
"""Place of the flags that every command takes, before or after its name."""
ROOT = "root"
"""Place of the flags that only stand before a command."""

SIDES = ("src-", "dest-")


class Flag(NamedTuple):
    """A row. `plain`, `sided`, `dest`: places that take it without prefix, with both, with `dest-` alone.

    `shown`: name of the value in help texts. `aliases`: old names of the two sided forms. `not_yet`: the
    issue that will build its effect; until then giving the flag is an error.
    """

    name: str
    kind: Kind
    help: str
    plain: tuple[str, ...] = ()
    sided: tuple[str, ...] = ()
    dest: tuple[str, ...] = ()
    short: str = ""
    shown: str = ""
    hidden: bool = False
    not_yet: int = 0
    aliases: tuple[str, str] | None = None


class Option(NamedTuple):
    """A flag as one command takes it: `key` is the name that its value is kept under."""

    flag: Flag
    name: str
    key: str
    hidden: bool


_ALL = (GLOBAL,)
_COPY = ("copy",)
_COPIES = ("copy", "sync")
_IMAGE = ("inspect", "delete", "layers", "experimental-image-proxy")
_REGISTRY = (*_IMAGE, "list-tags")
_RETRIES = ("copy", "sync", "inspect", "delete", "layers", "list-tags")
_INSPECT = ("inspect",)
_LOGIN = ("login",)
_LOGINS = ("login", "logout")

FLAGS: tuple[Flag, ...] = (
    Flag("version", "bool", "print the version", plain=(ROOT,), short="v"),
    Flag("tls-verify", "bool", "old place of the commands' own flag", plain=(ROOT,), hidden=True),
    Flag("command-timeout", "duration", "give up after this time (default: never)", plain=_ALL),
    Flag("debug", "bool", "tell on stderr what is done", plain=_ALL),
    Flag("insecure-policy", "bool", "accept every image; no trust policy is read", plain=_ALL),
    Flag("override-arch", "string", "choose images for ARCH, not for this machine", plain=_ALL, shown="ARCH"),
    Flag("override-os", "string", "choose images for OS, not for this one", plain=_ALL, shown="OS"),
    Flag("override-variant", "string", "choose images for this VARIANT", plain=_ALL, shown="VARIANT"),
    Flag("policy", "string", "trust policy file", plain=_ALL, shown="FILE"),
    Flag("registries.d", "string", "where signatures are stored", plain=_ALL, shown="DIR", not_yet=8),
    Flag("registries-conf", "string", "registries.conf file", plain=_ALL, shown="FILE", hidden=True),
    Flag("require-signed", "bool", "the policy must have verified a signature", plain=_ALL),
    Flag("tls-details", "string", "TLS versions and ciphers", plain=_ALL, shown="FILE"),
    Flag(
        "tmpdir", "string", "directory of large temporary files (default: /var/tmp)", plain=_ALL, shown="DIR"
    ),
    Flag("user-agent-prefix", "string", "put TEXT before our user agent", plain=_ALL, shown="TEXT"),
    Flag("connect", "string", "use the proxy that listens on SOCKET", plain=_ALL, shown="SOCKET", not_yet=6),
    # How an image is reached.
    Flag(
        "authfile",
        "string",
        "file of registry credentials",
        plain=(*_REGISTRY, *_COPIES),
        sided=_COPIES,
        shown="FILE",
    ),
    Flag(
        "creds",
        "string",
        "credentials for the registry",
        plain=_REGISTRY,
        sided=_COPIES,
        shown="USER[:PASSWORD]",
        aliases=("screds", "dcreds"),
    ),
    Flag(
        "creds-file",
        "string",
        "file whose first line is USER[:PASSWORD]",
        plain=_REGISTRY,
        sided=_COPIES,
        shown="FILE",
    ),
    Flag("username", "string", "user of the registry", plain=_REGISTRY, sided=_COPIES, shown="USER"),
    Flag("password", "string", "the user's password", plain=_REGISTRY, sided=_COPIES),
    Flag(
        "registry-token",
        "string",
        "bearer token, sent as it is",
        plain=_REGISTRY,
        sided=_COPIES,
        shown="TOKEN",
    ),
    Flag("no-creds", "bool", "send no credentials", plain=_REGISTRY, sided=_COPIES),
    Flag(
        "cert-dir", "string", "directory of *.crt, *.cert, *.key", plain=_REGISTRY, sided=_COPIES, shown="DIR"
    ),
    Flag("tls-verify", "bool", "demand https and a valid certificate", plain=_REGISTRY, sided=_COPIES),
    Flag(
        "daemon-host",
        "string",
        "address of the docker daemon",
        plain=_IMAGE,
        sided=_COPY,
        shown="HOST",
    ),
    Flag(
        "shared-blob-dir", "string", "blobs of oci: images are in DIR", plain=_IMAGE, sided=_COPY, shown="DIR"
    ),
    Flag("tls-verify", "bool", "old form of the two sides' own flags", plain=_COPIES, hidden=True),
    Flag("retry-times", "int", "how often to try again after an error that may pass", plain=_RETRIES),
    Flag("retry-delay", "duration", "wait this long between tries", plain=_RETRIES),
    # delete
    Flag("tag-only", "bool", "delete this tag, but no other of its digest", plain=("delete",)),
    # login, logout
    Flag("authfile", "string", "file of registry credentials", plain=_LOGINS, shown="FILE"),
    Flag("compat-auth-file", "string", "such a file in Docker's format", plain=_LOGINS, shown="FILE"),
    Flag("tls-verify", "bool", "demand https and a valid certificate", plain=_LOGINS),
    Flag("cert-dir", "string", "directory of *.crt, *.cert, *.key", plain=_LOGIN, shown="DIR"),
    Flag("username", "string", "user of the registry", plain=_LOGIN, short="u", shown="USER"),
    Flag("password", "string", "the user's password; others may see it", plain=_LOGIN, short="p"),
    Flag("password-stdin", "bool", "read the password from standard input", plain=_LOGIN),
    Flag("get-login", "bool", "show who is logged in", plain=_LOGIN),
    Flag("verbose", "bool", "tell where the credentials are kept", plain=_LOGIN, short="v"),
    Flag("all", "bool", "forget the credentials of all registries", plain=("logout",), short="a"),
    # inspect
    Flag("config", "bool", "show the configuration", plain=_INSPECT),
    Flag("format", "string", "show what this Go template says", plain=_INSPECT, short="f", shown="TEMPLATE"),
    Flag(
        "manifest-digest", "string", "algorithm of the digest: sha256, sha512", plain=_INSPECT, shown="NAME"
    ),
    Flag("no-tags", "bool", "do not list the repository's tags", plain=_INSPECT, short="n"),
    Flag("raw", "bool", "show the bytes as they are", plain=_INSPECT),
    # copy
    Flag("all", "bool", "copy every image of a list", plain=_COPIES, short="a"),
    Flag("multi-arch", "string", "what of a list: system, all, index-only", plain=_COPY, shown="WHAT"),
    Flag("format", "string", "manifest type: oci, v2s1, v2s2", plain=_COPIES, short="f", shown="TYPE"),
    Flag("preserve-digests", "bool", "fail rather than change a manifest", plain=_COPIES),
    Flag("quiet", "bool", "print nothing", plain=_COPY, short="q"),
    Flag("digestfile", "string", "write the digest of the copied image to FILE", plain=_COPIES, shown="FILE"),
    Flag("verify-push", "bool", "ask the registry whether it has what it took", plain=_COPY),
    Flag("remove-signatures", "bool", "do not copy signatures", plain=_COPIES),
    Flag("image-parallel-copies", "uint", "layers copied at once (default: 6)", plain=_COPY, shown="N"),
    Flag(
        "additional-tag", "strings", "further tags in a docker-archive", plain=_COPY, shown="REF", not_yet=5
    ),
    Flag("compress", "bool", "compress the layers of a dir: image", dest=_COPY, not_yet=5),
    Flag("decompress", "bool", "decompress the layers of a dir: image", dest=_COPY, not_yet=5),
    Flag("compress-format", "string", "compression of layers", dest=_COPY, shown="NAME", not_yet=5),
    Flag("compress-level", "int", "level of compression", dest=_COPY, shown="N", not_yet=5),
    Flag("force-compress-format", "bool", "reuse no layer of another compression", dest=_COPY, not_yet=5),
    Flag("oci-accept-uncompressed-layers", "bool", "do not compress for oci:", dest=_COPY, not_yet=5),
    Flag("precompute-digests", "bool", "look for a layer before it is sent", dest=_COPY, not_yet=5),
    Flag("encryption-key", "strings", "encrypt for this recipient", plain=_COPY, shown="KEY", not_yet=5),
    Flag("encrypt-layer", "ints", "encrypt this layer only", plain=_COPY, shown="N", not_yet=5),
    Flag("decryption-key", "strings", "decrypt with this key", plain=_COPY, shown="KEY", not_yet=5),
    Flag("sign-by", "string", "sign with this GPG key", plain=_COPIES, shown="FINGERPRINT", not_yet=8),
    Flag(
        "sign-by-sq-fingerprint", "string", "sign with Sequoia", plain=_COPIES, shown="FINGERPRINT", not_yet=8
    ),
    Flag("sign-by-sigstore", "string", "sign as this file says", plain=_COPIES, shown="FILE", not_yet=8),
    Flag(
        "sign-by-sigstore-private-key", "string", "sign with this key", plain=_COPIES, shown="FILE", not_yet=8
    ),
    Flag("sign-passphrase-file", "string", "passphrase of the key", plain=_COPIES, shown="FILE", not_yet=8),
    Flag("sign-identity", "string", "name that the signature says", plain=_COPY, shown="REF", not_yet=8),
    # experimental-image-proxy
    Flag(
        "sockfd", "int", "serve on this socket (default: 0)", plain=("experimental-image-proxy",), shown="FD"
    ),
)

HELP = Flag("help", "bool", "print this text", short="h")


def options(*places: str) -> dict[str, Option]:
    """The options of a command, by their names on the command line; `help` is one of all."""
    found = [Option(HELP, "help", "help", hidden=False)]
    for flag in FLAGS:
        found += (Option(flag, flag.name, flag.name, flag.hidden) for place in places if place in flag.plain)
        for place in places:
            found += _sided(flag, place)
    return {option.name: option for option in found}


def _sided(flag: Flag, place: str) -> list[Option]:
    prefixes = SIDES if place in flag.sided else SIDES[1:] if place in flag.dest else ()
    found = [Option(flag, prefix + flag.name, prefix + flag.name, flag.hidden) for prefix in prefixes]
    if prefixes and flag.aliases:
        pairs = zip(flag.aliases, found, strict=True)
        found += [Option(flag, old, each.key, hidden=True) for old, each in pairs]
    return found
