"""A map builder process, and a vehicle that drives past what it is to map."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import PoseArray
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from vpr_core.retrieval.place_map import PlaceMap
from vpr_distill_ros.loading import of_one_moment
from vpr_distill_ros.stamps import ns_to_stamp

START_NS = 1_700_000_000_000_000_000
STEP_M = 3.0


class Mapper:
    """A map builder, and the vehicle around it: at second `n` it stands at x = n * STEP_M."""

    def __init__(self, robot: Any, namespace: str, folder: Path, jpegs: list[bytes], frame_id: str) -> None:
        self.robot, self.folder, self._jpegs, self._frame_id = robot, folder, jpegs, frame_id
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.shown = robot.probe.collect(PoseArray, f"{robot.name}/places", latched)
        self._odometry_topic = f"{namespace}/odom"
        self._publishers: dict[str, Any] = {}
        self.odometry_of = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.robot, name)

    @property
    def camera(self) -> Any:
        if "camera" not in self._publishers:
            self._publishers["camera"] = self.robot.camera()
        return self._publishers["camera"]

    @property
    def odometry(self) -> Any:
        if "odometry" not in self._publishers:
            self._publishers["odometry"] = self.robot.probe.publisher(Odometry, self._odometry_topic, 50)
        return self._publishers["odometry"]

    def use_camera(self, publisher: Any) -> None:
        """Take pictures with another publisher than the probe's."""
        self._publishers["camera"] = publisher

    def picture(self, second: float, data: bytes | None = None) -> Any:
        jpeg = self._jpegs[int(second) % len(self._jpegs)] if data is None else data
        return self.robot.photograph(jpeg, START_NS + round(second * 1e9) if second else 0)

    def stand(self, second: float, x_m: float | None = None, **changes: Any) -> None:
        """Send where the vehicle is at a second."""
        message = Odometry(child_frame_id=self.odometry_of)
        message.header.stamp = ns_to_stamp(START_NS + round(second * 1e9))
        message.header.frame_id = changes.get("frame_id", self._frame_id)
        message.pose.pose.position.x = second * STEP_M if x_m is None else x_m
        message.pose.pose.orientation.w = 1.0
        self.odometry.publish(message)

    def photograph_at(self, second: float, data: bytes | None = None, offset_m: float = 0.0) -> None:
        """Send a picture with odometry on both sides of its stamp."""
        self.camera.publish(self.picture(second, data))
        for moment in (second - 0.1, second + 0.1):
            self.stand(moment, moment * STEP_M + offset_m)

    def visit(self, *seconds: float, offset_m: float = 0.0) -> None:
        """Drive past, until a place is made at each second."""
        for second in seconds:
            before = self.places
            self.robot.wait(partial(self._again, second, before, offset_m), f"a place at second {second}")

    def _again(self, second: float, before: int, offset_m: float) -> bool:
        if self.places > before:
            return True
        self.photograph_at(second, offset_m=offset_m)
        return False

    @property
    def places(self) -> int:
        return int(self.robot.values["places"])

    def save(self) -> Any:
        return self.robot.call(Trigger, "save")

    def new_session(self) -> Any:
        return self.robot.call(Trigger, "new_session")

    @property
    def map(self) -> PlaceMap:
        """What lies on the disk."""
        return of_one_moment(self.folder, lambda: PlaceMap.load(self.folder))

    @property
    def mapped_s(self) -> list[float]:
        """The seconds at which the map on the disk has places."""
        return [round((place.stamp_ns - START_NS) / 1e9, 3) for place in self.map.places]


@pytest.fixture
def mapper(
    start_robot: Callable[..., Any], namespace: str, bundle: Path, jpegs: list[bytes], tmp_path: Path
) -> Callable[..., Mapper]:
    """mapper(**parameters) starts a map builder in the test's namespace that writes to a folder of the test's."""

    def make(*arguments: str, frame_id: str = "odom", **parameters: Any) -> Mapper:
        folder = Path(parameters.get("map", tmp_path / "map"))
        values = {"bundle": bundle, "map": folder, "session": "noon", "save_period_s": 0, **parameters}
        values["odometry_topic"] = f"{namespace}/odom"
        return Mapper(start_robot("map_builder", *arguments, **values), namespace, folder, jpegs, frame_id)

    return make
