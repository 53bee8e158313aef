"""The newest messages of a drive, kept in memory until something happens that makes them worth a bag."""

from __future__ import annotations

from collections import deque

from vpr_core.data.bag import RawMessage

LATCHED = frozenset({"/tf_static"})
"""Topics that are sent once and hold for good: kept however old they are."""


class RecentMessages:
    """Serialised messages of several topics, no older than `keep_s` and together no larger than `budget_bytes`.

    What is too old or too much is forgotten, the oldest first; `pushed_out` counts what had to go for its size.
    """

    def __init__(self, keep_s: float, budget_bytes: int) -> None:
        self._keep_ns, self._budget_bytes = round(keep_s * 1e9), budget_bytes
        self._messages: deque[RawMessage] = deque()
        self._latched: dict[tuple[str, str], RawMessage] = {}
        self.size_bytes = 0
        self.pushed_out = 0

    def __len__(self) -> int:
        return len(self._messages) + len(self._latched)

    def add(self, message: RawMessage, what: str = "") -> None:
        """Take the newest message. One that is older than the newest means that time began again: all is forgotten
        that was latched on no topic.

        what: of a latched one, what it tells; the newest that tells it is kept.
        """
        if message.topic in LATCHED:
            self._latched[message.topic, what] = message
            return
        if self._messages and message.log_ns < self._messages[-1].log_ns:
            self._messages.clear()
            self.size_bytes = 0
        self._messages.append(message)
        self.size_bytes += len(message.data)
        self._forget()

    def taken(self) -> list[RawMessage]:
        """All that is kept, by time, what was latched at the beginning; it stays kept."""
        begin_ns = self._messages[0].log_ns if self._messages else 0
        latched = [
            RawMessage(message.topic, message.msgtype, begin_ns or message.log_ns, message.data)
            for message in self._latched.values()
        ]
        return [*latched, *self._messages]

    def _forget(self) -> None:
        newest_ns = self._messages[-1].log_ns
        while self._messages[0].log_ns < newest_ns - self._keep_ns:
            self.size_bytes -= len(self._messages.popleft().data)
        while self.size_bytes > self._budget_bytes and len(self._messages) > 1:
            self.size_bytes -= len(self._messages.popleft().data)
            self.pushed_out += 1
