"""Our tar reader and writer, against archives of Go, of Python's tarfile and of nobody's good will."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import CorruptError, LimitError, NotFoundError, OperationCancelledError
from wherry.streams import tar
from wherry.streams.tar import BLOCK, TRAILER, Limits, Member

GOLDEN = Path(__file__).parent / "golden"
LONG = "n" * 90


@contextmanager
def opened(data: bytes) -> Iterator[int]:
    fd = os.memfd_create("archive")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def index(data: bytes, limits: Limits | None = None) -> Mapping[str, Member]:
    with opened(data) as fd:
        return tar.index(fd, len(data), limits=limits)


def entry(name: bytes, content: bytes = b"", *, flag: bytes = b"0", size: bytes | None = None) -> bytes:
    """A header, correct but for what the test wants, and the content."""
    length = b"%011o\0" % len(content) if size is None else size
    start = name.ljust(100, b"\0") + b"0000644\x00" + b"0000000\x00" * 2 + length + b"00000000000\0"
    rest = flag + bytes(100) + b"ustar\x0000" + bytes(247)
    checksum = b"%06o\0 " % (sum(start) + sum(rest) + 8 * 32)
    return start + checksum + rest + content + tar.padding(len(content))


def pax(*records: tuple[str, str]) -> bytes:
    content = b""
    for key, value in records:
        body = f" {key}={value}\n".encode()
        length = len(body) + len(str(len(body)))
        length = len(body) + len(str(length))
        content += str(length).encode() + body
    return entry(b"PaxHeaders/x", content, flag=b"x")


GOOD = entry(b"index.json", b"{}")


def test_what_skopeo_wrote_is_written_again() -> None:
    """Recorded with skopeo 1.22-dev: `skopeo copy oci:docs/examples/hello oci-archive:…`."""
    golden = (GOLDEN / "skopeo-oci-archive.tar").read_bytes()
    members = index(golden)
    assert [member.kind for member in members.values()] == ["directory"] * 2 + ["file"] * 7
    assert list(members) == sorted(members)
    assert golden[members["oci-layout"].offset :].startswith(b'{"imageLayoutVersion":"1.0.0"}')
    written = b""
    for member in members.values():
        mtime = int(golden[len(written) + 136 : len(written) + 147], 8)
        name, mode = (member.name + "/", 0o755) if member.kind == "directory" else (member.name, 0o644)
        written += tar.header(name, member.size, mode=mode, mtime=mtime, kind=member.kind)
        written += golden[member.offset : member.offset + member.size] + tar.padding(member.size)
    assert written + TRAILER == golden


def test_headers_are_those_of_go() -> None:
    """Recorded with Go 1.26's archive/tar: long, split, foreign names, large numbers, links."""
    when = 1700000000
    written = [
        tar.header("blobs/", 0, mode=0o755, kind="directory", mtime=when),
        tar.header("index.json", 0, mtime=when),
        tar.header("abc/layer.tar", 0, kind="symlink", linkname="../x.tar", mode=0o444),
        tar.header(f"d/{LONG}", 0, mtime=when),
        tar.header(f"d/{LONG}/{LONG}", 0, mtime=when),
        tar.header("big", 0, mtime=when, uid=3000000),
        tar.header("é", 0, mtime=when),
        tar.header("huge", 9 << 30, mtime=when),
    ]
    golden = (GOLDEN / "go-headers.tar").read_bytes()
    # Go's sixth member has names of a user and a group, which we never write.
    assert b"".join(written) == golden[: 5 * BLOCK] + golden[6 * BLOCK :]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_names_survive(name: str) -> None:
    directory = name.endswith("/")
    content = b"" if directory else b"abc"
    data = tar.header(name, len(content), mtime=1, kind="directory" if directory else "file")
    data += content + tar.padding(len(content)) + TRAILER
    if name.startswith("/") or ".." in name.split("/"):
        with pytest.raises(CorruptError, match="outside of the archive"):
            index(data)
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as theirs:
        assert [member.name for member in theirs] == [name.rstrip("/")]
    wanted = name
    while wanted.startswith("./"):
        wanted = wanted[2:]
    if directory:
        assert index(data)[wanted.rstrip("/") or "."].kind == "directory"
    else:
        (member,) = index(data).values()
        assert (member.name, member.size, member.kind) == (wanted, 3, "file")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_others_write_is_read(form: int) -> None:
    names = ["short", "d/" + "x" * 99, f"{LONG}/{LONG}"]
    if form != tarfile.USTAR_FORMAT:
        names += ["e" * 400, "ümlaut/" + "ü" * 120]
    target = names[0] if form == tarfile.USTAR_FORMAT else names[-1]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            archive.addfile(info, io.BytesIO(name.encode()))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
    members = index(buffer.getvalue())
    assert list(members) == [*names, "link"]
    for name in names:
        member = tar.regular(members, name)
        assert buffer.getvalue()[member.offset : member.offset + member.size] == name.encode()
    assert (members["link"].kind, members["link"].linkname) == ("symlink", target)


@pytest.mark.parametrize(
    "data",
    [
        entry(b"../x"),
        entry(b"a/../../x"),
        entry(b"./../x"),
        entry(b".."),
        pax(("path", "../../tmp/x")) + entry(b"x"),
        entry(b"././@LongLink", b"../x\0", flag=b"L") + entry(b"x"),
        entry(b"../x", flag=b"5"),
    ],
)
def test_a01_a_name_that_leads_out_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptError, match="is outside of the archive"):
        index(GOOD + data)
    assert set(index(GOOD + entry(b"..x") + entry(b"a/...") + TRAILER)) == {"index.json", "..x", "a/..."}


def test_a02_an_absolute_name_is_refused() -> None:
    for data in (entry(b"/abs/x"), pax(("path", "/abs/x")) + entry(b"x")):
        with pytest.raises(CorruptError, match=r"^tar: member '/abs/x' is outside of the archive$"):
            index(data)
    assert set(index(entry(b"abs/x"))) == {"abs/x"}


@pytest.mark.parametrize(("flag", "kind"), [(b"1", "hardlink"), (b"2", "symlink")])
def test_a03_a_link_is_no_member_to_read(flag: bytes, kind: str) -> None:
    members = index(pax(("linkpath", "/etc/shadow")) + entry(b"index.json", flag=flag))
    assert members["index.json"].linkname == "/etc/shadow"
    with pytest.raises(CorruptError, match=rf"^index.json: not a regular file in the archive, but a {kind}$"):
        tar.regular(members, "index.json")
    assert tar.regular(index(GOOD), "index.json").size == 2


def test_a04_nothing_is_written_behind_a_link(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    data = pax(("linkpath", str(canary))) + entry(b"l", flag=b"2") + entry(b"l/x", b"payload")
    members = index(data)
    assert data[members["l/x"].offset :].startswith(b"payload")
    assert list(canary.iterdir()) == []


@pytest.mark.parametrize(("flag", "kind"), [(b"3", "a device"), (b"4", "a device"), (b"6", "a named pipe")])
def test_a06_devices_and_pipes_are_refused(flag: bytes, kind: str) -> None:
    with pytest.raises(CorruptError, match=rf"^tar: member 'index.json' is {kind}$"):
        index(entry(b"index.json", flag=flag))
    with pytest.raises(CorruptError, match=r"is of the unknown type b'Z'$"):
        index(entry(b"index.json", flag=b"Z"))


def test_a07_a_name_given_twice_is_refused_when_it_is_used() -> None:
    members = index(entry(b"index.json", b"1") + entry(b"./index.json", b"2") + entry(b"once"))
    with pytest.raises(
        CorruptError, match=r"^index.json: the archive has more than one member of this name$"
    ):
        tar.regular(members, "index.json")
    assert tar.regular(members, "once").size == 0


def test_a08_only_a_leading_dot_is_normalised() -> None:
    variants = [
        b"index.json/",
        b"blobs//sha256/x",
        b"index.json ",
        b"a/./b",
        "é".encode(),
        "e\u0301".encode(),
    ]
    members = index(
        b"".join(map(entry, variants)) + entry(b"././oci-layout", b"{}") + entry(b"./", flag=b"5")
    )
    assert tar.regular(members, "oci-layout").size == 2
    assert index(entry(b"old/", b"content") + GOOD)["index.json"].size == 2
    with pytest.raises(CorruptError, match="not a regular file in the archive, but a directory"):
        tar.regular(members, "index.json")
    for name in ("blobs/sha256/x", "a/b"):
        with pytest.raises(NotFoundError, match=rf"^{name}: no such file in the archive$"):
            tar.regular(members, name)
    assert {"é", "e\u0301"} < set(members)
    with pytest.raises(CorruptError, match=r"^tar: invalid pax record$"):
        index(pax(("path", "index.json\0x")) + entry(b"x"))
    long = "p" * 100_000
    assert set(index(pax(("path", long)) + entry(b"x"))) == {long}


@pytest.mark.parametrize(
    "data",
    [
        entry(b"x", flag=b"S"),
        pax(("GNU.sparse.major", "1")) + entry(b"x"),
        pax(("GNU.sparse.realsize", str(1 << 40))) + entry(b"x"),
    ],
)
def test_a14_sparse_members_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptError, match="sparse"):
        index(data)
    assert set(index(pax(("GNU.other", "1")) + entry(b"x"))) == {"x"}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (b"\xff" * 12, "negative"),
        (b"\xff" * 11 + b"\x00", "negative"),
        (b"\x80\x00\x00\x00\x80" + bytes(7), "over 2"),
        (b"\x80\x00\x00\x00\x7f" + b"\xff" * 7, "ends behind the archive"),
        (b"77777777777\0", "ends behind the archive"),
        (b"-0000000001\0", "no octal number"),
        (b"0000000008\0\0", "no octal number"),
        (b"0x10       \0", "no octal number"),
    ],
)
def test_a15_sizes_that_can_not_be(size: bytes, text: str) -> None:
    with pytest.raises(CorruptError, match=text):
        index(entry(b"x", b"content", size=size))
    with pytest.raises(CorruptError, match="unexpected EOF: member 'x' ends behind the archive"):
        index(pax(("size", str((1 << 63) - 1))) + entry(b"x"))
    for wrong in ("-1", "9" * 19, "1e3", "9" * 5000):
        with pytest.raises(CorruptError, match="invalid pax size"):
            index(pax(("size", wrong)) + entry(b"x"))
    assert index(entry(b"x", b"content", size=b"\x80" + bytes(10) + b"\x07"))["x"].size == 7
    assert index(entry(b"x", b"content", size=b" 7\0" + bytes(9)))["x"].size == 7
    assert index(pax(("size", "7")) + entry(b"x", b"content", size=bytes(12)))["x"].size == 7


def test_a15_a_damaged_header_is_refused() -> None:
    damaged = bytearray(GOOD)
    damaged[0] ^= 1
    with pytest.raises(CorruptError, match=r"^tar: invalid header at byte 1024$"):
        index(GOOD + bytes(damaged))


def test_a16_extended_headers_are_bounded() -> None:
    for flag in (b"x", b"g", b"L", b"K"):
        with pytest.raises(LimitError, match=r"an extended header of 1048577 bytes; 1048576 are allowed"):
            index(entry(b"x", b"1" * ((1 << 20) + 1), flag=flag) + GOOD)
    largest = "1048576 comment=" + "c" * ((1 << 20) - 17) + "\n"
    assert len(largest) == 1 << 20
    assert set(index(entry(b"x", largest.encode(), flag=b"x") + GOOD)) == {"index.json"}
    for broken in (
        b"9" * 1000,
        b"5 a=b",
        b"99 a=b\n",
        b"0 a=b\n",
        b"7 a=b\n" * 3,
        b" a=b\n",
        b"5 =b\n",
        b"5 ab\n",
    ):
        with pytest.raises(CorruptError, match=r"^tar: invalid pax record$"):
            index(entry(b"x", broken, flag=b"x") + GOOD)
    with pytest.raises(CorruptError, match=r"^tar: an extended header is followed by no member$"):
        index(pax(("path", "x")) + TRAILER)


def test_a16_the_number_of_members_and_their_names_are_bounded() -> None:
    with pytest.raises(LimitError, match=r"^tar: more than 2 members$"):
        index(entry(b"a") + entry(b"b") + entry(b"c"), Limits(members=2))
    assert len(index(entry(b"a") + entry(b"b"), Limits(members=2))) == 2
    with pytest.raises(LimitError, match=r"^tar: names of more than 5 bytes$"):
        index(entry(b"abc") + entry(b"def"), Limits(names=5))


def test_a18_the_end_may_be_missing_and_ends_all() -> None:
    for end in (b"", bytes(BLOCK), TRAILER, TRAILER + b"garbage" * 100, TRAILER + entry(b"second")):
        assert set(index(GOOD + end)) == {"index.json"}
    assert set(index(GOOD[: BLOCK + 2])) == {"index.json"}
    assert index(b"") == {}
    for cut, text in ((BLOCK + 1, "ends behind the archive"), (BLOCK - 1, "unexpected EOF in a header")):
        with pytest.raises(CorruptError, match=text):
            index(GOOD[:cut])
    with pytest.raises(CorruptError, match="unexpected EOF in an extended header"):
        index(pax(("path", "x"))[:-505])


def test_the_reader_stops_when_it_is_told() -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 1

    with opened(GOOD * 3) as fd, pytest.raises(OperationCancelledError, match="reading the archive"):
        tar.index(fd, 3 * len(GOOD), stop=stop)


def test_old_checksums_of_signed_characters_are_accepted() -> None:
    header = bytearray(entry("é".encode()))
    signed = sum(byte - 256 * (byte > 127) for byte in header[:148] + b" " * 8 + header[156:BLOCK])
    header[148:156] = b"%06o\0 " % signed
    assert set(index(bytes(header))) == {"é"}
