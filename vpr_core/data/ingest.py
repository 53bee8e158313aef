"""From a bag to a frames folder: images, clouds and poses that belong together, by header stamp.

The bag is read twice. The first pass looks only at header stamps (and decodes the poses, which are small), so that
keyframes can be chosen over the whole drive; the second decodes just the messages that were chosen, one at a time.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_core.data.bag import BagReader, RawMessage
from vpr_core.data.frames import Frame, write_index
from vpr_core.data.images import image_from_message
from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.data.synchronise import Stream, plan_frames
from vpr_core.errors import BagError, FramesError, InputError
from vpr_core.files import folder_in_the_making
from vpr_core.preprocess import check_image
from vpr_core.types import Pose

IMAGE_TYPES = ("sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image")
CLOUD_TYPES = ("sensor_msgs/msg/PointCloud2",)
POSE_TYPES = ("nav_msgs/msg/Odometry",)
NONE = "none"
"""Given for a topic, it leaves that sensor out."""

Progress = Callable[[str, int], Any]
"""Called with the name of the pass and its number of messages; returns an object with update(n) and close()."""


@dataclass(frozen=True)
class Topics:
    """What is taken from the bag; None where the drive has no such sensor."""

    image: str | None
    cloud: str | None
    pose: str | None


def ingest(
    bag: str | Path,
    out: str | Path,
    *,
    image_topic: str | None = None,
    cloud_topic: str | None = None,
    pose_topic: str | None = None,
    keyframe_m: float = 2.0,
    keyframe_s: float = 1.0,
    tolerance_s: float = 0.1,
    session: str | None = None,
    area: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the frames folder `out` from `bag` and return its path.

    A topic left None is found by its type and must then be the only one; "none" leaves that sensor out. Keyframes are
    `keyframe_m` metres of travel apart, or `keyframe_s` seconds where there are no poses. A cloud belongs to the
    nearest image within `tolerance_s`; a pose is interpolated between the two odometry messages around the image,
    which may be up to 0.5 s apart. What does not fit is dropped, counted by reason, and stands in card.json.
    `area` names what drives with one map frame share; it is needed only where different towns call theirs the same.

    Raises BagError (unreadable bag, missing or ambiguous topic) and FramesError (`out` exists; nothing could be used).
    """
    bag, out = Path(bag), Path(out)
    drops: Counter[str] = Counter()
    with BagReader(bag) as reader:
        topics = choose_topics(reader, image_topic, cloud_topic, pose_topic)
        streams = _scan(reader, topics, drops, progress)
        plan = plan_frames(
            streams, topics.image, topics.cloud, topics.pose, keyframe_m, keyframe_s, round(tolerance_s * 1e9), drops
        )
        with folder_in_the_making(out, FramesError, "card.json", overwrite) as folder:
            frames, image_size = _extract(reader, topics, plan, folder, drops, progress)
            if not frames:
                raise FramesError(f"{bag} gave no frame: {_drop_text(drops)}")
            card = _card(bag, session or out.name, topics, streams, frames, image_size, drops)
            card["area"] = area
            card["keyframes"] = {"metres": keyframe_m} if topics.pose else {"seconds": keyframe_s}
            write_index(folder, frames, card)
    return out


def choose_topics(reader: BagReader, image: str | None, cloud: str | None, pose: str | None) -> Topics:
    """Resolve what the user named, or what the bag holds; raises BagError where that is not clear."""
    topics = Topics(
        _choose(reader, "image", image, IMAGE_TYPES),
        _choose(reader, "cloud", cloud, CLOUD_TYPES),
        _choose(reader, "pose", pose, POSE_TYPES),
    )
    if topics.image is None and topics.cloud is None:
        raise BagError(f"{reader.path} has neither an image nor a point cloud topic to make frames of")
    return topics


def _choose(reader: BagReader, what: str, given: str | None, msgtypes: tuple[str, ...]) -> str | None:
    if given == NONE:
        return None
    if given is not None:
        reader.require(given, msgtypes)
        return given
    found = sorted(topic for topic, msgtype in reader.topics.items() if msgtype in msgtypes)
    if len(found) > 1:
        raise BagError(f"{reader.path} has several {what} topics: choose one with --{what}_topic {' | '.join(found)}")
    return found[0] if found else None


def stamp_of(data: bytes) -> int:
    """Header stamp [ns] of a CDR message whose first field is a std_msgs/Header."""
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(order + "iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _scan(reader: BagReader, topics: Topics, drops: Counter[str], progress: Progress | None) -> dict[str, Stream]:
    """First pass: the header stamps of images and clouds, and every pose."""
    wanted = [topic for topic in (topics.image, topics.cloud, topics.pose) if topic]
    found: dict[str, dict[int, Any]] = {topic: {} for topic in wanted}
    frame_ids: dict[str, str] = {}
    for message in _tracked(reader, wanted, "scan", progress):
        try:
            stamp_ns, value, frame_id = _look(reader, message, is_pose=message.topic == topics.pose)
        except (struct.error, IndexError, BagError):
            drops[f"{message.topic}: message cannot be decoded"] += 1
            continue
        if stamp_ns <= 0:
            drops[f"{message.topic}: header stamp is zero"] += 1
        elif stamp_ns in found[message.topic]:
            drops[f"{message.topic}: header stamp repeated"] += 1
        elif value is not None and not value.is_finite:
            drops[f"{message.topic}: pose is not finite"] += 1
        else:
            found[message.topic][stamp_ns] = value
            frame_ids.setdefault(message.topic, frame_id)
    return {topic: _stream(by_stamp, frame_ids.get(topic, "")) for topic, by_stamp in found.items()}


def _look(reader: BagReader, message: RawMessage, is_pose: bool) -> tuple[int, Pose | None, str]:
    if not is_pose and reader.is_ros2:
        return stamp_of(message.data), None, ""
    decoded = reader.decode(message)
    stamp = decoded.header.stamp
    pose = pose_from_message(decoded.pose.pose) if is_pose else None
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec), pose, decoded.header.frame_id


def pose_from_message(message: Any) -> Pose:
    """geometry_msgs/Pose to Pose."""
    p, q = message.position, message.orientation
    return Pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def _stream(by_stamp: dict[int, Any], frame_id: str) -> Stream:
    stamps = sorted(by_stamp)
    return Stream(np.array(stamps, np.int64), [by_stamp[stamp] for stamp in stamps], frame_id)


def _extract(
    reader: BagReader, topics: Topics, plan: list[Frame], folder: Path, drops: Counter[str], progress: Progress | None
) -> tuple[list[Frame], tuple[int, int] | None]:
    """Second pass: write the chosen images and clouds; frames of which something is broken are dropped."""
    writer = _FrameWriter(folder, topics, plan, drops)
    for message in _tracked(reader, [topic for topic in (topics.image, topics.cloud) if topic], "extract", progress):
        writer.take(reader, message)
    return writer.finish()


class _FrameWriter:
    """Writes the files of planned frames as their messages pass by."""

    def __init__(self, folder: Path, topics: Topics, plan: list[Frame], drops: Counter[str]) -> None:
        self._folder, self._topics, self._drops = folder, topics, drops
        self._plan = plan
        self._by_image = {frame.stamp_ns: frame.index for frame in plan} if topics.image else {}
        self._by_cloud: dict[int, list[int]] = {}
        for frame in plan:
            if frame.cloud_stamp_ns is not None:
                self._by_cloud.setdefault(frame.cloud_stamp_ns, []).append(frame.index)
        self._images: dict[int, str] = {}
        self._clouds: dict[int, str] = {}
        self._image_size: tuple[int, int] | None = None
        for name, topic in (("images", topics.image), ("clouds", topics.cloud)):
            if topic:
                (folder / name).mkdir()

    def take(self, reader: BagReader, message: RawMessage) -> None:
        try:
            stamp_ns, _, _ = _look(reader, message, is_pose=False)
        except (struct.error, IndexError, BagError):
            return  # counted by the first pass
        try:
            if message.topic == self._topics.image and stamp_ns in self._by_image:
                self._take_image(self._by_image.pop(stamp_ns), reader.decode(message))
            elif message.topic == self._topics.cloud and stamp_ns in self._by_cloud:
                self._take_cloud(self._by_cloud.pop(stamp_ns), reader.decode(message))
        except InputError as error:
            self._drops[f"{message.topic}: {str(error).split(':')[0]}"] += 1
        except BagError:
            self._drops[f"{message.topic}: message cannot be decoded"] += 1

    def _take_image(self, index: int, message: Any) -> None:
        image = image_from_message(message)
        check_image(image)
        size = (image.shape[1], image.shape[0])
        self._image_size = self._image_size or size
        if size != self._image_size:
            width, height = self._image_size
            raise InputError(f"image is {size[0]}x{size[1]}, the drive began with {width}x{height}")
        name, data = f"images/{index:06d}.jpg", b""
        if hasattr(message, "format"):
            data = bytes(message.data)
            if not data.startswith(b"\xff\xd8"):
                name = f"images/{index:06d}.png"
        else:  # a raw image has no file of its own; PNG keeps every pixel
            name = f"images/{index:06d}.png"
            data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
        (self._folder / name).write_bytes(data)
        self._images[index] = name

    def _take_cloud(self, indices: list[int], message: Any) -> None:
        points = cloud_from_message(message)
        if not len(points):
            raise InputError("point cloud has no finite point")
        for index in indices:
            name = f"clouds/{index:06d}.npy"
            np.save(self._folder / name, points)
            self._clouds[index] = name

    def finish(self) -> tuple[list[Frame], tuple[int, int] | None]:
        frames: list[Frame] = []
        for planned in self._plan:
            image, cloud = self._images.get(planned.index), self._clouds.get(planned.index)
            if (self._topics.image and image is None) or (self._topics.cloud and cloud is None):
                for name, missing in ((image, "cloud"), (cloud, "image")):
                    if name:
                        (self._folder / name).unlink()
                        self._drops[f"its {missing} was dropped"] += 1
                continue
            frames.append(replace(planned, index=len(frames), image=image, cloud=cloud))
        return frames, self._image_size


def _card(
    bag: Path,
    session: str,
    topics: Topics,
    streams: dict[str, Stream],
    frames: list[Frame],
    image_size: tuple[int, int] | None,
    drops: Counter[str],
) -> dict[str, Any]:
    lags_ms = [
        abs(frame.stamp_ns - frame.cloud_stamp_ns) / 1e6
        for frame in frames
        if topics.image and frame.cloud_stamp_ns is not None
    ]
    positions = np.array([frame.pose.position_m for frame in frames if frame.pose]).reshape(-1, 3)
    return {
        "session": session,
        "bag": bag.name,
        "topics": {"image": topics.image, "cloud": topics.cloud, "pose": topics.pose},
        "map_frame": streams[topics.pose].frame_id if topics.pose else "",
        "image_size": list(image_size) if image_size else None,
        "counts": {
            "frames": len(frames),
            "messages": {topic: len(stream.stamps_ns) for topic, stream in streams.items()},
        },
        "drops": dict(sorted(drops.items())),
        "synchronisation_ms": (
            {"mean": round(float(np.mean(lags_ms)), 3), "max": round(float(np.max(lags_ms)), 3)} if lags_ms else None
        ),
        "seconds": round((frames[-1].stamp_ns - frames[0].stamp_ns) / 1e9, 3),
        "metres": round(float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum()), 2) if topics.pose else None,
    }


def _drop_text(drops: Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in drops.most_common()) or "its topics hold no messages"


def _tracked(reader: BagReader, topics: list[str], name: str, progress: Progress | None) -> Iterator[RawMessage]:
    bar = progress(name, reader.count(topics)) if progress else None
    try:
        for message in reader.raw_messages(topics):
            yield message
            if bar:
                bar.update(1)
    finally:
        if bar:
            bar.close()
