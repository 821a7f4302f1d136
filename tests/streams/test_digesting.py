"""The comparison of moved bytes with their descriptor."""

from __future__ import annotations

import pytest

from wherry.errors import CorruptError
from wherry.model.descriptor import Descriptor
from wherry.model.digest import EMPTY_SHA256, of
from wherry.streams.digesting import verify
from wherry.streams.pump import Moved

ONE = of(b"x")


def test_what_matches_passes() -> None:
    verify(Moved(1, {"sha256": ONE}), Descriptor("", ONE, 1))
    verify(Moved(1, {"sha256": ONE}), Descriptor("", ONE, -1))
    long = of(b"x", "sha512")
    verify(Moved(1, {"sha256": EMPTY_SHA256, "sha512": long}), Descriptor("", long, 1))


def test_what_differs_is_named() -> None:
    with pytest.raises(CorruptError, match=r"^the content is 1 bytes long, its descriptor says 2$"):
        verify(Moved(1, {"sha256": ONE}), Descriptor("", ONE, 2))
    with pytest.raises(CorruptError, match=rf"digest is {EMPTY_SHA256}, its descriptor says {ONE}$"):
        verify(Moved(1, {"sha256": EMPTY_SHA256}), Descriptor("", ONE, 1))
