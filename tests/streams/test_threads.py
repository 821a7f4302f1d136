"""Data threads: bounded, cancelled, always waited for."""

from __future__ import annotations

import threading

import pytest
import trio

from wherry.errors import CorruptError
from wherry.streams.threads import BUFFER_SIZE, DataThreads


def nothing() -> None:
    """A cancel that is not called."""


async def test_a_job_returns_its_result_or_raises_its_error() -> None:
    def fail() -> None:
        raise CorruptError("by design")

    threads = DataThreads()
    assert await threads.run(lambda: threading.current_thread() is threading.main_thread(), nothing) is False
    with pytest.raises(CorruptError, match="by design"):
        await threads.run(fail, nothing)
    assert threads.busy == 0


async def test_cancellation_ends_the_job_and_waits_for_it() -> None:
    threads = DataThreads()
    started, stop, ended = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        started.set()
        assert stop.wait(30)
        ended.set()
        raise CorruptError("what a job raises when it is stopped does not matter")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, job, stop.set)
        await trio.to_thread.run_sync(started.wait)
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    assert ended.is_set()
    assert threads.busy == 0


async def test_a_cancelled_task_starts_nothing() -> None:
    ran: list[int] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await DataThreads().run(lambda: ran.append(1), nothing)
    assert scope.cancelled_caught
    assert ran == []


async def test_no_more_threads_than_the_limit() -> None:
    threads = DataThreads(2)
    gate, started = threading.Event(), threading.Semaphore(0)

    def job() -> None:
        started.release()
        assert gate.wait(30)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(threads.run, job, nothing)
        await trio.testing.wait_all_tasks_blocked()
        assert threads.busy == threads.limit == 2
        assert threads.contended
        assert started.acquire(timeout=30)
        assert started.acquire(timeout=30)
        assert not started.acquire(blocking=False)
        gate.set()
    assert not threads.contended


async def test_buffers_are_used_again() -> None:
    threads = DataThreads()

    def job() -> int:
        with threads.buffer() as view:
            assert len(view) == BUFFER_SIZE
            return id(view)

    assert await threads.run(job, nothing) == await threads.run(job, nothing)
    with threads.buffer() as one, threads.buffer() as two:
        assert one is not two
