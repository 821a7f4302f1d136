"""The System of a command, made of what the caller gave us: the one place that looks at the host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import structs

from wherry import __version__
from wherry.model.platforms import host_platform
from wherry.streams.threads import DataThreads
from wherry.system import System

if TYPE_CHECKING:
    from wherry_cli.call import Call
    from wherry_cli.flagparser import Given

_SCRATCH = "/var/tmp"  # noqa: S108 - the reference's place for large files, never a predictable name


def build_system(call: Call) -> System:
    """The ambient world of one command, with what its global flags say of it; `with_tls_details` adds one."""
    given = call.given
    user_agent_prefix = given.text("user-agent-prefix")
    prefix = f"{user_agent_prefix} " if user_agent_prefix else ""
    return System(
        home=call.environ.get("HOME") or _home(),
        cwd=call.cwd,
        environ=dict(call.environ),
        scratch=given.text("tmpdir") or _SCRATCH,
        platform=host_platform(os.uname().machine),
        threads=DataThreads(),
        user_agent=f"{prefix}wherry/{__version__}",
        warn=call.log.warn,
        registries_conf=given.text("registries-conf") or None,
    )


def with_tls_details(system: System, given: Given) -> System:
    """`system` with what the file of --tls-details says. Raises what reading it raises."""
    path = given.text("tls-details")
    if not path:
        return system
    from wherry.config import tlsdetails

    return structs.replace(system, tls_details=tlsdetails.load(system, path))


def _home() -> str:
    """The home directory of the user we run as, "" for one who is not in the password file."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
