"""The ambient world, made explicit: built once at the edge (wherry_cli, server/listen.py) and passed down.

Nothing below the edge reads the environment, the home directory or the clock by itself, so a test passes a
temporary root and nothing of the real /etc is seen.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec import Struct, field

from wherry.protocol.options import ImageAccess, PlatformChoice, TlsDetails

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

T = TypeVar("T")


class DataThreads(Protocol):
    """The threads that move payload; their number is bounded (wherry.streams.threads makes one)."""

    async def run(self, job: Callable[[], T], cancel: Callable[[], None]) -> T:
        """Run `job` in a thread and return its result.

        When the calling task is cancelled, `cancel` is called (from the event loop; it must make `job` return
        soon), the thread is still waited for, and then trio.Cancelled is raised.
        """
        ...

    def buffer(self) -> AbstractContextManager[memoryview]:
        """Lend a job 1 MiB to move payload through; its contents are what the last job left there."""
        ...

    @property
    def contended(self) -> bool:
        """Whether somebody waits for a thread; a job that could wait longer returns instead."""
        ...


class Retries(Struct, frozen=True):
    """How often a registry is asked again within one operation, whose `budget` is in seconds (design.md,
    section 5): `failed` times after answers like 503, `throttled` after 429, `unreachable` where there is no
    answer. `pause`: seconds before the first of them, doubled for each; `dice`: 0 to 1, what pauses vary by.
    """

    failed: int = 3
    throttled: int = 4
    unreachable: int = 5
    pause: float = 0.5
    budget: float = 300.0
    dice: Callable[[], float] = random.random


class RegistryPool(Protocol):
    """What images of one owner share to reach registries (wherry.registry.client.Registries is one)."""

    def client(self, registry: str, access: ImageAccess, /) -> object:
        """The client of a registry for these rights; connections and tokens are shared through it."""
        ...


def unheard(text: str) -> None:
    """The `warn` of a System whose owner wants no warnings."""


class System(Struct, frozen=True, kw_only=True):
    """Where we are.

    `root`: prefix of all system paths (`/` except in tests); `home`: the user's home; `cwd`: what relative
    paths of references are relative to, "" where it was removed; `environ`: the environment variables that we
    may look at; `scratch`: directory for large temporary files (skopeo's --tmpdir, /var/tmp); `platform`: the
    host's own, from which an index's instance is chosen; `wall`: seconds since the epoch (timeouts use trio's
    clock); `threads`: the data plane's; `user_agent`: sent to registries; `retries`: how often those are
    asked again; `registries_conf`: a registries.conf instead of the searched ones (--registries-conf);
    `tls_details`: what TLS may be for all connections (--tls-details);
    `own_credentials`: whether files and helpers of the user we run as may be asked for credentials (False in
    a server of several users, C-16); `warn`: takes a text that the user should see;
    `registries`: connections and tokens that its owner wants shared between images (None: each has its own).
    """

    root: str = "/"
    home: str = ""
    cwd: str = field(default_factory=os.getcwd)
    uid: int = field(default_factory=os.getuid)
    environ: Mapping[str, str] = field(default_factory=dict)
    scratch: str = "/var/tmp"  # noqa: S108 - the reference's place for large files, never a predictable name
    platform: PlatformChoice
    threads: DataThreads
    wall: Callable[[], float] = time.time
    user_agent: str = "wherry"
    idle_timeout: float = 60.0
    retries: Retries = Retries()
    registries_conf: str | None = None
    tls_details: TlsDetails = TlsDetails()
    own_credentials: bool = True
    warn: Callable[[str], None] = unheard
    registries: RegistryPool | None = None

    def path(self, name: str) -> str:
        """The absolute form of a path that a caller named; neither cleaned nor are links resolved."""
        return os.path.join(self.cwd, name)

    def etc(self, *names: str) -> str:
        """A system path below `root`: `etc("etc", "containers", "policy.json")`."""
        return os.path.join(self.root, *names)
