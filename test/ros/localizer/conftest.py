"""A localizer process, and everything that it publishes and offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField

from vpr_core.data.frames import Frames
from vpr_distill_msgs.msg import PlaceMatchArray
from vpr_distill_ros.stamps import ns_to_stamp

START_NS = 1_700_000_000_000_000_000
ACCEPT_ALL = -0.99


class Robot:
    """A localizer process and all that it publishes."""

    def __init__(self, process: Any, probe: Any, namespace: str) -> None:
        self.process, self.probe = process, probe
        self.name = f"{namespace}/localizer"
        self.image_topic = f"{namespace}/image"
        self.cloud_topic = f"{namespace}/points"
        self.matches = probe.collect(PlaceMatchArray, f"{self.name}/matches")
        self.poses = probe.collect(PoseWithCovarianceStamped, f"{self.name}/pose")
        self.candidates = probe.collect(PoseArray, f"{self.name}/candidates")
        self._diagnostics = probe.collect(DiagnosticArray, f"{namespace}/diagnostics")

    def call(self, service_type: Any, name: str, **fields: Any) -> Any:
        return self.probe.call(service_type, f"{self.name}/{name}", **fields)

    def change(self, transition: int) -> bool:
        return self.call(ChangeState, "change_state", transition=Transition(id=transition)).success

    @property
    def state(self) -> str:
        return self.call(GetState, "get_state").current_state.label

    def set(self, name: str, value: Any) -> Any:
        (result,) = self.call(
            SetParameters, "set_parameters", parameters=[Parameter(name, value=value).to_parameter_msg()]
        ).results
        return result

    def camera(self, message_type: type = CompressedImage, qos: QoSProfile | int = 50) -> Any:
        return self.probe.publisher(message_type, self.image_topic, qos)

    def lidar(self, qos: QoSProfile | int = 50) -> Any:
        return self.probe.publisher(PointCloud2, self.cloud_topic, qos)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Poll until the condition holds; where it never does, show what the node says of itself."""
        try:
            return self.probe.until(condition, what)
        except BaseException:
            print(self.process.output, *self._diagnostics[-1:], sep="\n")
            raise

    def status(self, reached: Callable[[DiagnosticStatus, dict[str, str]], Any]) -> dict[str, str]:
        """Wait until /diagnostics reports what `reached(status, values)` asks for; the values."""

        def newest() -> dict[str, str] | None:
            if not self._diagnostics:
                return None
            status = self._diagnostics[-1].status[0]
            values = {pair.key: pair.value for pair in status.values}
            return values if reached(status, values) else None

        return self.wait(newest, "a diagnostics message")

    @property
    def values(self) -> dict[str, str]:
        """The newest figures on /diagnostics."""
        return self.status(lambda *_: True)

    def send_until(self, publisher: Any, message: Any, reached: Callable[[], Any]) -> None:
        """Best-effort input may lose a message: repeat it until its effect shows."""

        def again() -> bool:
            if not reached():
                publisher.publish(message)
            return bool(reached())

        self.wait(again, "an effect of the message")

    @staticmethod
    def photograph(data: bytes, stamp_ns: int = START_NS, format_name: str = "jpeg") -> CompressedImage:
        message = CompressedImage(format=format_name)
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.header.frame_id = "camera_optical"
        message.data.frombytes(data)
        return message

    @staticmethod
    def raw(rgb: np.ndarray, encoding: str = "rgb8") -> Image:
        height, width = rgb.shape[:2]
        message = Image(encoding=encoding, height=height, width=width, step=rgb.nbytes // height)
        message.header.stamp = ns_to_stamp(START_NS)
        message.data.frombytes(rgb.tobytes())
        return message

    @staticmethod
    def cloud(points: np.ndarray, stamp_ns: int = START_NS, height: int = 1, order: str = "<", padding: int = 0) -> Any:
        """A PointCloud2 of points [N, 4] in `height` rows, with `padding` bytes after each point."""
        names = ("x", "y", "z", "intensity")
        width, step = len(points) // height, 16 + padding
        records = np.zeros(height * width, np.dtype({"names": names, "formats": [f"{order}f4"] * 4,
                           "offsets": [0, 4, 8, 12], "itemsize": step}))  # fmt: skip
        for column, name in enumerate(names):
            records[name] = points[: height * width, column]
        fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
                  for i, name in enumerate(names)]  # fmt: skip
        message = PointCloud2(height=height, width=width, fields=fields, is_bigendian=order == ">", point_step=step,
                              row_step=step * width, is_dense=False)  # fmt: skip
        message.header.stamp = ns_to_stamp(stamp_ns)
        message.header.frame_id = "lidar"
        message.data.frombytes(records.tobytes())
        return message

    def answers(self, count: int) -> list[PlaceMatchArray]:
        self.wait(lambda: len(self.matches) >= count, f"{count} answers")
        return self.matches


@pytest.fixture
def robot(start: Callable[..., Any], probe: Any, namespace: str, bundle: Path, place_map: Path) -> Callable[..., Robot]:
    """robot(**parameters) starts a localizer in the test's namespace; bundle and map are given unless overridden."""

    def make(*arguments: str, **parameters: Any) -> Robot:
        values = {
            "bundle": bundle,
            "map": place_map,
            "image_topic": f"{namespace}/image",
            "min_similarity": ACCEPT_ALL,
            "diagnostics_period_s": 0.1,
            **parameters,
        }
        words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        remapped = ["-r", f"__ns:={namespace}", "-r", f"/diagnostics:={namespace}/diagnostics"]
        process = start("localizer", "--ros-args", *remapped, *words, *arguments)
        return Robot(process, probe, namespace)

    return make


@pytest.fixture
def lidar_robot(
    robot: Callable[..., Robot], namespace: str, lidar_bundle: Path, lidar_map: Path
) -> Callable[..., Robot]:
    """Like `robot`, with a LiDAR model."""

    def make(*arguments: str, **parameters: Any) -> Robot:
        given = {"modality": "lidar", "bundle": lidar_bundle, "map": lidar_map, "cloud_topic": f"{namespace}/points"}
        return robot(*arguments, **given | parameters)

    return make


@pytest.fixture(scope="session")
def clouds(frames: Path) -> list[np.ndarray]:
    """The clouds that the LiDAR map was made of, by place."""
    drive = Frames.load(frames)
    return [drive.cloud(index) for index in range(len(drive))]


@pytest.fixture(scope="session")
def jpegs(frames: Path) -> list[bytes]:
    """The pictures that the map was made of, by place."""
    drive = Frames.load(frames)
    return [(frames / str(frame.image)).read_bytes() for frame in drive.frames]
