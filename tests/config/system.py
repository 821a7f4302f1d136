"""A System whose files are all below a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from wherry.model.platforms import PlatformChoice
from wherry.system import DataThreads, System


def system(root: Path, environ: Mapping[str, str] | None = None, **others: Any) -> System:
    return System(
        root=str(root),
        home=str(root / "home"),
        cwd=str(root),
        environ=environ or {},
        platform=PlatformChoice(os="linux", architecture="amd64"),
        threads=cast("DataThreads", None),
        **others,
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
