"""The localizer's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from vpr_core.data.camera_sets import WITHIN_S
from vpr_core.retrieval.calibration import DEFAULT_TARGET
from vpr_core.retrieval.loop_closure import LoopOptions
from vpr_core.retrieval.recognizer import DEFAULT_TOP_K
from vpr_distill_ros import parameters
from vpr_distill_ros.parameters import (
    MODES,
    OF_THE_SENSOR,
    UNCONFIGURED,
    WHERE_POSSIBLE,
    Row,
    SensorParameters,
    choice,
    count,
    number,
    text,
)

BUNDLE_THRESHOLD = -1.0
"""The value of min_similarity that stands for the threshold stored in the bundle."""
BESIDE_IMAGE = "auto"
"""The value of camera_info_topic that stands for the topic beside the image topic."""
MAX_TOP_K = 1000
MAX_RERANK = 1000
_READ_ON_CONFIGURE = OF_THE_SENSOR | {
    *("min_similarity", "rerank", "verify", "odometry_topic", "filter", "agreement_needed", "agreement_of"),
    *("more_image_topics", "cameras_within_s"),
    *("initialpose_topic", "set_initial_pose_service", "global_pose_topic", "publish_tf", "camera_info_topic"),
    *("mode", "keyframe_m", "exclude_m", "exclude_s", "max_drift", "memory_mib"),
}
_MAY_BE_EMPTY = frozenset(
    {"odometry_topic", "initialpose_topic", "set_initial_pose_service", "global_pose_topic", "camera_info_topic"}
)


@dataclass(frozen=True)
class LocalizerParameters(SensorParameters):
    """The localizer's parameters."""

    more_image_topics: Sequence[str]
    cameras_within_s: float
    mode: str
    keyframe_m: float
    exclude_m: float
    exclude_s: float
    max_drift: float
    memory_mib: float
    top_k: int
    rerank: int
    min_similarity: float
    target_precision: float
    position_stddev_m: float
    heading_stddev_rad: float
    verify: bool | str
    camera_info_topic: str
    odometry_topic: str
    filter: bool
    agreement_needed: int
    agreement_of: int
    initialpose_topic: str
    set_initial_pose_service: str
    global_pose_topic: str
    publish_tf: bool
    lost_s: float

    @property
    def cameras(self) -> tuple[str, ...]:
        """Topics of all cameras where there are several, that of image_topic first; none where there is one."""
        more = [topic for topic in self.more_image_topics if topic]
        return (self.image_topic, *more) if more else ()

    @property
    def verifies(self) -> bool | None:
        """Whether candidates are checked; None: where the map has what they are checked with."""
        if self.verify != WHERE_POSSIBLE:
            return bool(self.verify)
        return False if self.cameras or self.mode != MODES[0] else None

    @property
    def threshold(self) -> float | None:
        """Similarity from which the best match is accepted; None stands for the bundle's own."""
        return None if self.min_similarity == BUNDLE_THRESHOLD else self.min_similarity

    @property
    def target(self) -> float | None:
        """Precision to accept for on a calibrated map; None leaves it to similarity."""
        return self.target_precision or None


def declare(node: Node) -> None:
    """Declare the localizer's parameters."""
    map_row = ("map", "", text("folder of the place map, written by `vpr-distill map`",
                               constraints=f"{UNCONFIGURED}; later use the service ~/load_map"))  # fmt: skip
    parameters.declare_rows(node, [
        *parameters.sensor_rows("recognise", map_row),
        *_loop_rows(),
        ("more_image_topics", [""],
         text("topics of further cameras, beside image_topic's, which is the one mounted as the map's: a place is "
              "recognised by the camera that sees the most of it; [\"\"]: none", constraints=UNCONFIGURED)),
        ("cameras_within_s", WITHIN_S,
         number("with more_image_topics: images are of one moment whose stamps lie so near to the first camera's [s]",
                0.0, 0.5)),
        ("top_k", DEFAULT_TOP_K, count("places published for each image or cloud, most similar first", 1, MAX_TOP_K)),
        ("rerank", 0,
         count("how many of the most similar places are put in the order of what their pictures share with the image; "
               "the map must have local features, by `vpr-distill map --features`; 0 leaves the order of the "
               "descriptors", 0, MAX_RERANK)),
        ("min_similarity", BUNDLE_THRESHOLD,
         number("cosine similarity from which the best place is accepted; -1.0 takes the bundle's own threshold",
                -1.0, 1.0)),
        ("target_precision", DEFAULT_TARGET,
         number("on a calibrated map: accept from the probability that stands for this share of right matches; along "
                "odometry from this probability of a place; 0.0 accepts by similarity, as on a map without calibration",
                0.0, 1.0)),
        ("position_stddev_m", 5.0,
         number("standard deviation per axis written into the covariance of ~/pose [m]: a match tells the place, not "
                "where beside it the vehicle is; the default is half of the 10 m within which a match counts as right",
                0.0, 1000.0)),
        ("heading_stddev_rad", 0.35,
         number("standard deviation about each axis written into the covariance of ~/pose [rad]", 0.0, 3.15)),
        ("verify", WHERE_POSSIBLE,
         choice("check candidates with what the map stores of them, and publish the pose that follows with its whole "
                "covariance, or none: with modality lidar by clouds (`vpr-distill map --clouds true`), with camera by "
                "the points in space of local features (`--features` of frames with clouds). auto: where the map has "
                "these; true: refuse a map that lacks them; false: never", "verify")),
        ("camera_info_topic", BESIDE_IMAGE,
         text("with verify and modality camera: topic of sensor_msgs/CameraInfo; auto: camera_info beside image_topic, "
              "as image_transport has it; empty: the camera that the map was made with", constraints=UNCONFIGURED)),
        ("odometry_topic", "",
         text("topic of nav_msgs/Odometry, which may begin anywhere and drift; empty: every image or cloud by itself",
              constraints=UNCONFIGURED)),
        ("filter", True,
         text("with odometry_topic: ~/pose and what is accepted come from the places along the drive, which ~/filtered "
              "tells; the map needs `vpr-distill fit-filter`. false: from each image or cloud by itself",
              constraints=UNCONFIGURED)),
        ("agreement_needed", 3,
         count("with odometry_topic: so many of the last agreement_of answers have to agree, once the way between them "
               "is taken out, before an initial pose or map -> odom is sent; in mode loop_closure before a closure is "
               "accepted", 1, 100)),
        ("agreement_of", 5, count("how many answers agreement_needed is of, itself at most this", 1, 100)),
        ("initialpose_topic", "",
         text("topic on which a pose is sent once when answers agree, such as /initialpose, for Nav2; empty: none. "
              "Needs odometry_topic", constraints=UNCONFIGURED)),
        ("set_initial_pose_service", "",
         text("service of nav2_msgs/SetInitialPose that is called once when answers agree, such as AMCL's "
              "/set_initial_pose; empty: none. Needs odometry_topic and nav2_msgs", constraints=UNCONFIGURED)),
        ("global_pose_topic", "",
         text("topic on which each pose that agrees is sent as RTAB-Map takes it, such as /rtabmap/global_pose: the "
              "header names base_frame; empty: none. Needs odometry_topic", constraints=UNCONFIGURED)),
        ("publish_tf", False,
         text("from the first agreement on send the transform from the map's frame to the odometry's on /tf; nothing "
              "else may send it. Needs odometry_topic and tf2_msgs", constraints=UNCONFIGURED)),
        ("lost_s", 10.0,
         number("after so long [s] without an accepted image or cloud /diagnostics says lost", 0.1, 3600.0)),
    ])  # fmt: skip


def _loop_rows() -> list[Row]:
    """Whether the robot's own past is searched in place of a map, and which part of it."""
    loops = LoopOptions()
    return [
        ("mode", MODES[0],
         choice("localize: places of a map; loop_closure: places of the robot's own past, which needs odometry_topic "
                "and no map", "mode")),
        ("keyframe_m", loops.keyframe_m,
         number("loop_closure: way from a place to the next [m]; a robot that stands adds none", 0.1, 1000.0)),
        ("exclude_m", loops.exclude_m,
         number("loop_closure: places passed within so much of the way are not searched [m]", 0.0, 1e6)),
        ("exclude_s", loops.exclude_s,
         number("loop_closure: nor are places passed within so much time [s]", 0.0, 1e6)),
        ("max_drift", loops.max_drift,
         number("loop_closure: nor are places farther away than odometry can be off, as a share of the way since; 1.0 "
                "searches them all", 0.0, 1.0)),
        ("memory_mib", loops.memory_mib,
         number("loop_closure: what the past may take [MiB]; where it is full, every second place of its older half "
                "goes", 1.0, 1e6)),
    ]  # fmt: skip


def read(node: Node) -> LocalizerParameters:
    return parameters.read_as(LocalizerParameters, node)


def check_change(changes: Iterable[Parameter], configured: bool, loaded_map: str) -> SetParametersResult:
    """Whether changes of the localizer's parameters may apply.

    configured: whether a model and a map are loaded.
    loaded_map: the folder of the map in use; to set `map` to it is allowed at all times.
    """
    changes = list(changes)
    if configured and any(change.name == "map" and change.value != loaded_map for change in changes):
        return parameters.refused(
            "map cannot be set while the node is configured: call the service ~/load_map, or clean up first"
        )
    return parameters.check(changes, _READ_ON_CONFIGURE if configured else frozenset(), _MAY_BE_EMPTY)
