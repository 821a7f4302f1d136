"""No core dump of a process that holds credentials (C-12)."""

from __future__ import annotations

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def forbid() -> None:
    """Have the kernel write no core of this process from now on, and keep its memory and environment in /proc
    from other processes of the same user (prctl(2), PR_SET_DUMPABLE); children that it starts are not
    affected. Where the kernel can't, nothing changes.

    trio has imported ctypes already: who calls this before trio would pay for it.
    """
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
