"""The file of --tls-details; texts seen with `skopeo --tls-details FILE inspect docker://127.0.0.1:1/x`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.config.system import system, write
from wherry.config import strictyaml, tlsdetails
from wherry.errors import FileMissingError, InvalidError, LimitError
from wherry.protocol.options import TlsDetails

GCM = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", TlsDetails()),
        ("null", TlsDetails()),
        ("minVersion: 1.3", TlsDetails("1.3")),
        ('minVersion: "1.0"', TlsDetails("1.0")),
        ("minVersion: ''\ncipherSuites: []\nnamedGroups: []", TlsDetails("", (), ())),
        ("minVersion: ~\ncipherSuites:\nnamedGroups: null", TlsDetails()),
        (f"cipherSuites: [~, {GCM}]", TlsDetails("", (GCM,))),
        (f"cipherSuites: &a [{GCM}]\n---\nsurprise: 1", TlsDetails("", (GCM,))),
        (
            "namedGroups:\n- secp256r1\n- secp384r1\n- secp521r1\n- x25519\n- X25519MLKEM768\n",
            TlsDetails("", None, ("secp256r1", "secp384r1", "secp521r1", "x25519", "X25519MLKEM768")),
        ),
    ],
)
def test_taken(tmp_path: Path, text: str, expected: TlsDetails) -> None:
    write(tmp_path / "F", text)
    assert tlsdetails.load(system(tmp_path), "F") == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        # skopeo's texts
        ("", 'parsing "F": EOF'),
        ("# nothing\n", 'parsing "F": EOF'),
        ('minVersion: "1.4"', 'parsing TLS details "F": unrecognized TLS minimum version "1.4"'),
        ("minVersion: 1", 'parsing TLS details "F": unrecognized TLS minimum version "1"'),
        ("minVersion: true", 'parsing TLS details "F": unrecognized TLS minimum version "true"'),
        ("cipherSuites: [a]", 'parsing TLS details "F": unrecognized TLS cipher suite "a"'),
        ("namedGroups: [x25519, b]", 'parsing TLS details "F": unrecognized TLS named group "b"'),
        (
            'minVersion: "1.2"\nminVersion: "1.3"',
            'parsing "F": yaml: unmarshal errors:\n'
            '  line 2: mapping key "minVersion" already defined at line 1',
        ),
        # our own behind `yaml: `
        ("a: b: c", 'parsing "F": yaml: line 1: mapping values are not allowed in this context'),
        ("surprise: 1", 'parsing "F": yaml: Object contains unknown field `surprise`'),
        ("MinVersion: 1.2", 'parsing "F": yaml: Object contains unknown field `MinVersion`'),
        ("minVersion: [a]", 'parsing "F": yaml: Expected `str`, got `array` - at `$.minVersion`'),
        ("cipherSuites: a", 'parsing "F": yaml: Expected `array | null`, got `str` - at `$.cipherSuites`'),
        ("cipherSuites: [[a]]", 'parsing "F": yaml: Expected `str`, got `array` - at `$.cipherSuites[0]`'),
        ("- a", 'parsing "F": yaml: Expected `object`, got `array`'),
        ("&a [*a]", 'parsing "F": yaml: line 1: alias "a" of what is not there yet'),
        ("*a", 'parsing "F": yaml: line 1: alias "a" of what is not there yet'),
        ("? [a]\n: b", 'parsing "F": yaml: line 1: a mapping key that is no text'),
    ],
)
def test_refused(tmp_path: Path, text: str, error: str) -> None:
    write(tmp_path / "F", text)
    with pytest.raises(InvalidError, match=f"^{re.escape(error)}$"):
        tlsdetails.load(system(tmp_path), "F")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r'^reading "nope": open nope: no such file or directory$'):
        tlsdetails.load(system(tmp_path), "nope")


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"[" * 70 + b"]" * 70, "yaml: nested deeper than 64"),
        (b"[" * 500_000, "yaml: nested deeper than 64"),
        (b"{a: " * 70, "yaml: nested deeper than 64"),
        (b"- &a [x,x,x,x,x,x,x,x,x,x]\n", None),
        (
            b"- &a [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"- &%c [%s]\n" % (98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(8)),
            "yaml: more than 100000 values",
        ),
    ],
)
def test_yaml_that_grows_without_end(raw: bytes, error: str | None) -> None:
    if error is None:
        assert strictyaml.decode(raw, list[list[str]]) == [["x"] * 10]
        return
    with pytest.raises(LimitError, match=f"^{error}$"):
        strictyaml.decode(raw, list[str])


def test_yaml_that_is_no_text() -> None:
    with pytest.raises(InvalidError, match=r"^yaml: "):
        strictyaml.decode(b"a: \xff\xfe", dict[str, str])
    with pytest.raises(InvalidError, match=r"^yaml: line 1: found unexpected end of stream$"):
        strictyaml.decode(b'"abc', str)
