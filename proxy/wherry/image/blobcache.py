"""Where blobs are known to lie, in the file that containers/image keeps and skopeo and podman use too
(skopeo-reference 3.7, N10).

It is a cache: what it says may be out of date, and has to be asked for; what can't be read or written is as
if it were empty. Only what was seen here may be recorded: a blob at a place that gave or took it, a digest
pair that was computed. What a manifest claims would let its author change other images.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote as url_quote

import trio

from wherry.errors import InvalidError
from wherry.model import digest as digests

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from wherry.model.digest import Digest
    from wherry.system import System

FILE: Final = "blob-info-cache-v1.sqlite"
KNOWN_MOST: Final = 5
UNKNOWN_MOST: Final = 2
UNCOMPRESSED: Final = "uncompressed"
_BUSY_S: Final = 5.0

# The reference's schema; it takes the last one's presence for that of all.
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS DigestUncompressedPairs("
    "anyDigest TEXT PRIMARY KEY NOT NULL, uncompressedDigest TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS DigestUncompressedPairs_index_uncompressedDigest "
    "ON DigestUncompressedPairs(uncompressedDigest)",
    "CREATE TABLE IF NOT EXISTS DigestCompressors("
    "digest TEXT PRIMARY KEY NOT NULL, compressor TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS KnownLocations(transport TEXT NOT NULL, scope TEXT NOT NULL, "
    "digest TEXT NOT NULL, location TEXT NOT NULL, time TIMESTAMP NOT NULL, "
    "PRIMARY KEY (transport, scope, digest, location))",
    "CREATE TABLE IF NOT EXISTS DigestTOCUncompressedPairs("
    "tocDigest TEXT PRIMARY KEY NOT NULL, uncompressedDigest TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS DigestSpecificVariantCompressors(digest TEXT PRIMARY KEY NOT NULL, "
    "specificVariantCompressor TEXT NOT NULL, specificVariantAnnotations BLOB NOT NULL)",
)
_LAST: Final = "DigestSpecificVariantCompressors"


class Scope(NamedTuple):
    """Within which blobs can be reused: a transport's name and, for docker, the registry (`host:port`)."""

    transport: str
    name: str


class Candidate(NamedTuple):
    """A blob that may stand for the one asked for: at `location` (docker: a repository's full name), or with
    None only known to be the same content. `compressor` is "" where it is not known."""

    digest: Digest
    location: str | None
    compressor: str = ""


class _Row(NamedTuple):
    candidate: Candidate
    seen: float


def cache_path(system: System) -> str | None:
    """Where the user's cache is; None where he has no place for one, or is one of several (design decision 5:
    what one user of a shared service pushed is not told to another)."""
    if not system.own_credentials:
        return None
    rootless = system.environ.get("_CONTAINERS_ROOTLESS_UID", "")
    uid = int(rootless) if rootless.isascii() and rootless.isdigit() else system.uid
    if uid == 0:
        return system.etc("var", "lib", "containers", "cache", FILE)
    data = system.environ.get("XDG_DATA_HOME", "")
    if not data and system.home:
        data = os.path.join(system.home, ".local", "share")
    return os.path.join(data, "containers", "cache", FILE) if data else None


class BlobCache:
    """The cache file at `path`, None for none. It is opened when it is asked, and written by `save` alone."""

    def __init__(self, path: str | None, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall = wall
        self._locations: dict[tuple[Scope, Digest, str], float] = {}
        self._pairs: dict[Digest, Digest] = {}
        self._compressors: dict[Digest, str] = {}

    def note_location(self, scope: Scope, digest: Digest, location: str) -> None:
        """The blob was read from, or taken by, `location` a moment ago."""
        if self._path is not None:
            self._locations[scope, digest, location] = self._wall()

    def note_pair(self, digest: Digest, uncompressed: Digest, compressor: str) -> None:
        """What has `digest` was decompressed here, or made here of what has `uncompressed`.

        `compressor`: the algorithm's name (`gzip`), UNCOMPRESSED where both digests are the same.
        """
        if self._path is not None:
            self._pairs[digest] = uncompressed
            self._pairs[uncompressed] = uncompressed
            self._compressors[digest] = compressor
            self._compressors[uncompressed] = UNCOMPRESSED

    async def candidates(
        self, scope: Scope, wanted: Sequence[Digest], *, may_substitute: bool = False
    ) -> Mapping[Digest, Sequence[Candidate]]:
        """For each digest its candidates, the most promising first: up to 5 with a location, then up to 2
        without, as far as 5 are not reached.

        With `may_substitute` other compressions of the same content count, if how they are compressed is
        known; the uncompressed form comes last.
        """
        path = self._path
        if path is None or not wanted:
            return {}
        return await trio.to_thread.run_sync(lambda: _read(path, scope, wanted, may_substitute))

    async def save(self) -> None:
        """Write what was noted, in one transaction; where it can't be written it is forgotten."""
        path = self._path
        if path is None or not (self._locations or self._pairs):
            return
        locations, self._locations = self._locations, {}
        pairs, self._pairs = self._pairs, {}
        compressors, self._compressors = self._compressors, {}
        await trio.to_thread.run_sync(lambda: _write(path, locations, pairs, compressors))


def _read(
    path: str, scope: Scope, wanted: Sequence[Digest], may_substitute: bool
) -> dict[Digest, list[Candidate]]:
    import sqlite3  # a slow import

    try:
        if not os.path.exists(path):
            return {}
        # Read-only: whoever only reads makes no file.
        with closing(sqlite3.connect(f"file:{url_quote(path)}?mode=ro", _BUSY_S, uri=True)) as database:
            database.isolation_level = None
            database.execute("BEGIN")
            return {each: _candidates(database, scope, each, may_substitute) for each in wanted}
    except (sqlite3.Error, OSError, ValueError):
        return {}


def _candidates(
    database: sqlite3.Connection, scope: Scope, wanted: Digest, may_substitute: bool
) -> list[Candidate]:
    rows = list(_located(database, scope, wanted, ""))
    uncompressed = _text(
        database, "SELECT uncompressedDigest FROM DigestUncompressedPairs WHERE anyDigest = ?", wanted
    )
    if may_substitute and uncompressed:
        others = database.execute(
            "SELECT anyDigest FROM DigestUncompressedPairs WHERE uncompressedDigest = ?", (uncompressed,)
        ).fetchall()
        for text in {*(str(row[0]) for row in others), uncompressed} - {wanted}:
            rows += _substitutes(database, scope, text)
    return _prioritized(rows, wanted, uncompressed)


def _substitutes(database: sqlite3.Connection, scope: Scope, text: str) -> Iterator[_Row]:
    compressor = _text(database, "SELECT compressor FROM DigestCompressors WHERE digest = ?", text)
    try:
        found = digests.parse(text)
    except InvalidError:
        return
    if not compressor:
        return  # the manifest would not know what to call it
    rows = list(_located(database, scope, found, compressor))
    yield from rows or [_Row(Candidate(found, None, compressor), -math.inf)]


def _located(database: sqlite3.Connection, scope: Scope, digest: Digest, compressor: str) -> Iterator[_Row]:
    found = database.execute(
        "SELECT location, time FROM KnownLocations WHERE transport = ? AND scope = ? AND digest = ?",
        (scope.transport, scope.name, digest),
    )
    for location, seen in found:
        if isinstance(location, str):
            yield _Row(Candidate(digest, location, compressor), _seconds(seen))


def _text(database: sqlite3.Connection, query: str, parameter: str) -> str:
    row = database.execute(query, (parameter,)).fetchone()
    return row[0] if row is not None and isinstance(row[0], str) else ""


def _prioritized(rows: Iterable[_Row], wanted: Digest, uncompressed: str) -> list[Candidate]:
    """The reference's order: the digest itself, then by time, the uncompressed form last."""

    def rank(row: _Row) -> tuple[bool, bool, float, str]:
        digest = row.candidate.digest
        return (digest != wanted, digest == uncompressed and digest != wanted, -row.seen, digest)

    ordered = [row.candidate for row in sorted(rows, key=rank)]
    known = [each for each in ordered if each.location is not None][:KNOWN_MOST]
    unknown = [each for each in ordered if each.location is None]
    return known + unknown[: min(UNKNOWN_MOST, KNOWN_MOST - len(known))]


def _write(
    path: str,
    locations: Mapping[tuple[Scope, Digest, str], float],
    pairs: Mapping[Digest, Digest],
    compressors: Mapping[Digest, str],
) -> None:
    import sqlite3

    rows = [
        (scope.transport, scope.name, digest, location, _timestamp(seen))
        for (scope, digest, location), seen in locations.items()
    ]
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with closing(sqlite3.connect(path, _BUSY_S)) as database:
            database.isolation_level = None
            database.execute("BEGIN EXCLUSIVE")
            if database.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (_LAST,)).fetchone() is None:
                for statement in _SCHEMA:
                    database.execute(statement)
            database.executemany("INSERT OR REPLACE INTO KnownLocations VALUES (?, ?, ?, ?, ?)", rows)
            database.executemany(
                "INSERT OR REPLACE INTO DigestUncompressedPairs VALUES (?, ?)", pairs.items()
            )
            database.executemany(
                "INSERT OR REPLACE INTO DigestCompressors VALUES (?, ?)", compressors.items()
            )
            database.execute("COMMIT")
    except (sqlite3.Error, OSError):
        return


def _timestamp(seconds: float) -> str:
    """A time as Go's driver writes it: `2006-01-02 15:04:05.999999999-07:00`, local time."""
    moment = datetime.fromtimestamp(seconds).astimezone()
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}{moment.isoformat()[-6:]}"


def _seconds(text: object) -> float:
    """Since the epoch; what can't be read was never."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return -math.inf
