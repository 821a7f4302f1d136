"""How a repository is reached, by what the caller asks and by all configuration files.

registries.conf says whether the repository is blocked and whether its registry is insecure, certs.d which
certificates count, and the credential files who we are. What the caller asks comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from wherry.config import auth, certs, registries_load
from wherry.errors import InvalidError, context

if TYPE_CHECKING:
    from wherry.config.registries import PullSource, RegistriesConf
    from wherry.model.name import Named
    from wherry.protocol.options import ImageAccess
    from wherry.system import System


async def configured(
    named: Named, access: ImageAccess, system: System, config: RegistriesConf
) -> ImageAccess:
    """The access to the registry that the user named, for writing, deleting and listing tags: mirrors and
    rewriting do not count there (R2).

    Raises what reading the files raises, and PolicyError for a blocked registry.
    """
    found = await auth.resolve(named.name, access, system, config.credential_helpers)
    return _settled(named.name, named.domain, found, system, config, config.is_insecure(named.name))


def configured_registry(registry: str, access: ImageAccess, system: System) -> ImageAccess:
    """The access to a registry itself (`host[:port]`), for trying credentials: files give none here.

    Raises as `configured`.
    """
    with context("loading registries"):
        config = registries_load.load(system)
    return _settled(registry, registry, access, system, config, config.is_insecure(registry))


async def configured_source(
    place: PullSource, wanted: Named, access: ImageAccess, system: System, config: RegistriesConf
) -> ImageAccess:
    """The access to one of the places where the image `wanted` is looked for.

    Credentials that the caller brought are for the host that he named, and dropped for any other (R6).
    Raises as `configured`.
    """
    if place.named.tag and place.named.digest:
        raise InvalidError("Docker references with both a tag and digest are currently not supported")
    if place.named.domain != wanted.domain:
        access = structs.replace(access, credentials=None, registry_token=None)
    found = await auth.resolve(place.named.name, access, system, config.credential_helpers)
    if not place.is_mirror:
        # skopeo asks only whether the rewritten name is blocked, and reads what `blocked` means to forbid.
        config.check_allowed(wanted.name)
    return _settled(place.named.name, place.named.domain, found, system, config, place.insecure)


def _settled(
    name: str, host: str, access: ImageAccess, system: System, config: RegistriesConf, insecure: bool
) -> ImageAccess:
    config.check_allowed(name)
    return structs.replace(
        access,
        cert_dir=access.cert_dir or certs.directory(system, host),
        tls_verify=False if insecure and access.tls_verify is None else access.tls_verify,
    )
