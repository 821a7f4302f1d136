"""Finding and merging registries.conf and its drop-in files (skopeo-reference 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from wherry.config import search
from wherry.config.registries import AUTH_FILES, RegistriesConf
from wherry.config.registries_parse import parse
from wherry.errors import FileMissingError, NotFoundError, context
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.config.registries_parse import Fragment
    from wherry.config.search import Found
    from wherry.system import System

FILENAME = "registries.conf"
VARIABLE = "CONTAINERS_REGISTRIES_CONF"
LIMIT = 4 * 1024 * 1024


def load(system: System) -> RegistriesConf:
    """The configuration that holds for `system`; an empty one where there are no files.

    The main file is --registries-conf (`System.registries_conf`), else $CONTAINERS_REGISTRIES_CONF, else the
    first of the search. Drop-in files follow, but not where the variable named the main file; then, last of
    all, the file that $CONTAINERS_REGISTRIES_CONF_OVERRIDE names.

    Raises InvalidError (`loading registries configuration "PATH": …`), FileError for a file that was named
    and is missing, or that can't be read.
    """
    sources = _sources(system)
    merged = RegistriesConf(searched=(*sources.main.paths, *sources.directories))
    for found in _files(system, sources):
        with context(f"loading registries configuration {quote(found.path)}"):
            merged = _merged(merged, parse(found.raw))
    if not merged.credential_helpers:
        merged = structs.replace(merged, credential_helpers=(AUTH_FILES,))
    return merged


def _sources(system: System) -> search.Sources:
    return search.sources(system, FILENAME, VARIABLE, system.registries_conf)


def _files(system: System, sources: search.Sources) -> Iterator[Found]:
    try:
        yield search.read_first(system, sources.main, LIMIT)
    except FileMissingError:
        raise
    except NotFoundError:
        pass  # none of the places has one, which is fine
    for path in search.drop_ins(system, sources.directories, ".conf"):
        try:
            yield search.read(system, path, LIMIT)
        except FileMissingError:
            continue  # removed since its directory was listed
    if sources.override:
        yield search.read(system, sources.override, LIMIT)


def _merged(before: RegistriesConf, update: Fragment) -> RegistriesConf:
    """A later file replaces what it sets; registries and aliases are replaced one by one."""
    registries = {registry.prefix: registry for registry in (*before.registries, *update.registries)}
    search_list, helpers = update.unqualified_search, update.credential_helpers
    return structs.replace(
        before,
        registries=tuple(registries[prefix] for prefix in sorted(registries)),
        unqualified_search=before.unqualified_search if search_list is None else search_list,
        credential_helpers=before.credential_helpers if helpers is None else helpers,
        short_name_mode=update.short_name_mode or before.short_name_mode,
        aliases={**before.aliases, **update.aliases},
        additional_layer_store_auth_helper=update.additional_layer_store_auth_helper
        or before.additional_layer_store_auth_helper,
    )
