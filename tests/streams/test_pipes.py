"""How large pipes are made, and how many of them."""

from __future__ import annotations

import fcntl

import pytest

from tests.streams.ends import open_pipe
from wherry.streams.pipes import PipeBudget, size_pipe

KIB = 1 << 10


@pytest.mark.parametrize(
    ("expected", "size", "charge"),
    [
        (0, 64 * KIB, 0),
        (64 * KIB, 64 * KIB, 0),
        (64 * KIB + 1, 256 * KIB, 256 * KIB),
        (None, 256 * KIB, 256 * KIB),
        (16384 * KIB, 256 * KIB, 256 * KIB),
        (16384 * KIB + 1, 1024 * KIB, 1024 * KIB),
    ],
)
def test_a_pipe_fits_its_blob(expected: int | None, size: int, charge: int) -> None:
    with open_pipe() as (_, _, into, _):
        assert size_pipe(into, expected, PipeBudget()) == charge
        assert fcntl.fcntl(into, fcntl.F_GETPIPE_SZ) == size


def test_the_budget_bounds_enlarged_pipes() -> None:
    budget = PipeBudget(300 * KIB)
    with open_pipe() as (_, _, one, _), open_pipe() as (_, _, two, _):
        charge = size_pipe(one, None, budget)
        assert size_pipe(two, None, budget) == 0
        assert fcntl.fcntl(two, fcntl.F_GETPIPE_SZ) == 64 * KIB
        budget.give_back(charge)
        assert size_pipe(two, None, budget) == charge


def test_what_is_no_pipe_stays_as_it_is() -> None:
    budget = PipeBudget(256 * KIB)
    with open("/dev/null", "wb") as null:
        assert size_pipe(null.fileno(), None, budget) == 0
    assert budget.take(256 * KIB)
