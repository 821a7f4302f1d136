"""oci-archive: the contract, the rows of hostile-cases about archives, and its peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transports.contract import Contract, Subject, make_system

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    place = tmp_path / "image.tar"
    return Subject(make_system(tmp_path), "oci-archive:image.tar:tag", place, reuses=False, keeps_blobs=False)


class TestContract(Contract):
    pass
