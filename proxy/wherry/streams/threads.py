"""The threads that move payload: bounded, apart from trio's own, cancelled at once and never abandoned."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outcome import Outcome

T = TypeVar("T")

BUFFER_SIZE: Final = 1 << 20
"""Bytes of a job's buffer: larger ones fall out of the processor's cache and are slower."""

_SPARE_BUFFERS: Final = 8


class DataThreads:
    """Implements wherry.system.DataThreads.

    trio's default limiter is not used: files, DNS and gpg share it, so readers that stall would block them.
    Idle threads belong to trio's cache, which ends them after ten seconds.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limiter = trio.CapacityLimiter(limit)
        self._spare: list[memoryview] = []

    @property
    def limit(self) -> int:
        """The most threads that run at once."""
        return int(self._limiter.total_tokens)

    @property
    def busy(self) -> int:
        """Threads that run a job now."""
        return self._limiter.borrowed_tokens

    @property
    def contended(self) -> bool:
        """Whether somebody waits for a thread; may be asked from a data thread."""
        return self._limiter.statistics().tasks_waiting > 0

    async def run(self, job: Callable[[], T], cancel: Callable[[], None]) -> T:
        """Run `job` in a thread and return its result, or raise what it raised.

        When the calling task is cancelled, `cancel` is called from the event loop, the thread is waited for,
        and then trio.Cancelled is raised, whatever the job's result was: what the job opens must be owned by
        something that outlives it.
        """
        holder = object()  # a task may run several jobs at once, which its own name could not
        await self._limiter.acquire_on_behalf_of(holder)
        try:
            return await _run(job, cancel)
        finally:
            self._limiter.release_on_behalf_of(holder)

    @contextmanager
    def buffer(self) -> Iterator[memoryview]:
        """Lend BUFFER_SIZE bytes; called in data threads."""
        try:
            view = self._spare.pop()
        except IndexError:
            view = memoryview(bytearray(BUFFER_SIZE))
        try:
            yield view
        finally:
            if len(self._spare) < _SPARE_BUFFERS:
                self._spare.append(view)


async def _run(job: Callable[[], T], cancel: Callable[[], None]) -> T:
    task = trio.lowlevel.current_task()
    loop = trio.lowlevel.current_trio_token()
    done: list[Outcome[T]] = []
    cancelled: list[trio.lowlevel.RaiseCancelT] = []

    def deliver(result: Outcome[T]) -> None:
        done.append(result)
        loop.run_sync_soon(trio.lowlevel.reschedule, task)

    def abort(raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        cancelled.append(raise_cancel)
        cancel()
        return trio.lowlevel.Abort.FAILED

    await trio.lowlevel.checkpoint_if_cancelled()
    trio.lowlevel.start_thread_soon(job, deliver, "wherry data")
    await trio.lowlevel.wait_task_rescheduled(abort)
    if cancelled:
        cancelled[0]()
    return done[0].unwrap()
