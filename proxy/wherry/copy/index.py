"""Copying an index: all its instances, or only itself (skopeo's --all, --multi-arch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.copy.single import Written
from wherry.errors import InvalidError, NotYetError, context
from wherry.model import mediatype
from wherry.model.manifest import manifest_digest
from wherry.model.manifest.lists import ListEdit, edit_index
from wherry.protocol.messages import Step

if TYPE_CHECKING:
    from wherry.copy.single import Copier
    from wherry.interfaces import Unverified
    from wherry.model.manifest import Index


async def copy_index(copier: Copier, given: Unverified, index: Index) -> Written:
    """Copy an index and, unless only the index is wanted, its instances.

    The bytes are the source's wherever no instance changed and the destination takes the type.
    """
    accepts = copier.destination.accepts
    transport = copier.destination_reference.transport
    if not accepts.indexes:
        raise InvalidError(
            f'copying multiple images: destination transport "{transport}" does not support copying multiple '
            "images as a group"
        )
    signatures = await copier.signatures(given, "list-signatures")
    fixed = copier.fixed(signatures)
    copier.check_pinned(given.raw)
    wanted_type = _list_type(index.media_type, accepts.manifest_types, copier.options.format, fixed)
    edits = await _instances(copier, index)
    raw = given.raw
    if edits or wanted_type != index.media_type:
        if fixed:
            raise InvalidError(f'Manifest list was edited, but we cannot modify it: "{fixed}"')
        raw = edit_index(index, edits, wanted_type)
    await copier.tell(Step("list-manifest"))
    with context("writing manifest list"):
        await copier.destination.put_manifest(raw, wanted_type)
    await copier.tell(Step("store-list-signatures"))
    if signatures:
        with context("writing signatures"):
            await copier.destination.put_signatures(signatures)
    return Written(raw, wanted_type)


async def _instances(copier: Copier, index: Index) -> dict[int, ListEdit]:
    """Copy the wanted instances; what changed of them, by their position."""
    instances = index.instances
    wanted = len(instances) if copier.options.instances == "all" else 0
    await copier.tell(Step("instances", number=wanted, of=len(instances)))
    edits: dict[int, ListEdit] = {}
    for position, instance in enumerate(instances[:wanted]):
        descriptor = instance.descriptor
        await copier.tell(Step("instance", descriptor.digest, number=position + 1, of=wanted))
        with context(f"copying image {position + 1}/{wanted} from manifest list"):
            with context(f"determining manifest MIME type for {copier.source_reference}"):
                given = await copier.source.manifest(descriptor.digest)
            if mediatype.is_index(mediatype.normalize(given.media_type, given.raw)):
                raise NotYetError("copying an index within an index is not yet built in wherry")
            written = await copier.image(given, descriptor.digest)
        if written.raw != given.raw:
            raw = written.raw
            edits[position] = ListEdit(manifest_digest(raw), len(raw), written.media_type)
    return edits


def _list_type(source: str, accepted: tuple[str, ...], forced: str, fixed: str) -> str:
    """The type that the index is written as: the source's, unless the destination or --format wants the
    other."""
    wanted = {"oci": mediatype.OCI_INDEX, "v2s2": mediatype.DOCKER_LIST, "v2s1": mediatype.DOCKER_LIST}
    if forced:
        chosen = wanted[forced]
    elif not accepted or source in accepted:
        return source
    else:
        chosen = next(t for t in accepted if mediatype.is_index(t))
    if chosen == source:
        return source
    if fixed:
        raise InvalidError(
            f'Manifest list must be converted to type "{chosen}" to be written to destination, but we cannot '
            f"modify it: {fixed}"
        )
    if chosen != mediatype.OCI_INDEX:
        raise NotYetError(f"converting an index of type {source} to {chosen} is not yet built in wherry")
    return chosen
