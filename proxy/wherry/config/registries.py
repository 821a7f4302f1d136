"""What registries.conf says about a name: where an image is read from, over which TLS, or that it is blocked.

Values and decisions; the files are read by `registries_load`. Spec: containers-registries.conf(5) version 2,
skopeo-reference R1 to R6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from wherry.errors import InvalidError, PolicyError, context
from wherry.model import name
from wherry.model.goquote import quote
from wherry.model.name import Named

PullFromMirror = Literal["", "all", "digest-only", "tag-only"]
ShortNameMode = Literal["enforcing", "permissive", "disabled"]

AUTH_FILES: Final = "containers-auth.json"
"""The entry of credential-helpers that stands for the credential files."""

_SEPARATORS: Final = frozenset(":/@")
_WILDCARD: Final = "*."


class Endpoint(Struct, frozen=True):
    """A place that images are read from: a host, or a host and a namespace below it.

    `location` is "" only for a registry with a wildcard prefix: then names are not rewritten. `insecure`:
    certificates are not checked, and plain http will do. `pull_from_mirror`: for which names a mirror is
    asked.
    """

    location: str
    insecure: bool = False
    pull_from_mirror: PullFromMirror = ""


class Registry(Struct, frozen=True):
    """A [[registry]] table: the names that begin with `prefix`, and where they are found."""

    prefix: str
    primary: Endpoint
    mirrors: tuple[Endpoint, ...] = ()
    blocked: bool = False
    mirror_by_digest_only: bool = False

    def endpoints(self, *, by_digest: bool) -> tuple[Endpoint, ...]:
        """Where a name is asked for, in this order; the registry itself comes last (R2)."""
        unwanted = "tag-only" if by_digest else "digest-only"
        mirrors = self.mirrors if by_digest or not self.mirror_by_digest_only else ()
        return (*(mirror for mirror in mirrors if mirror.pull_from_mirror != unwanted), self.primary)


class PullSource(Struct, frozen=True):
    """A place where an image is looked for: its name there, and how the registry there is reached.

    `is_mirror`: not for the registry itself, which comes last.
    """

    named: Named
    insecure: bool = False
    is_mirror: bool = False


class RegistriesConf(Struct, frozen=True):
    """All of registries.conf and its drop-in files, merged.

    `registries`: sorted by prefix, each prefix once. `aliases`: short names (None: one that was taken away);
    skopeo resolves none (R5), nor do we. `searched`: files and directories that were looked at, for texts.
    """

    registries: tuple[Registry, ...] = ()
    unqualified_search: tuple[str, ...] = ()
    credential_helpers: tuple[str, ...] = (AUTH_FILES,)
    short_name_mode: ShortNameMode = "permissive"
    aliases: Mapping[str, str | None] = {}
    additional_layer_store_auth_helper: str = ""
    searched: tuple[str, ...] = ()

    def find(self, reference: str) -> Registry | None:
        """The registry with the longest prefix of a host, namespace, repository or image (R1)."""
        found: Registry | None = None
        for registry in self.registries:
            if (found is None or len(registry.prefix) > len(found.prefix)) and (
                matching_length(reference, registry.prefix) is not None
            ):
                found = registry
        return found

    def pull_sources(self, named: Named) -> tuple[PullSource, ...]:
        """Where the image `named` is read from, in the order of the attempts.

        Raises InvalidError where the rewritten name is none (`rewriting reference: …`).
        """
        registry = self.find(named.name)
        if registry is None:
            return (PullSource(named),)
        endpoints = registry.endpoints(by_digest=named.digest is not None)
        return tuple(
            PullSource(
                rewritten(named, registry.prefix, endpoint.location),
                endpoint.insecure,
                endpoint is not registry.primary,
            )
            for endpoint in endpoints
        )

    def check_allowed(self, reference: str) -> None:
        """Raises PolicyError (`registry P is blocked in one of ["…" …]`, R4) where a name is blocked."""
        registry = self.find(reference)
        if registry is not None and registry.blocked:
            where = " ".join(map(quote, self.searched))
            raise PolicyError(f"registry {registry.prefix} is blocked in one of [{where}]")

    def is_insecure(self, reference: str) -> bool:
        """Whether a name's registry may be reached without verified TLS."""
        registry = self.find(reference)
        return registry is not None and registry.primary.insecure


def matching_length(reference: str, prefix: str) -> int | None:
    """How many characters of `reference` a prefix covers; None where it does not match.

    `reference` begins with a host. A prefix ends at a separator of the reference or at its end. `*.domain`
    covers any host below that domain, but not the domain itself. The colons of an IPv6 address are no
    separators.
    """
    if prefix.startswith(_WILDCARD):
        start = reference.find(prefix[1:])
        if start < 0 or "/" in reference[:start]:
            return None
        end = start + len(prefix) - 1
    elif reference.startswith(prefix):
        end = len(prefix)
    else:
        return None
    if reference.startswith("[") and end <= reference.find("]"):
        return None
    return end if end == len(reference) or reference[end] in _SEPARATORS else None


def rewritten(named: Named, prefix: str, location: str) -> Named:
    """`named` with `location` in place of the part that `prefix` covers.

    Raises InvalidError where that is no full name.
    """
    if not location:
        return named
    text = str(named)
    covered = matching_length(text, prefix)
    if covered is None:
        raise InvalidError(f"invalid prefix '{prefix}' for reference '{text}'")
    with context("rewriting reference"):
        return name.parse_named(location + text[covered:])
