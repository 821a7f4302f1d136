"""Names of images in registries: Docker's reference grammar, with its normalisation and its error texts.

    reference := name [":" tag] ["@" digest]
    name      := [domain "/"] component *("/" component)
    domain    := (host | "[" IPv6 "]") [":" port]

The short forms of the Docker user interface (`busybox`, `user/app`) are made full
(`docker.io/library/busybox`) before the grammar is applied. IPv6 literals, without zones, are of the
grammar's newer version, which skopeo does not have yet.

Spec: skopeo-reference T1 (docker://) and the policy scopes of section 3.
"""

from __future__ import annotations

import re

from msgspec import Struct

from wherry.errors import InvalidError
from wherry.model import digest as digests
from wherry.model.digest import Digest
from wherry.model.goquote import quote

UNKNOWN_DIGEST_SUFFIX = "@@unknown-digest@@"
DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255

_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library"

# Every repetition starts with a character that the one before it cannot match, so that a hostile name takes
# linear time. The classes are spelled out: \w and \d would match letters of all scripts.
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_IPV6 = r"\[[a-fA-F0-9:]+\]"
DOMAIN = rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|{_IPV6})(?::[0-9]+)?"
PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}"
_REFERENCE = re.compile(
    rf"(?P<name>(?:(?P<domain>{DOMAIN})/)?(?P<path>{PATH}))(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")


class Named(Struct, frozen=True):
    """A full name: `domain/path`, with at most one tag and at most one digest ("" and None: none)."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """`domain/path`."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def is_name_only(self) -> bool:
        """Whether there is neither a tag nor a digest."""
        return not self.tag and self.digest is None

    def __str__(self) -> str:
        return self._with(self.name)

    @property
    def familiar_name(self) -> str:
        """The name in the Docker user interface's short form."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        official, _, rest = self.path.partition("/")
        return rest if official == _OFFICIAL and rest and "/" not in rest else self.path

    @property
    def familiar(self) -> str:
        """The whole reference in the short form: `busybox:latest`."""
        return self._with(self.familiar_name)

    def trimmed(self) -> Named:
        """The same repository without tag and digest."""
        return Named(self.domain, self.path)

    def _with(self, name: str) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{name}{tag}{digest}"


class DockerName(Struct, frozen=True):
    """What a `docker:` reference names. `unknown_digest`: an image to be pushed by its digest alone, which is
    not known yet; such a reference can neither be read nor deleted."""

    named: Named
    unknown_digest: bool = False

    def __str__(self) -> str:
        """What follows `docker:`; parsing it gives an equal value."""
        return f"//{self.named.familiar}{UNKNOWN_DIGEST_SUFFIX if self.unknown_digest else ''}"

    @property
    def tag_or_digest(self) -> str:
        """What the image is asked for by in its repository; raises InvalidError where it has neither."""
        if self.unknown_digest:
            raise InvalidError(
                f"Docker reference {quote(self.named.familiar)} is for an unknown digest case, "
                "has neither a digest nor a tag"
            )
        return self.named.digest or self.named.tag


def parse_normalized(text: str) -> Named:
    """A Named of a full or short reference (distribution's ParseNormalizedNamed).

    Raises InvalidError with the reference's texts.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote.lower() != remote:
        raise InvalidError("invalid reference format: repository name must be lowercase")
    return parse(f"{domain}/{rest}")


def parse(text: str) -> Named:
    """A Named of a reference taken as it is, without normalisation (distribution's Parse)."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        if not text:
            raise InvalidError("repository name must have at least one component")
        if _REFERENCE.fullmatch(text.lower()):
            raise InvalidError("repository name must be lowercase")
        raise InvalidError("invalid reference format")
    if len(match["name"]) > NAME_LIMIT:
        raise InvalidError(f"repository name must not be more than {NAME_LIMIT} characters")
    digest = digests.parse(match["digest"]) if match["digest"] else None
    return Named(match["domain"] or "", match["path"], match["tag"] or "", digest)


def parse_named(text: str) -> Named:
    """A Named of a reference that must be full already (distribution's ParseNamed).

    Raises InvalidError as `parse_normalized`, and `repository name must be canonical` for a short form.
    """
    named = parse_normalized(text)
    if str(named) != text:
        raise InvalidError("repository name must be canonical")
    return named


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        domain = first
    else:
        domain, rest = DEFAULT_DOMAIN, text
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = f"{_OFFICIAL}/{rest}"
    return domain, rest


def tag_name_only(named: Named) -> Named:
    """The same, with the tag `latest` where there is neither a tag nor a digest."""
    return Named(named.domain, named.path, DEFAULT_TAG) if named.is_name_only else named


def parse_docker_transport(text: str) -> DockerName:
    """What follows `docker:` in an image name: `//[host[:port]/]path[:tag|@digest]` (T1).

    Raises InvalidError with skopeo's texts.
    """
    if not text.startswith("//"):
        raise InvalidError(f"docker: image reference {text} does not start with //")
    reference = text[2:]
    unknown_digest = reference.endswith(UNKNOWN_DIGEST_SUFFIX)
    named = parse_normalized(reference.removesuffix(UNKNOWN_DIGEST_SUFFIX))
    if unknown_digest:
        if not named.is_name_only:
            raise InvalidError(
                f"docker: image reference {quote(f'{named}{UNKNOWN_DIGEST_SUFFIX}')} has unknown digest set "
                "but it contains either a tag or digest"
            )
        return DockerName(named, unknown_digest=True)
    if named.tag and named.digest:
        raise InvalidError("Docker references with both a tag and digest are currently not supported")
    return DockerName(tag_name_only(named))


def policy_identity(named: Named) -> str:
    """The most specific scope of policy.json for an image: the full name with its tag or digest.

    Raises InvalidError for a name with both.
    """
    if named.tag and named.digest:
        raise InvalidError(f"Unexpected Docker reference {named.familiar} with both a name and a digest")
    return str(named)


def policy_namespaces(named: Named) -> tuple[str, ...]:
    """The less specific scopes, most specific first: the repository, its parents down to `host[:port]`, then
    `*.domain` of each parent domain, without the port. An IPv6 address has no parents.

    For a reference without tag and digest the repository is the identity itself, and not repeated here.
    """
    scopes = []
    name = named.name
    while True:
        scopes.append(name)
        parent, slash, _ = name.rpartition("/")
        if not slash:
            break
        name = parent
    host = "" if name.startswith("[") else name.partition(":")[0]
    while "." in host:
        host = host.partition(".")[2]
        scopes.append(f"*.{host}")
    return tuple(scopes[1:] if named.is_name_only else scopes)
