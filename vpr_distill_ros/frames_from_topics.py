"""Training frames of live topics, while a recording or a replay runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rclpy
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_srvs.srv import Trigger

from vpr_core.data.card import counted
from vpr_core.data.frames import Frames
from vpr_core.data.live_frames import LiveFrames
from vpr_core.data.poses import pose_from_stamped
from vpr_core.data.topics import NONE
from vpr_core.errors import FramesError
from vpr_distill_ros.loading import one_line
from vpr_distill_ros.process import logger
from vpr_distill_ros.progress import Progress
from vpr_distill_ros.sensor_input import SensorInput
from vpr_distill_ros.stamps import stamp_to_ns

if TYPE_CHECKING:
    from vpr_distill_ros.bag_replay_node import BagReplay

_TYPES = {
    "image": {"sensor_msgs/msg/CompressedImage": CompressedImage, "sensor_msgs/msg/Image": Image},
    "cloud": {"sensor_msgs/msg/PointCloud2": PointCloud2},
    "pose": {
        "nav_msgs/msg/Odometry": Odometry,
        "geometry_msgs/msg/PoseStamped": PoseStamped,
        "geometry_msgs/msg/PoseWithCovarianceStamped": PoseWithCovarianceStamped,
    },
}
_DEPTH = 100
_POLL_S = 0.1


def frames_from_topics(node: BagReplay) -> None:
    """Take frames until ~/finish or a signal; raises FramesError where no frame came or the folder exists."""
    topics = {what: _topic(node, what) for what in _TYPES}
    if not node.value("frames"):
        raise FramesError("no frames folder is given: set the parameter frames to the folder to write")
    with _live_frames(node, topics) as live:
        inputs = [_listen(node, live, what, topic) for what, topic in topics.items() if topic]
        _Session(node, live, inputs).run()


def _topic(node: BagReplay, what: str) -> str:
    topic = node.value(f"{what}_topic")
    return "" if topic == NONE else topic


def _live_frames(node: BagReplay, topics: dict[str, str]) -> LiveFrames:
    if not topics["image"] and not topics["cloud"]:
        raise FramesError("mode record_frames takes frames of a camera or a LiDAR: set image_topic or cloud_topic")
    if topics["pose"].startswith("tf:"):
        raise FramesError(f"{topics['pose']} is read from bags only: set pose_topic to a topic of odometry or poses")
    options: dict[str, Any] = {f"has_{what}": bool(topic) for what, topic in topics.items()}
    options |= {name: float(node.value(name)) for name in ("keyframe_m", "keyframe_s", "tolerance_s")}
    return LiveFrames(
        node.value("frames"),
        **options,
        session=node.value("session") or None,
        area=node.value("area") or None,
        overwrite=node.value("overwrite"),
    )


def _listen(node: BagReplay, live: LiveFrames, what: str, topic: str) -> SensorInput:
    def add_pose(message: Any) -> None:
        live.add_pose(stamp_to_ns(message.header.stamp), pose_from_stamped(message), message.header.frame_id)

    take = {"image": live.add_image, "cloud": live.add_cloud, "pose": add_pose}[what]
    return SensorInput(node, topic, _TYPES[what], f"set {what}_topic", take, depth=_DEPTH)


class _Session:
    """The time in which frames are taken; it ends once, by what comes first: ~/finish, a signal or a full disk."""

    def __init__(self, node: BagReplay, live: LiveFrames, inputs: list[SensorInput]) -> None:
        self._node, self._live, self._inputs = node, live, inputs
        self._progress = Progress(node, "frames of live topics")
        self._has_ended = False
        self._failure: FramesError | None = None
        node.create_service(Trigger, "~/finish", self._on_finish)

    def run(self) -> None:
        """Raises FramesError where no frame came, or not all could be written."""
        self._node.get_logger().info(f"taking frames into {self._live.out}")
        try:
            while not self._has_ended:
                self._node.spin_for(_POLL_S)
                self._tell()
            self._node.spin_for(_POLL_S)  # the response is on its way
        except Exception as error:
            broken = error if isinstance(error, OSError) else None
            if rclpy.ok() and broken is None:
                raise
            # Once a signal has shut the context down, whatever a call to ROS raises is no error.
            if not self._has_ended:
                self._end(broken)
        if self._failure is not None:
            raise self._failure

    def _tell(self) -> None:
        counts = self._live.counts
        complaint = "; ".join(source.complaint for source in self._inputs if source.complaint)
        values = {"frames": counts["frames"], "waiting": counts["waiting"], **counts["drops"], **counts["irregular"]}
        self._progress.tell(complaint or f"{counts['frames']} frames", values)

    def _on_finish(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = "the frames are written already" if self._has_ended else self._end()
        for source in self._inputs:
            source.close()
        response.success = self._failure is None
        return response

    def _end(self, broken: OSError | None = None) -> str:
        """Write the folder, of a disk that is `broken` what is whole already; what to say of it."""
        self._has_ended = True
        try:
            text = self._write(early=broken is not None)
        except FramesError as error:
            self._failure = error
        except Exception as error:  # a signal would hide it
            self._failure = FramesError(f"{self._live.out} cannot be written: {one_line(error)}")
        else:
            if broken is None:
                return text
            self._failure = FramesError(f"{text}; the rest cannot be written: {broken.strerror}")
        return str(self._failure)

    def _write(self, early: bool) -> str:
        out = self._live.finish(early)
        card = Frames.load(out).card
        text = f"{card['counts']['frames']} frames in {out}, drops: {counted(card['drops']) or 'none'}"
        logger(self._node).info(text)
        return text
