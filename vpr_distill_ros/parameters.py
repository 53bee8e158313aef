"""What nodes share of parameters: descriptions, ranges, and what a change must satisfy before it applies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidServiceNameException, InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_topic_name import validate_topic_name

from vpr_core.data.usable import KINDS
from vpr_core.errors import InputError
from vpr_core.retrieval.bundle import MODALITIES

IMAGE_TRANSPORTS = ("auto", "raw", "compressed")
DEVICES = ("cpu", "cuda")
MODES = ("localize", "loop_closure")
BACKWARDS, PUBLISHERS = "backwards", "publishers"
REFUSED = (*KINDS, BACKWARDS, PUBLISHERS)
"""What the parameter `refuse` takes: what a frame shows, and whether frames follow on each other."""
WHERE_POSSIBLE = "auto"
"""The value of verify that leaves it to what the map has."""

CHOICES: dict[str, tuple[str | bool, ...]] = {
    "modality": MODALITIES,
    "image_transport": IMAGE_TRANSPORTS,
    "device": DEVICES,
    "mode": MODES,
    "verify": (WHERE_POSSIBLE, True, False),
}
UNCONFIGURED = "can be set while the node is unconfigured"
# Read when the node is configured: a change while it runs would not take effect, so it is refused.
OF_THE_SENSOR = frozenset(
    {"modality", "bundle", "device", "base_frame", "image_topic", "cloud_topic", "image_transport"}
)

Row = tuple[str, Any, ParameterDescriptor]
"""Name, default and descriptor of a parameter."""
Values = TypeVar("Values")


@dataclass(frozen=True)
class SensorParameters:
    """Parameters that every node with a model and a sensor has; each is described where it is declared."""

    modality: str
    bundle: str
    map: str
    base_frame: str
    image_topic: str
    cloud_topic: str
    image_transport: str
    device: str
    refuse: str
    stale_s: float


def text(description: str, read_only: bool = False, constraints: str = "") -> ParameterDescriptor:
    return ParameterDescriptor(description=description, read_only=read_only, additional_constraints=constraints)


def choice(description: str, name: str) -> ParameterDescriptor:
    """Of a parameter that takes one of CHOICES, words and truth values among them."""
    words = ", ".join(map(_in_yaml, CHOICES[name]))
    return ParameterDescriptor(
        description=description,
        additional_constraints=f"one of {words}; {UNCONFIGURED}",
        dynamic_typing=any(isinstance(value, bool) for value in CHOICES[name]),
    )


def number(description: str, low: float, high: float, read_only: bool = False) -> ParameterDescriptor:
    """Of a parameter that takes 2 as well as 2.0, where it is declared by `declare_rows`."""
    limits = FloatingPointRange(from_value=low, to_value=high, step=0.0)
    return ParameterDescriptor(
        description=description, read_only=read_only, floating_point_range=[limits], dynamic_typing=True
    )


def count(description: str, low: int, high: int, read_only: bool = False) -> ParameterDescriptor:
    limits = IntegerRange(from_value=low, to_value=high, step=1)
    return ParameterDescriptor(description=description, read_only=read_only, integer_range=[limits])


def declare_rows(node: Node, rows: Iterable[Row]) -> None:
    """Declare parameters; rclpy raises where the command line or a file gives a value out of range."""
    rows = list(rows)
    ranges = {name: limits.floating_point_range[0] for name, _, limits in rows if limits.floating_point_range}
    node.add_on_set_parameters_callback(lambda changes: _check_numbers(changes, ranges))
    for row in rows:
        node.declare_parameter(*row)


def _check_numbers(changes: Iterable[Parameter], ranges: dict[str, FloatingPointRange]) -> SetParametersResult:
    """rclpy itself checks neither type nor range of a whole number given for a parameter with dynamic typing."""
    for change in changes:
        limits = ranges.get(change.name)
        if limits is None:
            continue
        if change.type_ not in (Parameter.Type.INTEGER, Parameter.Type.DOUBLE):
            return refused(f"{change.name} {change.value!r} is no number")
        if not limits.from_value <= change.value <= limits.to_value:
            bounds = f"{limits.from_value:g} to {limits.to_value:g}"
            return refused(f"{change.name} {change.value:g} is out of range: expected {bounds}")
    return SetParametersResult(successful=True)


def refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


def sensor_rows(verb: str, map_row: Row) -> list[Row]:
    """What `SensorParameters` holds, and how the node starts.

    verb: what the node does with places, for the descriptions. map_row: of `map`, which nodes use in different ways.
    """
    return [
        ("autostart", True, text("configure and activate by itself at start", read_only=True)),
        ("modality", "camera", choice(f"sensor to {verb} places by: the bundle's", "modality")),
        ("bundle", "", text("folder of the model, written by `vpr-distill export`", constraints=UNCONFIGURED)),
        map_row,
        ("base_frame", "base_link",
         text("the vehicle's frame, in which /tf_static and /tf say where a sensor is, where that matters, and whose "
              "poses odometry is made to tell; empty: odometry as it comes, sensors where the map's were",
              constraints=UNCONFIGURED)),
        ("image_topic", "/camera/image/compressed",
         text("topic of the camera, Image or CompressedImage; read with modality camera", constraints=UNCONFIGURED)),
        ("cloud_topic", "/lidar/points",
         text("topic of the LiDAR, PointCloud2; read with modality lidar", constraints=UNCONFIGURED)),
        ("image_transport", "auto",
         choice("raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage, auto: what the topic's publisher "
                "sends", "image_transport")),
        ("device", "cpu", choice("where the model runs, and the search", "device")),
        ("refuse", " ".join(REFUSED),
         text("what is not worth a query, and is dropped; leave out what shall be taken all the same, such as frozen "
              "in a simulation without noise; empty takes everything that can be read",
              constraints=f"any of {' '.join(REFUSED)}, with blanks between")),
        ("stale_s", 3.0,
         number("without an image or cloud, or one that can be used, for so long [s], /diagnostics says ERROR; the "
                "localizer refuses one that is older when it is looked at", 0.1, 3600.0)),
        ("diagnostics_period_s", 1.0,
         number("time between two messages on /diagnostics [s]", 0.1, 60.0, read_only=True)),
    ]  # fmt: skip


def read_as(kind: type[Values], node: Node) -> Values:
    """The values of the parameters that a dataclass names, whole numbers made floats where it asks for floats."""
    fields = kind.__dataclass_fields__.values()  # type: ignore[attr-defined]
    values = {field.name: node.get_parameter(field.name).value for field in fields}
    floats = {field.name: float(values[field.name]) for field in fields if field.type == "float"}
    return kind(**values | floats)


def check(
    changes: Iterable[Parameter], frozen: frozenset[str], may_be_empty: frozenset[str] = frozenset()
) -> SetParametersResult:
    """Whether changes may apply that are not to the parameters in `frozen`; of topics only `may_be_empty` may be."""
    changes = [change for change in changes if change.value or change.name not in may_be_empty - frozen]
    reasons = (_objection(change.name, change.value, frozen) for change in changes)
    reason = next(filter(None, reasons), "")
    return SetParametersResult(successful=not reason, reason=reason)


def _objection(name: str, value: Any, frozen: frozenset[str]) -> str:
    choices = CHOICES.get(name)
    if choices and value not in choices:
        unquoted = " without quotes" if isinstance(choices[-1], bool) else ""
        return f"{name} {value!r} is not supported: expected {' or '.join(map(_in_yaml, choices))}{unquoted}"
    if name == "refuse" and (unknown := set(value.split()) - set(REFUSED)):
        return f"refuse has {' '.join(sorted(unknown))}: expected any of {' '.join(REFUSED)}, with blanks between"
    if objection := _objection_to_names(name, value):
        return objection
    if name in frozen:
        return f"{name} is read when the node is configured: clean the node up before setting it"
    return ""


def _in_yaml(choice: str | bool) -> str:
    return str(choice).lower() if isinstance(choice, bool) else choice


def topic_of(node: Node, parameter: str, name: str) -> str:
    """The full name of a topic that a parameter names; raises InputError where it is none."""
    try:
        _check_name(name)
    except InvalidTopicNameException as error:
        raise InputError(f"{parameter} is no name of a topic: {str(error).splitlines()[0]}") from error
    return node.resolve_topic_name(name)


def _check_name(name: str, is_service: bool = False) -> None:
    validate_topic_name(name, is_service=is_service)
    validate_full_topic_name(expand_topic_name(name, "node", "/"), is_service=is_service)


def _objection_to_names(name: str, value: Any) -> str:
    kind = next((kind for kind in ("topic", "service") if name.endswith((f"_{kind}", f"_{kind}s"))), "")
    if not kind:
        return ""
    try:
        for one in [value] if isinstance(value, str) else filter(None, value):
            _check_name(one, is_service=kind == "service")
    except (InvalidTopicNameException, InvalidServiceNameException) as error:
        return f"{name} is no name of a {kind}: {error}"
    return ""
