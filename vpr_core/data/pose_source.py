"""From the messages of a bag to poses by time: odometry, pose topics, transforms, GNSS, and odometry held to a map."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from vpr_core.data.anchored_poses import AnchoredPoses
from vpr_core.data.gnss import GnssFixes
from vpr_core.data.poses import MAX_SPEED_MPS, PoseTrack, Track, has_rotation, pose_from_stamped, track_of
from vpr_core.data.stamps import StampOrder, header_stamp_ns
from vpr_core.data.topics import GNSS_TYPE, Topics
from vpr_core.data.transforms import Transforms
from vpr_core.geodesy import GeoPoint
from vpr_core.types import Pose


class PoseSource(Protocol):
    """Takes messages as they were recorded, and gives a track at the end."""

    def take(self, topic: str, message: Any) -> None: ...

    def track(self) -> Track:
        """Raises BagError where the messages make no poses at all."""
        ...

    @property
    def map_frame(self) -> str:
        """Coordinate frame of the poses."""
        ...

    @property
    def base_frame(self) -> str:
        """The frame whose poses they are; empty where the messages do not name it."""
        ...

    @property
    def card(self) -> dict[str, Any]:
        """How the poses came about, for card.json."""
        ...


def pose_source(
    topics: Topics,
    msgtype: str,
    drops: Counter[str],
    irregular: Counter[str],
    max_speed_mps: float = MAX_SPEED_MPS,
    gnss_origin: GeoPoint | None = None,
) -> PoseSource:
    """The source that fits `topics.pose`; msgtype: of its messages."""
    if topics.transform:
        return Transforms(*topics.transform, drops, irregular, max_speed_mps)
    if topics.anchored:
        return AnchoredPoses(*topics.anchored, drops, irregular, max_speed_mps)
    assert topics.pose
    order = StampOrder(topics.pose, drops, irregular)
    if msgtype == GNSS_TYPE:
        return GnssFixes(order, max_speed_mps, gnss_origin)
    return TopicPoses(order, max_speed_mps)


class TopicPoses:
    """Odometry, PoseStamped and PoseWithCovarianceStamped."""

    def __init__(self, order: StampOrder, max_speed_mps: float = MAX_SPEED_MPS) -> None:
        self._order, self._max_speed_mps = order, max_speed_mps
        self._poses: dict[int, Pose] = {}
        self.map_frame = self.base_frame = ""
        self.card: dict[str, Any] = {"source": "poses"}

    def take(self, topic: str, message: Any) -> None:
        used = self.add(header_stamp_ns(message), pose_from_stamped(message), message.header.frame_id)
        if used and not self.base_frame:
            self.base_frame = getattr(message, "child_frame_id", "").lstrip("/")

    def add(self, stamp_ns: int, pose: Pose, frame_id: str) -> bool:
        """T_map_base in `frame_id` at the stamp; whether it can be used."""
        if not has_rotation(pose):
            reason = "rotation is zero" if pose.is_finite else "pose is not finite"
            self._order.drops[f"{self._order.name}: {reason}"] += 1
            return False
        if accepted := self._order.accept(stamp_ns):
            self._poses[stamp_ns] = pose
            self.map_frame = self.map_frame or frame_id.lstrip("/")
        return accepted

    def track(self) -> PoseTrack:
        return track_of(self._poses, self._max_speed_mps)

    def keep(self, begin_ns: int, end_ns: int) -> None:
        """Give up the poses before and after that time: later ones are of a clock that was set back."""
        if not begin_ns <= next(iter(self._poses), begin_ns) <= end_ns:
            self._poses = {stamp_ns: pose for stamp_ns, pose in self._poses.items() if begin_ns <= stamp_ns <= end_ns}
