"""oci: the contract, its names and texts, and the rows of hostile-cases about layouts."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.images import build
from tests.transports.contract import (
    ONE,
    TWO,
    Contract,
    Subject,
    assert_holds,
    blob_bytes,
    copy_image,
    exactly,
    image,
    make_system,
    stalling_blob,
    store,
    tree,
    write,
)
from wherry.errors import (
    CorruptError,
    FileError,
    FileMissingError,
    ImageNotFoundError,
    InvalidError,
    LimitError,
    WherryError,
)
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import ImageAccess
from wherry.streams.blobs import BytesBlob
from wherry.transports import parse
from wherry.transports.oci import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.system import System

MISSING = "no such file or directory"


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(make_system(tmp_path), "oci:layout:tag", tmp_path / "layout")


@pytest.fixture
def world(tmp_path: Path, images: Path) -> System:
    """A system whose working directory has the fixture images as `images`."""
    (tmp_path / "images").symlink_to(images)
    return make_system(tmp_path)


class TestContract(Contract):
    pass


async def read(system: System, name: str, access: ImageAccess | None = None) -> bytes:
    async with parse(name, system).source(system, access or ImageAccess()) as source:
        return (await source.manifest()).raw


# --- names and texts: the texts are skopeo 1.22's ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("oci:nodir", FileMissingError, f"open nodir/index.json: {MISSING}"),
        ("oci:nodir:tag", FileMissingError, f"open nodir/index.json: {MISSING}"),
        ("oci:", FileMissingError, f"open index.json: {MISSING}"),
        ("oci::x", FileMissingError, f"open index.json: {MISSING}"),
        ("oci:a//b/../c", FileMissingError, "lstat CWD/a: no such file or directory"),
        ("oci:/nonexist/foo/bar", FileMissingError, f"lstat /nonexist: {MISSING}"),
        ("oci:nodir/", FileMissingError, f"lstat CWD/nodir: {MISSING}"),
        ("oci:a:b:c", FileMissingError, f"open a/index.json: {MISSING}"),
        ("oci:a:_x", InvalidError, "Invalid image _x"),
        ("oci:a:x--", InvalidError, "Invalid image x--"),
        ("oci:loop", FileError, "EvalSymlinks: too many links"),
        ("oci:dangling", FileMissingError, f"lstat CWD/nowhere: {MISSING}"),
        ("oci:file", FileMissingError, "open file/index.json: not a directory"),
        ("oci:nul\0", InvalidError, 'lstat "nul\\x00": invalid argument'),
        ("oci:images/twotags", InvalidError, "more than one image in oci, choose an image"),
        ("oci:images/twotags:nope", ImageNotFoundError, 'no descriptor found for reference "nope"'),
        ("oci:images/oddtype:latest", InvalidError,
         'reference "latest" matches unsupported manifest MIME types ["application/x-odd"]'),
        ("oci:images/nomanifest", FileMissingError,
         "open images/nomanifest/blobs/sha256/"
         f"6e7b5545e15501135e83175ba4d161dd9fd526c2c531232257540ed03b533383: {MISSING}"),
    ],
)  # fmt: skip
async def test_texts(world: System, tmp_path: Path, name: str, kind: type[WherryError], text: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(kind, match=exactly(text.replace("CWD", world.cwd))) as caught:
        await read(world, name)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("name", "shown", "named"),
    [
        ("oci:images/one", "oci:images/one:", ""),
        ("oci:images/one/", "oci:images/one/:", ""),
        ("oci:images/one:latest", "oci:images/one:latest", "latest"),
        ("oci:images/one:@0", "oci:images/one:@0", ""),
        ("oci:images/one:@+00", "oci:images/one:@0", ""),
    ],
)
async def test_names_that_find_an_image(world: System, name: str, shown: str, named: str) -> None:
    reference = parse(name, world)
    assert str(reference) == shown
    assert reference.name == named
    assert reference.docker_reference() == ""
    assert len(await read(world, name)) == 570


@pytest.mark.parametrize("name", ["a", "a.b_c-d--e@f+g:h", "a/b.c/d", "A1"])
def test_names_of_the_grammar(world: System, name: str) -> None:
    assert parse(f"oci:x:{name}", world).name == name


@pytest.mark.parametrize("name", ["-a", "a-", "a..b", "a//b", "/a", "a/", "a\n", "é", "a---b", "a b"])
def test_names_outside_of_the_grammar(world: System, name: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(f"Invalid image {name}")):
        parse(f"oci:x:{name}", world)


def test_the_policy_sees_the_path_without_links(world: System, images: Path) -> None:
    reference = parse("oci:images/../images/one:latest", world)
    assert reference.policy_identity() == str(images.resolve() / "one")
    assert list(reference.policy_scopes()) == [str(path) for path in (images.resolve() / "one").parents][:-1]


async def test_r66_urls_of_foreign_layers_are_not_followed(world: System) -> None:
    manifest = json.loads(await read(world, "oci:images/foreign"))
    item = next(layer for layer in manifest["layers"] if "urls" in layer)
    wanted = Descriptor(item["mediaType"], digest.parse(item["digest"]), item["size"], tuple(item["urls"]))
    async with parse("oci:images/foreign", world).source(world, ImageAccess()) as source:
        opened = source.blob(wanted)
        with pytest.raises(FileMissingError, match=r"no such file .*its URLs are not fetched"):
            await opened.__aenter__()


async def test_a_foreign_layer_that_is_there_is_read(subject: Subject) -> None:
    await store(subject, ONE)
    descriptor, data = ONE.blobs[1]
    foreign = Descriptor(build.OCI_FOREIGN, descriptor.digest, descriptor.size, ("https://example.com/x",))
    async with subject.source() as source:
        assert await blob_bytes(subject, source, foreign) == data


# --- index.json -------------------------------------------------------------------------------------


def _entry(manifest: str, name: str = "") -> str:
    digest_and_size = {
        "one": '"sha256:e40049e5b7060c4555c18bb0b7a4218a961c4a208ba1886ba70c02e72ca3aa6a","size":570',
        "two": '"sha256:e84b3e77e6d7b24d9ae726fcf8aed8fa85bcc3cb2956fc14a972f70fdeb59af8","size":559',
    }[manifest]
    annotations = f',"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}' if name else ""
    return (
        '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":' + digest_and_size
        + annotations + "}"
    )  # fmt: skip


async def test_index_and_layout_files_are_skopeos(world: System, tmp_path: Path) -> None:
    """The bytes that skopeo 1.22 leaves after each of these copies into one layout."""
    steps = [
        ("one", "", [_entry("one")]),
        ("one", ":a", [_entry("one", "a")]),
        ("one", ":b", [_entry("one", "a"), _entry("one", "b")]),
        ("two", ":b", [_entry("one", "a"), _entry("one"), _entry("two", "b")]),
        ("two", "", [_entry("one", "a"), _entry("one"), _entry("two", "b"), _entry("two")]),
    ]
    for source, name, entries in steps:
        await copy_image(world, f"oci:images/{source}", f"oci:out{name}")
        start = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
        assert (tmp_path / "out/index.json").read_text() == start + ",".join(entries) + "]}"
    assert (tmp_path / "out/oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'


def test_an_edit_keeps_what_it_does_not_know() -> None:
    index = json.loads(
        '{"x":1,"schemaVersion":2,"manifests":[{"digest":"sha256:1","y":[2],'
        '"annotations":{"z":"3","org.opencontainers.image.ref.name":"t"}}],"annotations":{"k":"v"}}'
    )
    edited = layout.added(index, build.OCI_MANIFEST, digest.of(b""), 0, "t")
    assert layout.index_bytes(edited).decode() == (
        '{"x":1,"schemaVersion":2,"manifests":[{"digest":"sha256:1","y":[2],"annotations":{"z":"3"}},'
        '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"'
        f'{digest.of(b"")}","size":0,"annotations":{{"org.opencontainers.image.ref.name":"t"}}}}],'
        '"annotations":{"k":"v"}}'
    )


def test_files_are_readable_for_all(world: System) -> None:
    old = os.umask(0o077)
    try:
        trio.run(copy_image, world, "oci:images/one", "oci:out:a")
    finally:
        os.umask(old)
    files = [path for path in Path(world.cwd, "out").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


async def test_docker_manifests_are_stored_and_others_refused(subject: Subject) -> None:
    async with subject.destination() as destination:
        await destination.put_manifest(b"{}", build.S2_MANIFEST)
        with pytest.raises(InvalidError, match=r"does not hold manifests of type text/plain"):
            await destination.put_manifest(b"{}", "text/plain")


# --- hostile layouts --------------------------------------------------------------------------------


async def test_d01_manifest_bytes_differ_from_index_digest(world: System) -> None:
    with pytest.raises(
        CorruptError, match=r"^Manifest does not match provided manifest digest sha256:6e7b55"
    ):
        await read(world, "oci:images/badmanifest")
    assert len(await read(world, "oci:images/one")) == 570


async def test_d01_instance_bytes_differ_from_their_digest(subject: Subject) -> None:
    await store(subject, ONE)
    wrong = digest.of(b"something else")
    assert subject.place is not None
    (subject.place / "blobs/sha256" / digest.encoded(wrong)).write_bytes(ONE.manifest)
    async with subject.source() as source:
        with pytest.raises(CorruptError, match=f"^Manifest does not match provided manifest digest {wrong}"):
            await source.manifest(wrong)
        assert (await source.manifest(digest.of(ONE.manifest))).raw == ONE.manifest


@pytest.mark.parametrize(
    ("size", "right"), [(-1, False), (0, False), (571, False), (570, True), (None, True)]
)
async def test_d01_manifest_of_another_size(world: System, images: Path, size: int, right: bool) -> None:
    place = Path(world.cwd, "sized")
    (place / "blobs").mkdir(parents=True)
    (place / "blobs/sha256").symlink_to(images / "one/blobs/sha256")
    index = json.loads((images / "one/index.json").read_bytes())
    index["manifests"][0] |= {"size": size}
    (place / "index.json").write_text(json.dumps(index))
    if right:
        assert len(await read(world, "oci:sized")) == 570
        return
    with pytest.raises(CorruptError, match=rf"index\.json says {size} bytes, it has 570"):
        await read(world, "oci:sized")


def _special(place: Path, kind: str) -> None:
    place.unlink()
    if kind == "a named pipe":
        os.mkfifo(place)
    elif kind == "a directory":
        place.mkdir()
    elif kind == "a device":
        place.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server, tempfile.TemporaryDirectory(prefix="s-") as short:
            server.bind(f"{short}/s")
            os.rename(f"{short}/s", place)


@pytest.mark.parametrize("kind", ["a named pipe", "a directory", "a device", "a socket"])
async def test_d04_blob_that_is_no_file(subject: Subject, kind: str) -> None:
    await store(subject, ONE)
    (good, data), (bad, _), *_ = ONE.blobs
    assert subject.place is not None
    _special(subject.place / "blobs/sha256" / digest.encoded(bad.digest), kind)
    async with subject.source() as source:

        async def refused() -> None:
            with pytest.raises(CorruptError, match=f"not a regular file, but {kind}$"):
                await blob_bytes(subject, source, bad)

        async with trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(refused)
        assert await blob_bytes(subject, source, good) == data


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
async def test_d04_index_that_is_no_file(subject: Subject, name: str) -> None:
    await store(subject, ONE)
    await assert_holds(subject, ONE)
    assert subject.place is not None
    _special(subject.place / name, "a named pipe")
    with pytest.raises(CorruptError, match=f"^open layout/{name}: not a regular file, but a named pipe$"):
        await read(subject.system, subject.name)


async def test_d06_huge_files_are_not_read(subject: Subject) -> None:
    await store(subject, ONE)
    assert subject.place is not None
    manifest = subject.place / "blobs/sha256" / digest.encoded(digest.of(ONE.manifest))
    for place in (manifest, subject.place / "index.json"):
        os.truncate(place, 3 << 30)
        shown = f"layout/{place.relative_to(subject.place)}"
        with pytest.raises(
            LimitError, match=f"^read {shown}: exceeded maximum allowed size of 4194304 bytes$"
        ):
            await read(subject.system, subject.name)


async def test_d06_a_manifest_of_4_mib_is_read(subject: Subject) -> None:
    padded = ONE.manifest.ljust(4 << 20)
    async with subject.destination() as destination:
        await destination.put_manifest(padded, build.OCI_MANIFEST)
        with pytest.raises(LimitError, match=r"^manifest: exceeded maximum allowed size of 4194304"):
            await destination.put_manifest(padded + b" ", build.OCI_MANIFEST)
        await destination.commit()
    assert await read(subject.system, subject.name) == padded


_GOOD = '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"DIGEST"}'


@pytest.mark.parametrize(
    ("index", "kind", "text"),
    [
        ("", CorruptError, "EOF"),
        ("[]", CorruptError, "json: cannot unmarshal array into Go value of type v1.Index"),
        ('"x"', CorruptError, "json: cannot unmarshal string into Go value of type v1.Index"),
        ("{}", InvalidError, "more than one image in oci, choose an image"),
        ("null", InvalidError, "more than one image in oci, choose an image"),
        ('{"manifests":[]}', InvalidError, "more than one image in oci, choose an image"),
        (f'{{"manifests":[{_GOOD},{_GOOD}]}}', InvalidError, "more than one image in oci, choose an image"),
        ('{"manifests":5}', CorruptError,
         "json: cannot unmarshal number into Go struct field Index.manifests of type []v1.Descriptor"),
        ('{"manifests":[{"digest":""}]}', CorruptError,
         "unexpected digest reference : invalid checksum digest format"),
        ('{"manifests":[{"digest":"../../x"}]}', CorruptError,
         "unexpected digest reference ../../x: invalid checksum digest format"),
        ('{"manifests":[{"digest":"sha256:abc"}]}', CorruptError,
         "unexpected digest reference sha256:abc: invalid checksum digest length"),
        ('{"manifests":[],"manifests":[]}', CorruptError, 'layout/index.json has the key "manifests" twice'),
        (f'{{"manifests":[{_GOOD}]}} x', CorruptError, None),
        (f'{{"manifests":[{_GOOD}]', CorruptError, None),
    ],
)  # fmt: skip
async def test_d07_index_that_says_nothing(
    subject: Subject, index: str, kind: type[WherryError], text: str | None
) -> None:
    await store(subject, ONE)
    assert subject.place is not None
    good = f'{{"manifests":[{_GOOD}]}}'.replace("DIGEST", digest.of(ONE.manifest))
    (subject.place / "index.json").write_text(good)
    assert await read(subject.system, "oci:layout") == ONE.manifest
    (subject.place / "index.json").write_text(index.replace("DIGEST", digest.of(ONE.manifest)))
    with pytest.raises(
        kind, match=r"layout/index.json is not valid JSON" if text is None else None
    ) as caught:
        await read(subject.system, "oci:layout")
    assert text in (None, str(caught.value))
    assert caught.value.code == "other"


async def test_d07_the_first_of_two_entries_with_one_name_is_taken(subject: Subject) -> None:
    await store(subject, ONE)
    await store(Subject(subject.system, "oci:layout:other", subject.place), TWO)
    assert subject.place is not None
    place = subject.place / "index.json"
    place.write_text(place.read_text().replace('"other"', '"tag"'))
    assert await read(subject.system, subject.name) == ONE.manifest


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("x", 'Invalid source index @x: not an integer: strconv.Atoi: parsing "x": invalid syntax'),
        ("", 'Invalid source index @: not an integer: strconv.Atoi: parsing "": invalid syntax'),
        ("1_0", 'Invalid source index @1_0: not an integer: strconv.Atoi: parsing "1_0": invalid syntax'),
        ("\u0661", 'Invalid source index @١: not an integer: strconv.Atoi: parsing "١": invalid syntax'),  # noqa: RUF001
        ("-1", "Invalid source index @-1: must not be negative"),
        ("9" * 20, f"Invalid source index @{'9' * 20}: not an integer: strconv.Atoi: "
         f'parsing "{"9" * 20}": value out of range'),
        ("2147483648", "index 2147483648 is too large, only 2 entries available"),
        ("2", "index 2 is too large, only 2 entries available"),
    ],
)  # fmt: skip
async def test_d08_source_index(world: System, number: str, text: str) -> None:
    with pytest.raises(InvalidError, match=exactly(text)):
        await read(world, f"oci:images/twotags:@{number}")
    assert await read(world, "oci:images/twotags:@1") == await read(world, "oci:images/twotags:second")


def test_d08_a_destination_takes_no_index(world: System) -> None:
    with pytest.raises(InvalidError, match=r"^Destination reference must not contain a manifest index @0$"):
        parse("oci:out:@0", world).destination(world, ImageAccess())


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (None, None, ""),
        (b'{"imageLayoutVersion":"1.9.0","more":1}', None, ""),
        (b'{"imageLayoutVersion":"2.0.0"}', InvalidError, 'image layout version "2.0.0" is not supported'),
        (b'{"imageLayoutVersion":2}', CorruptError, "layout/oci-layout has no imageLayoutVersion"),
        (b"", CorruptError, "layout/oci-layout is not valid JSON"),
    ],
)
async def test_d09_layout_version(
    subject: Subject, content: bytes | None, kind: type[WherryError] | None, text: str
) -> None:
    await store(subject, ONE)
    assert subject.place is not None
    (subject.place / "oci-layout").unlink()
    if content is not None:
        (subject.place / "oci-layout").write_bytes(content)
    if kind is None:
        await assert_holds(subject, ONE)
        await store(subject, TWO)
        return
    before = subject.tree()
    with pytest.raises(kind, match=re.escape(text)):
        await read(subject.system, subject.name)
    with pytest.raises(kind, match=re.escape(text)):
        await store(subject, TWO)
    assert subject.tree() == before


async def test_d10_an_open_image_does_not_change(subject: Subject) -> None:
    await store(subject, ONE)
    assert subject.place is not None
    async with subject.source() as source:
        await store(subject, TWO)
        assert (await source.manifest()).raw == ONE.manifest
    async with subject.source() as source:
        subject.place.rename(subject.place.with_name("moved"))
        await store(subject, ONE)  # another layout in its place
        assert (await source.manifest()).raw == TWO.manifest
        for descriptor, data in TWO.blobs:
            assert await blob_bytes(subject, source, descriptor) == data


async def test_d12_links_are_replaced_and_not_followed(subject: Subject, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    await store(subject, TWO)
    assert subject.place is not None
    names = [digest.encoded(descriptor.digest) for descriptor, _ in ONE.blobs]
    for name in (*names, digest.encoded(digest.of(ONE.manifest))):
        place = subject.place / "blobs/sha256" / name
        place.unlink(missing_ok=True)
        place.symlink_to(victim)
    (subject.place / "oci-layout").unlink()
    (subject.place / "oci-layout").symlink_to(tmp_path / "missing")
    await store(subject, ONE)
    await assert_holds(subject, ONE)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "missing").exists()
    assert not any(path.is_symlink() for path in subject.place.rglob("*"))


async def test_d12_a_link_to_the_right_bytes_is_no_blob(subject: Subject, tmp_path: Path) -> None:
    descriptor, data = ONE.blobs[0]
    (tmp_path / "elsewhere").write_bytes(data)
    async with subject.destination() as destination:
        assert subject.place is not None
        place = subject.place / "blobs/sha256" / digest.encoded(descriptor.digest)
        place.symlink_to(tmp_path / "elsewhere")
        assert await destination.reuse_blob(descriptor, ()) is None
        place.unlink()
        place.write_bytes(data)
        assert await destination.reuse_blob(descriptor, ()) == descriptor


async def test_d14_copies_at_once_keep_each_others_names(subject: Subject) -> None:
    wanted = {f"t{number}": image(b"%d" % number, b"shared") for number in range(8)}

    async with trio.open_nursery() as nursery:
        for name, one in wanted.items():
            nursery.start_soon(store, Subject(subject.system, f"oci:layout:{name}", subject.place), one)
    for name, one in wanted.items():
        await assert_holds(Subject(subject.system, f"oci:layout:{name}", subject.place), one)
    index = json.loads((Path(subject.system.cwd) / "layout/index.json").read_bytes())
    assert len(index["manifests"]) == 8


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A directory with another one in it, `layout`, that this process may not write, be it root's or not."""
    with tempfile.TemporaryDirectory(prefix="d15-", dir="/tmp") as place:
        root = Path(place)
        (root / "layout").mkdir()
        (root / ".scratch").mkdir()
        for folder in (root / "layout", root):
            folder.chmod(0o555)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        yield root
        if was_root:
            os.seteuid(0)
        root.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("oci:layout:a", "mkdir layout/blobs"),
        ("oci:new:a", "mkdir new"),
        ("dir:layout", "open CWD/layout/.wherry-"),
        ("dir:new", 'unable to create directory "CWD/new": mkdir CWD/new'),
        ("oci-archive:a.tar:a", "open CWD/.wherry-"),
    ],
)
async def test_d15_what_cannot_be_written_fails_at_once(read_only: Path, name: str, operation: str) -> None:
    system = make_system(read_only)
    opened = parse(name, system).destination(system, ImageAccess())
    start = re.escape(operation.replace("CWD", str(read_only)))
    with pytest.raises(FileError, match=rf"^{start}\w*: permission denied$"):
        await opened.__aenter__()


async def test_d16_shared_blobs_are_written_where_they_stay(subject: Subject, tmp_path: Path) -> None:
    subject.access = ImageAccess(shared_blob_dir="shared")
    (descriptor, data), *_ = ONE.blobs
    with stalling_blob(data[:10]) as blob:
        async with subject.destination() as destination, trio.open_nursery() as nursery:
            nursery.start_soon(destination.put_blob, blob, descriptor)
            await blob.asked.wait()
            assert [path.name[:8] for path in (tmp_path / "shared/sha256").iterdir()] == [".wherry-"]
            nursery.cancel_scope.cancel()
    assert list((tmp_path / "shared/sha256").iterdir()) == []
    await store(subject, ONE)
    await assert_holds(subject, ONE)
    assert list((tmp_path / "layout/blobs").iterdir()) == []
    assert len(list((tmp_path / "shared/sha256").iterdir())) == 4


async def test_missing_shared_blobs(world: System) -> None:
    with pytest.raises(FileMissingError, match=r"^open gone/sha256/e40049e5\w+: no such file or directory$"):
        await read(world, "oci:images/one", ImageAccess(shared_blob_dir="gone"))


# --- faults -----------------------------------------------------------------------------------------


async def test_what_a_dead_writer_left_is_removed(subject: Subject) -> None:
    await store(subject, ONE)
    assert subject.place is not None
    left = [subject.place / f".wherry-{'0' * 16}", subject.place / f"blobs/sha256/.wherry-{'a' * 16}"]
    foreign = subject.place / ".wherry-notes"
    for path in (*left, foreign):
        path.write_bytes(b"half")
    await store(subject, TWO)
    assert [path.exists() for path in (*left, foreign)] == [False, False, True]


async def test_what_a_living_writer_writes_stays(subject: Subject) -> None:
    (descriptor, data), *_ = ONE.blobs
    with stalling_blob(data[:10]) as blob:
        async with subject.destination() as destination, trio.open_nursery() as nursery:
            nursery.start_soon(destination.put_blob, blob, descriptor)
            await blob.asked.wait()
            before = subject.tree()
            await store(subject, TWO)
            assert before.keys() <= subject.tree().keys()
            nursery.cancel_scope.cancel()


async def test_a_blob_that_was_damaged_is_replaced(subject: Subject) -> None:
    await store(subject, ONE)
    assert subject.place is not None
    descriptor, data = ONE.blobs[1]
    place = subject.place / "blobs/sha256" / digest.encoded(descriptor.digest)
    for damaged in (data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"x", b""):
        place.write_bytes(damaged)
        async with subject.destination() as destination:
            assert await destination.reuse_blob(descriptor, ()) is None
            await destination.put_blob(BytesBlob(data), descriptor)
        assert place.read_bytes() == data


async def test_a_broken_index_is_found_before_anything_is_written(subject: Subject) -> None:
    await store(subject, ONE)
    assert subject.place is not None
    (subject.place / "index.json").write_bytes(b"{nonsense")
    before = subject.tree()
    with pytest.raises(CorruptError, match=r"layout/index.json is not valid JSON"):
        await store(subject, TWO)
    assert subject.tree() == before


async def test_the_index_is_taken_as_it_is_at_commit(subject: Subject) -> None:
    other = Subject(subject.system, "oci:layout:other", subject.place)
    async with subject.destination() as destination:
        await write(destination, ONE)
        await store(other, TWO)
        await destination.commit()
    await assert_holds(subject, ONE)
    await assert_holds(other, TWO)
    assert subject.place is not None
    assert not [name for name in tree(subject.place) if ".wherry-" in name]
