"""The trust policy: policy.json parsed strictly, and asked before an image is used."""

from __future__ import annotations

from wherry.policy.evaluate import ACCEPT_ANYTHING, ImageIdentity, Policy, verify, verify_either
from wherry.policy.load import load_policy
from wherry.policy.requirements import Requirement
from wherry.policy.schema import parse

__all__ = [
    "ACCEPT_ANYTHING",
    "ImageIdentity",
    "Policy",
    "Requirement",
    "load_policy",
    "parse",
    "verify",
    "verify_either",
]
