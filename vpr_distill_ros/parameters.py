"""The localizer's parameters: descriptions, ranges, and what a change must satisfy before it applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name

from vpr_core.retrieval.bundle import MODALITIES
from vpr_core.retrieval.recognizer import DEFAULT_TOP_K

IMAGE_TRANSPORTS = ("auto", "raw", "compressed")
DEVICES = ("cpu", "cuda")
BUNDLE_THRESHOLD = -1.0
"""The value of min_similarity that stands for the threshold stored in the bundle."""

MAX_TOP_K = 1000
# Read when the node is configured: a change while it runs would not take effect, so it is refused.
_READ_ON_CONFIGURE = frozenset(
    {"modality", "bundle", "min_similarity", "device", "image_topic", "cloud_topic", "image_transport"}
)  # fmt: skip
_CHOICES = {"modality": MODALITIES, "image_transport": IMAGE_TRANSPORTS, "device": DEVICES}


@dataclass(frozen=True)
class LocalizerParameters:
    """The parameters' values; each is described where it is declared."""

    modality: str
    bundle: str
    map: str
    image_topic: str
    cloud_topic: str
    image_transport: str
    top_k: int
    min_similarity: float
    device: str
    position_stddev_m: float
    heading_stddev_rad: float
    stale_s: float

    @property
    def threshold(self) -> float | None:
        """Similarity from which the best match is accepted; None stands for the bundle's own."""
        return None if self.min_similarity == BUNDLE_THRESHOLD else self.min_similarity


def text(description: str, read_only: bool = False, constraints: str = "") -> ParameterDescriptor:
    return ParameterDescriptor(description=description, read_only=read_only, additional_constraints=constraints)


def number(description: str, low: float, high: float, read_only: bool = False) -> ParameterDescriptor:
    limits = FloatingPointRange(from_value=low, to_value=high, step=0.0)
    return ParameterDescriptor(description=description, read_only=read_only, floating_point_range=[limits])


def count(description: str, low: int, high: int, read_only: bool = False) -> ParameterDescriptor:
    limits = IntegerRange(from_value=low, to_value=high, step=1)
    return ParameterDescriptor(description=description, read_only=read_only, integer_range=[limits])


UNCONFIGURED = "can be set while the node is unconfigured"


def declare(node: Node) -> None:
    """Declare every parameter; rclpy raises where the command line or a file gives a value out of range."""
    choices = {name: f"one of {', '.join(values)}; {UNCONFIGURED}" for name, values in _CHOICES.items()}
    for name, default, descriptor in (
        ("autostart", True, text("configure and activate by itself at start", read_only=True)),
        ("modality", "camera", text("sensor to recognise places by: the bundle's", constraints=choices["modality"])),
        ("bundle", "", text("folder of the model, written by `vpr-distill export`", constraints=UNCONFIGURED)),
        ("map", "", text("folder of the place map, written by `vpr-distill map`",
                         constraints=f"{UNCONFIGURED}; later use the service ~/load_map")),
        ("image_topic", "/camera/image/compressed",
         text("topic of the camera, Image or CompressedImage; read with modality camera", constraints=UNCONFIGURED)),
        ("cloud_topic", "/lidar/points",
         text("topic of the LiDAR, PointCloud2; read with modality lidar", constraints=UNCONFIGURED)),
        ("image_transport", "auto",
         text("raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage, auto: what the topic's publisher sends",
              constraints=choices["image_transport"])),
        ("top_k", DEFAULT_TOP_K, count("places published for each image or cloud, most similar first", 1, MAX_TOP_K)),
        ("min_similarity", BUNDLE_THRESHOLD,
         number("cosine similarity from which the best place is accepted; -1.0 takes the bundle's own threshold",
                -1.0, 1.0)),
        ("device", "cpu", text("where the model and the search run", constraints=choices["device"])),
        ("position_stddev_m", 5.0,
         number("standard deviation per axis written into the covariance of ~/pose [m]: a match tells the place, not "
                "where beside it the vehicle is; the default is half of the 10 m within which a match counts as right",
                0.0, 1000.0)),
        ("heading_stddev_rad", 0.35,
         number("standard deviation about each axis written into the covariance of ~/pose [rad]", 0.0, 3.15)),
        ("stale_s", 3.0, number("without an image or cloud for so long [s], /diagnostics says ERROR", 0.1, 3600.0)),
        ("diagnostics_period_s", 1.0,
         number("time between two messages on /diagnostics [s]", 0.1, 60.0, read_only=True)),
    ):  # fmt: skip
        node.declare_parameter(name, default, descriptor)


def read(node: Node) -> LocalizerParameters:
    names = LocalizerParameters.__dataclass_fields__
    return LocalizerParameters(**{name: node.get_parameter(name).value for name in names})


def check_change(changes: Iterable[Parameter], configured: bool, loaded_map: str) -> SetParametersResult:
    """Whether changes may apply.

    configured: whether a model and a map are loaded.
    loaded_map: the folder of the map in use; to set `map` to it is allowed at all times.
    """
    for change in changes:
        reason = _objection(change.name, change.value, configured, loaded_map)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
    return SetParametersResult(successful=True)


def _objection(name: str, value: Any, configured: bool, loaded_map: str) -> str:
    choices = _CHOICES.get(name)
    if choices and value not in choices:
        return f"{name} {value!r} is not supported: expected {' or '.join(choices)}"
    if name in ("image_topic", "cloud_topic"):
        try:
            validate_topic_name(value)
        except InvalidTopicNameException as error:
            return f"{name} is no name of a topic: {error}"
    if name == "map" and configured and value != loaded_map:
        return "map cannot be set while the node is configured: call the service ~/load_map, or clean up first"
    if name in _READ_ON_CONFIGURE and configured:
        return f"{name} is read when the node is configured: clean the node up before setting it"
    return ""
