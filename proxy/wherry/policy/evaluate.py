"""Whether the trust policy allows an image (containers-policy.json(5); skopeo-reference section 3, Q1 to Q6).

Only this module makes a Manifest of an Unverified one. It does no I/O: whoever asks has the manifest and its
signatures already. Verification of signatures is not built yet; requirements that need it refuse the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from wherry.errors import CorruptError, PolicyError
from wherry.interfaces import Manifest, Unverified
from wherry.model import manifest as manifests
from wherry.policy.requirements import (
    AcceptAnything,
    Reject,
    Requirement,
    Requirements,
    SignedBaseLayer,
    SignedBy,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class ImageIdentity(Struct, frozen=True):
    """What the policy knows an image by: Reference's `transport`, `policy_identity()`, `policy_scopes()`, and
    `str(reference)` for texts."""

    transport: str
    identity: str
    scopes: tuple[str, ...]
    display: str


class Policy(Struct, frozen=True):
    """A parsed policy.json: for each transport the requirements of each scope, "" being its default."""

    default: Requirements
    transports: dict[str, dict[str, Requirements]] = field(default_factory=dict)

    def requirements_for(self, transport: str, identity: str, scopes: Sequence[str]) -> Requirements:
        """The requirements of the most specific scope that the policy names; no others count."""
        named = self.transports.get(transport, {})
        for scope in (identity, *scopes, ""):
            if scope in named:
                return named[scope]
        return self.default


ACCEPT_ANYTHING = Policy(default=(AcceptAnything(),))
"""What `--insecure-policy` means."""


def verify(
    policy: Policy,
    given: Unverified,
    image: ImageIdentity,
    signatures: Sequence[bytes] = (),
    require_signed: bool = False,
) -> Manifest:
    """The manifest, if the policy allows to use it.

    `signatures`: those of this manifest; `require_signed`: a policy without a requirement that verifies
    signatures is not enough. Raises PolicyError with c/image's texts, CorruptError where the bytes are not
    those that `given.instance` names.
    """
    if given.instance is not None and not manifests.matches_digest(given.raw, given.instance):
        raise CorruptError(f"Manifest does not match provided manifest digest {given.instance}")
    requirements = policy.requirements_for(image.transport, image.identity, image.scopes)
    if not requirements:
        raise PolicyError("List of verification policy requirements must not be empty")
    for requirement in requirements:
        _check(requirement, image, signatures)
    # No requirement that is built verifies a signature, so none of those that passed did.
    if require_signed:
        raise PolicyError(
            f"No signature verification policy found for image {image.transport}:{image.identity}"
        )
    return Manifest(given.raw, given.media_type, given.instance)


def verify_either(
    policy: Policy,
    listed: Unverified,
    chosen: Unverified,
    image: ImageIdentity,
    signatures: tuple[Sequence[bytes], Sequence[bytes]] = ((), ()),
    require_signed: bool = False,
) -> Manifest:
    """The chosen instance of an index, if the policy allows the index or the instance (the proxy's rule).

    `signatures`: the index's and the instance's. Raises PolicyError, the instance's where both are refused;
    CorruptError where the instance is not the one that the index names.
    """
    if chosen.instance is None or not manifests.matches_digest(chosen.raw, chosen.instance):
        raise CorruptError(f"Image manifest does not match selected manifest digest {chosen.instance}")
    index = manifests.parse_index(listed.raw, listed.media_type)
    if all(instance.descriptor.digest != chosen.instance for instance in index.instances):
        raise CorruptError(f"the index has no instance with digest {chosen.instance}")
    try:
        verify(policy, listed, image, signatures[0], require_signed)
    except PolicyError:
        return verify(policy, chosen, image, signatures[1], require_signed)
    return Manifest(chosen.raw, chosen.media_type, chosen.instance)


def _check(requirement: Requirement, image: ImageIdentity, signatures: Sequence[bytes]) -> None:
    """Raises PolicyError unless the requirement is met."""
    if isinstance(requirement, AcceptAnything):
        return
    if isinstance(requirement, Reject):
        raise PolicyError(f"Running image {image.display} is rejected by policy.")
    if isinstance(requirement, SignedBaseLayer):
        raise PolicyError("signedBaseLayer not implemented yet!")
    kind = "signedBy" if isinstance(requirement, SignedBy) else "sigstoreSigned"
    raise PolicyError(
        f"image {image.display} is refused: the policy requires {kind}, "
        f"and verification of signatures is not yet built ({len(signatures)} found)"
    )
