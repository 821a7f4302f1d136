"""Where an exception that nobody foresaw ends: an error of one request, and a traceback in the log."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from wherry.errors import InternalError

if TYPE_CHECKING:
    from wherry.server.settings import Log


def told(log: Log, what: str, bug: Exception) -> InternalError:
    """The error for the client; the log gets all of it. `what`: the method that met the bug."""
    log("error", f"bug in wherry: {what}: {''.join(traceback.format_exception(bug))}")
    return InternalError(f"internal error in {what}: {type(bug).__name__}")
