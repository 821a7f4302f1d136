"""What registries.conf files say: skopeo's answers for the tables of cases.py (golden/registries.json)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.config.cases import LOOKUPS, REFUSED
from tests.config.system import system, write
from wherry.config import registries_load
from wherry.config.registries import AUTH_FILES, RegistriesConf
from wherry.config.registries_parse import parse
from wherry.errors import InvalidError, WherryError
from wherry.model import name

GOLDEN = json.loads((Path(__file__).parent / "golden" / "registries.json").read_text())
_ATTEMPT = re.compile(r'fetching manifest (\S+) in (\S+): pinging container registry \S+: Get "(https?)://')
_BLOCKED = re.compile(r"registry (\S+) is blocked in one of")


def loaded(tmp_path: Path, config: str) -> RegistriesConf:
    write(tmp_path / "FILE", config)
    return registries_load.load(system(tmp_path, registries_conf="FILE"))


def attempts(config: RegistriesConf, reference: str) -> list[str]:
    """Where an image is asked for, or the error, in the words of skopeo's error text."""
    found = []
    try:
        sources = config.pull_sources(name.tag_name_only(name.parse_normalized(reference)))
    except InvalidError as error:
        return [str(error)]
    for source in sources:
        try:
            config.check_allowed(source.named.name)
        except WherryError as error:
            found += _BLOCKED.findall(str(error))
            continue
        wanted = source.named.digest or source.named.tag
        found.append(f"{wanted} {source.named.name} {'http' if source.insecure else 'https'}")
    return found


def told(answer: str) -> list[str]:
    """The same, of the golden text."""
    found = [(match.start(), " ".join(match.groups())) for match in _ATTEMPT.finditer(answer)]
    found += [(match.start(), match[1]) for match in _BLOCKED.finditer(answer)]
    return [text for _, text in sorted(found)] or [answer]


@pytest.mark.parametrize(
    ("config", "reference", "answer"),
    [
        (config, reference, answer)
        for (config, references), answers in zip(LOOKUPS, GOLDEN["looked_up"], strict=True)
        for reference, answer in zip(references, answers, strict=True)
    ],
)
def test_places_and_their_order(tmp_path: Path, config: str, reference: str, answer: str) -> None:
    assert attempts(loaded(tmp_path, config), reference) == told(answer)


# docs/differences.md: names may hold IPv6 literals
BEYOND = 'unqualified-search-registries = ["[::1]:5000"]'


@pytest.mark.parametrize(
    ("config", "answer"),
    [case for case in zip(REFUSED, GOLDEN["refused"], strict=True) if case[0] != BEYOND],
)
def test_refused_files(tmp_path: Path, config: str, answer: str) -> None:
    text = answer.removeprefix("loading registries configuration: ")
    with pytest.raises(InvalidError, match=f"^{re.escape(text)}$"):
        loaded(tmp_path, config)


def test_an_ipv6_literal_may_be_searched(tmp_path: Path) -> None:
    assert BEYOND in REFUSED
    assert loaded(tmp_path, BEYOND).unqualified_search == ("[::1]:5000",)


@pytest.mark.parametrize(
    ("prefix", "reference", "found"),
    [
        ("[::1]:5000", "[::1]:5000/n/a:1", ["1 mirror.example/n/a https", "1 [::1]:5000/n/a https"]),
        ("[::1]:5000/n", "[::1]:5000/n/a:1", ["1 mirror.example/a https", "1 [::1]:5000/n/a https"]),
        ("[::1]", "[::1]:5000/n/a:1", ["1 mirror.example:5000/n/a https", "1 [::1]:5000/n/a https"]),
        ("[::1]", "[::1]/a:1", ["1 mirror.example/a https", "1 [::1]/a https"]),
        ("[::1]:500", "[::1]:5000/n/a:1", ["1 [::1]:5000/n/a https"]),
        # The colons of an address are no ends of a host's name.
        ("[fe80", "[fe80::1]/a:1", ["1 [fe80::1]/a https"]),
        ("[fe80:", "[fe80::1]/a:1", ["1 [fe80::1]/a https"]),
        ("[", "[::1]/a:1", ["1 [::1]/a https"]),
    ],
)
def test_prefixes_of_ipv6_literals(tmp_path: Path, prefix: str, reference: str, found: list[str]) -> None:
    config = f'[[registry]]\nlocation = "{prefix}"\n[[registry.mirror]]\nlocation = "mirror.example"\n'
    assert attempts(loaded(tmp_path, config), reference) == found


def test_an_ipv6_literal_as_a_mirror(tmp_path: Path) -> None:
    config = '[[registry]]\nlocation = "a.example"\n'
    config += '[[registry.mirror]]\nlocation = "[::1]:5000"\ninsecure = true\n'
    found = ["1 [::1]:5000/n/a http", "1 a.example/n/a https"]
    assert attempts(loaded(tmp_path, config), "a.example/n/a:1") == found


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"foo = [", "toml: "),
        (b"x = 1\nx = 2", "toml: Cannot overwrite a value"),
        (b'x = "\xff"', "toml: invalid UTF-8 at byte 5"),
        (b"x = " + b"[" * 5000, "toml: arrays or tables are nested too deeply"),
    ],
)
def test_what_is_no_toml_names_the_file(tmp_path: Path, raw: bytes, text: str) -> None:
    (tmp_path / "FILE").write_bytes(raw)
    with pytest.raises(InvalidError, match=f'^loading registries configuration "FILE": {re.escape(text)}'):
        registries_load.load(system(tmp_path, registries_conf="FILE"))


def test_the_other_settings() -> None:
    """Short names, their mode, helpers: parsed for others; a byte order mark is no content."""
    fragment = parse(
        b'\xef\xbb\xbfunqualified-search-registries = ["a.example/", "b:5000"]\n'
        b'credential-helpers = ["containers-auth.json", "pass"]\nshort-name-mode = "enforcing"\n'
        b'additional-layer-store-auth-helper = "/bin/x"\n'
        b'[aliases]\nbusybox = "docker.io/busybox"\n"ns/none" = ""\n'
    )
    assert fragment.unqualified_search == ("a.example", "b:5000")
    assert fragment.credential_helpers == (AUTH_FILES, "pass")
    assert fragment.short_name_mode == "enforcing"
    assert fragment.additional_layer_store_auth_helper == "/bin/x"
    assert fragment.aliases == {"busybox": "docker.io/library/busybox", "ns/none": None}


FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "registries.conf"
_ACCEPTED = {"aliases.conf", "empty.conf", "unmarshal.conf", "unqualified-search.conf"}
_TEXTS = {
    "blocked-conflicts.conf": "conflicting 'blocked' setting",
    "insecure-conflicts.conf": "conflicting 'insecure' setting",
    "invalid-aliases.conf": "must not contain tag",
    "invalid-conflict-mirror.conf": "cannot set mirror usage",
    "invalid-prefix.conf": "URI schemes are not supported",
    "invalid-search.conf": "Invalid unqualified-search-registries entry",
    "invalid-short-name-mode.conf": "invalid short-name mode",
    "invalid-value-mirror.conf": "unsupported pull-from-mirror value",
    "missing-mirror-location.conf": "mirror location is unset",
    "mixing-v1-v2-empty.conf": "v2 format but is in v1",
    "mixing-v1-v2.conf": "v2 format but is in v1",
    "v1-compatibility.conf": "v2 format but is in v1",
}


@pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"{FIXTURES} (files of containers/image) is missing")
def test_files_of_containers_image() -> None:
    names = {path.name for path in FIXTURES.iterdir()}
    assert names == _ACCEPTED | set(_TEXTS)
    for accepted in _ACCEPTED:
        parse((FIXTURES / accepted).read_bytes())
    for refused, text in _TEXTS.items():
        with pytest.raises(InvalidError, match=re.escape(text)):
            parse((FIXTURES / refused).read_bytes())
