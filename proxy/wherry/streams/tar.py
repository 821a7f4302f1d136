"""Tar archives, read by an index of their headers and written header by header; nothing is ever extracted.

The formats are POSIX.1-2001 (ustar and pax) and GNU's long names and base-256 numbers. The rules for hostile
archives are ours: what two readers could understand differently is refused (hostile-cases.md, A rows). Where
there is no danger the reading is that of Go's archive/tar.

The standard library's tarfile is not used: it extracts, and its reader has looped for ever on some headers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from wherry.errors import CorruptError, LimitError, NotFoundError, OperationCancelledError, file_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BLOCK: Final = 512
LONGEST: Final = (1 << 63) - 1

Kind = Literal["file", "directory", "symlink", "hardlink"]


class Limits(Struct, frozen=True):
    """`members`: headers in an archive; `extended`: bytes of one pax or long-name header; `names`: bytes of
    all names together."""

    members: int = 1_000_000
    extended: int = 1 << 20
    names: int = 64 << 20


class Member(Struct, frozen=True):
    """An entry: where its bytes are in the archive.

    `duplicate`: the archive has more than one of this name; `linkname`: what a link names, as it is written.
    """

    name: str
    offset: int
    size: int
    kind: Kind
    linkname: str = ""
    duplicate: bool = False


def _never() -> bool:
    return False


def index(
    fd: int, size: int, *, limits: Limits | None = None, stop: Callable[[], bool] = _never
) -> Mapping[str, Member]:
    """Read all headers of the archive in the first `size` bytes of `fd`, once; in a data thread.

    Names keep their form but for a leading `./` and a directory's final `/`; bytes that are no UTF-8 become
    surrogates. Whatever follows the first block of zeros is ignored, and the end needs no such block. `stop`
    is asked before each header.

    Raises CorruptError: for a header that is none, for a name that leads out of the archive, for devices,
    FIFOs and sparse members, for a member that ends behind the file; LimitError; OperationCancelledError.
    """
    reader = _Reader(fd, size, limits or Limits(), stop)
    members: dict[str, Member] = {}
    while (member := reader.next()) is not None:
        if member.name in members:
            member = Member(member.name, member.offset, member.size, member.kind, member.linkname, True)
        members[member.name] = member
    return members


def regular(members: Mapping[str, Member], name: str) -> Member:
    """The member of this name that may be read.

    Raises NotFoundError, or CorruptError for a link, for a directory and for a name given twice.
    """
    member = members.get(name)
    if member is None:
        raise NotFoundError(f"{name}: no such file in the archive")
    if member.duplicate:
        raise CorruptError(f"{name}: the archive has more than one member of this name")
    if member.kind != "file":
        raise CorruptError(f"{name}: not a regular file in the archive, but a {member.kind}")
    return member


class _Reader:
    """Goes from header to header; the state is what extended headers said about the next member."""

    def __init__(self, fd: int, size: int, limits: Limits, stop: Callable[[], bool]) -> None:
        self._fd = fd
        self._size = size
        self._limits = limits
        self._stop = stop
        self._at = 0
        self._headers = 0
        self._names = 0

    def next(self) -> Member | None:
        pax: dict[bytes, bytes] = {}
        long_name = long_link = b""
        while True:
            block = self._header()
            if block is None:
                if pax or long_name or long_link:
                    raise CorruptError("tar: an extended header is followed by no member")
                return None
            flag = block[156:157]
            if flag not in b"xgLK":
                return self._member(block, flag, pax, long_name, long_link)
            content = self._extended(_size_field(block))
            if flag == b"x":
                pax = _pax_records(content)
            elif flag == b"g":
                _pax_records(content)  # of no effect on members, as in Go; but it must be well-formed
            elif flag == b"L":
                long_name = content.partition(b"\0")[0]
            else:
                long_link = content.partition(b"\0")[0]

    def _header(self) -> bytes | None:
        if self._stop():
            raise OperationCancelledError("reading the archive was cancelled")
        block = self._read(self._at, BLOCK)
        if not block or not any(block):
            if 0 < len(block) < BLOCK:
                raise CorruptError("tar: unexpected EOF in a header")
            return None
        if len(block) < BLOCK:
            raise CorruptError("tar: unexpected EOF in a header")
        self._headers += 1
        if self._headers > self._limits.members:
            raise LimitError(f"tar: more than {self._limits.members} members")
        _check_sum(block, self._at)
        self._at += BLOCK
        return block

    def _extended(self, size: int) -> bytes:
        if size > self._limits.extended:
            raise LimitError(f"tar: an extended header of {size} bytes; {self._limits.extended} are allowed")
        content = self._read(self._at, size)
        if len(content) < size:
            raise CorruptError("tar: unexpected EOF in an extended header")
        self._at += _padded(size)
        return content

    def _member(
        self, block: bytes, flag: bytes, pax: Mapping[bytes, bytes], long_name: bytes, long_link: bytes
    ) -> Member:
        raw = long_name or pax.get(b"path", b"") or _short_name(block)
        link = long_link or pax.get(b"linkpath", b"") or block[157:257].partition(b"\0")[0]
        self._names += len(raw) + len(link)
        if self._names > self._limits.names:
            raise LimitError(f"tar: names of more than {self._limits.names} bytes")
        kind = _kind(flag, raw)
        size = 0
        if kind == "file":  # the others have no content, whatever their size field says (as in Go)
            size = _pax_size(pax[b"size"]) if pax.get(b"size") else _size_field(block)
        if size > self._size - self._at:
            raise CorruptError(f"tar: unexpected EOF: member {_text(raw)!r} ends behind the archive")
        if kind == "file" and raw.endswith(b"/"):
            kind = "directory"  # how archives older than ustar said it; content is passed over
        name = _clean_name(raw, kind)
        member = Member(name, self._at, size, kind, _text(link) if kind in ("symlink", "hardlink") else "")
        self._at += _padded(size)
        return member

    def _read(self, at: int, count: int) -> bytes:
        count = min(count, self._size - at)
        parts = bytearray()
        while len(parts) < count:
            try:
                part = os.pread(self._fd, count - len(parts), at + len(parts))
            except OSError as error:
                raise file_error("read", "archive", error) from error
            if not part:
                break
            parts += part
        return bytes(parts)


_KINDS: Mapping[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"5": "directory",
}
_REFUSED = {b"3": "a device", b"4": "a device", b"6": "a named pipe", b"S": "a sparse file"}


def _kind(flag: bytes, raw: bytes) -> Kind:
    kind = _KINDS.get(flag)
    if kind is None:
        what = _REFUSED.get(flag, f"of the unknown type {flag!r}")
        raise CorruptError(f"tar: member {_text(raw)!r} is {what}")
    return kind


def _clean_name(raw: bytes, kind: Kind) -> str:
    name = _text(raw)
    if b"\0" in raw or not raw:
        raise CorruptError(f"tar: {name!r} can't be a member's name")
    if raw.startswith(b"/") or b".." in raw.split(b"/"):
        raise CorruptError(f"tar: member {name!r} is outside of the archive")
    while name.startswith("./"):
        name = name[2:]
    if kind == "directory":
        name = name.rstrip("/") or "."
    elif not name:
        raise CorruptError("tar: '' can't be a member's name")
    return name


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _short_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[257:265] != b"ustar\x0000":
        return name
    # Joerg Schilling's star marks its own layout at the block's end: its prefix is shorter.
    end = 345 + (131 if block[508:512] == b"tar\0" else 155)
    prefix = block[345:end].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _check_sum(block: bytes, at: int) -> None:
    field = block[148:156]
    blank = block[:148] + b" " * 8 + block[156:]
    unsigned, given = sum(blank), _octal(field, "checksum")
    # Some old writers summed signed characters.
    if given != unsigned and given != unsigned - 256 * sum(byte > 127 for byte in blank):
        raise CorruptError(f"tar: invalid header at byte {at}")


def _octal(field: bytes, what: str) -> int:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if len(digits) > 21 or any(byte not in b"01234567" for byte in digits):
        raise CorruptError(f"tar: invalid header: the {what} is no octal number")
    return int(digits, 8)


def _size_field(block: bytes) -> int:
    field = block[124:136]
    if not field[0] & 0x80:
        return _octal(field, "size")
    size = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    if field[0] & 0x40 or size > LONGEST:
        raise CorruptError("tar: invalid header: the size is negative or over 2^63-1")
    return size


def _pax_size(value: bytes) -> int:
    if len(value) > 19 or any(byte not in b"0123456789" for byte in value) or int(value) > LONGEST:
        raise CorruptError(f"tar: invalid pax size {_text(value[:40])!r}")
    return int(value)


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """Parse `LENGTH KEY=VALUE\\n` records, each byte looked at once; a later record of a key wins."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 8)
        digits = content[at:space] if space > 0 else b""
        end = at + int(digits) if digits and all(byte in b"0123456789" for byte in digits) else 0
        if not space < end <= len(content) or content[end - 1 : end] != b"\n":
            raise CorruptError("tar: invalid pax record")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not key or not equals or b"\0" in key or (key in (b"path", b"linkpath") and b"\0" in value):
            raise CorruptError("tar: invalid pax record")
        if key.startswith(b"GNU.sparse."):
            raise CorruptError("tar: sparse members are refused")
        records[key] = value
        at = end
    return records


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


TRAILER: Final = bytes(2 * BLOCK)
"""What ends an archive."""


def padding(size: int) -> bytes:
    """The zeros that follow a member of `size` bytes."""
    return bytes(_padded(size) - size)


_FLAGS: Mapping[Kind, bytes] = {"file": b"0", "hardlink": b"1", "symlink": b"2", "directory": b"5"}


def header(
    name: str,
    size: int,
    *,
    mode: int = 0o644,
    mtime: int = 0,
    kind: Kind = "file",
    linkname: str = "",
    uid: int = 0,
    gid: int = 0,
) -> bytes:
    """The header of a member: ustar where that can say it, else preceded by a pax header; as Go writes them.

    `name`: of a directory with its final `/`; `mtime`: whole seconds since the epoch.
    """
    pax: dict[str, str] = {}
    prefix = ""
    if len(name.encode()) > 100 or not name.isascii():
        pax["path"] = name
        prefix = _ustar_prefix(name)
    if len(linkname.encode()) > 100 or not linkname.isascii():
        pax["linkpath"] = linkname
    for key, value, digits in (("gid", gid, 7), ("mtime", mtime, 11), ("size", size, 11), ("uid", uid, 7)):
        if not 0 <= value < 8**digits:
            pax[key] = str(value)
    if prefix and len(pax) == 1:
        rest = name[len(prefix) + 1 :]
        return _block(rest, size, mode, mtime, _FLAGS[kind], linkname, uid, gid, prefix)
    block = _block(name, size, mode, mtime, _FLAGS[kind], linkname, uid, gid)
    if not pax:
        return block
    records = b"".join(_pax_record(key, pax[key]) for key in sorted(pax))
    directory, _, base = name.rpartition("/")
    shown = "/".join(part for part in (directory, "PaxHeaders.0", base) if part)
    extended = _block(_ascii(shown)[:100].rstrip("/"), len(records), 0, 0, b"x", "", 0, 0)
    return extended + records + padding(len(records)) + block


def _ustar_prefix(name: str) -> str:
    """The part of a long name for ustar's prefix field; "" where the name can't be split."""
    if not name.isascii():
        return ""
    split = name.rfind("/", 0, min(156, len(name.removesuffix("/"))))
    if split <= 0 or split > 155 or not 0 < len(name) - split - 1 <= 100:
        return ""
    return name[:split]


def _block(
    name: str,
    size: int,
    mode: int,
    mtime: int,
    flag: bytes,
    linkname: str,
    uid: int,
    gid: int,
    prefix: str = "",
) -> bytes:
    fields = (
        _field(_ascii(name), 100),
        _number(mode, 7),
        _number(uid, 7),
        _number(gid, 7),
        _number(size, 11),
        _number(mtime, 11),
        b" " * 8,
        flag,
        _field(_ascii(linkname), 100),
        b"ustar\x0000",
        bytes(64),  # names of user and group
        bytes(16) if flag == b"x" else 2 * _number(0, 7),  # the device's numbers, as Go has them
        _field(prefix, 155),
        bytes(12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _number(value: int, digits: int) -> bytes:
    fits = 0 <= value < 8**digits  # else a pax record says it
    return b"%0*o\0" % (digits, value if fits else 0)


def _ascii(text: str) -> str:
    return "".join(character for character in text if "\0" < character < "\x80")


def _field(text: str, size: int) -> bytes:
    field = text[:size]
    if len(text) > size and field.endswith("/"):
        field = field.rstrip("/")  # a cut name must not look like a directory's
    return field.encode("ascii").ljust(size, b"\0")


def _pax_record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body
