"""Transports: `parse` makes a Reference of an image name such as `oci:layout:tag`.

The modules of transports are imported when they are first named. Other distributions add transports with the
entry-point group `wherry.transports`: the name is the transport's, the object a module (or anything else)
that offers `parse(text, system)` (interfaces.ReferenceParser). Built-in names cannot be replaced that way.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from wherry.errors import InternalError, InvalidError, NotYetError
from wherry.model.goquote import quote

if TYPE_CHECKING:
    from wherry.interfaces import Reference, ReferenceParser
    from wherry.system import System

GROUP: Final = "wherry.transports"

_BUILT_IN: Final = {
    "dir": "wherry.transports.directory",
    "docker": "wherry.transports.docker",
    "oci": "wherry.transports.oci",
    "oci-archive": "wherry.transports.oci.archive",
}
_NOT_YET: Final = ("atomic", "containers-storage", "docker-archive", "docker-daemon", "sif", "tarball")
# Removed from skopeo too; a name of its own, so that nobody takes it for a misspelling.
_REMOVED: Final = ("ostree",)

TRANSPORT_NAMES: Final = tuple(sorted(_BUILT_IN))
"""The transports that are built in."""

KNOWN_NAMES: Final = frozenset((*_BUILT_IN, *_NOT_YET, *_REMOVED))
"""The names that skopeo's users know, whether built here or not."""


def parse(text: str, system: System) -> Reference:
    """The reference that `transport:rest` names; `rest` is the transport's own syntax.

    Looks at the file system where the transport names files (their links are resolved, for the policy).
    Raises InvalidError with skopeo's texts, NotYetError for transports that we know of and lack.
    """
    name, colon, rest = text.partition(":")
    if not colon:
        raise InvalidError(f"Invalid image name {quote(text)}, expected colon-separated transport:reference")
    return _parser(name, text).parse(rest, system)


def _parser(name: str, text: str) -> ReferenceParser:
    if name in _BUILT_IN:
        return cast("ReferenceParser", import_module(_BUILT_IN[name]))
    if name in _REMOVED:
        raise InvalidError(f'The transport "{name}:" is not supported in this build')
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    for found in entry_points(group=GROUP, name=name):
        parser = found.load()
        if not callable(getattr(parser, "parse", None)):
            raise InternalError(f"The entry point {found.value} of the transport {name}: offers no parse()")
        return cast("ReferenceParser", parser)
    if name in _NOT_YET:
        raise NotYetError(f'The transport "{name}:" is not yet built')
    raise InvalidError(f"Invalid image name {quote(text)}, unknown transport {quote(name)}")
