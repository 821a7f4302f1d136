"""The methods, replies and events of the protocol, as data.

A method is a Struct whose fields are its positional `args`. Its class says since when it exists (`since`: a
version of skopeo's image proxy for the legacy methods, "1" for the extended protocol), what its reply carries
besides JSON (`carries`) and, in its docstring, what it does. The legacy methods are those of skopeo's
`experimental-image-proxy` 0.2.8; protocol.md has the prose.
"""

from __future__ import annotations

from typing import ClassVar, Generic, Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType, field

from wherry.protocol.options import ImageAccess, PlatformChoice

LEGACY_VERSION = "0.2.8"
EXTENDED_VERSIONS = (1,)

R_co = TypeVar("R_co", covariant=True)
Carries = Literal["", "pipe", "data+error", "data+status", "document"]


class Method(Struct, Generic[R_co], array_like=True, forbid_unknown_fields=True, frozen=True):
    """Base of all methods; R_co is the type of the reply's `value`."""

    since: ClassVar[str] = "0.2.0"
    carries: ClassVar[Carries] = ""


class LayerInfo(Struct, frozen=True):
    """A layer as the image's own manifest describes it; `size` in bytes."""

    digest: str
    size: int
    media_type: str


# --- legacy: image proxy 0.2.8


class Initialize(Method[str], frozen=True):
    """Begin; the value is the protocol's version. Policy and credential errors are reported here."""


class OpenImage(Method[int], frozen=True):
    """Open an image, as the policy allows; the value is its handle, from 1, never reused."""

    reference: str


class OpenImageOptional(Method[int], frozen=True):
    """As OpenImage, but the value is 0 where the image certainly does not exist."""

    since: ClassVar[str] = "0.2.4"
    reference: str


class CloseImage(Method[None], frozen=True):
    """Release an image; blobs of it that are being read run to their end."""

    image: int


class GetManifest(Method[str], frozen=True):
    """The manifest in OCI form by pipe; the value is the digest of the original one."""

    carries: ClassVar[Carries] = "pipe"
    image: int


class GetFullConfig(Method[None], frozen=True):
    """The image's configuration in OCI form by pipe."""

    since: ClassVar[str] = "0.2.3"
    carries: ClassVar[Carries] = "pipe"
    image: int


class GetConfig(Method[None], frozen=True):
    """The `config` member alone of the configuration by pipe. Deprecated: GetFullConfig says more."""

    carries: ClassVar[Carries] = "pipe"
    image: int


class GetBlob(Method[int], frozen=True):
    """A blob by pipe, verified at its end: FinishPipe says whether size and digest were right."""

    carries: ClassVar[Carries] = "pipe"
    image: int
    digest: str
    size: int


class GetRawBlob(Method[int], frozen=True):
    """A blob, not verified, with an error pipe: empty at its end means that all was sent."""

    since: ClassVar[str] = "0.2.8"
    carries: ClassVar[Carries] = "data+error"
    image: int
    digest: str


class GetLayerInfo(Method[tuple[LayerInfo, ...]], frozen=True):
    """Digest, size and media type of each layer, inline. Deprecated: see GetLayerInfoPiped."""

    since: ClassVar[str] = "0.2.5"
    image: int


class GetLayerInfoPiped(Method[None], frozen=True):
    """Digest, size and media type of each layer, by pipe."""

    since: ClassVar[str] = "0.2.7"
    carries: ClassVar[Carries] = "pipe"
    image: int


class FinishPipe(Method[None], frozen=True):
    """Wait until all of a pipe's payload is written, close its write end, and tell whether it was right."""

    pipe: int


class Shutdown(Method[None], frozen=True):
    """End the connection; there is no reply."""


LEGACY: tuple[type[Method[object]], ...] = (
    Initialize,
    OpenImage,
    OpenImageOptional,
    CloseImage,
    GetManifest,
    GetFullConfig,
    GetConfig,
    GetBlob,
    GetRawBlob,
    GetLayerInfo,
    GetLayerInfoPiped,
    FinishPipe,
    Shutdown,
)

# --- extended


class ClientHello(Struct, frozen=True, omit_defaults=True):
    """What a client says first: the versions of the extended protocol it speaks, its name, what it wants.

    `want`: "progress" asks for progress events of long operations.
    """

    protocol: tuple[int, ...]
    client: str = ""
    want: tuple[str, ...] = ()


class Limits(Struct, frozen=True):
    """Limits of a connection, in bytes or in numbers."""

    request: int = 32768
    reply: int = 32768
    inflight: int = 64
    pipes: int = 1024
    images: int = 65536


class ServerHello(Struct, frozen=True):
    """The answer: the chosen version, who serves, the legacy version, the methods, the limits."""

    protocol: int
    server: str
    legacy: str
    methods: tuple[str, ...]
    limits: Limits


class OpenOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How an image is opened: access None and platform members "" leave it to the server's own options."""

    access: ImageAccess | None = None
    platform: PlatformChoice = field(default_factory=PlatformChoice)
    optional: bool = False


class BlobOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`size`: bytes expected, -1 unknown; `verify`: hash what passes and report it."""

    size: int = -1
    verify: bool = True


class BlobStatus(Struct, frozen=True, omit_defaults=True):
    """The one JSON line on the status fd of OpenBlob and ListTags, written before the data fd closes.

    EOF without it means that the server died. With `error` the data is not complete, or not what was asked.
    """

    bytes: int
    digest: str = ""
    verified: bool = False
    error: ErrorDetail | None = None


class PolicyOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """skopeo's --policy, --insecure-policy, --require-signed. Private mode only."""

    path: str | None = None
    insecure: bool = False
    require_signed: bool = False


class InspectOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What Inspect shows.

    `view`: "summary" (an InspectResult), "manifest" (the top-level manifest's bytes), "config" (the OCI
    form of the configuration, Go's JSON), "raw-config" (the configuration's bytes). `tags`: list the
    repository's tags. `digest_algorithm`: "" follows the configuration's digest.
    """

    access: ImageAccess = field(default_factory=ImageAccess)
    platform: PlatformChoice = field(default_factory=PlatformChoice)
    view: Literal["summary", "manifest", "config", "raw-config"] = "summary"
    tags: bool = True
    digest_algorithm: str = ""


class InspectedLayer(Struct, frozen=True):
    """A layer in an InspectResult; `size` in bytes, -1 unknown."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None


class InspectResult(Struct, frozen=True):
    """What skopeo inspect prints, by its own names; None where skopeo prints null.

    `repo_tags`: None where the registry refuses to list them (skopeo-reference I8).
    """

    name: str
    tag: str
    digest: str
    repo_tags: tuple[str, ...] | None
    created: str | None
    docker_version: str
    labels: dict[str, str] | None
    architecture: str
    os: str
    layers: tuple[str, ...] | None
    layers_data: tuple[InspectedLayer, ...] | None
    env: tuple[str, ...] | None


class CopyOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How Copy copies. `instances`: "system" the one for this platform, "all", or "index-only".

    `format`: "" keeps the source's, else "oci", "v2s2" or "v2s1". `parallel`: layers at once.
    `verify_push`: ask the registry for each blob before the manifest, and for the manifest after it.
    """

    source: ImageAccess = field(default_factory=ImageAccess)
    destination: ImageAccess = field(default_factory=ImageAccess)
    platform: PlatformChoice = field(default_factory=PlatformChoice)
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    instances: Literal["system", "all", "index-only"] = "system"
    format: Literal["", "oci", "v2s2", "v2s1"] = ""
    preserve_digests: bool = False
    remove_signatures: bool = False
    parallel: int = 6
    verify_push: bool = False


class CopyResult(Struct, frozen=True):
    """What Copy did: the manifest that was written (digest, media type), blobs and bytes copied or reused."""

    digest: str
    media_type: str
    manifest: str
    copied_blobs: int = 0
    reused_blobs: int = 0
    copied_bytes: int = 0


class TagsOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How ListTags reaches the registry."""

    access: ImageAccess = field(default_factory=ImageAccess)


class DeleteOptions(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What Delete deletes. `tag_only`: the tag that the reference names, and no other tag of its digest."""

    access: ImageAccess = field(default_factory=ImageAccess)
    tag_only: bool = False


class DeleteResult(Struct, frozen=True):
    """What Delete deleted: the digest of the manifest that the reference named."""

    digest: str


class Document(Struct, frozen=True):
    """What a document reply's value says of the bytes on its fd: how many, of which type."""

    bytes: int
    media_type: str = "application/json"


class Hello(Method[ServerHello], frozen=True):
    """Ask for the extended protocol; implies Initialize. A server without it says `unknown method: Hello`."""

    since: ClassVar[str] = "1"
    hello: ClientHello


class Ping(Method[None], frozen=True):
    """Answer at once, with null."""

    since: ClassVar[str] = "1"


class Cancel(Method[bool], frozen=True):
    """Cancel the request with this id; true if it was in flight. That request is still answered, once."""

    since: ClassVar[str] = "1"
    id: int


class OpenImageWith(Method[int], frozen=True):
    """OpenImage with options of its own: platform, credentials, TLS."""

    since: ClassVar[str] = "1"
    reference: str
    options: OpenOptions = field(default_factory=OpenOptions)


class GetRawManifest(Method[str], frozen=True):
    """The bytes of the chosen manifest as they are; the value is their digest."""

    since: ClassVar[str] = "1"
    carries: ClassVar[Carries] = "document"
    image: int


class GetRawConfig(Method[str], frozen=True):
    """The bytes of the configuration as they are; the value is their digest."""

    since: ClassVar[str] = "1"
    carries: ClassVar[Carries] = "document"
    image: int


class OpenBlob(Method[int], frozen=True):
    """A blob on two fds: data, and status (one BlobStatus line). The value is its size, -1 unknown."""

    since: ClassVar[str] = "1"
    carries: ClassVar[Carries] = "data+status"
    image: int
    digest: str
    options: BlobOptions = field(default_factory=BlobOptions)


class Inspect(Method[Document], frozen=True):
    """Look at an image, which the policy does not check; the document is as InspectOptions.view says."""

    since: ClassVar[str] = "1"
    carries: ClassVar[Carries] = "document"
    reference: str
    options: InspectOptions = field(default_factory=InspectOptions)


class ListTags(Method[str], frozen=True):
    """The tags of a repository, whose name is the value, as they come: JSON arrays of strings, one a line."""

    since: ClassVar[str] = "1"
    carries: ClassVar[Carries] = "data+status"
    reference: str
    options: TagsOptions = field(default_factory=TagsOptions)


class Delete(Method[DeleteResult], frozen=True):
    """Delete an image, or one tag of it; the policy does not matter."""

    since: ClassVar[str] = "1"
    reference: str
    options: DeleteOptions = field(default_factory=DeleteOptions)


class Copy(Method[CopyResult], frozen=True):
    """Copy an image; `step` events tell what is done, `progress` events how far it is."""

    since: ClassVar[str] = "1"
    carries: ClassVar[Carries] = "document"
    source: str
    destination: str
    options: CopyOptions = field(default_factory=CopyOptions)


EXTENDED: tuple[type[Method[object]], ...] = (
    Hello,
    Ping,
    Cancel,
    OpenImageWith,
    GetRawManifest,
    GetRawConfig,
    OpenBlob,
    Inspect,
    ListTags,
    Delete,
    Copy,
)

BY_NAME: dict[str, type[Method[object]]] = {method.__name__: method for method in (*LEGACY, *EXTENDED)}
LEGACY_NAMES = frozenset(method.__name__ for method in LEGACY)

# --- replies and events


class ErrorDetail(Struct, frozen=True, omit_defaults=True):
    """What an extended reply says of an error besides its text; kinds as in wherry.errors."""

    kind: str
    message: str = ""
    retryable: bool = False
    http_status: int | None = None
    retry_after_ms: int | None = None
    exit_status: int = 1


class Reply(Struct, frozen=True):
    """A reply. The first five members are legacy, always there, in this order; the rest only where set."""

    success: bool = True
    value: object = None
    pipeid: int = 0
    error_code: str = ""
    error: str = ""
    id: int | UnsetType = UNSET
    detail: ErrorDetail | UnsetType = UNSET
    fds: int | UnsetType = UNSET


class Step(Struct, frozen=True, omit_defaults=True):
    """A step of a copy: `name` is one of STEPS; the rest as it applies."""

    name: str
    digest: str = ""
    number: int = 0
    of: int = 0
    total: int = 0


STEPS = (
    "signatures",
    "list-signatures",
    "check-signatures",
    "instances",
    "instance",
    "blob",
    "config",
    "manifest",
    "list-manifest",
    "store-signatures",
    "store-list-signatures",
)


class Event(Struct, frozen=True, omit_defaults=True):
    """What a server tells unasked, after Hello only.

    "step": `step` is set, never dropped. "progress": bytes so far, coalesced, dropped first.
    "draining": the server is about to end.
    """

    event: str
    id: int = 0
    step: Step | None = None
    bytes: int = 0
    total: int = 0
