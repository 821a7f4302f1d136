"""One registries.conf file: TOML → what it sets (containers-registries.conf(5) version 2).

Unknown keys are tolerated, as the reference does; a known key with a wrong value is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from wherry.config.registries import Endpoint, PullFromMirror, Registry, ShortNameMode
from wherry.errors import InvalidError, context
from wherry.model import name
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

Table = Mapping[str, Any]

_SCHEMES: Final = ("http://", "https://")
_V1_SECTIONS: Final = ("search", "insecure", "block")
_SHORT_NAME_MODES: Final = ("enforcing", "permissive", "disabled")
_PULL_FROM_MIRROR: Final = ("", "all", "digest-only", "tag-only")
_DOMAIN: Final = re.compile(name.DOMAIN)


class Fragment(Struct, frozen=True):
    """What one file sets; None where it says nothing."""

    registries: tuple[Registry, ...] = ()
    unqualified_search: tuple[str, ...] | None = None
    credential_helpers: tuple[str, ...] | None = None
    short_name_mode: ShortNameMode | None = None
    aliases: Mapping[str, str | None] = {}
    additional_layer_store_auth_helper: str = ""


@lru_cache(maxsize=32)
def parse(raw: bytes) -> Fragment:
    """Read the content of a file.

    Raises InvalidError: no TOML, version 1, a value of another type, a name that is none, a registry with
    contradicting settings. The caller adds the file's path.
    """
    table = _toml(raw)
    if _is_version_1(table):
        raise InvalidError("registries.conf must be in v2 format but is in v1")
    registries = _registries(_tables(table, "registry", "registry"))
    search = _strings(table, "unqualified-search-registries")
    return Fragment(
        registries,
        None if search is None else tuple(map(_search_entry, search)),
        _strings(table, "credential-helpers"),
        _short_name_mode(table),
        _aliases(_table(table, "aliases")),
        _string(table, "additional-layer-store-auth-helper"),
    )


def _toml(raw: bytes) -> Table:
    import tomllib

    try:
        return tomllib.loads(raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidError(f"toml: {error}") from None
    except UnicodeDecodeError as error:
        raise InvalidError(f"toml: invalid UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise InvalidError("toml: arrays or tables are nested too deeply") from None


def _is_version_1(table: Table) -> bool:
    """Whether the sections of version 1 stand there, empty ones too."""
    old = _value(table, "registries")
    sections = [_value(old, section) for section in _V1_SECTIONS] if isinstance(old, dict) else []
    tables = [section for section in sections if isinstance(section, dict)]
    return any(_value(section, "registries") is not None for section in tables)


def _registries(tables: Sequence[Table]) -> tuple[Registry, ...]:
    """In the order of their prefixes, of which the first counts."""
    found = [_registry(table) for table in tables]
    _check_conflicts(found)
    by_prefix: dict[str, Registry] = {}
    for registry in found:
        by_prefix.setdefault(registry.prefix, registry)
    for prefix in by_prefix:
        if prefix.startswith("*.") and not {"/", "@", ":"}.isdisjoint(prefix):
            raise InvalidError(
                "Wildcarded prefix should be in the format: *.example.com. "
                f"Current prefix {quote(prefix)} is incorrectly formatted"
            )
    return tuple(by_prefix[prefix] for prefix in sorted(by_prefix))


def _registry(table: Table) -> Registry:
    primary = _endpoint(table, "registry")
    prefix = _location(_string(table, "prefix", "registry"))
    if not _string(table, "prefix", "registry"):
        if not primary.location:
            raise InvalidError("invalid condition: both location and prefix are unset")
        prefix = primary.location
    elif not primary.location and not prefix.startswith("*."):
        raise InvalidError(
            "invalid condition: location is unset and prefix is not in the format: *.example.com"
        )
    if primary.pull_from_mirror:
        raise InvalidError(f"pull-from-mirror must not be set for a non-mirror registry {quote(prefix)}")
    by_digest_only = _boolean(table, "mirror-by-digest-only", "registry")
    tables = _tables(table, "mirror", "registry.mirror")
    mirrors = tuple(_mirror(mirror, prefix, by_digest_only) for mirror in tables)
    return Registry(prefix, primary, mirrors, _boolean(table, "blocked", "registry"), by_digest_only)


def _mirror(table: Table, prefix: str, by_digest_only: bool) -> Endpoint:
    mirror = _endpoint(table, "registry.mirror")
    if not mirror.location:
        raise InvalidError("invalid condition: mirror location is unset")
    if by_digest_only and mirror.pull_from_mirror:
        raise InvalidError(
            f"cannot set mirror usage mirror-by-digest-only for the registry ({quote(prefix)}) "
            f"and pull-from-mirror for per-mirror ({quote(mirror.location)}) at the same time"
        )
    if mirror.pull_from_mirror not in _PULL_FROM_MIRROR:
        raise InvalidError(
            f"unsupported pull-from-mirror value {quote(mirror.pull_from_mirror)} "
            f"for mirror {quote(mirror.location)}"
        )
    return mirror


def _endpoint(table: Table, where: str) -> Endpoint:
    return Endpoint(
        _location(_string(table, "location", where)),
        _boolean(table, "insecure", where),
        cast("PullFromMirror", _string(table, "pull-from-mirror", where)),  # checked by who reads a mirror
    )


def _location(text: str) -> str:
    if text.startswith(_SCHEMES):
        raise InvalidError(f"invalid location '{text}': URI schemes are not supported")
    return text.rstrip("/")


def _check_conflicts(registries: Sequence[Registry]) -> None:
    """Registries that share a location agree on how it is reached and whether it is."""
    first: dict[str, Registry] = {}
    for registry in registries:
        other = first.setdefault(registry.primary.location or registry.prefix, registry)
        for key, same in (
            ("insecure", registry.primary.insecure == other.primary.insecure),
            ("blocked", registry.blocked == other.blocked),
        ):
            if not same:
                raise InvalidError(
                    f"registry '{registry.primary.location}' is defined multiple times "
                    f"with conflicting '{key}' setting"
                )


def _search_entry(text: str) -> str:
    entry = _location(text)
    if not _DOMAIN.fullmatch(entry):
        raise InvalidError(f"Invalid unqualified-search-registries entry {quote(entry)}")
    return entry


def _short_name_mode(table: Table) -> ShortNameMode | None:
    mode = _string(table, "short-name-mode")
    if mode and mode not in _SHORT_NAME_MODES:
        raise InvalidError(f"invalid short-name mode: {quote(mode)}")
    return cast("ShortNameMode", mode) if mode else None


def _aliases(table: Table) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    faults: list[str] = []
    for short in sorted(table):
        value = _typed(table[short], str, f"aliases.{short}", "string")
        try:
            _check_short_name(short)
            found[short] = _alias(value) if value else None
        except InvalidError as error:
            faults.append(str(error))
    if faults:
        raise InvalidError("validating short-name aliases: " + "\n".join(faults))
    return found


def _check_short_name(text: str) -> None:
    with context(f"cannot parse short name: {quote(text)}"):
        named = name.parse(text)
    for part, present in (("digest", named.digest is not None), ("tag", bool(named.tag))):
        if present:
            raise InvalidError(f"invalid short name {quote(text)}: must not contain {part}")
    if _names_registry(named.domain):
        raise InvalidError(f"invalid short name {quote(text)}: must not contain registry")


def _alias(text: str) -> str:
    with context(f"parsing alias {quote(text)}"):
        named = name.parse(text)
    for part, present in (("digest", named.digest is not None), ("tag", bool(named.tag))):
        if present:
            raise InvalidError(f"invalid alias {quote(text)}: must not contain {part}")
    if not _names_registry(named.domain):
        raise InvalidError(f"invalid alias {quote(text)}: must contain registry and repository")
    return str(name.parse_normalized(text))


def _names_registry(domain: str) -> bool:
    return "." in domain or ":" in domain or domain == "localhost"


# Values of a table. The reference finds a key in other letter cases too.


def _value(table: Table, key: str) -> Any:
    if key in table:
        return table[key]
    return next((value for name, value in table.items() if name.casefold() == key), None)


def _string(table: Table, key: str, where: str = "") -> str:
    value = _value(table, key)
    return "" if value is None else cast("str", _typed(value, str, _path(where, key), "string"))


def _boolean(table: Table, key: str, where: str) -> bool:
    value = _value(table, key)
    return False if value is None else cast("bool", _typed(value, bool, _path(where, key), "boolean"))


def _strings(table: Table, key: str) -> tuple[str, ...] | None:
    value = _value(table, key)
    if value is None:
        return None
    return tuple(_typed(entry, str, key, "string") for entry in _typed(value, list, key, "slice"))


def _table(table: Table, key: str) -> Table:
    value = _value(table, key)
    return {} if value is None else cast("Table", _typed(value, dict, key, "map[string]string"))


def _tables(table: Table, key: str, path: str) -> Sequence[Table]:
    value = _value(table, key)
    if value is None:
        return ()
    entries = _typed(value, list, path, "slice")
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidError(f"toml: key {quote(path)}: expected table but found {_type_name(entry)}")
    return cast("Sequence[Table]", entries)


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _typed(value: Any, kind: type, path: str, wanted: str) -> Any:
    if type(value) is kind:
        return value
    raise InvalidError(
        f"toml: key {quote(path)}: incompatible types: TOML value has type {_type_name(value)}; "
        f"destination has type {wanted}"
    )


_TYPE_NAMES: Final = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    list: "[]any",
    dict: "map[string]any",
}


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "time.Time")
