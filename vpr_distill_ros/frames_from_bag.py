"""Training frames of a bag: what `vpr-distill ingest` does, as a node with its progress on a topic."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vpr_core.data.card import counted
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.errors import BagError, FramesError
from vpr_distill_ros.progress import Progress

if TYPE_CHECKING:
    from vpr_distill_ros.bag_replay_node import BagReplay

_OPTIONAL = ("image_topic", "cloud_topic", "pose_topic", "label_topic", "session", "area")
_LOOK_PERIOD_S = 0.05
_NUMBERS = ("keyframe_m", "keyframe_s", "tolerance_s")


def frames_from_bag(node: BagReplay) -> None:
    """Raises BagError and FramesError as `ingest` does."""
    bag, frames = node.value("bag"), node.value("frames")
    if not bag:
        raise BagError("no bag is given: set the parameter bag to a rosbag2 folder, a .mcap or a .db3 file")
    if not frames:
        raise FramesError("no frames folder is given: set the parameter frames to the folder to write")
    progress = Progress(node, "frames of a bag")
    options: dict[str, Any] = {name: node.value(name) or None for name in _OPTIONAL}
    options |= {name: float(node.value(name)) for name in _NUMBERS}
    out = ingest(
        bag,
        frames,
        **options,
        overwrite=node.value("overwrite"),
        progress=lambda name, total: _Pass(node, progress, name, total),
    )
    card = Frames.load(out).card
    text = f"{out}: {card['counts']['frames']} frames, drops: {counted(card['drops']) or 'none'}"
    progress.tell(text, {"frames": card["counts"]["frames"], **card["drops"]}, 1.0, now=True)
    node.get_logger().info(text)


class _Pass:
    """One reading of the bag."""

    def __init__(self, node: BagReplay, progress: Progress, name: str, total: int) -> None:
        self._node, self._progress = node, progress
        self._name, self._total, self._done = name, total, 0
        self._looked_s = 0.0
        self._tell(now=True)

    def update(self, number: int) -> None:
        self._done += number
        if time.monotonic() - self._looked_s > _LOOK_PERIOD_S:
            self._looked_s = time.monotonic()
            self._node.check_signals()
            self._tell()

    def close(self) -> None:
        pass

    def _tell(self, now: bool = False) -> None:
        values = {"pass": self._name, "done": self._done, "total": self._total}
        self._progress.tell(
            f"{self._name}: {self._done} of {self._total}", values, self._done / max(self._total, 1), now
        )
