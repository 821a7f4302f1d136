"""How a repository is reached, by what the caller asks and by all configuration files.

registries.conf says whether the repository is blocked and whether its registry is insecure, certs.d which
certificates count, and the credential files who we are. What the caller asks comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from wherry.config import auth, certs, registries_load
from wherry.errors import context

if TYPE_CHECKING:
    from wherry.config.registries import PullSource, RegistriesConf
    from wherry.model.name import Named
    from wherry.protocol.options import ImageAccess
    from wherry.system import System


async def configured(named: Named, access: ImageAccess, system: System) -> ImageAccess:
    """The access to the registry that the user named, for writing, deleting and listing tags: mirrors and
    rewriting do not count there (R2).

    Raises what reading the files raises, and PolicyError for a blocked registry.
    """
    found = await auth.resolve(named.name, access, system)
    with context("loading registries"):
        config = registries_load.load(system)
    return _settled(named, found, system, config, config.is_insecure(named.name))


async def configured_source(
    place: PullSource, wanted: Named, access: ImageAccess, system: System, config: RegistriesConf
) -> ImageAccess:
    """The access to one of the places where the image `wanted` is looked for.

    Credentials that the caller brought are for the host that he named, and dropped for any other (R6).
    Raises as `configured`.
    """
    if place.named.domain != wanted.domain:
        access = structs.replace(access, credentials=None, registry_token=None)
    found = await auth.resolve(place.named.name, access, system, config.credential_helpers)
    if not place.is_mirror:
        # skopeo asks only whether the rewritten name is blocked, and reads what `blocked` means to forbid.
        config.check_allowed(wanted.name)
    return _settled(place.named, found, system, config, place.insecure)


def _settled(
    named: Named, access: ImageAccess, system: System, config: RegistriesConf, insecure: bool
) -> ImageAccess:
    config.check_allowed(named.name)
    return structs.replace(
        access,
        cert_dir=access.cert_dir or certs.directory(system, named.domain),
        tls_verify=False if insecure and access.tls_verify is None else access.tls_verify,
    )
