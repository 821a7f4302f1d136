"""Finding policy.json (3.1), with the texts of `skopeo copy` where there is none or an unreadable one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from wherry.errors import FileError, FileMissingError, LimitError, NotFoundError, PolicyError
from wherry.model.platforms import PlatformChoice
from wherry.policy import ACCEPT_ANYTHING, load_policy
from wherry.policy.requirements import AcceptAnything, Reject, Requirements
from wherry.system import DataThreads, System

REJECT = '{"default":[{"type":"reject"}]}'
ACCEPT = '{"default":[{"type":"insecureAcceptAnything"}]}'


def system(root: Path, environ: Mapping[str, str] | None = None) -> System:
    return System(
        root=str(root),
        home=str(root / "home"),
        cwd=str(root),
        environ=environ or {},
        platform=PlatformChoice(os="linux", architecture="amd64"),
        threads=cast("DataThreads", None),
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def loaded(given: System, path: str | None = None) -> Requirements:
    return load_policy(given, path).default


def test_the_first_that_exists_is_taken(tmp_path: Path) -> None:
    places = ["usr/share/containers", "etc/containers", "home/.config/containers"]
    for number, place in enumerate(places):
        write(tmp_path / place / "policy.json", ACCEPT if number % 2 else REJECT)
        expected = AcceptAnything() if number % 2 else Reject()
        assert loaded(system(tmp_path)) == (expected,)
    xdg = write(tmp_path / "xdg/containers/policy.json", ACCEPT).parents[1]
    assert loaded(system(tmp_path, {"XDG_CONFIG_HOME": str(xdg)})) == (AcceptAnything(),)


def test_the_variable_and_the_flag_come_first(tmp_path: Path) -> None:
    write(tmp_path / "home/.config/containers/policy.json", REJECT)
    named = write(tmp_path / "named.json", ACCEPT)
    given = system(tmp_path, {"CONTAINERS_POLICY_JSON": str(named)})
    assert loaded(given) == (AcceptAnything(),)
    write(tmp_path / "flag.json", REJECT)
    assert loaded(given, "flag.json") == (Reject(),)
    assert loaded(system(tmp_path, {"CONTAINERS_POLICY_JSON": ""})) == (Reject(),)


def test_none_found(tmp_path: Path) -> None:
    places = ["home/.config/containers", "etc/containers", "usr/share/containers"]
    searched = " ".join(f'"{tmp_path}/{place}/policy.json"' for place in places)
    text = f"config file not found: no policy.json file found; searched paths: [{searched}]"
    with pytest.raises(NotFoundError, match=f"^{re.escape(text)}$"):
        load_policy(system(tmp_path))


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    write(tmp_path / "etc/containers/policy.json", ACCEPT)
    with pytest.raises(FileMissingError, match=r"^open /nope: no such file or directory$"):
        load_policy(system(tmp_path), "/nope")
    with pytest.raises(FileMissingError, match=r"^open /nope: no such file or directory$"):
        load_policy(system(tmp_path, {"CONTAINERS_POLICY_JSON": "/nope"}))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=rf"^read {tmp_path}: is a directory$"):
        load_policy(system(tmp_path), str(tmp_path))
    large = write(tmp_path / "large.json", ACCEPT + " " * (4 * 1024 * 1024 - len(ACCEPT)))
    assert loaded(system(tmp_path), str(large)) == (AcceptAnything(),)
    large.write_text(large.read_text() + " ")
    with pytest.raises(LimitError, match=r"large\.json exceeded maximum allowed size of 4194304 bytes$"):
        load_policy(system(tmp_path), str(large))


def test_a_bad_file_is_named_and_no_other_is_tried(tmp_path: Path) -> None:
    write(tmp_path / "usr/share/containers/policy.json", ACCEPT)
    bad = write(tmp_path / "etc/containers/policy.json", "{}")
    text = f'invalid policy in "{bad}": Default policy is missing'
    with pytest.raises(PolicyError, match=f"^{re.escape(text)}$"):
        load_policy(system(tmp_path))


def test_insecure_reads_no_file(tmp_path: Path) -> None:
    assert load_policy(system(tmp_path), "/nope", insecure=True) is ACCEPT_ANYTHING
