"""The localizer: images or clouds in, place matches out. All that it knows of places is one call of the recognizer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from vpr_core.errors import InputError
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.types import Recognition
from vpr_distill_ros import conversions, diagnostics, parameters
from vpr_distill_ros.counters import FrameCounters
from vpr_distill_ros.interfaces import LoadMap, PlaceMatchArray, QueryPlace
from vpr_distill_ros.loading import load_map, load_recognizer, one_line
from vpr_distill_ros.markers import Drawing
from vpr_distill_ros.sensor_input import SensorInput
from vpr_distill_ros.sensors import sensor
from vpr_distill_ros.stamps import stamp_to_ns
from vpr_distill_ros.worker import LatestWorker

_LOG_PERIOD_S = 5.0


@dataclass(frozen=True)
class _Frame:
    message: Any
    arrived_s: float


@dataclass(frozen=True)
class _Answer:
    recognition: Recognition
    recognizer: PlaceRecognizer
    processing_ms: float


class Localizer(LifecycleNode):
    """Configure loads bundle and map, activate opens the sensor's topic, deactivate and clean up undo it."""

    def __init__(self) -> None:
        super().__init__("localizer")
        self._stage = "unconfigured"
        self._recognizer: PlaceRecognizer | None = None
        self._loaded_map = ""
        self._load_error = ""
        self._recognizer_lock = threading.Lock()
        self._frames = FrameCounters()
        self._input: SensorInput | None = None
        self._worker: LatestWorker[_Frame] | None = None
        self._arrived_s: float | None = None
        self._accepted_s: float | None = None
        self._last_outcome = ""
        self.add_on_set_parameters_callback(self._check_change)
        parameters.declare(self)
        self._sensor = sensor(parameters.read(self))
        self._create_interfaces()

    def _create_interfaces(self) -> None:
        self._matches = self.create_lifecycle_publisher(PlaceMatchArray, "~/matches", 10)
        self._pose = self.create_lifecycle_publisher(PoseWithCovarianceStamped, "~/pose", 10)
        self._candidates = self.create_lifecycle_publisher(PoseArray, "~/candidates", 10)
        self._drawing = Drawing(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Apart from the rest, so that a query or the loading of a map holds up neither frames nor transitions.
        group = MutuallyExclusiveCallbackGroup()
        self.create_service(QueryPlace, "~/query", self._on_query, callback_group=group)
        self.create_service(LoadMap, "~/load_map", self._on_load_map, callback_group=group)
        period_s = self.get_parameter("diagnostics_period_s").value
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(period_s, self._publish_diagnostics, clock=steady)

    def autostart(self) -> None:
        """Configure and activate, where the parameter asks for it; a failure is logged and the node stays up."""
        wanted = self.get_parameter("autostart").value
        if wanted and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Stop the input and the thread; to be called before the node is left."""
        if self._input is not None:
            self._input.close()
            self._input = None
        if self._worker is not None and self._worker.stop():
            self._frames.drop("deactivated")
        self._worker = None

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        values = parameters.read(self)
        try:
            self._recognizer = load_recognizer(values)
        except Exception as error:  # rclpy would swallow whatever else a library raises
            self._load_error = one_line(error)
            self.get_logger().error(f"cannot configure: {self._load_error}")
            return TransitionCallbackReturn.FAILURE
        self._load_error = ""
        self._loaded_map = values.map
        self._sensor = sensor(values)
        self._drawing.show_map(self._recognizer)
        self._stage = "inactive"
        self.get_logger().info(
            f"model {self._recognizer.model_hash}, map {self._recognizer.map_hash} of {self._recognizer.num_places} "
            f"places, {self._sensor.sees}s through {self._sensor.converter}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        source = self._sensor
        self._worker = LatestWorker(self._answer_frame, name="recognize")
        try:
            self._input = SensorInput(self, source.topic, source.types, source.advice, self._on_message)
        except Exception as error:  # a topic name or a QoS override that ROS refuses
            self.close()
            self.get_logger().error(f"cannot subscribe to {source.topic}: {error}")
            return TransitionCallbackReturn.FAILURE
        self._stage = "active"
        self.get_logger().info(f"active, {source.sees}s from {self.resolve_topic_name(source.topic)}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        self._stage = "inactive"
        self._arrived_s, self._accepted_s, self._last_outcome = None, None, ""
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._recognizer_lock:
            self._recognizer = None
        self._loaded_map = ""
        self._stage = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        with self._recognizer_lock:
            self._recognizer = None
        self._stage = "finalized"
        return super().on_shutdown(state)

    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        return parameters.check_change(changes, self._recognizer is not None, self._loaded_map)

    # Frames

    def _on_message(self, message: Any) -> None:
        self._arrived_s = time.monotonic()
        stamp_ns = stamp_to_ns(message.header.stamp)
        if self._frames.receive(stamp_ns):
            sees = self._sensor.sees
            self.get_logger().warning(f"{sees} stamps went back, to {stamp_ns} ns; such {sees}s are still answered")
        worker = self._worker
        if worker is None:
            self._frames.drop("deactivated")
        elif worker.submit(_Frame(message, self._arrived_s)):
            self._frames.supersede()

    def _answer_frame(self, frame: _Frame) -> None:
        try:
            answer = self._recognize(frame.message, self.get_parameter("top_k").value)
            self._publish(answer, frame.message)
        except Exception as error:  # the thread must outlive a defect; after a signal, publishing fails too
            if rclpy.ok():
                self._drop(error)
        else:
            self._frames.process((time.monotonic() - frame.arrived_s) * 1e3)

    def _recognize(self, message: Any, top_k: int) -> _Answer:
        started_s = time.perf_counter()
        observation = self._sensor.to_array(message)
        stamp_ns = stamp_to_ns(message.header.stamp)
        with self._recognizer_lock:
            recognizer = self._recognizer
            if recognizer is None:
                raise InputError("no map is loaded")
            recognition = recognizer.recognize(observation, stamp_ns, top_k)
        return _Answer(recognition, recognizer, (time.perf_counter() - started_s) * 1e3)

    def _publish(self, answer: _Answer, query: Any) -> None:
        self._matches.publish(_to_message(answer, query))
        map_frame, stamp = answer.recognizer.map_frame, query.header.stamp
        if answer.recognizer.has_poses:
            self._candidates.publish(conversions.candidates_to_message(answer.recognition.matches, stamp, map_frame))
            self._drawing.show_candidates(answer.recognition.matches, stamp, map_frame)
        best = answer.recognition.accepted
        self._last_outcome = "accepted" if best else "refused"
        if best is None:
            return
        self._accepted_s = time.monotonic()
        if best.pose is not None:
            spread = [self.get_parameter(name).value for name in ("position_stddev_m", "heading_stddev_rad")]
            self._pose.publish(conversions.pose_with_covariance(best.pose, stamp, map_frame, *spread))

    def _drop(self, error: Exception) -> None:
        self._frames.drop(error.kind if isinstance(error, InputError) else "internal")
        self._last_outcome = one_line(error)
        text = f"{self._sensor.sees} dropped: {self._last_outcome}"
        self.get_logger().warning(text, throttle_duration_sec=_LOG_PERIOD_S)

    # Services

    def _on_query(self, request: QueryPlace.Request, response: QueryPlace.Response) -> QueryPlace.Response:
        try:
            query = self._query_of(request)
            answer = self._recognize(query, request.max_candidates or self.get_parameter("top_k").value)
        except Exception as error:
            response.message = one_line(error)
            return response
        response.success = True
        response.result = _to_message(answer, query)
        return response

    def _query_of(self, request: QueryPlace.Request) -> Any:
        """A camera's: the request's image, or the newest live one. A LiDAR's: the newest live cloud, and no image.

        Raises InputError where there is none, and for an image sent to a LiDAR.
        """
        source, sees = self._input, self._sensor.sees
        if len(request.image.data) and sees == "image":
            return request.image
        if len(request.image.data):
            raise InputError(
                f"the request holds an image of {len(request.image.data)} bytes, the model recognises places by LiDAR: "
                "leave the image empty to ask about the newest live cloud"
            )
        if source is None or source.newest is None:
            if sees == "cloud":
                raise InputError("no live cloud has come: activate the node, and see that clouds come on its topic")
            raise InputError("the request holds no image and no live image has come: send one, or activate the node")
        return source.newest

    def _on_load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        recognizer = self._recognizer
        if recognizer is None:
            response.message = "no model is loaded: set the parameters bundle and map and configure the node"
            return response
        try:
            replacement = load_map(recognizer, request.folder)
        except Exception as error:
            response.message = one_line(error)
            self.get_logger().error(f"map not replaced: {response.message}")
            return response
        self._replace(replacement, request.folder)
        response.success = True
        response.map_hash = replacement.map_hash
        response.places = replacement.num_places
        return response

    def _replace(self, recognizer: PlaceRecognizer, folder: str) -> None:
        with self._recognizer_lock:
            self._recognizer = recognizer
        self._loaded_map = folder
        self._drawing.show_map(recognizer)
        self.set_parameters([Parameter("map", value=folder)])
        self.get_logger().info(f"map {recognizer.map_hash} of {recognizer.num_places} places")

    # Diagnostics

    def _publish_diagnostics(self) -> None:
        now_s = time.monotonic()
        source = sensor(parameters.read(self))
        health = diagnostics.Health(
            lifecycle=self._stage,
            load_error=self._load_error,
            topic=source.topic,
            sees=source.sees,
            input_age_s=None if self._arrived_s is None else now_s - self._arrived_s,
            stale_s=self.get_parameter("stale_s").value,
            last_outcome=self._last_outcome,
            accepted_age_s=None if self._accepted_s is None else now_s - self._accepted_s,
        )
        stamp = self.get_clock().now().to_msg()
        name = f"{self.get_fully_qualified_name().lstrip('/')}: place recognition"
        counts = self._frames.snapshot()
        self._diagnostics.publish(diagnostics.to_message(name, health.topic, stamp, health, counts, self._identity()))

    def _identity(self) -> dict[str, str]:
        recognizer = self._recognizer
        if recognizer is None:
            return {"map_hash": "", "model_hash": "", "places": "0"}
        places = str(recognizer.num_places)
        return {"map_hash": recognizer.map_hash, "model_hash": recognizer.model_hash, "places": places}


def _to_message(answer: _Answer, query: Any) -> PlaceMatchArray:
    return conversions.matches_to_message(
        answer.recognition,
        query.header,
        map_frame=answer.recognizer.map_frame,
        map_hash=answer.recognizer.map_hash,
        model_hash=answer.recognizer.model_hash,
        processing_ms=answer.processing_ms,
    )
