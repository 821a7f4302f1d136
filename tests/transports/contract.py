"""What every transport has to do (the obligations of wherry.interfaces), as tests.

A transport's test module makes a class of `Contract` with a fixture `subject`; what the transport cannot do
by its nature is said in its `Subject`, never skipped in a test.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.images import build
from wherry.errors import CorruptError, InternalError, InvalidError, NetworkError, NotFoundError
from wherry.interfaces import ReuseHints, WouldBlock
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import ImageAccess, PlatformChoice
from wherry.streams.blobs import BytesBlob
from wherry.streams.pump import read_all
from wherry.streams.threads import DataThreads
from wherry.system import System
from wherry.transports import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.interfaces import Extent, ImageDestination, ImageSource, Reference

HINTS = ReuseHints()


def make_system(root: Path) -> System:
    """A world of its own below `root`: relative names are relative to it, large files go there."""
    scratch = root / ".scratch"
    scratch.mkdir(exist_ok=True)
    return System(
        root=str(root),
        home=str(root),
        cwd=str(root),
        scratch=str(scratch),
        platform=PlatformChoice(os="linux", architecture="amd64"),
        threads=DataThreads(),
    )


@dataclass
class Subject:
    """A transport under test, and a place for one image.

    `name`: of the image; `place`: directory or file that holds it, for those that have one; `reuses`: finds
    blobs of earlier writes; `keeps_blobs`: they may stay after a write that failed.
    """

    system: System
    name: str
    place: Path | None = None
    access: ImageAccess = field(default_factory=ImageAccess)
    reuses: bool = True
    keeps_blobs: bool = True

    def reference(self) -> Reference:
        return parse(self.name, self.system)

    def source(self) -> Any:
        return self.reference().source(self.system, self.access)

    def destination(self) -> Any:
        return self.reference().destination(self.system, self.access)

    def tree(self) -> dict[str, bytes]:
        return {} if self.place is None else tree(self.place)


def exactly(text: str) -> str:
    """A pattern for pytest's `match` that only the whole text fits."""
    return rf"\A{re.escape(text)}\Z"


def tree(place: Path) -> dict[str, bytes]:
    """All files of a directory, or a file alone, with their contents."""
    if place.is_file():
        return {"": place.read_bytes()}
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Image:
    """An image's bytes: manifest and blobs by their descriptors."""

    manifest: bytes
    blobs: tuple[tuple[Descriptor, bytes], ...]


def image(*contents: bytes, note: str = "") -> Image:
    layers = [build.layer({"file": content}) for content in contents]
    conf = build.dump(build.config(layers, author=note))
    blobs = [conf, *(layer.blob for layer in layers)]
    return Image(
        build.dump(build.oci_manifest(layers, conf)),
        tuple((Descriptor("application/octet-stream", digest.of(blob), len(blob)), blob) for blob in blobs),
    )


ONE = image(b"one", b"shared")
TWO = image(b"two", b"shared")


async def write(destination: ImageDestination, wanted: Image) -> None:
    """Everything but `commit`."""
    for descriptor, data in wanted.blobs:
        if await destination.reuse_blob(descriptor, HINTS) is None:
            assert await destination.put_blob(BytesBlob(data), descriptor) == descriptor
    await destination.put_manifest(wanted.manifest, build.OCI_MANIFEST)


async def store(subject: Subject, wanted: Image) -> None:
    async with subject.destination() as destination:
        await write(destination, wanted)
        await destination.commit()


async def _store_until_cut_off(subject: Subject, wanted: Image) -> None:
    async with subject.destination() as destination:
        await write(destination, wanted)
        raise NetworkError("cut off here")


async def copy_image(system: System, source_name: str, target_name: str, *shared: str) -> bytes:
    """Copy one image (no index) as it is; its manifest. `shared`: a directory of blobs for the target."""
    access = ImageAccess(shared_blob_dir=shared[0] if shared else None)
    source_of, target = parse(source_name, system), parse(target_name, system)
    async with source_of.source(system, ImageAccess()) as source, target.destination(system, access) as into:
        given = await source.manifest()
        manifest = json.loads(given.raw)
        for item in (manifest["config"], *manifest["layers"]):
            wanted = Descriptor(item["mediaType"], digest.parse(item["digest"]), item["size"])
            if await into.reuse_blob(wanted, HINTS) is None:
                async with source.blob(wanted) as blob:
                    await into.put_blob(blob, wanted)
        await into.put_manifest(given.raw, manifest["mediaType"])
        await into.commit()
    return given.raw


async def blob_bytes(subject: Subject, source: ImageSource, descriptor: Descriptor) -> bytes:
    async with source.blob(descriptor) as blob:
        return await read_all(blob, subject.system.threads, 1 << 26, "blob")


async def assert_holds(subject: Subject, wanted: Image) -> None:
    """The image that is read is the one that is wanted, to the byte."""
    async with subject.source() as source:
        assert (await source.manifest()).raw == wanted.manifest
        for descriptor, data in wanted.blobs:
            assert await blob_bytes(subject, source, descriptor) == data


def assert_nothing_lost(subject: Subject, before: dict[str, bytes]) -> None:
    """All files are as they were; what came is blobs that are what they are called."""
    after = subject.tree()
    assert {name: after.get(name) for name in before} == before
    for name in after.keys() - before.keys():
        assert subject.keeps_blobs, name
        base = os.path.basename(name).removesuffix(".manifest.json")
        if base == "version":
            continue
        assert hashlib.sha256(after[name]).hexdigest() == base, name
    if subject.place is not None:
        beside = [path for path in subject.place.parent.iterdir() if path.name.startswith(".wherry-")]
        assert beside == []


class StallingBlob:
    """Gives some bytes and then nothing, for ever; `stalled` is set when it is asked for more."""

    def __init__(self, data: bytes, fd: int) -> None:
        self._data = data
        self._fd = fd
        self.size = None
        self.aborted = False
        self.asked = trio.Event()
        self._loop = trio.lowlevel.current_trio_token()

    def extent(self) -> Extent | None:
        return None

    def advance(self, count: int) -> None:
        raise AssertionError("nothing was offered to the kernel")

    def fileno(self) -> int:
        return self._fd

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        if not self._data:
            self._loop.run_sync_soon(self.asked.set)
            return WouldBlock.READ
        count = min(len(buffer), len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def abort(self) -> None:
        self.aborted = True


@contextmanager
def stalling_blob(data: bytes) -> Iterator[StallingBlob]:
    reader, writer = os.pipe()
    try:
        yield StallingBlob(data, reader)
    finally:
        os.close(reader)
        os.close(writer)


class CutBlob(BytesBlob):
    """Ends early, as a connection does that is cut off."""

    def readinto(self, buffer: memoryview) -> int | WouldBlock:
        count = super().readinto(buffer)
        if count == 0:
            raise NetworkError("unexpected EOF")
        return count


class Contract:
    """The tests; a class of it gives the fixture `subject`."""

    async def test_contract_round_trip(self, subject: Subject) -> None:
        await store(subject, ONE)
        await assert_holds(subject, ONE)

    async def test_contract_overwrites_the_old_image(self, subject: Subject) -> None:
        await store(subject, ONE)
        await store(subject, TWO)
        await assert_holds(subject, TWO)

    async def test_contract_reference_reads_itself(self, subject: Subject) -> None:
        reference = subject.reference()
        assert parse(str(reference), subject.system) == reference
        assert str(reference).partition(":")[0] == reference.transport
        assert reference.policy_identity() not in reference.policy_scopes()

    async def test_contract_top_manifest_is_the_same_at_every_call(self, subject: Subject) -> None:
        await store(subject, ONE)
        async with subject.source() as source:
            first = await source.manifest()
            await store(subject, TWO)
            assert await source.manifest() == first
        assert first.raw == ONE.manifest

    async def test_contract_leaving_without_commit_keeps_the_old_image(self, subject: Subject) -> None:
        await store(subject, ONE)
        before = subject.tree()
        async with subject.destination() as destination:
            await write(destination, TWO)
        assert_nothing_lost(subject, before)
        await assert_holds(subject, ONE)

    async def test_contract_a_failure_keeps_the_old_image(self, subject: Subject) -> None:
        await store(subject, ONE)
        before = subject.tree()
        with pytest.raises(NetworkError, match="cut off here"):
            await _store_until_cut_off(subject, TWO)
        assert_nothing_lost(subject, before)
        await assert_holds(subject, ONE)

    async def test_contract_the_next_try_succeeds(self, subject: Subject) -> None:
        async with subject.destination() as destination:
            await write(destination, TWO)
        await store(subject, TWO)
        await assert_holds(subject, TWO)

    async def test_contract_blob_of_another_digest_is_refused(self, subject: Subject) -> None:
        (descriptor, data), *_ = TWO.blobs
        flipped = bytes([data[0] ^ 1]) + data[1:]
        await store(subject, ONE)
        before = subject.tree()
        async with subject.destination() as destination:
            with pytest.raises(CorruptError, match=f"expected {descriptor.digest}, got {digest.of(flipped)}"):
                await destination.put_blob(BytesBlob(flipped), descriptor)
            assert await destination.reuse_blob(descriptor, HINTS) is None
            assert await destination.put_blob(BytesBlob(data), descriptor) == descriptor
        assert_nothing_lost(subject, before)

    @pytest.mark.parametrize("change", [-1, 1])
    async def test_contract_blob_of_another_size_is_refused(self, subject: Subject, change: int) -> None:
        (descriptor, data), *_ = ONE.blobs
        wrong = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size + change)
        async with subject.destination() as destination:
            with pytest.raises(CorruptError, match=r"longer than|Size mismatch when copying"):
                await destination.put_blob(BytesBlob(data), wrong)
            assert await destination.reuse_blob(descriptor, HINTS) is None
            assert await destination.put_blob(BytesBlob(data), descriptor) == descriptor

    async def test_contract_blob_of_unknown_size_or_digest(self, subject: Subject) -> None:
        (descriptor, data), (second, second_data), (third, third_data) = ONE.blobs
        sized = Descriptor(descriptor.media_type, descriptor.digest, -1)
        async with subject.destination() as destination:
            assert await destination.put_blob(BytesBlob(data), sized) == descriptor
            found = await destination.put_blob(BytesBlob(second_data), None)
            assert (found.digest, found.size) == (second.digest, second.size)
            await destination.put_blob(BytesBlob(third_data), third)
            await destination.put_manifest(ONE.manifest, build.OCI_MANIFEST)
            await destination.commit()
        await assert_holds(subject, ONE)

    async def test_contract_blob_that_breaks_off_leaves_nothing(self, subject: Subject) -> None:
        (descriptor, data), *_ = TWO.blobs
        await store(subject, ONE)
        before = subject.tree()
        async with subject.destination() as destination:
            with pytest.raises(NetworkError, match="unexpected EOF"):
                await destination.put_blob(CutBlob(data), descriptor)
        assert subject.tree() == before

    async def test_contract_cancelled_blob_leaves_nothing(self, subject: Subject) -> None:
        (descriptor, data), *_ = TWO.blobs
        await store(subject, ONE)
        before = subject.tree()
        with stalling_blob(data[:100]) as blob:
            async with subject.destination() as destination, trio.open_nursery() as nursery:
                nursery.start_soon(destination.put_blob, blob, descriptor)
                await blob.asked.wait()
                nursery.cancel_scope.cancel()
            assert blob.aborted
        assert subject.tree() == before
        await store(subject, TWO)
        await assert_holds(subject, TWO)

    async def test_contract_instances(self, subject: Subject) -> None:
        one, two = digest.of(ONE.manifest), digest.of(TWO.manifest)
        entries = [
            build.platform(ONE.manifest, build.OCI_MANIFEST, "amd64"),
            build.platform(TWO.manifest, build.OCI_MANIFEST, "arm64", "v8"),
        ]
        index = build.dump({"schemaVersion": 2, "mediaType": build.OCI_INDEX, "manifests": entries})
        async with subject.destination() as destination:
            for wanted, instance in ((ONE, one), (TWO, two)):
                for descriptor, data in wanted.blobs:
                    if await destination.reuse_blob(descriptor, HINTS) is None:
                        await destination.put_blob(BytesBlob(data), descriptor)
                await destination.put_manifest(wanted.manifest, build.OCI_MANIFEST, instance)
            with pytest.raises(CorruptError, match=f"does not match provided manifest digest {two}"):
                await destination.put_manifest(ONE.manifest, build.OCI_MANIFEST, two)
            await destination.put_manifest(index, build.OCI_INDEX)
            await destination.commit()
        async with subject.source() as source:
            assert (await source.manifest()).raw == index
            for wanted, instance in ((ONE, one), (TWO, two)):
                given = await source.manifest(instance)
                assert (given.raw, given.instance) == (wanted.manifest, instance)
            with pytest.raises(NotFoundError, match=r"no such file or directory|not found|unknown"):
                await source.manifest(digest.of(b"no such manifest"))

    async def test_contract_missing_blob(self, subject: Subject) -> None:
        await store(subject, ONE)
        missing = Descriptor("application/octet-stream", digest.of(b"missing"), 7)
        async with subject.source() as source:
            with pytest.raises(NotFoundError, match=re.escape(digest.encoded(missing.digest))):
                await blob_bytes(subject, source, missing)
            descriptor, data = ONE.blobs[0]
            assert await blob_bytes(subject, source, descriptor) == data

    async def test_contract_blobs_at_the_same_time(self, subject: Subject) -> None:
        many = image(*(b"%d" % number * 5000 for number in range(12)))
        async with subject.destination() as destination:
            limiter = trio.CapacityLimiter(destination.accepts.parallel_blobs)

            async def put(descriptor: Descriptor, data: bytes) -> None:
                async with limiter:
                    assert await destination.put_blob(BytesBlob(data), descriptor) == descriptor

            async with trio.open_nursery() as nursery:
                for descriptor, data in many.blobs:
                    nursery.start_soon(put, descriptor, data)
            await destination.put_manifest(many.manifest, build.OCI_MANIFEST)
            await destination.commit()
        async with subject.source() as source, trio.open_nursery() as nursery:

            async def check(descriptor: Descriptor, data: bytes) -> None:
                assert await blob_bytes(subject, source, descriptor) == data

            for descriptor, data in many.blobs:
                nursery.start_soon(check, descriptor, data)

    async def test_contract_reuse(self, subject: Subject) -> None:
        descriptor, data = ONE.blobs[1]
        unsized = Descriptor(descriptor.media_type, descriptor.digest, -1)
        async with subject.destination() as destination:
            assert await destination.reuse_blob(descriptor, HINTS) is None
            await destination.put_blob(BytesBlob(data), descriptor)
            assert await destination.reuse_blob(unsized, HINTS) == descriptor
        await store(subject, ONE)
        async with subject.destination() as destination:
            found = await destination.reuse_blob(unsized, HINTS)
            assert found == (descriptor if subject.reuses else None)

    async def test_contract_progress_counts_every_byte(self, subject: Subject) -> None:
        descriptor, data = ONE.blobs[1]
        counted: list[int] = []
        async with subject.destination() as destination:
            await destination.put_blob(BytesBlob(data), descriptor, counted.append)
        assert sum(counted) == len(data)

    async def test_contract_commit_needs_a_manifest(self, subject: Subject) -> None:
        await store(subject, ONE)
        before = subject.tree()
        async with subject.destination() as destination:
            with pytest.raises(InternalError, match="commit without a manifest"):
                await destination.commit()
        assert subject.tree() == before

    async def test_contract_signatures(self, subject: Subject) -> None:
        signatures = [b"first signature", b"\x00sigstore-json\n{}"]
        async with subject.destination() as destination:
            await write(destination, ONE)
            await destination.put_signatures([])
            if destination.accepts.signatures:
                await destination.put_signatures(signatures)
            else:
                with pytest.raises(InvalidError, match=re.escape(destination.accepts.no_signatures_text)):
                    await destination.put_signatures(signatures)
                signatures = []
            await destination.commit()
        async with subject.source() as source:
            assert list(await source.signatures()) == signatures
            assert list(await source.signatures(digest.of(ONE.manifest))) == []
