"""Which registries.conf files are read, and what of them counts (3.3; seen with skopeo where a text is)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.cases import mirror, prefixed, registry
from tests.config.system import system, write
from wherry.config import registries_load
from wherry.config.registries import AUTH_FILES, RegistriesConf
from wherry.errors import FileError, FileMissingError, InvalidError, LimitError, PolicyError
from wherry.system import System

PLACES = ("usr/share/containers", "etc/containers", "home/.config/containers")


def located(config: RegistriesConf) -> dict[str, str]:
    return {registry.prefix: registry.primary.location for registry in config.registries}


def one(location: str) -> str:
    return prefixed("a.example", location)


def test_no_file_at_all(tmp_path: Path) -> None:
    config = registries_load.load(system(tmp_path))
    assert config.registries == ()
    assert config.credential_helpers == (AUTH_FILES,)
    assert config.short_name_mode == "permissive"


def test_the_first_main_file_counts(tmp_path: Path) -> None:
    for place in PLACES:
        write(tmp_path / place / "registries.conf", one(f"{place[:3]}.example"))
        config = registries_load.load(system(tmp_path))
        assert located(config) == {"a.example": f"{place[:3]}.example"}
    xdg = write(tmp_path / "xdg/containers/registries.conf", one("xdg.example")).parents[1]
    given = system(tmp_path, {"XDG_CONFIG_HOME": str(xdg)})
    assert located(registries_load.load(given)) == {"a.example": "xdg.example"}


def test_flag_and_variable(tmp_path: Path) -> None:
    """The flag counts before the variable; drop-ins follow the flag's file, not the variable's."""
    write(tmp_path / "etc/containers/registries.conf", one("etc.example"))
    write(tmp_path / "etc/containers/registries.conf.d/a.conf", prefixed("b.example", "drop.example"))
    variable = {"CONTAINERS_REGISTRIES_CONF": str(write(tmp_path / "variable", one("variable.example")))}
    write(tmp_path / "flag", one("flag.example"))
    drop = {"b.example": "drop.example"}
    assert located(registries_load.load(system(tmp_path))) == {"a.example": "etc.example", **drop}
    assert located(registries_load.load(system(tmp_path, variable))) == {"a.example": "variable.example"}
    flag = registries_load.load(system(tmp_path, variable, registries_conf="flag"))
    assert located(flag) == {"a.example": "flag.example", **drop}
    empty = registries_load.load(system(tmp_path, {"CONTAINERS_REGISTRIES_CONF": ""}))
    assert located(empty) == {"a.example": "etc.example", **drop}


def test_the_override_counts_last_of_all(tmp_path: Path) -> None:
    write(tmp_path / "etc/containers/registries.conf.d/zz.conf", one("drop.example"))
    override = str(write(tmp_path / "override", one("override.example")))
    environ = {"CONTAINERS_REGISTRIES_CONF_OVERRIDE": override}
    assert located(registries_load.load(system(tmp_path, environ))) == {"a.example": "override.example"}
    environ["CONTAINERS_REGISTRIES_CONF"] = str(write(tmp_path / "variable", one("variable.example")))
    assert located(registries_load.load(system(tmp_path, environ))) == {"a.example": "override.example"}


@pytest.mark.parametrize("uid", [0, 1000])
def test_drop_in_directories(tmp_path: Path, uid: int) -> None:
    """In the order of the names over all directories; of one name the preferred directory's file."""
    kind, other = ("rootless", "rootful") if uid else ("rootful", "rootless")
    special = [f"containers/registries.{kind}.conf.d"]
    if uid:
        special.insert(0, f"{special[0]}/{uid}")
    directories = [
        f"{parent}/{directory}"
        for parent in ("usr/share", "etc")
        for directory in (*special, "containers/registries.conf.d")
    ]
    directories.append("home/.config/containers/registries.conf.d")
    write(tmp_path / f"etc/containers/registries.{other}.conf.d/no.conf", "broken")
    write(tmp_path / "home/.config/containers/registries.rootful.conf.d/no.conf", "broken")
    for number, directory in enumerate(directories):
        write(tmp_path / directory / f"{number}.conf", prefixed(f"{number}.example", "x.example"))
        write(tmp_path / directory / "same.conf", prefixed("same.example", f"{number}.example"))
        config = registries_load.load(system(tmp_path, uid=uid))
        assert set(located(config)) == {f"{each}.example" for each in (*range(number + 1), "same")}
        assert located(config)["same.example"] == f"{number}.example"


def test_drop_ins_are_merged_in_order(tmp_path: Path) -> None:
    """Registries are replaced with their mirrors, lists by empty ones too; aliases are added."""
    write(
        tmp_path / "etc/containers/registries.conf",
        'unqualified-search-registries = ["a.example"]\ncredential-helpers = ["one"]\n'
        'short-name-mode = "enforcing"\n'
        + one("main.example")
        + mirror("mirror.example")
        + prefixed("b.example", "main.example")
        + '[aliases]\nx = "a.example/x"\ny = "a.example/y"\n',
    )
    drop = tmp_path / "etc/containers/registries.conf.d"
    write(drop / "20.conf", one("20.example") + '[aliases]\nx = "b.example/x"\n')
    write(drop / "10.conf", "unqualified-search-registries = []\n" + one("10.example"))
    write(drop / "30.conf.bak", "broken")
    write(drop / "sub.conf/x.conf", "broken")
    os.symlink(write(tmp_path / "linked", "broken"), drop / "40.conf")
    config = registries_load.load(system(tmp_path))
    assert located(config) == {"a.example": "20.example", "b.example": "main.example"}
    assert config.find("a.example/x") is not None
    assert config.registries[0].mirrors == ()
    assert config.unqualified_search == ()
    assert config.credential_helpers == ("one",)
    assert config.short_name_mode == "enforcing"
    assert config.aliases == {"x": "b.example/x", "y": "a.example/y"}
    write(drop / "50.conf", "credential-helpers = []\nshort-name-mode = 'disabled'\n")
    config = registries_load.load(system(tmp_path))
    assert config.credential_helpers == (AUTH_FILES,)
    assert config.short_name_mode == "disabled"


def test_conflicts_count_within_one_file_only(tmp_path: Path) -> None:
    """skopeo checks each file by itself; a drop-in may block what the main file allows."""
    write(tmp_path / "etc/containers/registries.conf", one("c.example"))
    blocked = prefixed("b.example", "c.example", "blocked = true")
    write(tmp_path / "etc/containers/registries.conf.d/a.conf", blocked)
    config = registries_load.load(system(tmp_path))
    assert [registry.blocked for registry in config.registries] == [False, True]


def test_an_error_names_the_drop_in(tmp_path: Path) -> None:
    path = write(tmp_path / "etc/containers/registries.conf.d/a.conf", "registry = 1\n")
    text = f'loading registries configuration "{path}": toml: key "registry": incompatible types'
    with pytest.raises(InvalidError, match=f"^{re.escape(text)}"):
        registries_load.load(system(tmp_path))


def test_blocked_names_the_places(tmp_path: Path) -> None:
    """As skopeo: the files that might be the main one, and the directories; not the override."""
    write(tmp_path / "etc/containers/registries.conf", registry('location = "a.example"\nblocked = true'))
    places = ["home/.config/containers/registries.conf", "etc/containers/registries.conf"]
    places += ["usr/share/containers/registries.conf", "home/.config/containers/registries.conf.d"]
    for parent in ("etc", "usr/share"):
        places += [f"{parent}/containers/registries.conf.d", f"{parent}/containers/registries.rootful.conf.d"]
    where = " ".join(f'"{tmp_path}/{place}"' for place in places)
    config = registries_load.load(system(tmp_path, uid=0))
    with pytest.raises(PolicyError, match=re.escape(f"registry a.example is blocked in one of [{where}]")):
        config.check_allowed("a.example/ns/x")
    config.check_allowed("b.example/ns/x")


def missing_flag(root: Path) -> System:
    return system(root, registries_conf="nope.conf")


def missing_variable(root: Path) -> System:
    return system(root, {"CONTAINERS_REGISTRIES_CONF": "nope.conf"})


def missing_override(root: Path) -> System:
    return system(root, {"CONTAINERS_REGISTRIES_CONF_OVERRIDE": "nope.conf"})


@pytest.mark.parametrize("given", [missing_flag, missing_variable, missing_override])
def test_a_file_that_was_named_must_exist(tmp_path: Path, given: Callable[[Path], System]) -> None:
    with pytest.raises(FileMissingError, match=r"^open nope\.conf: no such file or directory$"):
        registries_load.load(given(tmp_path))


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "etc/containers/registries.conf").mkdir(parents=True)
    with pytest.raises(FileError, match=r"^read .*/etc/containers/registries\.conf: is a directory$"):
        registries_load.load(system(tmp_path))
    write(tmp_path / "usr/share/containers/registries.conf.d", "a file")
    with pytest.raises(FileError, match=r"registries\.conf\.d: not a directory$"):
        registries_load.load(system(tmp_path, registries_conf=str(write(tmp_path / "FILE", ""))))


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "FILE", "#" * (registries_load.LIMIT + 1))
    with pytest.raises(LimitError, match=r"^FILE exceeded maximum allowed size of 4194304 bytes$"):
        registries_load.load(system(tmp_path, registries_conf="FILE"))
    write(tmp_path / "FILE", "#" * registries_load.LIMIT)
    assert registries_load.load(system(tmp_path, registries_conf="FILE")).registries == ()
