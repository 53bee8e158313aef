"""The localizer: images or clouds in, place matches out. All that it knows of places is one call of the recognizer."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from vpr_core.data.usable import Watch
from vpr_core.errors import InputError
from vpr_distill_ros import cameras, diagnostics, localizer_parameters, loop_diagnostics, loop_mode
from vpr_distill_ros.answer import Answer
from vpr_distill_ros.following import Following
from vpr_distill_ros.interfaces import QueryPlace
from vpr_distill_ros.loaded_map import NO_IDENTITY, LoadedMap
from vpr_distill_ros.loading import one_line
from vpr_distill_ros.localizer_parameters import LocalizerParameters
from vpr_distill_ros.odometry import OdometryInput
from vpr_distill_ros.outputs import Outputs
from vpr_distill_ros.sensor_clock import SensorClock
from vpr_distill_ros.sensor_node import LOG_PERIOD_S, Frame, SensorNode
from vpr_distill_ros.sensors import sensor
from vpr_distill_ros.services import Services, asked
from vpr_distill_ros.stamps import stamp_to_ns
from vpr_distill_ros.transforms import VehicleFrames


class Localizer(SensorNode):
    """A map and a model loaded, every frame is answered with places; services ask, and replace the map."""

    def __init__(self) -> None:
        super().__init__("localizer")
        self._loaded: LoadedMap | None = None
        self._loaded_lock = threading.Lock()
        self._loops: loop_mode.LoopMode | None = None
        self._cameras: cameras.LiveCameras | None = None
        self._sensor_clock = SensorClock()
        localizer_parameters.declare(self)
        self._sensor = sensor(localizer_parameters.read(self))
        self._vehicle, self._odometry = VehicleFrames(self, ""), OdometryInput(self)
        self._outputs = Outputs(self, self._settle)
        Services(self, self._answer, self._replace_map)
        self._start_diagnostics()

    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        loaded = self._loaded
        return localizer_parameters.check_change(changes, self._is_configured, loaded.folder if loaded else "")

    # Lifecycle

    def _load(self) -> str:
        values = localizer_parameters.read(self)
        cameras.check(values)
        self._sensor_clock = SensorClock()
        return self._load_loops(values) if values.mode == loop_mode.NAME else self._load_map(values)

    def _load_loops(self, values: LocalizerParameters) -> str:
        ends = loop_mode.Ends(self._submit, self._frames.skip, self._drop)
        self._loops = loop_mode.LoopMode(self, values, self._outputs, ends)
        self._vehicle = VehicleFrames(self, values.base_frame)
        self._sensor = sensor(values)
        return self._loops.loaded

    def _load_map(self, values: LocalizerParameters) -> str:
        loaded = LoadedMap.load(values, self._outputs.publish_followed, self._outputs.restart)
        self._vehicle.close()
        self._vehicle = VehicleFrames(self, values.base_frame, listen=bool(loaded.verifier or values.cameras))
        self._outputs.open_handover(values, loaded.recognizer.map_frame)
        self._sensor = sensor(values)
        if values.cameras:
            self._cameras = cameras.LiveCameras(self, values, self._sensor, self._vehicle, self._receive)
        self._use(loaded)
        return loaded.described(self._sensor)

    def _use(self, loaded: LoadedMap, before: LoadedMap | None = None) -> None:
        """Answer from a map from now on instead of the one before, and tell what it is.

        Raises InputError where that is not loaded any more.
        """
        with self._loaded_lock:
            if self._loaded is not before:
                raise InputError("the node was cleaned up, or given another map, while this one was being loaded")
            self._loaded = loaded
        self._outputs.use_map(loaded.recognizer.map_hash, loaded.recognizer.map_frame)
        self._outputs.drawing.show_map(loaded.recognizer)
        text, is_odd = loaded.acceptance
        if is_odd:
            self.get_logger().warning(text)
        else:  # rclpy refuses one line of code that logs with two severities
            self.get_logger().info(text)

    def _open_inputs(self) -> None:
        if self._cameras is not None:
            self._cameras.open(self._open_input)
        else:
            super()._open_inputs()
        if self._loaded is not None and self._loaded.verifier:
            self._loaded.camera.open(self._open_input)
        self._odometry.open(self._open_input, localizer_parameters.read(self).odometry_topic, self._on_odometry)

    def close(self) -> None:
        if self._cameras is not None:
            self._cameras.close()
        super().close()

    def _unload(self) -> None:
        with self._loaded_lock:
            self._loaded = None
        self._vehicle.close()
        self._outputs.close_handover()
        if self._loops is not None:
            self._loops.close()
        self._loops = self._cameras = None

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_deactivate(state)
        self._odometry.pause()
        following = self._following
        if following is not None:
            following.clear()
        self._outputs.pause()
        if self._loops is not None:
            self._frames.drop("deactivated", self._loops.clear())
        return result

    # Frames

    @property
    def _patience_s(self) -> float:
        """None for places apart from each other: where the vehicle has moved, the picture has changed."""
        return super()._patience_s if self._loops is None else 0.0

    def _take(self, frame: Frame) -> None:
        if self._loops is None:
            super()._take(frame)
        else:
            self._loops.add_frame(frame)

    def _work(self, item: Frame | loop_mode.Waiting) -> None:
        if isinstance(item, loop_mode.Waiting):
            self._close_loops(item)
            return
        age_s = self._age_s(item.stamp_ns, item.arrived_s)
        answer = self._recognize(item.message, self.get_parameter("top_k").value, self._watch)
        answer = self._unless_stale(answer, age_s)
        self._outputs.publish(answer, self._following)
        if answer.stale_age_s is not None:
            self._frames.count_stale()
            self.get_logger().warning(self._lateness(answer.stale_age_s), throttle_duration_sec=LOG_PERIOD_S)
        self._frames.process((time.monotonic() - item.arrived_s) * 1e3)

    def _age_s(self, stamp_ns: int, arrived_s: float) -> float:
        return self._sensor_clock.age_s(stamp_ns, arrived_s, self.get_clock().now().nanoseconds)

    def _unless_stale(self, answer: Answer, age_s: float) -> Answer:
        return answer.stale(age_s) if age_s > self.get_parameter("stale_s").value else answer

    def _close_loops(self, item: loop_mode.Waiting) -> None:
        frame = item.posed.frame
        observe = partial(self._observe, frame.message, self._watch)
        answer = item.mode.work(item, observe, self.get_parameter("top_k").value)
        if answer is not None:
            self._settle(answer.recognition.accepted is not None)
            self._frames.process((time.monotonic() - frame.arrived_s) * 1e3)

    def _recognize(self, message: Any, top_k: int, watch: Watch) -> Answer:
        if isinstance(message, cameras.TogetherTaken) and self._cameras is not None:
            with self._loaded_lock:
                return self._cameras.answer(message, self._current().recognizer, top_k)
        started_s = time.perf_counter()
        observation, stamp_ns = self._observe(message, watch), stamp_to_ns(message.header.stamp)
        while True:
            before = self._loaded
            T_base_sensor = self._vehicle.of_sensor(message.header) if before and before.verifier else None
            with self._loaded_lock:
                if self._loaded is not before:  # another map came, which may ask where the sensor is
                    continue
                loaded = self._current()
                recognition, verification = loaded.recognize(observation, stamp_ns, top_k, T_base_sensor)
                break
        processing_ms = (time.perf_counter() - started_s) * 1e3
        return Answer(message.header, recognition, loaded.recognizer, processing_ms, verification, loaded.only_verified)

    def _current(self) -> LoadedMap:
        """As the parameters are now; for whoever holds the lock. Raises InputError where there is none."""
        if self._loaded is None:
            raise InputError(loop_mode.NO_MAP if self._loops is not None else "no map is loaded")
        return self._loaded.aiming_at(self.get_parameter("target_precision").value or None)

    def _settle(self, is_accepted: bool) -> None:
        self._last_outcome = "accepted" if is_accepted else "refused"

    # Odometry

    @property
    def _following(self) -> Following | None:
        loaded = self._loaded
        return loaded.following if loaded is not None else None

    def _on_odometry(self, message: Odometry) -> None:
        following, loops = self._following, self._loops
        try:
            message = self._vehicle.of_odometry(message)
            self._odometry.come()
            if loops is not None:
                loops.add_odometry(message)
            elif following is not None:
                following.add_odometry(message)
                self._outputs.broadcast(message)
        except InputError as error:
            self._odometry.drop(error.kind, error)

    # Services

    def _answer(self, request: QueryPlace.Request) -> Answer:
        newest = self._newest
        query = asked(request, self._sensor.sees, newest and newest.frame.message)
        top_k = request.max_candidates or self.get_parameter("top_k").value
        if newest is None or query is request.image:  # it comes of no stream
            return self._recognize(query, top_k, Watch(patience_s=0.0))
        if newest.objection is not None:
            raise InputError(str(newest.objection), newest.objection.kind)
        age_s = self._age_s(newest.frame.stamp_ns, newest.frame.arrived_s)
        return self._unless_stale(self._recognize(query, top_k, self._watch), age_s)

    def _replace_map(self, folder: str) -> LoadedMap:
        """Answer from another map; raises InputError without a model, and MapError, and then all stays as it is."""
        before = self._loaded
        if before is None:
            unloaded = "no model is loaded: set the parameters bundle and map and configure the node"
            raise InputError(loop_mode.NO_MAP if self._loops is not None else unloaded)
        try:
            values = replace(localizer_parameters.read(self), map=folder)
            loaded = LoadedMap.load(values, self._outputs.publish_followed, self._outputs.restart, before)
            if loaded.verifier:
                self._vehicle.listen()
            self._use(loaded, before)
            if loaded.verifier and not before.verifier and self._inputs:
                loaded.camera.open(self._open_input)
        except Exception as error:
            self.get_logger().error(f"map not replaced: {one_line(error)}")
            raise
        self.set_parameters([Parameter("map", value=folder)])
        self.get_logger().info(f"map {loaded.recognizer.map_hash} of {loaded.recognizer.num_places} places")
        return loaded

    # Diagnostics

    def _diagnose(self) -> DiagnosticArray:
        values = localizer_parameters.read(self)
        health = diagnostics.Health(
            **self._health_of_input(values, self._doubts_of_answers(values)),
            accepted_age_s=self._outputs.accepted_age_s,
            last_best=self._outputs.last_best,
            lost_s=values.lost_s,
            last_estimate=self._outputs.last_estimate,
            odometry_topic=values.odometry_topic,
            odometry_age_s=self._odometry.age_s,
            odometry_complaint=self._complaint(values.odometry_topic) or self._vehicle.complaint,
        )
        stamp, counts = self.get_clock().now().to_msg(), self._frames.snapshot()
        name = self.get_fully_qualified_name().lstrip("/")
        if values.mode == loop_mode.NAME:
            return loop_diagnostics.to_message(name, stamp, health, counts, self._loops, self._odometry.figures)
        name = f"{name}: place recognition"
        return diagnostics.to_message(name, health.topic, stamp, health, counts, self._identity())

    def _doubts_of_answers(self, values: LocalizerParameters) -> tuple[str, ...]:
        told = self._cameras.doubts(values.stale_s) if self._cameras else ()
        told = (*told, *self._complaints_of_others(values))
        age_s = self._outputs.last_stale_age_s
        if age_s is None or not diagnostics.is_recent(self._frames.usable_age_s, values.stale_s):
            return told
        return (*told, self._lateness(age_s))

    def _complaints_of_others(self, values: LocalizerParameters) -> list[str]:
        """Of topics whose silence is no error by itself: CameraInfo, and each of several cameras."""
        told = {values.odometry_topic} | (set() if self._cameras else {self._sensor.topic})
        return [source.complaint for source in self._inputs if source.complaint and source.topic not in told]

    def _lateness(self, age_s: float) -> str:
        sees, limit_s = self._sensor.sees, self.get_parameter("stale_s").value
        return (
            f"{sees}s are {age_s:.1f} s old when they are looked at, expected {limit_s:g} at most: the way from the "
            "sensor is slow, or its clock is not this node's: set the clocks alike, or raise stale_s"
        )

    def _identity(self) -> dict[str, str]:
        loaded, handover = self._loaded, self._outputs.handover
        if loaded is None or handover is None:
            return NO_IDENTITY
        return {
            **loaded.identity,
            "sensor": self._vehicle.sensor,
            "sensor_clock": "the node's" if self._sensor_clock.is_the_nodes else "another",
            "answers_agree": "yes" if handover.agreeing else "no",
            "initial_pose": handover.initial_pose,
            **self._odometry.figures,
            **(self._cameras.figures if self._cameras else {}),
        }
