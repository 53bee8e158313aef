"""Where a drive's sensors are mounted and how its camera projects, from /tf_static and camera_info.

It stands in card.json under `calibration`, as far as it is known:
  base_frame   the frame whose poses frames.csv has
  extrinsics   by sensor (camera, lidar): x, y, z, qx, qy, qz, qw of T_base_sensor
  camera       frame_id, width, height, K (9 numbers, row by row), D, distortion_model, as sensor_msgs/CameraInfo
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from vpr_core.data.bag import BagReader
from vpr_core.data.camera_info import camera_info_beside
from vpr_core.data.frame_tree import FrameTree
from vpr_core.data.poses import Track, pose_from_transform
from vpr_core.data.topics import NONE, TF_STATIC, TF_TYPES, Topics, accepts
from vpr_core.data.transforms import Chain, Link
from vpr_core.errors import BagError, FramesError, InputError
from vpr_core.types import Pose

CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
SENSORS = {"camera": "image", "lidar": "cloud"}
"""What a sensor's messages are called among a drive's topics."""
_LOOKS = 20
"""Messages that are tried for one that can be decoded."""


def extrinsics(card: dict[str, Any], sensor: str) -> Pose | None:
    """T_base_sensor of a drive by its card, for "camera" or "lidar"; None where it is not known.

    Raises FramesError where the card holds something else.
    """
    numbers = card.get("calibration", {}).get("extrinsics", {}).get(sensor)
    if numbers is None:
        return None
    try:
        x, y, z, qx, qy, qz, qw = map(float, numbers)
    except (TypeError, ValueError):
        raise FramesError(f"card.json has {numbers} for where the {sensor} is, expected 7 numbers") from None
    return Pose((x, y, z), (qx, qy, qz, qw))


class Mounting:
    """What a bag tells of its sensors beside what they saw; irregular: counts what cannot be used of that.

    Raises BagError where the bag is damaged.
    """

    def __init__(self, reader: BagReader, irregular: Counter[str]) -> None:
        self._reader, self._irregular = reader, irregular
        self._tree = FrameTree()
        self.has_transforms = False
        for message in reader.raw_messages([TF_STATIC]):
            if message.msgtype in TF_TYPES:
                self._take(reader.decode(message))

    def _take(self, message: Any) -> None:
        for transform in message.transforms:
            try:
                names = transform.header.frame_id, transform.child_frame_id
                self._tree.add_static(*names, pose_from_transform(transform.transform))
                self.has_transforms = True
            except InputError as error:
                self._irregular[f"{TF_STATIC}: {error}"] += 1

    def moved(self, track: Track, frame: str, base_frame: str) -> Track:
        """Poses of `frame` as those of `base_frame`, which is fixed to it; raises BagError where that is unknown."""
        try:
            return Chain([Link(track, False), Link(self._tree.lookup(frame, base_frame), False)])
        except InputError as error:
            raise BagError(
                f"the poses are those of {frame}, and {TF_STATIC} does not tell where {base_frame} is: {error}; "
                f"--base_frame {frame} takes them as they are"
            ) from None

    def card(self, topics: Topics, base_frame: str, camera_info_topic: str | None = None) -> dict[str, Any]:
        """What card.json says of it; nothing where nothing is known.

        base_frame: empty where it is not known. camera_info_topic: by default the one beside the image topic; "none"
        leaves the camera's intrinsics out. Raises BagError where it is none.
        """
        frames = {sensor: self._frame_of(what, topics.sensors[what])
                  for sensor, what in SENSORS.items() if what in topics.sensors}  # fmt: skip
        found = {sensor: pose for sensor, frame in frames.items() if (pose := self._pose(base_frame, frame))}
        about: dict[str, Any] = {}
        if found:
            numbers = {sensor: [*pose.position_m, *pose.quaternion_xyzw] for sensor, pose in found.items()}
            about |= {"base_frame": base_frame.lstrip("/"), "extrinsics": numbers}
        if topics.image and (camera := self._camera(topics.image, frames["camera"], camera_info_topic)):
            about["camera"] = camera
        return about

    def _pose(self, base_frame: str, frame: str) -> Pose | None:
        if not self.has_transforms or not base_frame or not frame:
            return None
        try:
            return self._tree.lookup(base_frame, frame)
        except InputError as error:
            self._irregular[f"{TF_STATIC}: {error}"] += 1
            return None

    def _frame_of(self, what: str, topic: str) -> str:
        """header.frame_id of a topic's messages; empty where none can be decoded."""
        for number, message in enumerate(self._reader.raw_messages([topic])):
            if number == _LOOKS:
                break
            if accepts(what, message.msgtype):
                try:
                    return str(self._reader.decode(message).header.frame_id).lstrip("/")
                except BagError:
                    continue
        return ""

    def _camera(self, image_topic: str, frame: str, given: str | None) -> dict[str, Any] | None:
        if given == NONE:
            return None
        topic = self._camera_info_topic(image_topic, given)
        message = next(iter(self._reader.raw_messages([topic])), None) if topic else None
        if message is None:
            return None
        info = self._reader.decode(message)
        info_frame = info.header.frame_id.lstrip("/")
        if given is None and info_frame != frame:
            self._irregular[f"{topic}: of {info_frame or 'no frame'}, the images are of {frame or 'no frame'}"] += 1
            return None
        numbers = [float(number) for number in (info.k if hasattr(info, "k") else info.K)]  # ROS 1 has capitals
        if numbers[0] <= 0 or numbers[4] <= 0:
            self._irregular[f"{topic}: the camera is not calibrated, its focal length is zero"] += 1
            return None
        return {
            "frame_id": frame or info_frame,
            "width": int(info.width),
            "height": int(info.height),
            "K": numbers,
            "D": [float(number) for number in (info.d if hasattr(info, "d") else info.D)],
            "distortion_model": str(info.distortion_model),
        }

    def _camera_info_topic(self, image_topic: str, given: str | None) -> str | None:
        """The one beside the image topic, as image_transport has it, or else the only one that there is."""
        if given is not None:
            self._reader.require(given, (CAMERA_INFO_TYPE,))
            return given
        known = [topic for topic, kinds in self._reader.types.items() if CAMERA_INFO_TYPE in kinds]
        beside = camera_info_beside(image_topic)
        return beside if beside in known else known[0] if len(known) == 1 else None


def fitting(about: dict[str, Any], image_size: tuple[int, int] | None, irregular: Counter[str]) -> dict[str, Any]:
    """A card's calibration without intrinsics that are of another image size than (width, height)."""
    camera = about.get("camera")
    if camera is None or (camera["width"], camera["height"]) == image_size:
        return about
    width, height = image_size or (0, 0)
    irregular[f"camera_info is of {camera['width']}x{camera['height']}, the images are {width}x{height}"] += 1
    return {name: value for name, value in about.items() if name != "camera"}
