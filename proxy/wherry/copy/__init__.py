"""Copying images: plan, transfer, commit (design.md decision 11)."""

from wherry.copy.run import copy

__all__ = ["copy"]
