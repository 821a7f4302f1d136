"""policy.json, mistake by mistake, in skopeo's words (golden/policies.json)."""

from __future__ import annotations

import json
import re

import pytest

from tests.policy import cases, record
from wherry import policy
from wherry.errors import PolicyError
from wherry.interfaces import Unverified
from wherry.policy.requirements import (
    AcceptAnything,
    Fulcio,
    Pki,
    Reject,
    SignedBy,
    SignedIdentity,
    SigstoreSigned,
)

GOLDEN: dict[str, str] = json.loads((record.HERE / "golden" / "policies.json").read_text())
INVALID = 'Error loading trust policy: invalid policy in "FILE": '
REJECTED = "Source image rejected: "
IMAGE = policy.ImageIdentity(transport="dir", identity="/i", scopes=("/",), display="dir:IMAGE")
# What skopeo's verdict needs a verifier for; ours refuses too, and says that it is not built.
SIGNATURES = "A signature was required, but no signature exists"


def test_the_record_is_complete() -> None:
    assert list(GOLDEN) == list(dict.fromkeys(cases.POLICIES))


@pytest.mark.parametrize(
    ("text", "error"), [(text, error) for text, error in GOLDEN.items() if error.startswith(INVALID)]
)
def test_g01_g27_a_policy_with_a_mistake(text: str, error: str) -> None:
    with pytest.raises(PolicyError, match=f"^{re.escape(error.removeprefix(INVALID))}$"):
        policy.parse(text.encode())


@pytest.mark.parametrize("text", [text for text, error in GOLDEN.items() if not error])
def test_a_policy_that_accepts(text: str) -> None:
    given = Unverified(b"{}", "x")
    assert policy.verify(policy.parse(text.encode()), given, IMAGE).raw == b"{}"


@pytest.mark.parametrize(
    ("text", "error"), [(text, error) for text, error in GOLDEN.items() if error.startswith(REJECTED)]
)
def test_a_policy_that_rejects(text: str, error: str) -> None:
    parsed = policy.parse(text.encode())
    expected = re.escape(error.removeprefix(REJECTED))
    if SIGNATURES in error:
        expected = r"image dir:IMAGE is refused: .* verification of signatures is not yet built"
    with pytest.raises(PolicyError, match=f"^{expected}"):
        policy.verify(parsed, Unverified(b"{}"), IMAGE)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "policy is not valid JSON: "),
        (b'{"default":[{"type":"reject"}]} {}', "policy is not valid JSON: trailing data after the value"),
        (b'\xef\xbb\xbf{"default":[{"type":"reject"}]}', "policy starts with a byte order mark"),
        (b'{"default":[{"type":"\xff"}]}', "policy is not valid UTF-8"),
        (b" " * (4 * 1024 * 1024 + 1), "policy exceeded maximum allowed size of 4194304 bytes"),
        (b"[" * 100, "policy is nested deeper than 64 levels"),
    ],
)
def test_g01_no_json_at_all(raw: bytes, text: str) -> None:
    # The reference refuses them as well; the tail of its texts is Go's.
    with pytest.raises(PolicyError, match=f"^{re.escape(text)}"):
        policy.parse(raw)
    assert policy.parse(b' {"default":[{"type":"reject"}]}\n').default == (Reject(),)


def test_g02_an_unknown_transport_is_ignored() -> None:
    parsed = policy.parse(cases.scope("nosuch", "x y").encode())
    assert parsed.requirements_for("dir", "/x", ()) == (AcceptAnything(),)


def test_every_member_is_kept() -> None:
    text = cases.default(
        '{"type":"signedBy","keyType":"GPGKeys","keyData":"YWJj",'
        '"signedIdentity":{"type":"remapIdentity","prefix":"a.com","signedPrefix":"b.com/x"}},'
        '{"type":"sigstoreSigned","fulcio":{"caData":"YQ==","oidcIssuer":"i","subjectEmail":"e"},'
        '"rekorPublicKeyDatas":["YQ==","Yg=="]},'
        '{"type":"sigstoreSigned","pki":{"caRootsPath":"r","caIntermediatesData":"YQ==","subjectHostname":"h"},'
        '"signedIdentity":{"type":"exactRepository","dockerRepository":"busybox"}}'
    )
    signed, fulcio, pki = policy.parse(text.encode()).default
    assert signed == SignedBy(
        "GPGKeys", "", None, b"abc", SignedIdentity("remapIdentity", "", "a.com", "b.com/x")
    )
    assert isinstance(fulcio, SigstoreSigned)
    assert (fulcio.fulcio, fulcio.rekor_datas) == (Fulcio("", b"a", "i", "e"), (b"a", b"b"))
    assert fulcio.identity == SignedIdentity("matchRepoDigestOrExact")
    assert isinstance(pki, SigstoreSigned)
    assert (pki.pki, pki.identity) == (
        Pki("r", None, "", b"a", "", "h"),
        SignedIdentity("exactRepository", "busybox"),
    )
