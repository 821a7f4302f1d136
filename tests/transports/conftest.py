"""The world and the servers of the docker: tests."""

from __future__ import annotations

from tests.fakes.fixtures import fake, other, system

__all__ = ["fake", "other", "system"]
