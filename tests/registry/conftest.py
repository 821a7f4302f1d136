"""What the registry's tests share."""

from __future__ import annotations

from tests.fakes.fixtures import fake, other, system

__all__ = ["fake", "other", "system"]
