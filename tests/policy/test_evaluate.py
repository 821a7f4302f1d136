"""What the policy allows: scopes, `--require-signed`, the image proxy's two levels."""

from __future__ import annotations

import pytest

from tests.model.manifests import descriptor, dumps, index, oci
from tests.policy.cases import default
from wherry import policy
from wherry.errors import CorruptError, PolicyError
from wherry.interfaces import Manifest, Unverified
from wherry.model import mediatype
from wherry.model.digest import of
from wherry.policy import ImageIdentity, Policy
from wherry.policy.requirements import AcceptAnything, Reject, Requirements

ACCEPT: Requirements = (AcceptAnything(),)
REJECT: Requirements = (Reject(),)
SIGNED = policy.parse(default('{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}').encode())
IMAGE = ImageIdentity(
    transport="docker",
    identity="docker.io/library/busybox:latest",
    scopes=("docker.io/library/busybox", "docker.io/library", "docker.io", "*.io"),
    display="docker://busybox:latest",
)
RAW = dumps(oci())
GIVEN = Unverified(RAW, mediatype.OCI_MANIFEST)


@pytest.mark.parametrize("named", [IMAGE.identity, *IMAGE.scopes, ""])
def test_the_most_specific_scope_alone_counts(named: str) -> None:
    specific = [IMAGE.identity, *IMAGE.scopes, ""]
    less = {scope: REJECT for scope in specific[specific.index(named) + 1 :]}
    allowing = Policy(default=REJECT, transports={"docker": {named: ACCEPT, **less}})
    assert policy.verify(allowing, GIVEN, IMAGE) == Manifest(RAW, mediatype.OCI_MANIFEST)
    refusing = Policy(default=ACCEPT, transports={"docker": {named: REJECT, **dict.fromkeys(less, ACCEPT)}})
    with pytest.raises(PolicyError, match=r"^Running image docker://busybox:latest is rejected by policy\.$"):
        policy.verify(refusing, GIVEN, IMAGE)


def test_other_transports_and_scopes_do_not_count() -> None:
    others = {"dir": {"": REJECT}, "docker": {"docker.io/library/busy": REJECT, "*.docker.io": REJECT}}
    assert policy.verify(Policy(default=ACCEPT, transports=others), GIVEN, IMAGE)


def test_all_requirements_must_be_met() -> None:
    for requirements in (ACCEPT + REJECT, REJECT + ACCEPT):
        with pytest.raises(PolicyError, match=r"is rejected by policy\.$"):
            policy.verify(Policy(default=requirements), GIVEN, IMAGE)
    with pytest.raises(PolicyError, match=r"^List of verification policy requirements must not be empty$"):
        policy.verify(Policy(default=()), GIVEN, IMAGE)


def test_signatures_are_not_verified_yet_so_they_do_not_help() -> None:
    for signatures in ((), (b"a signature",)):
        with pytest.raises(PolicyError, match=r"verification of signatures is not yet built") as caught:
            policy.verify(SIGNED, GIVEN, IMAGE, signatures)
        assert caught.value.kind == "policy"
        assert caught.value.code == "other"


def test_require_signed_wants_more_than_an_open_door() -> None:
    # skopeo --policy FILE --require-signed copy …: "No signature verification policy found for image …"
    text = r"^No signature verification policy found for image docker:docker\.io/library/busybox:latest$"
    with pytest.raises(PolicyError, match=text):
        policy.verify(policy.ACCEPT_ANYTHING, GIVEN, IMAGE, require_signed=True)
    assert policy.verify(policy.ACCEPT_ANYTHING, GIVEN, IMAGE)


def test_r60_bytes_that_the_asked_digest_does_not_name() -> None:
    pinned = Unverified(RAW, mediatype.OCI_MANIFEST, of(RAW))
    assert policy.verify(policy.ACCEPT_ANYTHING, pinned, IMAGE).instance == of(RAW)
    other = Unverified(RAW + b" ", mediatype.OCI_MANIFEST, of(RAW))
    with pytest.raises(CorruptError, match=rf"^Manifest does not match provided manifest digest {of(RAW)}$"):
        policy.verify(policy.ACCEPT_ANYTHING, other, IMAGE)


LISTED = Unverified(dumps(index(manifests=[descriptor(RAW, mediatype.OCI_MANIFEST)])), mediatype.OCI_INDEX)
CHOSEN = Unverified(RAW, mediatype.OCI_MANIFEST, of(RAW))


def test_either_level_is_enough_and_none_is_not() -> None:
    found = policy.verify_either(policy.ACCEPT_ANYTHING, LISTED, CHOSEN, IMAGE)
    assert found == Manifest(RAW, mediatype.OCI_MANIFEST, of(RAW))
    with pytest.raises(PolicyError, match=r"^Running image docker://busybox:latest is rejected by policy\.$"):
        policy.verify_either(Policy(default=REJECT), LISTED, CHOSEN, IMAGE)
    with pytest.raises(PolicyError, match=r"\(2 found\)$"):
        policy.verify_either(SIGNED, LISTED, CHOSEN, IMAGE, ((b"1",), (b"1", b"2")))
    with pytest.raises(PolicyError, match=r"^No signature verification policy found"):
        policy.verify_either(policy.ACCEPT_ANYTHING, LISTED, CHOSEN, IMAGE, require_signed=True)


def test_r63_an_instance_must_be_the_one_that_the_index_names() -> None:
    changed = Unverified(RAW + b" ", mediatype.OCI_MANIFEST, of(RAW))
    text = rf"^Image manifest does not match selected manifest digest {of(RAW)}$"
    with pytest.raises(CorruptError, match=text):
        policy.verify_either(policy.ACCEPT_ANYTHING, LISTED, changed, IMAGE)
    foreign = Unverified(RAW + b" ", mediatype.OCI_MANIFEST, of(RAW + b" "))
    with pytest.raises(CorruptError, match=r"^the index has no instance with digest sha256:"):
        policy.verify_either(policy.ACCEPT_ANYTHING, LISTED, foreign, IMAGE)
    unnamed = Unverified(RAW, mediatype.OCI_MANIFEST)
    with pytest.raises(CorruptError, match=r"^Image manifest does not match selected manifest digest None$"):
        policy.verify_either(policy.ACCEPT_ANYTHING, LISTED, unnamed, IMAGE)
