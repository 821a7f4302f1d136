"""The policy that applies: found by wherry.config, parsed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.config import policyfile
from wherry.errors import context
from wherry.model.goquote import quote
from wherry.policy import schema
from wherry.policy.evaluate import ACCEPT_ANYTHING

if TYPE_CHECKING:
    from wherry.policy.evaluate import Policy
    from wherry.system import System


def load_policy(system: System, path: str | None = None, insecure: bool = False) -> Policy:
    """The policy of `path` (--policy), or of the first policy.json found; with `insecure`
    (--insecure-policy) no file is read at all.

    Reads a file in the calling thread. Raises PolicyError, FileError or LimitError with skopeo's texts, to
    which the commands prepend `Error loading trust policy: `.
    """
    if insecure:
        return ACCEPT_ANYTHING
    found = policyfile.read(system, path)
    with context(f"invalid policy in {quote(found.path)}"):
        return schema.parse(found.raw)
