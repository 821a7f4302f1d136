"""The System of a command, made of what the caller gave us: the one place that looks at the host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry import __version__
from wherry.model.platforms import host_platform
from wherry.streams.threads import DataThreads
from wherry.system import System, unheard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SCRATCH = "/var/tmp"  # noqa: S108 - the reference's place for large files, never a predictable name


def build_system(
    cwd: str,
    environ: Mapping[str, str],
    tmpdir: str = "",
    user_agent_prefix: str = "",
    warn: Callable[[str], None] = unheard,
) -> System:
    """The ambient world of one command.

    `tmpdir`: --tmpdir, "" for the default; `user_agent_prefix`: put before our own user agent;
    `warn`: takes what the user should see.
    """
    prefix = f"{user_agent_prefix} " if user_agent_prefix else ""
    return System(
        home=environ.get("HOME") or _home(),
        cwd=cwd,
        environ=dict(environ),
        scratch=tmpdir or _SCRATCH,
        platform=host_platform(os.uname().machine),
        threads=DataThreads(),
        user_agent=f"{prefix}wherry/{__version__}",
        warn=warn,
    )


def _home() -> str:
    """The home directory of the user we run as, "" for one who is not in the password file."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
