"""policy.json parsed strictly (containers-policy.json(5)): every mistake is fatal (G-01, G-27)."""

from __future__ import annotations

import re
from typing import cast, get_args

from wherry.errors import CorruptError, InvalidError, LimitError, PolicyError
from wherry.model import name, strictjson
from wherry.model.goquote import quote
from wherry.policy import members, scopes
from wherry.policy.evaluate import Policy
from wherry.policy.requirements import (
    AcceptAnything,
    Fulcio,
    IdentityKind,
    Pki,
    Reject,
    Requirement,
    Requirements,
    SignedBaseLayer,
    SignedBy,
    SignedIdentity,
    SigstoreSigned,
)

POLICY_LIMIT = 4 * 1024 * 1024
_KEY_TYPES = ("GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs")
_KEYS = ("keyPath", "keyPaths", "keyData")
_SIGSTORE_KEYS = ("keyPath", "keyPaths", "keyData", "keyDatas")
_REKOR_KEYS = ("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
_REKOR = "rekorPublickeyPath, rekorPublicKeyPaths, rekorPublickeyData and rekorPublicKeyDatas"
_PREFIX = re.compile(rf"(?:{name.DOMAIN}(?:/{name.PATH})?)")


def parse(raw: bytes) -> Policy:
    """The policy that these bytes spell; raises PolicyError with the reference's texts."""
    try:
        value = strictjson.loads_members(raw, limit=POLICY_LIMIT, what="policy")
    except (CorruptError, LimitError) as error:
        raise PolicyError(str(error)) from None
    default: Requirements | None = None
    transports: dict[str, dict[str, Requirements]] = {}
    for key, member in members.each(value):
        if key == "default":
            default = _requirements(member)
        elif key == "transports":
            transports = {
                transport: _scopes(transport, entries) for transport, entries in members.each(member)
            }
        else:
            raise PolicyError(f"Unknown key {quote(key)}")
    if default is None:
        raise PolicyError("Default policy is missing")
    return Policy(default=default, transports=transports)


def _scopes(transport: str, value: object) -> dict[str, Requirements]:
    found = {}
    for scope, member in members.each(value):
        if not scopes.is_valid(transport, scope):
            raise PolicyError(f"Unknown key {quote(scope)}")
        found[scope] = _requirements(member)
    return found


def _requirements(value: object) -> Requirements:
    if value is not None and (isinstance(value, strictjson.Members) or not isinstance(value, list)):
        shown = "object" if isinstance(value, strictjson.Members) else _go_kind(value)
        raise PolicyError(f"json: cannot unmarshal {shown} into Go value of type []json.RawMessage")
    if not value:
        raise PolicyError("List of verification policy requirements must not be empty")
    return tuple(_requirement(entry) for entry in value)


def _go_kind(value: object) -> str:
    return {bool: "bool", str: "string"}.get(type(value), "number")


def _requirement(value: object) -> Requirement:
    kind = members.kind(value, "prCommon", "prTypeIdentifier")
    match kind:
        case "insecureAcceptAnything":
            members.exactly(value, ("type",))
            return AcceptAnything()
        case "reject":
            members.exactly(value, ("type",))
            return Reject()
        case "signedBy":
            return _signed_by(value)
        case "signedBaseLayer":
            found = members.exactly(value, ("type", "baseLayerIdentity"))
            return SignedBaseLayer(_identity(found["baseLayerIdentity"]))
        case "sigstoreSigned":
            return _sigstore_signed(value)
        case _:
            raise PolicyError(f"Unknown policy requirement type {quote(kind)}")


def _signed_by(value: object) -> SignedBy:
    found = members.known(value, ("type", "keyType", *_KEYS, "signedIdentity"))
    key_type = ""
    if "keyType" in found:
        key_type = members.text(found["keyType"])
        if key_type not in _KEY_TYPES:
            raise PolicyError(f"Unrecognized keyType value {quote(key_type)}")
    path = members.text(found.get("keyPath"))
    paths = members.texts(found.get("keyPaths"))
    data = members.data(found.get("keyData"))
    identity = _identity(found["signedIdentity"]) if "signedIdentity" in found else SignedIdentity()
    given = sum(key in found for key in _KEYS)
    if given != 1:
        raise PolicyError(
            "Exactly one of keyPath, keyPaths and keyData must be specified, "
            f"{'more than one' if given else 'none of them'} present"
        )
    if not key_type:
        raise PolicyError('invalid keyType ""')
    if not path and paths is None and data is None:
        raise PolicyError("exactly one of keyPath, keyPaths and keyData must be specified")
    return SignedBy(key_type=key_type, key_path=path, key_paths=paths, key_data=data, identity=identity)


def _sigstore_signed(value: object) -> SigstoreSigned:
    names = ("type", *_SIGSTORE_KEYS, "fulcio", *_REKOR_KEYS, "pki", "signedIdentity")
    found = members.known(value, names)
    requirement = SigstoreSigned(
        identity=_identity(found["signedIdentity"]) if "signedIdentity" in found else SignedIdentity(),
        key_path=members.text(found.get("keyPath")),
        key_paths=members.texts(found.get("keyPaths")),
        key_data=members.data(found.get("keyData")),
        key_datas=members.datas(found.get("keyDatas")),
        fulcio=_fulcio(found["fulcio"]) if "fulcio" in found else None,
        pki=_pki(found["pki"]) if "pki" in found else None,
        rekor_path=members.text(found.get("rekorPublicKeyPath")),
        rekor_paths=members.texts(found.get("rekorPublicKeyPaths")),
        rekor_data=members.data(found.get("rekorPublicKeyData")),
        rekor_datas=members.datas(found.get("rekorPublicKeyDatas")),
    )
    for key, shown, entries in (
        ("keyPaths", "keyPaths", requirement.key_paths),
        ("keyDatas", "keyDatas", requirement.key_datas),
        ("rekorPublicKeyPaths", "rekorPublickeyPaths", requirement.rekor_paths),
        ("rekorPublicKeyDatas", "rekorPublickeyDatas", requirement.rekor_datas),
    ):
        if key in found and not entries:
            raise PolicyError(f'"{shown}" contains no entries')
    _check_sources(requirement)
    return requirement


def _check_sources(given: SigstoreSigned) -> None:
    keys = (given.key_path or None, given.key_paths, given.key_data, given.key_datas, given.fulcio, given.pki)
    if sum(key is not None for key in keys) != 1:
        raise PolicyError(
            "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, and pki must be specified"
        )
    rekor = (given.rekor_path or None, given.rekor_paths, given.rekor_data, given.rekor_datas)
    count = sum(key is not None for key in rekor)
    if count > 1:
        raise PolicyError(f"at most one of {_REKOR} can be used simultaneously")
    if given.fulcio is not None and count == 0:
        raise PolicyError(f"At least one of {_REKOR} must be specified if fulcio is used")
    if given.pki is not None and count > 0:
        raise PolicyError(f"{_REKOR} are not supported for pki")


def _fulcio(value: object) -> Fulcio:
    found = members.known(value, ("caPath", "caData", "oidcIssuer", "subjectEmail"))
    fulcio = Fulcio(
        ca_path=members.text(found.get("caPath")),
        ca_data=members.data(found.get("caData")),
        oidc_issuer=members.text(found.get("oidcIssuer")),
        subject_email=members.text(found.get("subjectEmail")),
    )
    if fulcio.ca_path and fulcio.ca_data is not None:
        raise PolicyError("caPath and caData cannot be used simultaneously")
    if not fulcio.ca_path and fulcio.ca_data is None:
        raise PolicyError("At least one of caPath and caData must be specified")
    if not fulcio.oidc_issuer:
        raise PolicyError("oidcIssuer not specified")
    if not fulcio.subject_email:
        raise PolicyError("subjectEmail not specified")
    return fulcio


def _pki(value: object) -> Pki:
    names = (
        "caRootsPath",
        "caRootsData",
        "caIntermediatesPath",
        "caIntermediatesData",
        "subjectEmail",
        "subjectHostname",
    )
    found = members.known(value, names)
    pki = Pki(
        ca_roots_path=members.text(found.get("caRootsPath")),
        ca_roots_data=members.data(found.get("caRootsData")),
        ca_intermediates_path=members.text(found.get("caIntermediatesPath")),
        ca_intermediates_data=members.data(found.get("caIntermediatesData")),
        subject_email=members.text(found.get("subjectEmail")),
        subject_hostname=members.text(found.get("subjectHostname")),
    )
    if pki.ca_roots_path and pki.ca_roots_data is not None:
        raise PolicyError("caRootsPath and caRootsData cannot be used simultaneously")
    if not pki.ca_roots_path and pki.ca_roots_data is None:
        raise PolicyError("At least one of caRootsPath and caRootsData must be specified")
    if pki.ca_intermediates_path and pki.ca_intermediates_data is not None:
        raise PolicyError("caIntermediatesPath and caIntermediatesData cannot be used simultaneously")
    if not pki.subject_email and not pki.subject_hostname:
        raise PolicyError("At least one of subjectEmail, subjectHostname must be specified")
    return pki


def _identity(value: object) -> SignedIdentity:
    kind = members.kind(value, "prmCommon", "prmTypeIdentifier")
    if kind not in get_args(IdentityKind):
        raise PolicyError(f"Unknown policy reference match type {quote(kind)}")
    match kind:
        case "exactReference":
            found = members.exactly(value, ("type", "dockerReference"))
            return SignedIdentity("exactReference", name=_reference(members.text(found["dockerReference"])))
        case "exactRepository":
            found = members.exactly(value, ("type", "dockerRepository"))
            repository = members.text(found["dockerRepository"])
            _parse_name(repository, "dockerRepository")
            return SignedIdentity("exactRepository", name=repository)
        case "remapIdentity":
            found = members.exactly(value, ("type", "prefix", "signedPrefix"))
            return SignedIdentity(
                "remapIdentity",
                prefix=_prefix(members.text(found["prefix"])),
                signed_prefix=_prefix(members.text(found["signedPrefix"])),
            )
    members.exactly(value, ("type",))
    return SignedIdentity(cast("IdentityKind", kind))


def _reference(text: str) -> str:
    if _parse_name(text, "dockerReference").is_name_only:
        raise PolicyError(f"dockerReference {quote(text)} contains neither a tag nor digest")
    return text


def _parse_name(text: str, key: str) -> name.Named:
    try:
        return name.parse_normalized(text)
    except InvalidError as error:
        raise PolicyError(f"Invalid format of {key} {quote(text)}: {error}") from None


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise PolicyError(f"prefix {quote(text)} is not valid")
    return text
