"""The map builder: images or clouds and odometry in, a place map out. What a place is, `GrowingMap` knows."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from vpr_core.data.poses import pose_from_message
from vpr_core.errors import InputError, MapError
from vpr_core.retrieval.growing_map import GrowingMap
from vpr_distill_ros import map_diagnostics, map_parameters
from vpr_distill_ros.counters import since
from vpr_distill_ros.diagnostics import age, figures, status_message
from vpr_distill_ros.loading import folder, load_bundle, one_line
from vpr_distill_ros.odometry import OdometryInput
from vpr_distill_ros.posed_frames import PosedFrame, PosedFrames
from vpr_distill_ros.poses import pose_to_message
from vpr_distill_ros.process import logger
from vpr_distill_ros.sensor_node import Frame, SensorNode
from vpr_distill_ros.sensors import sensor
from vpr_distill_ros.stamps import stamp_to_ns
from vpr_distill_ros.transforms import VehicleFrames


class MapBuilder(SensorNode):
    """A place for every so many metres of odometry, saved by a thread of its own."""

    def __init__(self) -> None:
        super().__init__("map_builder")
        self._map: GrowingMap | None = None
        self._posed: PosedFrames[Frame] | None = None
        self._frame_error = ""
        self._save_error = ""
        self._saved_s: float | None = None
        self._save_timer: Any = None
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._saving: Future[tuple[bool, str]] | None = None
        map_parameters.declare(self)
        self._sensor = sensor(map_parameters.read(self))
        self._vehicle, self._odometry = VehicleFrames(self, ""), OdometryInput(self)
        self._create_interfaces()

    def _create_interfaces(self) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._places = PoseArray()
        self._places_publisher = self.create_publisher(PoseArray, "~/places", latched)
        # Apart from the rest: a save waits for the disk.
        group = MutuallyExclusiveCallbackGroup()
        self.create_service(Trigger, "~/save", self._on_save, callback_group=group)
        self.create_service(Trigger, "~/new_session", self._on_new_session, callback_group=group)
        self._start_diagnostics()
        self._start_timer(1.0, self._publish_places)

    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        return map_parameters.check_change(changes, self._is_configured)

    # Lifecycle

    def _load(self) -> str:
        values = map_parameters.read(self)
        target = folder(values.map, MapError, "map", "map_builder")
        self._map = growing = GrowingMap(
            load_bundle(values), target, values.session or _now(), values.keyframe_m, values.continue_map
        )
        self._posed = PosedFrames(values.max_jump_m, self._deliver, lambda _, error: self._drop(error))
        self._sensor = sensor(values)
        self._vehicle.close()
        self._vehicle = VehicleFrames(self, values.base_frame)
        self._frame_error = self._save_error = ""
        begins = f"continues {len(growing)} places of" if len(growing) else "begins"
        return f"session {growing.session} {begins} {target}, {self._sensor.sees}s through {self._sensor.converter}"

    def _unload(self) -> None:
        self._posed, self._places = None, PoseArray()
        self._vehicle.close()
        if self._map is not None and not self._map.unsaved:  # what could not be saved is tried once more at the end
            self._map = None

    def _open_inputs(self) -> None:
        values = map_parameters.read(self)
        super()._open_inputs()
        self._odometry.open(self._open_input, values.odometry_topic, self._on_odometry)
        if values.save_period_s:
            self._save_timer = self._start_timer(values.save_period_s, self._save_in_time)

    def close(self) -> None:
        """Stop input and thread, and save, whatever a signal makes of the rest."""
        try:
            if self._save_timer is not None:
                self.destroy_timer(self._save_timer)
                self._save_timer = None
            super().close()
            if self._posed is not None:
                self._frames.drop("deactivated", self._posed.close())
        finally:
            if self._map is not None and self._map.unsaved:
                self._save_and_wait()

    def finish(self) -> None:
        """Leave the node; raises MapError where places could not be saved."""
        self.close()
        self._saver.shutdown()
        if self._map is not None and self._map.unsaved:
            raise MapError(f"{self._map.unsaved} places are lost: {self._save_error}")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_deactivate(state)
        self._odometry.pause()
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._map is not None and self._map.unsaved and not self._save_and_wait()[0]:
            return TransitionCallbackReturn.FAILURE
        return super().on_cleanup(state)

    # Frames and odometry

    @property
    def _patience_s(self) -> float:
        """None for frames of places apart from each other: where the vehicle has moved, the picture has changed."""
        return 0.0 if self.get_parameter("keyframe_m").value > 0 else super()._patience_s

    def _take(self, frame: Frame) -> None:
        if self._posed is not None:
            self._posed.add_frame(frame)

    def _on_odometry(self, message: Odometry) -> None:
        growing, posed = self._map, self._posed
        if growing is None or posed is None:
            return
        self._odometry.come()
        lost, went_back = posed.lost, posed.times_clock_went_back
        try:
            message = self._vehicle.of_odometry(message)
            growing.set_frame(message.header.frame_id.lstrip("/"))
            self._frame_error = ""
            posed.add_pose(stamp_to_ns(message.header.stamp), pose_from_message(message.pose.pose))
        except MapError as error:
            self._frame_error = str(error)
            self._odometry.drop("frame", error)
        except InputError as error:
            self._odometry.drop(error.kind, error)
        self._tell_of_odometry(posed, lost, went_back)

    def _tell_of_odometry(self, posed: PosedFrames[Frame], lost: str, went_back: int) -> None:
        if posed.times_clock_went_back > went_back:
            self.get_logger().warning("odometry stamps went back: what was known of the time before is forgotten")
        if posed.lost and not lost:
            self.get_logger().error(
                f"odometry jumped {posed.lost}: no places are added until it comes back or ~/new_session is called"
            )
            self._save_in_time()
        elif lost and not posed.lost:
            self.get_logger().info("odometry came back: places are added again")

    def _deliver(self, posed: PosedFrame[Frame]) -> None:
        growing = self._map
        if growing is not None and growing.wants(posed.pose):
            self._submit((posed, growing.session))
        else:
            self._last_outcome = "near"
            self._frames.skip()

    def _work(self, item: tuple[PosedFrame[Frame], str]) -> None:
        posed, session = item
        growing = self._map
        if growing is None or growing.session != session:
            raise InputError("its session has ended", "deactivated")
        observation = self._observe(posed.frame.message, self._watch)
        if not growing.add(observation, posed.frame.stamp_ns, posed.pose):
            self._frames.skip()
            return
        self._last_outcome = "added"
        self._frames.process((time.monotonic() - posed.frame.arrived_s) * 1e3)

    # Saving and sessions

    def _save_in_time(self) -> None:
        """Have the map saved, unless it is being saved."""
        unsaved = self._map.unsaved if self._map is not None else 0
        if unsaved and (self._saving is None or self._saving.done()):
            self._saving = self._saver.submit(self._save)

    def _save_and_wait(self) -> tuple[bool, str]:
        return self._saver.submit(self._save).result()

    def _save(self) -> tuple[bool, str]:
        """Whether the map is on the disk now, and a line about it."""
        growing = self._map
        if growing is None:
            return False, "no map is being made: configure the node"
        try:
            written = growing.save()
        except Exception as error:  # nobody looks at a future of the timer's
            self._save_error = one_line(error)
            logger(self).error(f"the map is not saved: {self._save_error}")
            return False, self._save_error
        self._save_error = ""
        if written is None:
            return (True, "nothing was added since the last time") if len(growing) else (False, "no place yet")
        self._saved_s = time.monotonic()
        text = f"{growing.saved} places saved in {written}"
        logger(self).info(text)
        return True, text

    def _on_save(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._save_and_wait()
        return response

    def _on_new_session(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        growing, posed = self._map, self._posed
        if growing is None or posed is None:
            response.message = "no map is being made: configure the node"
            return response
        response.message = growing.begin_session(self.get_parameter("session").value or _now())
        self._frames.drop("jump", posed.restart())
        response.success = True
        self.get_logger().info(f"session {response.message} begins")
        return response

    # What is told

    def _publish_places(self) -> None:
        growing = self._map
        added = growing.places[len(self._places.poses) :] if growing is not None else ()
        if growing is None or not added:
            return
        self._places.header.stamp = self.get_clock().now().to_msg()
        self._places.header.frame_id = growing.map_frame
        self._places.poses += [pose_to_message(place.pose) for place in added if place.pose is not None]
        self._places_publisher.publish(self._places)

    def _diagnose(self) -> DiagnosticArray:
        values, posed = map_parameters.read(self), self._posed
        lost = f"the odometry jumped {posed.lost}; call ~/new_session" if posed is not None and posed.lost else ""
        health = map_diagnostics.MapHealth(
            **self._health_of_input(values),
            save_error=self._save_error,
            odometry_error=self._vehicle.complaint or self._frame_error or lost,
            odometry_topic=values.odometry_topic,
            odometry_age_s=self._odometry.age_s,
            odometry_complaint=self._complaint(values.odometry_topic),
            places=len(self._map) if self._map is not None else 0,
        )
        level, message = map_diagnostics.assess(health)
        name = f"{self.get_fully_qualified_name().lstrip('/')}: place map"
        stamp = self.get_clock().now().to_msg()
        return status_message(name, health.topic, stamp, level, message, self._figures(health))

    def _figures(self, health: map_diagnostics.MapHealth) -> dict[str, str]:
        growing = self._map
        return {
            "state": health.lifecycle,
            "places": str(health.places),
            "places_unsaved": str(growing.unsaved) if growing is not None else "0",
            "session": growing.session if growing is not None else "",
            "map_frame": growing.map_frame if growing is not None else "",
            **figures(self._frames.snapshot()),
            **self._odometry.figures,
            "input_age_s": age(health.input_age_s),
            "odometry_age_s": age(health.odometry_age_s),
            "last_saved_age_s": age(since(self._saved_s)),
        }


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
