"""Header stamps, and what can be odd about those of a topic in the order in which its messages were recorded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

LATE_NS = 1_000_000_000
"""A stamp so far behind the latest one is a clock that was set back, not a message that was late."""

_MOST_SEEN = 4096
"""Older stamps that come again are refused all the same: they lie before the latest one."""


def header_stamp_ns(message: Any) -> int:
    """Header stamp [ns] of a message of rclpy or of a bag."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


@dataclass
class StampOrder:
    """Decides which stamps of one topic can be used.

    Messages that came late are sorted in. After a clock was set back, stamps in time that was recorded already are
    refused: two moments of the drive would share them, and nothing says which of the poses belongs to which.
    """

    name: str
    """Of the topic, in what is counted."""
    drops: Counter[str]
    irregular: Counter[str]
    """What was odd and yet could be used."""
    _seen: dict[int, None] = field(default_factory=dict)
    _covered: list[tuple[int, int]] = field(default_factory=list)
    _span: tuple[int, int] | None = None

    def accept(self, stamp_ns: int) -> bool:
        """Whether a message with this stamp can be used; counts why not."""
        if stamp_ns <= 0:
            return self._drop("header stamp is zero")
        if stamp_ns in self._seen:
            return self._drop("header stamp repeated")
        self._follow(stamp_ns)
        if any(first <= stamp_ns <= last for first, last in self._covered):
            return self._drop("header stamp lies in time recorded before the clock went back")
        self._seen[stamp_ns] = None
        if len(self._seen) > _MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        return True

    def _follow(self, stamp_ns: int) -> None:
        first, last = self._span or (stamp_ns, stamp_ns)
        if stamp_ns < last - LATE_NS:
            self.irregular[f"{self.name}: clock went back"] += 1
            self._cover(first, last)
            first = last = stamp_ns
        elif stamp_ns < last:
            self.irregular[f"{self.name}: message out of order"] += 1
        self._span = min(first, stamp_ns), max(last, stamp_ns)

    def _cover(self, first: int, last: int) -> None:
        """Note a span of time, joined with those that it overlaps."""
        apart = [span for span in self._covered if span[1] < first or span[0] > last]
        joined = [span for span in self._covered if span not in apart]
        self._covered = [*apart, (min([first, *(a for a, _ in joined)]), max([last, *(b for _, b in joined)]))]

    def _drop(self, reason: str) -> bool:
        self.drops[f"{self.name}: {reason}"] += 1
        return False
