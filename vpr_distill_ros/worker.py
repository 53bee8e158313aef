"""A thread that works on the newest item only, so that nothing queues and its caller never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestWorker(Generic[T]):
    """Calls `work(item)` in its own thread; an item that arrives while another still waits takes its place.

    `work` must not raise: it is called outside anybody's sight.
    """

    def __init__(self, work: Callable[[T], None], name: str) -> None:
        self._work = work
        self._wake = threading.Condition()
        self._waiting: T | None = None
        self._running = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T) -> bool:
        """Hand over an item; True where one will never be worked on: the one it superseded, or itself after `stop`."""
        with self._wake:
            if not self._running:
                return True
            superseded = self._waiting is not None
            self._waiting = item
            self._wake.notify()
        return superseded

    @property
    def is_waiting(self) -> bool:
        """Whether an item waits, which the next would take the place of."""
        return self._waiting is not None

    def stop(self, finish: bool = False) -> bool:
        """End the thread after the item in work; True where an item was left that nobody had begun to work on.

        finish: after the one that waits, too.
        """
        with self._wake:
            self._running = False
            left = self._waiting is not None and not finish
            if left:
                self._waiting = None
            self._wake.notify()
        self._thread.join()
        return left

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._running and self._waiting is None:
                    self._wake.wait()
                if self._waiting is None:
                    return
                item, self._waiting = self._waiting, None
            assert item is not None
            self._work(item)
