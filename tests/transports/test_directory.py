"""dir: the contract, its format, and the rows of hostile-cases about it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import trio

from tests.images import build
from tests.transports.contract import (
    HINTS,
    ONE,
    TWO,
    Contract,
    Image,
    Subject,
    assert_holds,
    blob_bytes,
    exactly,
    make_system,
    store,
    write,
)
from wherry.errors import (
    CorruptError,
    FileError,
    FileMissingError,
    InvalidError,
    LimitError,
    NetworkError,
    WherryError,
)
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import ImageAccess
from wherry.streams.blobs import BytesBlob
from wherry.transports import parse

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.system import System

VERSION = b"Directory Transport Version: 1.1\n"
NOT_AN_IMAGE = "not a containers image directory, don't want to overwrite important data"
SIGNATURES = (b"signature one", b"signature two")


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return Subject(make_system(tmp_path), "dir:image", tmp_path / "image")


@pytest.fixture
def place(subject: Subject) -> Path:
    assert subject.place is not None
    return subject.place


class TestContract(Contract):
    pass


async def read(system: System, name: str) -> bytes:
    async with parse(name, system).source(system, ImageAccess()) as source:
        return (await source.manifest()).raw


async def store_signed(subject: Subject, wanted: Image, *signatures: bytes) -> None:
    async with subject.destination() as destination:
        await write(destination, wanted)
        await destination.put_signatures(signatures)
        await destination.commit()


def expected_tree(wanted: Image, *signatures: bytes) -> dict[str, bytes]:
    """What skopeo leaves: the files, their names and their contents."""
    return {
        "version": VERSION,
        "manifest.json": wanted.manifest,
        **{digest.encoded(descriptor.digest): data for descriptor, data in wanted.blobs},
        **{f"signature-{number}": data for number, data in enumerate(signatures, 1)},
    }


# --- format -----------------------------------------------------------------------------------------


async def test_files_are_those_of_the_format(subject: Subject, place: Path) -> None:
    await store_signed(subject, ONE, *SIGNATURES)
    assert subject.tree() == expected_tree(ONE, *SIGNATURES)
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o644}
    await store(subject, TWO)
    assert subject.tree() == expected_tree(TWO)


async def test_other_digests_make_version_1_2(subject: Subject) -> None:
    data = b"data"
    long = Descriptor("application/octet-stream", digest.of(data, "sha512"), len(data))
    name = f"sha512-{digest.encoded(long.digest)}"
    async with subject.destination() as destination:
        await destination.put_blob(BytesBlob(data), long)
        await destination.put_manifest(b"{}", "")
        await destination.commit()
    assert subject.tree() == {
        "version": b"Directory Transport Version: 1.2\n",
        "manifest.json": b"{}",
        name: data,
    }
    async with subject.source() as source:
        assert await blob_bytes(subject, source, long) == data
    await store(subject, ONE)
    assert subject.tree() == expected_tree(ONE)


async def test_instances_have_signatures_of_their_own(subject: Subject) -> None:
    instance = digest.of(TWO.manifest)
    async with subject.destination() as destination:
        await write(destination, ONE)
        await destination.put_manifest(TWO.manifest, build.OCI_MANIFEST, instance)
        await destination.put_signatures(SIGNATURES[:1])
        await destination.put_signatures(SIGNATURES, instance)
        await destination.commit()
    base = digest.encoded(instance)
    files = subject.tree()
    assert files[f"{base}.manifest.json"] == TWO.manifest
    assert [files[name] for name in ("signature-1", f"{base}.signature-1", f"{base}.signature-2")] == [
        SIGNATURES[0],
        *SIGNATURES,
    ]
    async with subject.source() as source:
        assert list(await source.signatures(instance)) == list(SIGNATURES)
        assert list(await source.signatures()) == [SIGNATURES[0]]


async def test_signatures_end_at_the_first_gap(subject: Subject, place: Path) -> None:
    await store_signed(subject, ONE, b"1", b"2", b"3")
    (place / "signature-2").unlink()
    async with subject.source() as source:
        assert list(await source.signatures()) == [b"1"]


async def test_signatures_are_bounded(subject: Subject, place: Path) -> None:
    await store_signed(subject, ONE, b"1")
    os.truncate(place / "signature-1", (4 << 20) + 1)
    with pytest.raises(LimitError, match=r"^read image/signature-1: exceeded maximum allowed size of"):
        await read(subject.system, subject.name)
    os.truncate(place / "signature-1", 4 << 20)
    async with subject.source() as source:
        assert len((await source.signatures())[0]) == 4 << 20
    for number in range(2, 6):
        (place / f"signature-{number}").write_bytes(bytes(4 << 20))
    with pytest.raises(LimitError, match="there are too many signatures"):
        await read(subject.system, subject.name)


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("dir:nodir", FileMissingError, "open nodir/manifest.json: no such file or directory"),
        ("dir:", FileMissingError, "open manifest.json: no such file or directory"),
        ("dir:/nonexist/a/b", FileMissingError, "lstat /nonexist: no such file or directory"),
        ("dir:file", FileMissingError,
         'reading version file "file/version": open file/version: not a directory'),
        ("dir:new", InvalidError,
         'unsupported directory transport version "Directory Transport Version: 1.3\\n" at CWD/new'),
        ("dir:other", CorruptError, 'invalid version file content: "x\\n"'),
    ],
)  # fmt: skip
async def test_texts(subject: Subject, tmp_path: Path, name: str, kind: type[WherryError], text: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder, version in (("new", b"Directory Transport Version: 1.3\n"), ("other", b"x\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "version").write_bytes(version)
    with pytest.raises(kind, match=exactly(text.replace("CWD", str(tmp_path)))) as caught:
        await read(subject.system, name)
    assert type(caught.value) is kind


async def test_a_missing_version_is_read(subject: Subject, place: Path) -> None:
    await store(subject, ONE)
    (place / "version").unlink()
    await assert_holds(subject, ONE)


async def test_the_path_may_hold_colons(tmp_path: Path) -> None:
    subject = Subject(make_system(tmp_path), "dir:a:b", tmp_path / "a:b")
    await store(subject, ONE)
    await assert_holds(subject, ONE)
    assert subject.reference().policy_identity() == str(tmp_path / "a:b")


# --- hostile directories ----------------------------------------------------------------------------


async def test_d01_instance_bytes_differ_from_their_digest(subject: Subject, place: Path) -> None:
    await store(subject, ONE)
    right, wrong = digest.of(TWO.manifest), digest.of(b"something else")
    for instance in (right, wrong):
        (place / f"{digest.encoded(instance)}.manifest.json").write_bytes(TWO.manifest)
    async with subject.source() as source:
        with pytest.raises(CorruptError, match=f"^Manifest does not match provided manifest digest {wrong}"):
            await source.manifest(wrong)
        assert (await source.manifest(right)).raw == TWO.manifest


@pytest.mark.parametrize("name", ["manifest.json", "version", "blob"])
async def test_d04_named_pipes_are_refused(subject: Subject, place: Path, name: str) -> None:
    await store(subject, ONE)
    descriptor, _ = ONE.blobs[0]
    target = place / (digest.encoded(descriptor.digest) if name == "blob" else name)
    target.unlink()
    os.mkfifo(target)
    with pytest.raises(CorruptError, match=f"open image/{target.name}: not a regular file, but a named"):
        await assert_holds(subject, ONE)


async def test_d06_huge_manifest_is_not_read(subject: Subject, place: Path) -> None:
    await store(subject, ONE)
    os.truncate(place / "manifest.json", 3 << 30)
    with pytest.raises(LimitError, match=r"^read image/manifest.json: exceeded maximum allowed size"):
        await read(subject.system, subject.name)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"thesis.tex": b"years"}, NOT_AN_IMAGE),
        ({"version": b"1.1\n"}, NOT_AN_IMAGE),
        ({"version": b"Directory Transport Version: 1.1"}, NOT_AN_IMAGE),
        ({"version": b"Directory Transport Version: 01.1\n"}, NOT_AN_IMAGE),
        ({"version": b"Directory Transport Version: 2.0\n"},
         'unsupported directory transport version "Directory Transport Version: 2.0\\n" at PLACE'),
    ],
)  # fmt: skip
async def test_d13_what_is_no_image_is_not_overwritten(
    subject: Subject, place: Path, files: dict[str, bytes], text: str
) -> None:
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    with pytest.raises(InvalidError, match=exactly(text.replace("PLACE", str(place)))):
        await store(subject, ONE)
    assert subject.tree() == files
    for name in files:
        (place / name).unlink()
    await store(subject, ONE)
    await assert_holds(subject, ONE)


async def test_d13_version_that_is_no_file(subject: Subject, place: Path) -> None:
    place.mkdir()
    os.mkfifo(place / "version")
    with pytest.raises(InvalidError, match=exactly(NOT_AN_IMAGE)):
        await store(subject, ONE)
    assert os.listdir(place) == ["version"]


@pytest.mark.parametrize("old", [(), SIGNATURES])
@pytest.mark.parametrize("new", [(), SIGNATURES[:1]])
async def test_d13_the_old_image_survives_until_the_new_one_is_complete(
    subject: Subject, old: tuple[bytes, ...], new: tuple[bytes, ...]
) -> None:
    await store_signed(subject, ONE, *old)
    async with subject.destination() as destination:
        await write(destination, TWO)
        await destination.put_signatures(new)
        await assert_holds(subject, ONE)
        async with subject.source() as source:
            assert list(await source.signatures()) == list(old)
            await destination.commit()
            assert (await source.manifest()).raw == ONE.manifest
            assert list(await source.signatures()) == list(old)
    assert subject.tree() == expected_tree(TWO, *new)


async def test_d13_files_of_others_stay(subject: Subject, place: Path) -> None:
    """skopeo empties the directory first; we remove what is the format's own."""
    await store_signed(subject, ONE, *SIGNATURES)
    (place / "notes").write_bytes(b"mine")
    await store(subject, TWO)
    assert subject.tree() == expected_tree(TWO) | {"notes": b"mine"}
    (place / "folder").mkdir()
    await store_signed(subject, ONE, *SIGNATURES)
    assert subject.tree() == expected_tree(ONE, *SIGNATURES) | {"notes": b"mine"}
    assert (place / "folder").is_dir()


async def test_d13_the_working_directory_is_not_exchanged(tmp_path: Path) -> None:
    system = make_system(tmp_path)
    (tmp_path / ".scratch").rmdir()
    subject = Subject(system, "dir:.", tmp_path)
    await store_signed(subject, ONE, *SIGNATURES)
    inode = tmp_path.stat().st_ino
    await store_signed(subject, TWO, b"other")
    assert subject.tree() == expected_tree(TWO, b"other")
    assert tmp_path.stat().st_ino == inode


async def test_d13_mode_is_kept_when_the_directory_is_exchanged(subject: Subject, place: Path) -> None:
    await store_signed(subject, ONE, *SIGNATURES)
    place.chmod(0o750)
    inode = place.stat().st_ino
    await store_signed(subject, TWO, b"other")
    assert place.stat().st_ino != inode
    assert place.stat().st_mode & 0o7777 == 0o750


async def test_d12_links_are_replaced_and_not_followed(subject: Subject, place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    await store_signed(subject, TWO, *SIGNATURES)
    names = ["manifest.json", "signature-1"]
    names += [digest.encoded(descriptor.digest) for descriptor, _ in ONE.blobs]
    for name in names:
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to(victim)
    await store_signed(subject, ONE, *SIGNATURES)
    assert victim.read_bytes() == b"precious"
    assert subject.tree() == expected_tree(ONE, *SIGNATURES)
    assert not any(path.is_symlink() for path in place.iterdir())


async def test_d14_writers_follow_one_another(subject: Subject) -> None:
    await store_signed(subject, ONE, *SIGNATURES)
    order: list[str] = []

    async def second() -> None:
        async with subject.destination() as destination:
            order.append("second opened")
            await write(destination, ONE)
            await destination.commit()

    async with trio.open_nursery() as nursery, subject.destination() as destination:
        nursery.start_soon(second)
        await write(destination, TWO)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await destination.commit()  # exchanges the directory that the second one waits for
        order.append("first committed")
    assert order == ["first committed", "second opened"]
    assert subject.tree() == expected_tree(ONE)


async def test_d15_a_file_is_no_directory(subject: Subject, place: Path) -> None:
    place.write_bytes(b"file")
    with pytest.raises(FileError, match=exactly(f"open {place}: not a directory")):
        await store(subject, ONE)
    place.unlink()
    await store(subject, ONE)


# --- faults -----------------------------------------------------------------------------------------


async def test_an_empty_directory_stays_empty_after_a_failure(subject: Subject, place: Path) -> None:
    place.mkdir()
    with pytest.raises(NetworkError, match="gone"):
        await _fail(subject)
    assert os.listdir(place) == []


async def _fail(subject: Subject) -> None:
    async with subject.destination():
        raise NetworkError("gone")


async def test_blobs_of_a_failed_try_are_taken_up(subject: Subject) -> None:
    async with subject.destination() as destination:
        await write(destination, TWO)
    async with subject.destination() as destination:
        for descriptor, _ in TWO.blobs:
            assert await destination.reuse_blob(descriptor, HINTS) == descriptor
        await destination.put_manifest(TWO.manifest, build.OCI_MANIFEST)
        await destination.commit()
    assert subject.tree() == expected_tree(TWO)


async def test_what_a_dead_writer_left_is_removed(subject: Subject, place: Path, tmp_path: Path) -> None:
    await store_signed(subject, ONE, *SIGNATURES)
    async with subject.destination() as destination:
        await write(destination, TWO)
    (place / f".wherry-{'0' * 16}").write_bytes(b"half")
    prefix = digest.encoded(digest.of(b"image"))[:16]
    beside = tmp_path / f".wherry-{prefix}-{'1' * 16}"
    other = tmp_path / f".wherry-{'f' * 16}-{'1' * 16}"
    for folder in (beside, other):
        folder.mkdir()
        (folder / "manifest.json").write_bytes(b"old")
    await store(subject, TWO)
    assert subject.tree() == expected_tree(TWO)
    assert (beside.exists(), other.exists()) == (False, True)


async def test_any_manifest_type_is_kept_as_it_is(subject: Subject, images: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(images)
    for name in ("s2dir", "s1signed", "s2list"):
        raw = await read(subject.system, f"dir:images/{name}")
        kind = json.loads(raw).get("mediaType", "")
        async with subject.destination() as destination:
            await destination.put_manifest(raw, kind)
            await destination.commit()
        assert (
            await read(subject.system, subject.name) == raw == (images / name / "manifest.json").read_bytes()
        )
