"""Long work in several processes at once, with one progress bar, an order where one needs another, and a clean stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from vpr_core.errors import VprError

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all; what it raises ends the work."""


@dataclass(frozen=True)
class Task:
    """`function(*arguments, progress)` for a process of its own; both have to be picklable."""

    function: Callable[..., object]
    arguments: tuple[Any, ...]
    after: tuple[str, ...] = ()
    """Names of the tasks that must be finished first."""


def run_tasks(
    tasks: Mapping[str, Task],
    *,
    workers: int,
    unit: str,
    description: str = "",
    total: int | None = None,
    bar: bool = False,
    finished: Callable[[str], None] | None = None,
) -> None:
    """Run every task, in their order as far as `after` lets them, at most `workers` at once.

    bar: shows progress on stderr, counted in `unit`; total: of all tasks, where it is known before they begin.
    finished: called with the name of each task that is done.
    An interrupt or the failure of one task stops the others: their next call of `progress` raises. Raises what a task
    raises, and VprError where its process was killed.
    """
    context = multiprocessing.get_context("spawn")
    reports, stop = context.SimpleQueue(), context.Event()
    with tqdm(total=total or 0, desc=description or None, unit=unit, disable=not bar) as meter:
        pool = ProcessPoolExecutor(
            min(workers, len(tasks)) or 1, context, initializer=_start_worker, initargs=(reports, stop)
        )
        try:
            for name in _run(pool, tasks, lambda: _show(reports, meter, grows=total is None)):
                if finished:
                    finished(name)
        except BrokenProcessPool as error:
            raise VprError(f"a process of {workers} was killed: is there memory enough for so many at once?") from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _run(pool: ProcessPoolExecutor, tasks: Mapping[str, Task], show: Callable[[], None]) -> Iterator[str]:
    waiting, finished = dict(tasks), set[str]()
    running: dict[Future[None], str] = {}
    while waiting or running:
        ready = [name for name, task in waiting.items() if finished.issuperset(task.after)]
        if not ready and not running:
            raise ValueError(f"nothing that {sorted(waiting)} wait for will ever be finished")
        with _workers_ignore_interrupts():
            running |= {pool.submit(_run_in_worker, name, waiting.pop(name)): name for name in ready}
        done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        show()
        for future in done:
            future.result()
            name = running.pop(future)
            finished.add(name)
            yield name


def _show(reports: Any, meter: tqdm, grows: bool) -> None:
    while not reports.empty():
        more, total = reports.get()
        meter.total += total if grows else 0
        meter.update(more)


@contextmanager
def _workers_ignore_interrupts() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C from their first moment: the parent tells them through `stop`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _StoppedError(Exception):
    """Another task failed, or the user interrupted."""


# Set once in every worker process, never in the process of the caller.
_worker: dict[str, Any] = {}


def _start_worker(reports: Any, stop: Any) -> None:
    _worker.update(reports=reports, stop=stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next task for ever, with all its memory."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _run_in_worker(name: str, task: Task) -> None:
    shown = 0

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if _worker["stop"].is_set():
            raise _StoppedError(name)
        _worker["reports"].put((done - shown, total if shown == 0 else 0))
        shown = done

    task.function(*task.arguments, progress)
