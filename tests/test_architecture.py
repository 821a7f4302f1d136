"""The rules of docs/architecture.md that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {
    "wherry": ROOT / "proxy" / "wherry",
    "wherry_client": ROOT / "clients" / "wherry_client",
    "wherry_cli": ROOT / "clients" / "wherry_cli",
}
TOP_LEVEL = {
    *(".ci", ".gitattributes", ".gitignore", "LICENSE", "Makefile", "README.md", "protocol.md"),
    *("pyproject.toml", "benchmarks", "clients", "docs", "proxy", "systemd", "tests"),
}
# Modules that the contracts name and a later issue builds. What exists must not stay in this list.
BUILT_LATER = {"wherry.sync", "wherry.signatures", "wherry.encryption"}

LONGEST_MODULE = 600  # lines; a signal at 400
LONGEST_FUNCTION = 100  # lines; a signal at 60
SHOWN = 5

MAY_PRINT = ("wherry_cli",)
MAY_READ_THE_ENVIRONMENT = ("wherry_cli", "wherry.server.listen")
CLIENT_MAY_IMPORT = ("wherry.protocol", "wherry.model", "wherry.errors", "wherry.__version__")


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    text: str
    tree: ast.Module

    def within(self, names: tuple[str, ...]) -> bool:
        return any(self.name == name or self.name.startswith(f"{name}.") for name in names)


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return list(_modules())


def _modules() -> Iterator[Module]:
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            text = path.read_text()
            yield Module(name, path, text, ast.parse(text))


def _exists(name: str) -> bool:
    package, *rest = name.split(".")
    path = SOURCES[package].joinpath(*rest)
    return path.is_dir() or path.with_suffix(".py").is_file()


def _contracts() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return settings


# --- imports -----------------------------------------------------------------------------------------


def _named_modules(contract: dict[str, Any]) -> set[str]:
    own = (*contract.get("source_modules", ()), *contract.get("forbidden_modules", ()))
    inside = contract.get("containers", [""])[0]
    layers = re.findall(r"\w+", " ".join(contract.get("layers", ())))
    return {name for name in own if name.split(".")[0] in SOURCES} | {
        f"{inside}.{layer}" if inside else layer for layer in layers
    }


def test_every_module_of_the_contracts_exists() -> None:
    """A renamed package must not slip out of its contract."""
    named = set().union(*(_named_modules(contract) for contract in _contracts()["contracts"]))
    assert {name for name in named if not _exists(name)} == BUILT_LATER


def _ini(settings: dict[str, Any]) -> str:
    """The contracts as import-linter's ini, without the modules that are not built yet."""
    lines = ["[importlinter]", "root_packages =", *(f"    {name}" for name in settings["root_packages"])]
    lines.append(f"include_external_packages = {settings['include_external_packages']}")
    for contract in settings["contracts"]:
        lines.append(f"[importlinter:contract:{contract['id']}]")
        for key, value in contract.items():
            if isinstance(value, list):
                kept = [
                    item
                    for item in value
                    if key not in ("source_modules", "forbidden_modules")
                    or item.split(".")[0] not in SOURCES
                    or _exists(item)
                ]
                lines += [f"{key} =", *(f"    {item}" for item in kept)]
            elif key != "id":
                lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def test_import_contracts(tmp_path: Path) -> None:
    config = tmp_path / "contracts.ini"
    config.write_text(_ini(_contracts()))
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(config), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"{len(_contracts()['contracts'])} kept, 0 broken", done.stdout), done.stdout


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_the_client_imports_only_the_contract(modules: list[Module]) -> None:
    """Stricter than the contract `client`: an engine package that comes later is closed from the start."""
    wrong = [
        f"{module.name}:{line} imports {name}"
        for module in modules
        if module.within(("wherry_client",))
        for line, name in _imports(module)
        if name.split(".")[0] == "wherry"
        and not any(f"{name}.".startswith(f"{allowed}.") for allowed in CLIENT_MAY_IMPORT)
    ]
    assert wrong == []


# --- what code may touch ------------------------------------------------------------------------------


def _prints(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="print")):
            return True
        case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" | "__stdout__" | "__stderr__"):
            return True
        case ast.ImportFrom(module="sys", names=names):
            return any(alias.name in ("stdout", "stderr") for alias in names)
    return False


def _reads_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv" | "getenvb"):
            return True
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name in ("environ", "environb", "getenv", "getenvb") for alias in names)
    return False


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [(_prints, MAY_PRINT), (_reads_environment, MAY_READ_THE_ENVIRONMENT)],
    ids=["prints", "reads-the-environment"],
)
def test_only_the_edge(modules: list[Module], rule: Any, allowed: tuple[str, ...]) -> None:
    wrong = [
        f"{module.name}:{node.lineno}"
        for module in modules
        if not module.within(allowed)
        for node in ast.walk(module.tree)
        if rule(node)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("rule", "line", "caught"),
    [
        (_prints, "print(1)", True),
        (_prints, "sys.stderr.write('x')", True),
        (_prints, "log.info('print')", False),
        (_reads_environment, "os.environ['HOME']", True),
        (_reads_environment, "from os import getenv", True),
        (_reads_environment, "system.environ['HOME']", False),
    ],
)
def test_the_rules_catch_what_they_are_for(rule: Any, line: str, caught: bool) -> None:
    assert any(rule(node) for node in ast.walk(ast.parse(line))) is caught


# --- shape --------------------------------------------------------------------------------------------


def test_top_level_names() -> None:
    ignored = [".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text().split())]
    names = {path.name for path in ROOT.iterdir() if not any(fnmatch(path.name, name) for name in ignored)}
    assert names <= TOP_LEVEL


def test_sizes(modules: list[Module], capsys: pytest.CaptureFixture[str]) -> None:
    """The longest modules and functions: shown as a signal, refused past a limit."""
    by_module = sorted(((len(module.text.splitlines()), module.name) for module in modules), reverse=True)
    by_function = sorted(
        (
            ((node.end_lineno or 0) - node.lineno + 1, f"{module.name}.{node.name}")
            for module in modules
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ),
        reverse=True,
    )
    with capsys.disabled():
        for what, found in (("modules", by_module), ("functions", by_function)):
            shown = ", ".join(f"{name} {lines}" for lines, name in found[:SHOWN])
            print(f"\n  longest {what}: {shown}", end="")
    assert [item for item in by_module if item[0] > LONGEST_MODULE] == []
    assert [item for item in by_function if item[0] > LONGEST_FUNCTION] == []
