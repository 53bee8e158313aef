"""What is kept of a drive until it is worth a bag."""

from __future__ import annotations

from vpr_core.data.bag import RawMessage
from vpr_core.data.recent_messages import RecentMessages

SECOND_NS = 1_000_000_000


def message(second: float, size: int = 10, topic: str = "/camera") -> RawMessage:
    return RawMessage(topic, "sensor_msgs/msg/CompressedImage", int(second * SECOND_NS), b"x" * size)


def seconds(kept: RecentMessages) -> list[float]:
    return [each.log_ns / SECOND_NS for each in kept.taken()]


def test_what_is_too_old_is_forgotten() -> None:
    kept = RecentMessages(keep_s=3, budget_bytes=1000)
    for second in range(10):
        kept.add(message(second))
    assert seconds(kept) == [6, 7, 8, 9] and kept.size_bytes == 40 and kept.pushed_out == 0


def test_what_is_too_much_pushes_the_oldest_out_and_is_counted() -> None:
    kept = RecentMessages(keep_s=100, budget_bytes=35)
    for second in range(5):
        kept.add(message(second))
    assert seconds(kept) == [2, 3, 4] and kept.pushed_out == 2
    kept.add(message(6, size=100))
    assert seconds(kept) == [6], "the newest stays, however large it is"


def test_static_transforms_are_kept_and_come_first() -> None:
    kept = RecentMessages(keep_s=2, budget_bytes=1000)
    for second in range(100):  # sent again and again
        kept.add(message(second / 100, size=second + 1, topic="/tf_static"), "lidar")
    for second in range(2, 9):
        kept.add(message(second))
    assert [each.topic for each in kept.taken()] == ["/tf_static", "/camera", "/camera", "/camera"]
    assert seconds(kept) == [6, 6, 7, 8] and len(kept) == 4
    assert len(kept.taken()[0].data) == 100, "the newest"
    kept.add(message(9, topic="/tf_static"), "camera")
    assert len(kept) == 5


def test_time_that_goes_back_begins_anew() -> None:
    kept = RecentMessages(keep_s=100, budget_bytes=1000)
    for second in (5, 6, 1, 2):
        kept.add(message(second))
    assert seconds(kept) == [1, 2] and kept.size_bytes == 20
