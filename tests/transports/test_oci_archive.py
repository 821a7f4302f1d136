"""oci-archive: the contract, the rows of hostile-cases about archives, and the bytes that are written."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

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
    copy_image,
    exactly,
    make_system,
    store,
    write,
)
from wherry.errors import (
    CorruptError,
    FileError,
    FileMissingError,
    ImageNotFoundError,
    InvalidError,
    LimitError,
    NotYetError,
    WherryError,
)
from wherry.model import digest
from wherry.model.descriptor import Descriptor
from wherry.protocol.options import ImageAccess
from wherry.streams import tar
from wherry.streams.blobs import BytesBlob
from wherry.system import System
from wherry.transports import parse
from wherry.transports.oci.archive_destination import _fitted_header

Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    place = tmp_path / "image.tar"
    return Subject(make_system(tmp_path), "oci-archive:image.tar:tag", place, reuses=False, keeps_blobs=False)


@pytest.fixture
def place(subject: Subject) -> Path:
    assert subject.place is not None
    return subject.place


class TestContract(Contract):
    pass


async def read(system: System, name: str) -> bytes:
    async with parse(name, system).source(system, ImageAccess()) as source:
        return (await source.manifest()).raw


def layout_files(wanted: Image) -> dict[str, bytes]:
    entry = build.descriptor(build.OCI_MANIFEST, wanted.manifest)
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": build.dump({"schemaVersion": 2, "manifests": [entry]}),
        **{f"blobs/sha256/{digest.encoded(item.digest)}": data for item, data in wanted.blobs},
        f"blobs/sha256/{digest.encoded(digest.of(wanted.manifest))}": wanted.manifest,
    }


def member(name: str, data: bytes = b"", **more: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def members(wanted: Image) -> list[Member]:
    return [member(name, data) for name, data in layout_files(wanted).items()]


def pack(contents: list[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in contents:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


LAYER = f"blobs/sha256/{digest.encoded(ONE.blobs[1][0].digest)}"


async def read_all_of(subject: Subject, name: str = "oci-archive:image.tar") -> None:
    await assert_holds(Subject(subject.system, name), ONE)


# --- names and texts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("oci-archive:no.tar", FileMissingError,
         'creating temp directory: archive file not found: "CWD/no.tar"'),
        ("oci-archive:no.tar:@0", InvalidError, "Invalid image @0"),
        ("oci-archive:no.tar:_x", InvalidError, "Invalid image _x"),
        ("oci-archive:nodir/no.tar", FileMissingError, "lstat CWD/nodir: no such file or directory"),
        ("oci-archive:images/twotags.tar", InvalidError, "more than one image in oci, choose an image"),
        ("oci-archive:images/twotags.tar:nope", ImageNotFoundError,
         'no descriptor found for reference "nope"'),
        ("oci-archive:images/notatar.tar", CorruptError, None),
        ("oci-archive:empty", FileMissingError, "open empty/index.json: no such file or directory"),
    ],
)  # fmt: skip
async def test_texts(
    tmp_path: Path, images: Path, name: str, kind: type[WherryError], text: str | None
) -> None:
    (tmp_path / "images").symlink_to(images)
    (tmp_path / "empty").write_bytes(bytes(1024))
    wanted = r'^reading archive "images/notatar\.tar": tar: invalid header'
    with pytest.raises(kind, match=wanted if text is None else exactly(text.replace("CWD", str(tmp_path)))):
        await read(make_system(tmp_path), name)


@pytest.mark.parametrize(
    "name", ["one.tar", "one.tar:latest", "one.tar.gz", "twotags.tar:first", "multi.tar"]
)
async def test_archives_that_are_read(images: Path, tmp_path: Path, name: str) -> None:
    system = make_system(tmp_path)
    layout, _, tag = name.partition(":")
    folder = images / layout.removesuffix(".gz").removesuffix(".tar")
    assert await read(system, f"oci-archive:{images}/{name}") == await read(system, f"oci:{folder}:{tag}")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
async def test_formats_of_tar(subject: Subject, place: Path, form: int) -> None:
    place.write_bytes(pack(members(ONE), form))
    await read_all_of(subject)


# --- writing ----------------------------------------------------------------------------------------


async def test_the_archive_that_is_written(subject: Subject, place: Path) -> None:
    await store(subject, ONE)
    with tarfile.open(place) as archive:
        found = archive.getmembers()
        names = [f"{item.name}/" if item.isdir() else item.name for item in found]
        assert names == [
            "blobs/",
            "blobs/sha256/",
            *(f"blobs/sha256/{digest.encoded(item.digest)}" for item, _ in ONE.blobs),
            f"blobs/sha256/{digest.encoded(digest.of(ONE.manifest))}",
            "index.json",
            "oci-layout",
        ]
        assert {(item.uid, item.gid, item.mtime, item.uname) for item in found} == {(0, 0, 0, "")}
        assert {item.mode for item in found if item.isfile()} == {0o644}
        index = archive.extractfile("index.json")
        assert index is not None
        assert index.read().decode() == (
            '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":'
            '[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"'
            f'{digest.of(ONE.manifest)}","size":{len(ONE.manifest)},'
            '"annotations":{"org.opencontainers.image.ref.name":"tag"}}]}'
        )
    assert place.stat().st_size % 512 == 0
    assert place.stat().st_mode & 0o777 == 0o644


async def test_the_same_image_gives_the_same_bytes(subject: Subject, place: Path) -> None:
    await store(subject, ONE)
    first = place.read_bytes()
    await store(subject, TWO)
    await store(subject, ONE)
    assert place.read_bytes() == first


async def test_a_blob_of_unknown_size_gives_the_same_bytes(subject: Subject, place: Path) -> None:
    await store(subject, ONE)
    first = place.read_bytes()
    async with subject.destination() as destination:
        for item, data in ONE.blobs:
            await destination.put_blob(BytesBlob(data), Descriptor(item.media_type, item.digest, -1))
        await destination.put_manifest(ONE.manifest, build.OCI_MANIFEST)
        await destination.commit()
    assert place.read_bytes() == first


async def test_a_blob_that_comes_twice_is_written_once(subject: Subject, place: Path) -> None:
    async with subject.destination() as destination:
        await write(destination, ONE)
        item, data = ONE.blobs[0]
        assert await destination.put_blob(BytesBlob(data), item) == item
        found = await destination.put_blob(BytesBlob(data), None)
        assert found.digest == item.digest
        await destination.put_manifest(ONE.manifest, build.OCI_MANIFEST)
        await destination.commit()
    with tarfile.open(place) as archive:
        names = archive.getnames()
    assert len(set(names)) == len(names)
    await assert_holds(subject, ONE)


async def test_digests_of_512_bits(subject: Subject) -> None:
    data = b"data" * 1000
    long = Descriptor("application/octet-stream", digest.of(data, "sha512"), len(data))
    async with subject.destination() as destination:
        await destination.put_blob(BytesBlob(data), long)
        await write(destination, ONE)
        await destination.commit()
    await assert_holds(subject, ONE)
    async with subject.source() as source:
        assert await blob_bytes(subject, source, long) == data


@pytest.mark.parametrize("size", [0, 8**11 - 1, 8**11, 1 << 40])
def test_a_header_that_is_filled_in_afterwards(size: int) -> None:
    name = "blobs/sha256/" + "0" * 64
    header = _fitted_header(name, size, len(tar.header(name, 0)))
    assert len(header) == 512
    info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")  # a reader that is not ours
    assert (info.name, info.size) == (name, size)


async def test_a_shared_directory_of_blobs_is_not_yet_written(subject: Subject) -> None:
    subject.access = ImageAccess(shared_blob_dir="shared")
    with pytest.raises(NotYetError, match=r"shared blob directory is not yet built$"):
        await store(subject, ONE)


# --- hostile archives -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", ".."])
async def test_a01_names_that_lead_out(subject: Subject, place: Path, name: str, tmp_path: Path) -> None:
    place.write_bytes(pack([*members(ONE), member(name, b"evil")]))
    with pytest.raises(CorruptError, match=r'^reading archive "image.tar": .* is outside of the archive$'):
        await read_all_of(subject)
    assert not list(tmp_path.parent.glob("evil"))
    place.write_bytes(pack([*members(ONE), member("..evil", b"fine")]))
    await read_all_of(subject)


async def test_a02_absolute_names(subject: Subject, place: Path, tmp_path: Path) -> None:
    place.write_bytes(pack([*members(ONE), member(f"{tmp_path}/evil", b"evil")]))
    with pytest.raises(CorruptError, match=r"is outside of the archive$"):
        await read_all_of(subject)
    assert not (tmp_path / "evil").exists()
    place.write_bytes(pack([*members(ONE), member(f".{tmp_path}/evil", b"fine")]))
    await read_all_of(subject)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
@pytest.mark.parametrize("name", ["index.json", "oci-layout", LAYER])
async def test_a03_links_are_not_read(subject: Subject, place: Path, kind: bytes, name: str) -> None:
    files = layout_files(ONE)
    good = [member(f"good/{name}", files[name]), *members(ONE)]
    place.write_bytes(pack(good))
    await read_all_of(subject)
    link = member(name, type=kind, linkname=f"good/{name}")
    place.write_bytes(pack([link if info.name == name else (info, data) for info, data in good]))
    with pytest.raises(CorruptError, match=rf'^reading archive "image.tar": {name}: not a regular file'):
        await read_all_of(subject)


async def test_a04_nothing_is_written_behind_a_link(subject: Subject, place: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    link = member("l", type=tarfile.SYMTYPE, linkname=str(canary))
    place.write_bytes(pack([link, member("l/x", b"evil"), *members(ONE)]))
    before = sorted(path for path in tmp_path.rglob("*"))
    await read_all_of(subject)
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
async def test_a06_devices_and_pipes(subject: Subject, place: Path, kind: bytes) -> None:
    place.write_bytes(pack([*members(ONE), member("x", type=kind)]))
    with pytest.raises(CorruptError, match=r"member 'x' is a (device|named pipe)$"):
        await read_all_of(subject)
    place.write_bytes(pack([*members(ONE), member("x", type=tarfile.DIRTYPE)]))
    await read_all_of(subject)


@pytest.mark.parametrize("name", ["index.json", "oci-layout", LAYER])
async def test_a07_names_given_twice(subject: Subject, place: Path, name: str) -> None:
    twice = member(name, layout_files(ONE)[name])
    place.write_bytes(pack([*members(ONE), member("other"), member("other")]))
    await read_all_of(subject)
    place.write_bytes(pack([*members(ONE), twice]))
    with pytest.raises(CorruptError, match=f"{name}: the archive has more than one member of this name$"):
        await read_all_of(subject)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("./index.json", True),
        ("././index.json", True),
        ("index.json/x", False),
        (".//index.json", False),
        ("Index.json", False),
        ("\uff49ndex.json", False),
        ("x" * 100_000, False),
    ],
)
async def test_a08_variants_of_a_name(subject: Subject, place: Path, name: str, found: bool) -> None:
    renamed = [(info, data) for info, data in members(ONE) if info.name != "index.json"]
    place.write_bytes(pack([member(name, layout_files(ONE)["index.json"]), *renamed]))
    if found:
        await read_all_of(subject)
        return
    with pytest.raises(FileMissingError, match=r"^open image.tar/index.json: no such file"):
        await read_all_of(subject)


async def test_a09_bombs_end_at_the_quota(subject: Subject, place: Path) -> None:
    bomb = pack([member("zeros", bytes(65 << 20)), *members(ONE)])
    place.write_bytes(gzip.compress(bomb, 9))
    with pytest.raises(LimitError, match=r'^reading archive "image.tar": the archive expands to more than'):
        await read_all_of(subject)
    assert os.listdir(subject.system.scratch) == []
    place.write_bytes(gzip.compress(pack([member("zeros", bytes(20 << 20)), *members(ONE)]), 9))
    await read_all_of(subject)


async def test_a14_sparse_members(subject: Subject, place: Path) -> None:
    sparse = member("x", b"", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": str(1 << 40)})
    place.write_bytes(pack([*members(ONE), sparse]))
    with pytest.raises(CorruptError, match=r"sparse members are refused$"):
        await read_all_of(subject)
    place.write_bytes(pack([*members(ONE), member("x", b"", pax_headers={"comment": "plain"})]))
    await read_all_of(subject)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (b"77777777777\0", "ends behind the archive"),
        (b"\xff" * 12, "negative or over"),
        (b"\x80" + b"\x7f" * 11, "negative or over"),
        (b"junk\0\0\0\0\0\0\0\0", "no octal number"),
    ],
)
async def test_a15_sizes_that_cannot_be(subject: Subject, place: Path, field: bytes, text: str) -> None:
    good = pack(members(ONE))
    block = good[:124] + field + good[136:148] + b" " * 8 + good[156:512]
    place.write_bytes(block[:148] + b"%06o\0 " % sum(block) + block[156:] + good[512:])
    with pytest.raises(CorruptError, match=text):
        await read_all_of(subject)
    place.write_bytes(good)
    await read_all_of(subject)


async def test_a16_long_pax_headers(subject: Subject, place: Path) -> None:
    place.write_bytes(pack([member("x", pax_headers={"comment": "y" * (1 << 20)}), *members(ONE)]))
    with pytest.raises(LimitError, match="an extended header of"):
        await read_all_of(subject)
    place.write_bytes(pack([member("x", pax_headers={"comment": "y" * (1 << 19)}), *members(ONE)]))
    await read_all_of(subject)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b"garbage",
        lambda data: data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512),
        lambda data: data + pack([member("index.json", b"other")]),
    ],
    ids=["garbage", "no end", "two archives"],
)
async def test_a18_what_follows_the_end(
    subject: Subject, place: Path, change: Callable[[bytes], bytes]
) -> None:
    place.write_bytes(change(pack(members(ONE))))
    await read_all_of(subject)
    place.write_bytes(pack(members(ONE))[:-10240])
    with pytest.raises(WherryError, match=r"unexpected EOF|no such file"):
        await read_all_of(subject)


@pytest.mark.parametrize("kind", ["a named pipe", "a directory", "a device"])
async def test_a26_archives_that_are_no_files(subject: Subject, place: Path, kind: str) -> None:
    name = "oci-archive:image.tar"
    if kind == "a named pipe":
        os.mkfifo(place)
    elif kind == "a directory":
        place.mkdir()
    else:
        name = "oci-archive:/dev/zero"
    shown = "/dev/zero" if kind == "a device" else str(place)
    with pytest.raises(CorruptError, match=exactly(f"open {shown}: not a regular file, but {kind}")):
        await read_all_of(subject, name)
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.write_bytes(pack(members(ONE)))
    await read_all_of(subject, name.replace("/dev/zero", "image.tar"))


async def test_a26_links_are_followed_when_the_name_is_read_only(subject: Subject, place: Path) -> None:
    place.with_name("real.tar").write_bytes(pack(members(ONE)))
    place.symlink_to("real.tar")
    await read_all_of(subject)
    reference = parse("oci-archive:image.tar", subject.system)
    assert reference.policy_identity() == str(place.with_name("real.tar"))
    os.rename(place, place.with_name("real.tar"))  # now a link stands where the file was
    opened = reference.source(subject.system, ImageAccess())
    with pytest.raises(CorruptError, match=r"not a regular file, but a symbolic link$"):
        await opened.__aenter__()


async def test_a26_an_archive_that_shrinks_while_it_is_read(subject: Subject, place: Path) -> None:
    place.write_bytes(pack(members(ONE)))
    item, data = ONE.blobs[-1]
    async with parse("oci-archive:image.tar", subject.system).source(subject.system, ImageAccess()) as source:
        assert await blob_bytes(subject, source, item) == data
        os.truncate(place, 1024)
        with pytest.raises(CorruptError, match=r"unexpected EOF$"):
            await blob_bytes(subject, source, item)
        with pytest.raises(CorruptError, match=r"unexpected EOF$"):
            await source.manifest()


async def test_a27_an_archive_that_is_replaced_while_it_is_open(subject: Subject, place: Path) -> None:
    await store(subject, ONE)
    async with subject.source() as source:
        await store(subject, TWO)
        assert (await source.manifest()).raw == ONE.manifest
        for item, data in ONE.blobs:
            assert await blob_bytes(subject, source, item) == data
    await assert_holds(subject, TWO)


async def test_a28_the_target_is_replaced_when_the_new_one_is_complete(subject: Subject, place: Path) -> None:
    place.write_bytes(b"anything")
    async with subject.destination() as destination:
        await write(destination, ONE)
        assert place.read_bytes() == b"anything"
        await destination.commit()
    await assert_holds(subject, ONE)
    assert sorted(path.name for path in place.parent.iterdir()) == [".scratch", "image.tar"]


async def test_a28_only_files_are_replaced(subject: Subject, place: Path) -> None:
    place.mkdir()
    with pytest.raises(
        FileError, match=exactly(f'creating tar file "{place}": open {place}: is a directory')
    ):
        await store(subject, ONE)
    place.rmdir()
    os.mkfifo(place)
    with pytest.raises(CorruptError, match=r"not a regular file, but a named pipe$"):
        await store(subject, ONE)
    place.unlink()
    await store(subject, ONE)


async def test_d01_manifest_bytes_differ_from_index_digest(subject: Subject, place: Path) -> None:
    files = layout_files(ONE)
    name = f"blobs/sha256/{digest.encoded(digest.of(ONE.manifest))}"
    place.write_bytes(pack([member(key, data) for key, data in (files | {name: TWO.manifest}).items()]))
    with pytest.raises(CorruptError, match=r"^Manifest does not match provided manifest digest sha256:"):
        await read_all_of(subject)
    place.write_bytes(pack(members(ONE)))
    await read_all_of(subject)


async def test_d06_a_huge_index_is_not_read(subject: Subject, place: Path) -> None:
    files = layout_files(ONE) | {"index.json": layout_files(ONE)["index.json"].ljust((4 << 20) + 1)}
    place.write_bytes(pack([member(key, data) for key, data in files.items()]))
    with pytest.raises(LimitError, match=r"^read image.tar/index.json: exceeded maximum allowed size"):
        await read_all_of(subject)
    files["index.json"] = files["index.json"][:-1]
    place.write_bytes(pack([member(key, data) for key, data in files.items()]))
    await read_all_of(subject)


async def test_what_a_dead_writer_left_is_removed(subject: Subject, tmp_path: Path) -> None:
    left = tmp_path / f".wherry-{digest.encoded(digest.of(b'image.tar'))[:16]}-{'0' * 16}"
    other = tmp_path / f".wherry-{'f' * 16}-{'0' * 16}"
    for path in (left, other):
        path.write_bytes(b"half")
    await store(subject, ONE)
    assert (left.exists(), other.exists()) == (False, True)


async def test_reuse_asks_this_archive_only(subject: Subject) -> None:
    item, data = ONE.blobs[0]
    async with subject.destination() as destination:
        assert await destination.reuse_blob(item, HINTS) is None
        await destination.put_blob(BytesBlob(data), item)
        assert await destination.reuse_blob(item, HINTS) == item
        wrong = Descriptor(item.media_type, item.digest, item.size + 1)
        assert await destination.reuse_blob(wrong, HINTS) is None


async def test_copies_from_archives(images: Path, tmp_path: Path) -> None:
    system = make_system(tmp_path)
    raw = await copy_image(system, f"oci-archive:{images}/one.tar.gz:latest", "oci-archive:a.tar:b")
    assert await copy_image(system, "oci-archive:a.tar:b", "oci:c:d") == raw
    with tarfile.open(tmp_path / "a.tar") as archive:
        index = archive.extractfile("index.json")
        assert index is not None
        assert json.loads(index.read()) == json.loads(
            (tmp_path / "c/index.json").read_text().replace('"d"', '"b"')
        )
