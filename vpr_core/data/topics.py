"""Which topics of a bag are the camera, the LiDAR, the labels and the poses."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vpr_core.data.bag import BagReader
from vpr_core.errors import BagError

IMAGE_TYPES = ("sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image")
CLOUD_TYPES = ("sensor_msgs/msg/PointCloud2",)
GNSS_TYPE = "sensor_msgs/msg/NavSatFix"
STAMPED_POSE_TYPES = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)
POSE_TYPES = (*STAMPED_POSE_TYPES, GNSS_TYPE)
TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
TF_STATIC = "/tf_static"
TF_TOPICS = ("/tf", TF_STATIC)
NONE = "none"
"""Given for a topic, it leaves that sensor out."""

_TYPES = {"image": IMAGE_TYPES, "cloud": CLOUD_TYPES, "label": IMAGE_TYPES, "pose": POSE_TYPES}
_LABEL_NAME = re.compile(r"label|semantic|segmentation", re.IGNORECASE)
_TF_CHAIN = re.compile(r"tf:/?([^>\s]+)>/?([^>\s]+)")
_ANCHORED = re.compile(r"anchored:([^+\s]+)\+([^+\s]+)")


@dataclass(frozen=True)
class Topics:
    """What is taken from the bag; None where the drive has no such sensor."""

    image: str | None
    cloud: str | None
    pose: str | None
    """A topic, "tf:PARENT>CHILD", or "anchored:BELIEVED+ODOMETRY"."""
    label: str | None = None

    @property
    def sensors(self) -> dict[str, str]:
        """Topic by what it is, of images, clouds and labels."""
        named = {"image": self.image, "cloud": self.cloud, "label": self.label}
        return {what: topic for what, topic in named.items() if topic}

    @property
    def transform(self) -> tuple[str, str] | None:
        """Parent and child frame where the poses are a chain of transforms."""
        return tf_chain(self.pose) if self.pose else None

    @property
    def anchored(self) -> tuple[str, str] | None:
        """The topics of believed poses and of odometry, where the poses are made of both."""
        return anchored(self.pose) if self.pose else None

    @property
    def pose_topics(self) -> tuple[str, ...]:
        """The topics of the bag that poses are made of."""
        return TF_TOPICS if self.transform else self.anchored or ((self.pose,) if self.pose else ())


def tf_chain(pose: str) -> tuple[str, str] | None:
    """Parent and child frame of "tf:PARENT>CHILD"; None where `pose` is a topic. Raises BagError on half of a chain."""
    if not pose.startswith("tf:"):
        return None
    found = _TF_CHAIN.fullmatch(pose)
    if not found:
        raise BagError(f"{pose} names no chain of transforms: expected tf:PARENT>CHILD, e.g. 'tf:map>base_link'")
    return found[1], found[2]


def anchored(pose: str) -> tuple[str, str] | None:
    """Topics of believed poses and of odometry of "anchored:BELIEVED+ODOMETRY"; None where `pose` is a topic."""
    if not pose.startswith("anchored:"):
        return None
    found = _ANCHORED.fullmatch(pose)
    if not found:
        raise BagError(f"{pose} names no two topics: expected anchored:BELIEVED+ODOMETRY, e.g. "
                       "anchored:/localizer/pose+/odom")  # fmt: skip
    return found[1], found[2]


def choose_topics(
    reader: BagReader, image: str | None, cloud: str | None, pose: str | None, label: str | None = NONE
) -> Topics:
    """Resolve what the user named, or what the bag holds; raises BagError where that is not clear."""
    image = _choose(reader, "image", image, "")
    topics = Topics(
        image,
        _choose(reader, "cloud", cloud, ""),
        _choose_pose(reader, pose),
        _choose(reader, "label", label, image or "") if image else None,
    )
    if topics.image is None and topics.cloud is None:
        raise BagError(f"{reader.path} has neither an image nor a point cloud topic to make frames of")
    if len(set(topics.sensors.values())) < len(topics.sensors):
        raise BagError(f"{reader.path}: one topic cannot be two sensors ({topics.sensors})")
    return topics


def accepts(what: str, msgtype: str) -> bool:
    """Whether a message of this type can be an "image", "cloud" or "label"."""
    return msgtype in _TYPES[what]


def _choose(reader: BagReader, what: str, given: str | None, taken: str) -> str | None:
    """taken: a topic that serves another purpose already."""
    if given == NONE:
        return None
    if given is not None:
        reader.require(given, _TYPES[what])
        return given
    found = [topic for topic, types in reader.types.items() if set(types) & set(_TYPES[what]) and topic != taken]
    if what in ("image", "label"):
        found = [topic for topic in found if bool(_LABEL_NAME.search(topic)) == (what == "label")]
    if len(found) > 1:
        listing = " | ".join(sorted(found))
        raise BagError(f"{reader.path} has several {what} topics: choose one with --{what}_topic {listing}")
    if found and len(types := reader.types[found[0]]) > 1:
        raise BagError(
            f"{found[0]} in {reader.path} carries {' and '.join(types)}: with --{what}_topic {found[0]} messages of "
            "another type are dropped and counted"
        )
    return found[0] if found else None


def _choose_pose(reader: BagReader, given: str | None) -> str | None:
    if given is not None and (topics := anchored(given)):
        for topic in topics:
            reader.require(topic, STAMPED_POSE_TYPES)
        return given
    if given is None or not tf_chain(given):
        return _choose(reader, "pose", given, "")
    if not set(TF_TOPICS) & set(reader.types):
        listing = ", ".join(sorted(reader.types)) or "no topics"
        raise BagError(f"{reader.path} has neither /tf nor /tf_static for {given}; it holds {listing}")
    return given
