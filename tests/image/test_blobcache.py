"""The blob-info cache: its file, its order, and what a copy does with it."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.clients.test_cli_run import EXAMPLES, Ended, read_all
from tests.fakes.registry import FakeRegistry, Reply, error
from tests.peers.servers import Registry
from wherry.image.blobcache import FILE, UNCOMPRESSED, BlobCache, Candidate, Scope, cache_path
from wherry.model import digest as digests
from wherry.model.digest import Digest
from wherry.protocol.options import PlatformChoice
from wherry.streams.threads import DataThreads
from wherry.system import System
from wherry_cli.__main__ import run

HELLO = EXAMPLES / "hello"
BLOBS = [path.name for path in (HELLO / "blobs" / "sha256").iterdir()]
HERE = Scope("docker", "r.example:5000")
A, B, C, PLAIN = (digests.of(letter) for letter in (b"a", b"b", b"c", b"plain"))


class Clock:
    """A wall clock that goes on by a second at each look."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.25

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "deep" / "er" / FILE)


def rows(path: str | Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def system(**members: object) -> System:
    return System(platform=PlatformChoice("linux", "amd64"), threads=DataThreads(), **members)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({"uid": 0, "home": "/h"}, f"/var/lib/containers/cache/{FILE}"),
        ({"uid": 0, "root": "/r"}, f"/r/var/lib/containers/cache/{FILE}"),
        ({"uid": 7, "home": "/h"}, f"/h/.local/share/containers/cache/{FILE}"),
        ({"uid": 7, "home": "/h", "environ": {"XDG_DATA_HOME": "/x"}}, f"/x/containers/cache/{FILE}"),
        (
            {"uid": 0, "home": "/h", "environ": {"_CONTAINERS_ROOTLESS_UID": "7"}},
            f"/h/.local/share/containers/cache/{FILE}",
        ),
        ({"uid": 7}, None),
        ({"uid": 0, "own_credentials": False}, None),
    ],
)
def test_where_it_is(members: dict[str, object], wanted: str | None) -> None:
    assert cache_path(system(**members)) == wanted


async def test_what_is_noted_is_found_after_it_was_saved(path: str) -> None:
    cache = BlobCache(path, Clock())
    cache.note_location(HERE, A, "r.example:5000/one")
    cache.note_location(HERE, A, "r.example:5000/two")
    cache.note_location(Scope("docker", "other"), A, "other/three")
    assert await cache.candidates(HERE, [A]) == {}, "nothing is written before"
    assert not os.path.exists(os.path.dirname(path)), "nor is a file made by asking"
    await cache.save()
    expected = [Candidate(A, "r.example:5000/two"), Candidate(A, "r.example:5000/one")]
    assert await BlobCache(path).candidates(HERE, [A, B]) == {A: expected, B: []}
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


async def test_noting_again_is_newer(path: str) -> None:
    cache = BlobCache(path, Clock())
    for location in ("h/one", "h/two", "h/one"):
        cache.note_location(HERE, A, location)
        await cache.save()
    (found,) = (await cache.candidates(HERE, [A])).values()
    assert [each.location for each in found] == ["h/one", "h/two"]


async def test_the_file_is_the_reference_s(path: str) -> None:
    """The tables as skopeo 1.22 makes them, and its form of times."""
    cache = BlobCache(path, Clock())
    cache.note_location(HERE, A, "r.example:5000/one")
    cache.note_pair(A, PLAIN, "gzip")
    await cache.save()
    tables = {
        str(name): [row[1:] for row in rows(path, f"PRAGMA table_info({name})")]
        for (name,) in rows(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    }
    assert tables == {
        "DigestCompressors": [("digest", "TEXT", 1, None, 1), ("compressor", "TEXT", 1, None, 0)],
        "DigestSpecificVariantCompressors": [
            ("digest", "TEXT", 1, None, 1),
            ("specificVariantCompressor", "TEXT", 1, None, 0),
            ("specificVariantAnnotations", "BLOB", 1, None, 0),
        ],
        "DigestTOCUncompressedPairs": [
            ("tocDigest", "TEXT", 1, None, 1),
            ("uncompressedDigest", "TEXT", 1, None, 0),
        ],
        "DigestUncompressedPairs": [
            ("anyDigest", "TEXT", 1, None, 1),
            ("uncompressedDigest", "TEXT", 1, None, 0),
        ],
        "KnownLocations": [
            ("transport", "TEXT", 1, None, 1),
            ("scope", "TEXT", 1, None, 2),
            ("digest", "TEXT", 1, None, 3),
            ("location", "TEXT", 1, None, 4),
            ("time", "TIMESTAMP", 1, None, 0),
        ],
    }
    index = "DigestUncompressedPairs_index_uncompressedDigest"
    assert rows(path, f"PRAGMA index_info({index})") == [(0, 1, "uncompressedDigest")]
    [(moment,)] = rows(path, "SELECT time FROM KnownLocations")
    assert str(moment)[10] == " "
    assert str(moment)[19:22] == ".25"
    assert str(moment)[22] in "+-"
    assert set(rows(path, "SELECT * FROM DigestCompressors")) == {(A, "gzip"), (PLAIN, UNCOMPRESSED)}
    assert set(rows(path, "SELECT * FROM DigestUncompressedPairs")) == {(A, PLAIN), (PLAIN, PLAIN)}


async def test_all_of_a_copy_is_one_transaction(path: str) -> None:
    cache = BlobCache(path, Clock())
    for number in range(64):
        cache.note_location(HERE, digests.of(b"%d" % number), "h/x")
    await cache.save()
    counter = Path(path).read_bytes()[24:28]
    assert int.from_bytes(counter, "big") == 1, "SQLite's file change counter"


async def test_the_order_of_candidates(path: str) -> None:
    """At most five with a location, the digest itself before others, the uncompressed form last."""
    cache = BlobCache(path, Clock())
    for other, compressor in ((A, "gzip"), (B, "zstd"), (C, "gzip")):
        cache.note_pair(other, PLAIN, compressor)
    cache.note_location(HERE, PLAIN, "h/plain")
    cache.note_location(HERE, A, "h/old")
    cache.note_location(HERE, B, "h/b")
    await cache.save()
    found = await cache.candidates(HERE, [A], may_substitute=True)
    assert found[A] == [
        Candidate(A, "h/old"),
        Candidate(B, "h/b", "zstd"),
        Candidate(PLAIN, "h/plain", UNCOMPRESSED),
        Candidate(C, None, "gzip"),
    ]
    assert (await cache.candidates(HERE, [A]))[A] == [Candidate(A, "h/old")]
    for number in range(7):
        cache.note_location(HERE, A, f"h/{number}")
    await cache.save()
    found = await cache.candidates(HERE, [A], may_substitute=True)
    assert [each.location for each in found[A]] == [f"h/{number}" for number in (6, 5, 4, 3, 2)]


async def test_at_most_two_without_a_location(path: str) -> None:
    cache = BlobCache(path, Clock())
    for number in range(5):
        cache.note_pair(digests.of(b"%d" % number), PLAIN, "gzip")
    await cache.save()
    found = await cache.candidates(HERE, [digests.of(b"0")], may_substitute=True)
    assert [each.location for each in found[digests.of(b"0")]] == [None, None]


async def test_what_is_not_known_to_be_compressed_how_is_no_substitute(path: str) -> None:
    cache = BlobCache(path, Clock())
    cache.note_pair(A, PLAIN, "gzip")
    cache.note_pair(B, PLAIN, "gzip")
    await cache.save()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM DigestCompressors WHERE digest = ?", (B,))
        database.execute("INSERT INTO DigestUncompressedPairs VALUES ('no digest', ?)", (PLAIN,))
        database.execute("INSERT INTO DigestCompressors VALUES ('no digest', 'gzip')")
    found = await cache.candidates(HERE, [A], may_substitute=True)
    assert found[A] == [Candidate(PLAIN, None, UNCOMPRESSED)]


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database\n" * 100)


def folder(path: Path) -> None:
    path.mkdir()


def other_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE DigestSpecificVariantCompressors(x)")


def a_file_in_the_way(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(b"")


@pytest.mark.parametrize("spoil", [garbage, folder, other_tables, a_file_in_the_way])
async def test_a_cache_that_can_t_be_used_is_an_empty_one(path: str, spoil: Callable[[Path], None]) -> None:
    os.makedirs(os.path.dirname(path))
    spoil(Path(path))
    before = Path(path).read_bytes() if Path(path).is_file() else None
    cache = BlobCache(path, Clock())
    assert not (await cache.candidates(HERE, [A])).get(A)
    cache.note_location(HERE, A, "h/x")
    await cache.save()
    assert not (await cache.candidates(HERE, [A])).get(A)
    assert before is None or Path(path).read_bytes() == before


async def test_without_a_place_nothing_is_kept() -> None:
    cache = BlobCache(None)
    cache.note_location(HERE, A, "h/x")
    cache.note_pair(A, PLAIN, "gzip")
    await cache.save()
    assert await cache.candidates(HERE, [A]) == {}


# --- copies


class User:
    """Somebody with a home of his own, who is not root as far as caches go."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.cache = home / ".local" / "share" / "containers" / "cache" / FILE
        self.environ = {"HOME": str(home), "_CONTAINERS_ROOTLESS_UID": "1000"}

    def wherry(self, *argv: str) -> Ended:
        out, err = os.pipe(), os.pipe()
        try:
            status = run(["wherry", *argv], (0, out[1], err[1]), str(self.home), self.environ)
            os.close(out[1])
            os.close(err[1])
            return Ended(status, read_all(out[0]), read_all(err[0]))
        finally:
            os.close(out[0])
            os.close(err[0])

    def copy(self, source: str, destination: str) -> Ended:
        options = [
            f"--{side}-tls-verify=false"
            for side, name in (("src", source), ("dest", destination))
            if name.startswith("docker:")
        ]
        return self.wherry("--insecure-policy", "copy", "-q", *options, source, destination)

    def locations(self) -> set[tuple[str, str]]:
        """(hex digest, location) of all that is known."""
        found = rows(self.cache, "SELECT digest, location FROM KnownLocations")
        return {(str(digest).removeprefix("sha256:"), str(location)) for digest, location in found}


@pytest.fixture
def user(tmp_path: Path) -> User:
    (tmp_path / "home").mkdir()
    return User(tmp_path / "home")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        running.on("POST", "/v2/x/blobs/uploads/", Reply(202, {"Location": "/u"}))
        running.on("PUT", "/u", Reply(201))
        running.on("DELETE", "/u", Reply(204))
        running.on("PUT", "/v2/x/manifests/t", Reply(201))
        yield running


def image_blobs() -> set[str]:
    """Of the example: its layers and its configuration, by hex digest."""
    [entry] = json.loads((HELLO / "index.json").read_bytes())["manifests"]
    return set(BLOBS) - {entry["digest"].removeprefix("sha256:")}


def layers() -> set[str]:
    """Of the example, by hex digest."""
    raws = [path.read_bytes() for path in (HELLO / "blobs" / "sha256").iterdir()]
    [manifest] = [json.loads(raw) for raw in raws if b'"schemaVersion"' in raw]
    return {layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]}


def test_a_push_notes_where_its_blobs_are(registry: Registry, user: User, tmp_path: Path) -> None:
    name = registry.docker("cache/first:t")
    assert user.copy(f"oci:{HELLO}:latest", name) == (0, "", "")
    location = f"{registry.name}/cache/first"
    assert user.locations() == {(digest, location) for digest in image_blobs()}
    user.cache.unlink()
    assert user.copy(name, f"oci:{tmp_path}/out:t") == (0, "", "")
    assert user.locations() == {(digest, location) for digest in layers()}, "reading them is knowing them"


def test_what_is_known_elsewhere_is_mounted(fake: FakeRegistry, user: User) -> None:
    remember(user, fake, "y", "gone", "refused")
    for digest in image_blobs():
        size = (HELLO / "blobs/sha256" / digest).stat().st_size
        fake.on("HEAD", f"/v2/y/blobs/sha256:{digest}", Reply(length=size))
        fake.on("HEAD", f"/v2/refused/blobs/sha256:{digest}", error(403, "DENIED"))
    fake.on(
        "POST",
        "/v2/x/blobs/uploads/",
        lambda seen: Reply(201) if "mount=" in seen.target else Reply(202, {"Location": "/u"}),
    )
    assert user.copy(f"oci:{HELLO}:latest", f"docker://{fake.name}/x:t") == (0, "", "")
    posts = [seen.target for seen in fake.asked("POST", "/v2/x/blobs/uploads/")]
    assert {target.partition("?")[2] for target in posts} == {
        "",  # the configuration, which nobody looks for elsewhere
        *(f"from=y&mount=sha256%3A{digest}" for digest in layers()),
    }
    assert {(digest, f"{fake.name}/x") for digest in image_blobs()} <= user.locations()


def test_a_mount_that_is_refused_is_an_upload(fake: FakeRegistry, user: User) -> None:
    remember(user, fake, "y")
    for digest in image_blobs():
        size = (HELLO / "blobs/sha256" / digest).stat().st_size
        fake.on("HEAD", f"/v2/y/blobs/sha256:{digest}", Reply(length=size))
    assert user.copy(f"oci:{HELLO}:latest", f"docker://{fake.name}/x:t") == (0, "", "")
    assert len(fake.asked("DELETE", "/u")) == len(layers())
    assert len(fake.asked("PUT", "/u")) == len(image_blobs())


def test_a_cache_that_lies_does_no_harm(fake: FakeRegistry, user: User) -> None:
    """Other registries, no names at all, ourselves, repositories where the blob has another size."""
    remember(user, fake, "y", "x")
    remember_as(user, fake, "elsewhere.example/y", "../../..", "a b")
    for digest in image_blobs():
        fake.on("HEAD", f"/v2/y/blobs/sha256:{digest}", Reply(length=1))
    assert user.copy(f"oci:{HELLO}:latest", f"docker://{fake.name}/x:t") == (0, "", "")
    assert len(fake.asked("PUT", "/u")) == len(image_blobs())
    assert not [seen for seen in fake.seen if "mount=" in seen.target]
    heads = [seen.path for seen in fake.seen if seen.method == "HEAD"]
    assert sorted(heads) == sorted(
        [f"/v2/x/blobs/sha256:{digest}" for digest in image_blobs()]
        + [f"/v2/y/blobs/sha256:{digest}" for digest in layers()]
    )


def test_inspecting_leaves_it_alone(registry: Registry, user: User) -> None:
    user.copy(f"oci:{HELLO}:latest", registry.docker("cache/inspect:t"))
    user.cache.unlink()
    ended = user.wherry("inspect", "--tls-verify=false", registry.docker("cache/inspect:t"))
    assert (ended.status, ended.stderr) == (0, "")
    assert not user.cache.exists()


def remember(user: User, fake: FakeRegistry, *repositories: str) -> None:
    remember_as(user, fake, *(f"{fake.name}/{repository}" for repository in repositories))


def remember_as(user: User, fake: FakeRegistry, *locations: str) -> None:
    """Let the cache say that all blobs of the example lie at these locations."""
    from wherry.image import blobcache

    known = {
        (Scope("docker", fake.name), Digest(f"sha256:{digest}"), location): 1_790_000_000.0 + number
        for number, location in enumerate(locations)
        for digest in image_blobs()
    }
    blobcache._write(str(user.cache), known, {}, {})


def test_skopeo_mounts_by_what_wherry_noted_and_the_other_way(
    skopeo_ref: Path, registry: Registry, user: User
) -> None:
    def skopeo(destination: str) -> str:
        command = [str(skopeo_ref), "--debug", "--insecure-policy", "copy", "--dest-tls-verify=false"]
        done = subprocess.run(
            [*command, f"oci:{HELLO}:latest", registry.docker(destination)],
            env={"PATH": os.environ["PATH"], **user.environ},
            capture_output=True,
            check=True,
        )
        return done.stderr.decode()

    assert user.copy(f"oci:{HELLO}:latest", registry.docker("cache/wherry:t")) == (0, "", "")
    by_us = user.locations()
    skopeo("cache/skopeo:t")
    both = user.locations()
    assert both >= by_us
    assert {location.rpartition("/")[2] for _, location in both} == {"wherry", "skopeo"}
    assert user.copy(f"oci:{HELLO}:latest", registry.docker("cache/third:t")) == (0, "", "")
    assert {location.rpartition("/")[2] for _, location in user.locations()} == {"wherry", "skopeo", "third"}
