"""registries.conf in use: mirrors, rewriting, blocked and insecure registries (R1 to R6; R-78, R-79).

The texts of GOLDEN are skopeo's (tests/config/record.py); the rest is seen at servers of our own and at real
registries.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from tests.config.cases import LOOKUPS
from tests.fakes.registry import FakeRegistry, Reply, error
from tests.peers.require import require_peer
from tests.peers.servers import Registry, running_registry
from wherry.errors import (
    CorruptError,
    FileMissingError,
    ImageNotFoundError,
    InvalidError,
    NetworkError,
    PolicyError,
    StalledError,
    WherryError,
)
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import Credentials, ImageAccess
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import read_all
from wherry.system import System
from wherry.transports import docker
from wherry.transports.docker.source import MIRROR_LIMIT_S

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE.parent / "config" / "golden" / "registries.json").read_text())["looked_up"]
ANY = ImageAccess()
LAYER = b"layer" * 100
INDEX = "application/vnd.oci.image.index.v1+json"


def mirrored(system: System, primary: FakeRegistry, *mirrors: str, more: str = "") -> System:
    """A world whose registries.conf gives a registry these mirrors; all are asked over http."""
    lines = ["[[registry]]", f'location = "{primary.name}"', "insecure = true", more]
    for location in mirrors:
        lines += ["[[registry.mirror]]", f'location = "{location}"', "insecure = true"]
    return configured(system, "\n".join(lines))


def configured(system: System, text: str) -> System:
    path = Path(system.root) / "FILE"
    path.write_text(text)
    return msgspec.structs.replace(system, registries_conf=str(path), cwd=system.root)


async def opened(system: System, name: str, access: ImageAccess = ANY) -> bytes:
    """The manifest that a name leads to."""
    async with docker.parse(f"//{name}", system).source(system, access) as source:
        return (await source.manifest()).raw


def authorizations(fake: FakeRegistry) -> list[str]:
    return [seen.header("Authorization") for seen in fake.seen if seen.header("Authorization")]


def challenge(fake: FakeRegistry) -> None:
    fake.on("GET", "/v2/", Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))


# The order of the places, and what is told when none has the image


@pytest.mark.parametrize(
    ("config", "name", "text"),
    [
        (config, name, text)
        for (config, names), texts in zip(LOOKUPS, GOLDEN, strict=True)
        for name, text in zip(names, texts, strict=True)
        if "no such host" not in text  # the resolver's answer differs from host to host
    ],
)
async def test_the_error_tells_of_every_place(system: System, config: str, name: str, text: str) -> None:
    system = msgspec.structs.replace(configured(system, config), registries_conf="FILE", uid=0)
    text = text.replace('"/', f'"{system.root}/').replace('"HOME/', f'"{system.home}/')
    with pytest.raises(WherryError, match=f"^{re.escape(text)}$"):
        await opened(system, name)


async def test_the_registrys_own_error_keeps_its_type(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    """Exit status 2 and OpenImageOptional ask whether the registry itself lacks the image (G1)."""
    fake.on("GET", "/v2/x/manifests/latest", error(404, "MANIFEST_UNKNOWN", "manifest unknown"))
    other.on("GET", "/v2/x/manifests/latest", Reply(500))
    text = rf"^\(Mirrors also failed: \[{other.name}/x:latest: .*\]\): {fake.name}/x:latest: reading manifest"
    with pytest.raises(ImageNotFoundError, match=text) as caught:
        await opened(mirrored(system, fake, other.name), f"{fake.name}/x")
    assert caught.value.exit_status == 2
    lines = '[[registry]]\nlocation = "127.0.0.1:1"\n'
    lines += f'[[registry.mirror]]\nlocation = "{fake.name}"\ninsecure = true\n'
    with pytest.raises(NetworkError, match=r"Mirrors also failed: \[.* manifest unknown"):
        await opened(configured(system, lines), "127.0.0.1:1/x")


async def test_a_place_whose_name_has_tag_and_digest(fake: FakeRegistry, system: System) -> None:
    """As skopeo: that place fails, the next one is asked."""
    wanted = fake.manifest("x", "latest", b"{}")
    world = mirrored(system, fake, more=f'prefix = "{fake.name}/x"')
    lines = Path(str(world.registries_conf)).read_text().replace(f'"{fake.name}"', f'"{fake.name}/x:latest"')
    text = "Docker references with both a tag and digest are currently not supported"
    with pytest.raises(InvalidError, match=f"^{text}$"):
        await opened(configured(system, lines), f"{fake.name}/x@{wanted}")
    lines = f'[[registry]]\nlocation = "{fake.name}/x"\ninsecure = true\n'
    lines += f'[[registry.mirror]]\nlocation = "{fake.name}/x:latest"\n'
    assert await opened(configured(system, lines), f"{fake.name}/x@{wanted}") == b"{}"


# Which place serves the image


async def test_later_blobs_and_instances_come_from_the_chosen_place(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    instance = other.manifest("ns/x", "unused", b'{"schemaVersion":2}')
    other.manifest("ns/x", "latest", b'{"schemaVersion":2,"manifests":[]}', INDEX)
    wanted = Descriptor("application/octet-stream", digest.of(LAYER), len(LAYER))
    other.on("GET", f"/v2/ns/x/blobs/{wanted.digest}", Reply(body=LAYER))
    world = mirrored(system, fake, f"{other.name}/ns")
    async with docker.parse(f"//{fake.name}/x", world).source(world, ANY) as source:
        assert (await source.manifest(digest.parse(instance))).raw == b'{"schemaVersion":2}'
        async with source.blob(wanted) as blob:
            assert await read_all(blob, world.threads, 10_000, "blob") == LAYER
    assert fake.seen == []


async def test_r78_a_mirrors_other_manifest_for_a_tag_is_used(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    """As in skopeo; by digest it is not, and the next place is asked."""
    theirs, ours = b'{"schemaVersion":2,"mirror":1}', b'{"schemaVersion":2}'
    other.manifest("x", "latest", theirs)
    wanted = fake.manifest("x", "latest", ours)
    world = mirrored(system, fake, other.name)
    assert await opened(world, f"{fake.name}/x") == theirs
    other.on("GET", f"/v2/x/manifests/{wanted}", Reply(body=theirs))
    assert await opened(world, f"{fake.name}/x@{wanted}") == ours
    fake.on("GET", f"/v2/x/manifests/{wanted}", Reply(body=theirs))
    with pytest.raises(CorruptError, match=f"Manifest does not match provided manifest digest {wanted}$"):
        await opened(world, f"{fake.name}/x@{wanted}")


@pytest.mark.parametrize(
    "failing",
    [
        error(404, "MANIFEST_UNKNOWN"),
        error(404, "NAME_UNKNOWN"),
        error(401, "UNAUTHORIZED"),
        Reply(503),
        Reply(end="reset", body=b"x", length=100),
        Reply(raw=b"no http at all\r\n\r\n", end="close"),
    ],
)
async def test_a_failing_mirror_is_passed_over(
    fake: FakeRegistry, other: FakeRegistry, system: System, failing: Reply
) -> None:
    other.on("GET", "/v2/x/manifests/latest", failing)
    fake.manifest("x", "latest", b"{}")
    assert await opened(mirrored(system, fake, other.name), f"{fake.name}/x") == b"{}"
    assert await opened(mirrored(system, fake, "127.0.0.1:1"), f"{fake.name}/x") == b"{}"
    assert other.asked("GET", "/v2/x/manifests/latest")


@pytest.fixture
def patient() -> trio.testing.MockClock:
    """Jumps once nothing has moved for a moment, which loopback never needs."""
    return trio.testing.MockClock(autojump_threshold=0.2)


async def test_r79_a_slow_mirror_has_a_limit(
    fake: FakeRegistry, other: FakeRegistry, system: System, patient: trio.testing.MockClock
) -> None:
    """Not the registry itself, which has the limits of every request alone."""
    slow = Reply(end="hang", body=b"{}", length=100)
    other.on("GET", "/v2/x/manifests/latest", slow)
    fake.manifest("x", "latest", b"{}")
    world = mirrored(system, fake, other.name)
    started = trio.current_time()
    assert await opened(world, f"{fake.name}/x") == b"{}"
    assert trio.current_time() - started == pytest.approx(MIRROR_LIMIT_S, abs=2)
    fake.on("GET", "/v2/x/manifests/latest", slow)
    text = r"^\(Mirrors also failed: \[.*: no manifest within 30 seconds\]\): .*: i/o timeout$"
    with pytest.raises(StalledError, match=text):
        await opened(world, f"{fake.name}/x")


# Credentials


async def test_r78_credentials_do_not_reach_a_mirror(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    """What a flag names is for the host that the user named; skopeo leaks a token that comes alone."""
    challenge(fake)
    challenge(other)
    fake.manifest("x", "latest", b"{}")
    world = mirrored(system, fake, other.name)
    alice = ImageAccess(credentials=Credentials("alice", "s3cret"), tls_verify=False)
    await opened(world, f"{fake.name}/x", alice)
    expected = f"Basic {base64.b64encode(b'alice:s3cret').decode()}"
    assert authorizations(fake) == [expected]
    assert other.asked("GET", "/v2/x/manifests/latest")
    assert authorizations(other) == []
    bearer = Reply(401, {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="s"'})
    for registry in (fake, other):
        registry.on("GET", "/v2/", bearer)
    fake.on("GET", "/token", Reply(body=b'{"token":"anonymous"}'))
    await opened(world, f"{fake.name}/x", ImageAccess(registry_token="s3cret-token"))
    assert authorizations(fake)[-1] == "Bearer s3cret-token"
    assert authorizations(other) == ["Bearer anonymous"]


async def test_a_place_on_the_same_host_gets_the_credentials(fake: FakeRegistry, system: System) -> None:
    challenge(fake)
    fake.manifest("mirror/x", "latest", b"{}")
    world = mirrored(system, fake, f"{fake.name}/mirror")
    await opened(world, f"{fake.name}/x", ImageAccess(credentials=Credentials("alice", "s3cret")))
    assert len(authorizations(fake)) == 1


async def test_a_mirror_gets_its_own_credentials(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    challenge(fake)
    challenge(other)
    other.manifest("x", "latest", b"{}")
    auths = {
        other.name: {"auth": base64.b64encode(b"mirror:m").decode()},
        fake.name: {"auth": base64.b64encode(b"primary:p").decode()},
    }
    (Path(system.home) / "auth.json").write_text(json.dumps({"auths": auths}))
    world = mirrored(system, fake, other.name)
    await opened(world, f"{fake.name}/x", ImageAccess(authfile=f"{system.home}/auth.json"))
    assert authorizations(other) == [f"Basic {auths[other.name]['auth']}"]
    assert fake.seen == []
    before = len(authorizations(other))
    with suppress(WherryError):
        await opened(
            world, f"{fake.name}/x", ImageAccess(anonymous=True, authfile=f"{system.home}/auth.json")
        )
    assert len(authorizations(other)) == before


# What else the configuration says


async def test_mirrors_are_for_reading_images_alone(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    """Pushed and listed is at the host that the user named, rewritten names too (R2)."""
    fake.on("GET", "/v2/x/tags/list", Reply(body=b'{"tags":["a"]}'))
    fake.on("POST", "/v2/x/blobs/uploads/", Reply(202, {"Location": "/upload"}))
    fake.on("PUT", "/upload", Reply(201))
    fake.on("PATCH", "/upload", Reply(202, {"Location": "/upload"}))
    text = f'[[registry]]\nprefix = "{fake.name}"\nlocation = "{other.name}"\ninsecure = true\n'
    for world in (mirrored(system, fake, other.name), configured(system, text)):
        reference = docker.parse(f"//{fake.name}/x", world)
        assert await reference.repository_tags(world, ANY) == ["a"]
        async with reference.destination(world, ANY) as destination:
            wanted = Descriptor("application/octet-stream", digest.of(LAYER), len(LAYER))
            await destination.put_blob(BytesBlob(LAYER), wanted)
    assert other.seen == []


async def test_blocked_registries(fake: FakeRegistry, other: FakeRegistry, system: System) -> None:
    """For reading, writing and listing (R4); a mirror may still be read, which is how clusters say that the
    registry itself is never to be asked."""
    other.manifest("x", "latest", b"{}")
    text = rf"registry {fake.name} is blocked in one of \["
    world = mirrored(system, fake, more="blocked = true")
    reference = docker.parse(f"//{fake.name}/x", world)
    with pytest.raises(PolicyError, match=f"^{text}"):
        await opened(world, f"{fake.name}/x")
    with pytest.raises(PolicyError, match=f"^failed to create client: {text}"):
        await reference.repository_tags(world, ANY)
    with pytest.raises(PolicyError, match=f"^{text}"):
        async with reference.destination(world, ANY):
            pass
    world = mirrored(system, fake, other.name, more="blocked = true")
    assert await opened(world, f"{fake.name}/x") == b"{}"
    assert fake.seen == []


async def test_a_blocked_registry_is_blocked_where_its_names_are_rewritten(
    fake: FakeRegistry, other: FakeRegistry, system: System
) -> None:
    """skopeo looks at the rewritten name only, and reads the image (docs/differences.md)."""
    other.manifest("x", "latest", b"{}")
    lines = f'[[registry]]\nprefix = "{fake.name}"\nlocation = "{other.name}"\ninsecure = true\n'
    assert await opened(configured(system, lines), f"{fake.name}/x") == b"{}"
    with pytest.raises(PolicyError, match=f"registry {fake.name} is blocked in one of"):
        await opened(configured(system, f"{lines}blocked = true\n"), f"{fake.name}/x")


async def test_insecure_by_configuration(fake: FakeRegistry, system: System) -> None:
    """Plain http will do, unless the caller demands verified TLS; another registry is not affected."""
    fake.manifest("x", "latest", b"{}")
    world = mirrored(system, fake)
    assert await opened(world, f"{fake.name}/x") == b"{}"
    refused = "http: server gave HTTP response to HTTPS client"
    with pytest.raises(NetworkError, match=refused):
        await opened(world, f"{fake.name}/x", ImageAccess(tls_verify=True))
    with pytest.raises(NetworkError, match=refused):
        await opened(system, f"{fake.name}/x")
    reference = docker.parse(f"//{fake.name}/x", world)
    fake.on("GET", "/v2/x/tags/list", Reply(body=b'{"tags":[]}'))
    assert await reference.repository_tags(world, ANY) == []


async def test_a_named_file_that_is_missing(system: System) -> None:
    """The texts of `skopeo --registries-conf nope inspect`, `copy`, `list-tags`, and with --creds."""
    world = msgspec.structs.replace(system, registries_conf="/nope")
    reference = docker.parse("//127.0.0.1:1/x", world)
    missing = "open /nope: no such file or directory"
    with pytest.raises(FileMissingError, match=f"^loading registries configuration: {missing}$"):
        await opened(world, "127.0.0.1:1/x")
    with pytest.raises(FileMissingError, match=f"^getting username and password: {missing}$"):
        async with reference.destination(world, ANY):
            pass
    with pytest.raises(
        FileMissingError, match=f"^failed to create client: getting username and password: {missing}$"
    ):
        await reference.repository_tags(world, ANY)
    with pytest.raises(FileMissingError, match=f"^loading registries: {missing}$"):
        async with reference.destination(world, ImageAccess(credentials=Credentials("a", "b"))):
            pass


# Real registries


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Registry]]:
    """The registry and its mirror."""
    require_peer("docker-registry")
    root = tmp_path_factory.mktemp("registries")
    with running_registry(root / "primary") as primary, running_registry(root / "mirror") as mirror:
        yield primary, mirror


async def put(system: System, registry: Registry, rest: str, content: bytes) -> str:
    """An image with one layer; the digest of its manifest."""
    reference = docker.parse(f"//{registry.name}/{rest}", system)
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    kinds = ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar")
    described = [
        {"mediaType": kind, "digest": digest.of(data), "size": len(data)}
        for kind, data in zip(kinds, (config, content), strict=True)
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    raw = json.dumps(
        {"schemaVersion": 2, "mediaType": kind, "config": described[0], "layers": [described[1]]}
    ).encode()
    async with reference.destination(system, ImageAccess(tls_verify=False)) as destination:
        for data in (config, content):
            wanted = Descriptor("application/octet-stream", digest.of(data), len(data))
            await destination.put_blob(BytesBlob(data), wanted)
        await destination.put_manifest(raw, kind)
        await destination.commit()
    return digest.of(raw)


async def test_real_mirrors(system: System, registries: tuple[Registry, Registry]) -> None:
    """Which of two registries answers, and that skopeo chooses the same where there is one."""
    primary, mirror = registries
    ours, theirs = await put(system, primary, "a:t", b"one"), await put(system, mirror, "a:t", b"two")
    alone = await put(system, primary, "b:t", b"three")
    table = [
        # mirrors, settings of the registry, image, digest of the manifest that is found
        ([mirror.name], "", "a:t", theirs),
        ([mirror.name], "", f"a@{ours}", ours),
        ([mirror.name], "", f"a@{theirs}", theirs),
        ([mirror.name], "", "b:t", alone),
        (["127.0.0.1:1", mirror.name], "", "a:t", theirs),
        (["127.0.0.1:1"], "", "a:t", ours),
        ([mirror.name], "mirror-by-digest-only = true", "a:t", ours),
        ([mirror.name], "mirror-by-digest-only = true", f"a@{theirs}", theirs),
        ([f"{mirror.name}/none", primary.name], "", "a:t", ours),
    ]
    for mirrors, settings, image, expected in table:
        lines = ["[[registry]]", f'location = "{primary.name}"', "insecure = true", settings]
        for location in mirrors:
            lines += ["[[registry.mirror]]", f'location = "{location}"', "insecure = true"]
        world = configured(system, "\n".join(lines))
        assert digest.of(await opened(world, f"{primary.name}/{image}")) == expected, (mirrors, image)


async def test_real_mirrors_as_skopeo(
    system: System, registries: tuple[Registry, Registry], skopeo_ref: Path
) -> None:
    primary, mirror = registries
    await put(system, primary, "c:t", b"one")
    await put(system, mirror, "c:t", b"two")
    for more in ("", "mirror-by-digest-only = true"):
        text = (
            f'[[registry]]\nlocation = "{primary.name}"\ninsecure = true\n{more}\n'
            f'[[registry.mirror]]\nlocation = "{mirror.name}"\ninsecure = true\n'
        )
        world = configured(system, text)
        command = [skopeo_ref, "--registries-conf", world.registries_conf, "inspect", "--raw"]
        done = await trio.run_process([*command, primary.docker("c:t")], capture_stdout=True)
        assert done.stdout == await opened(world, f"{primary.name}/c:t")
