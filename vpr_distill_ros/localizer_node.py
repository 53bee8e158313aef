"""The localizer: images or clouds in, place matches out. All that it knows of places is one call of the recognizer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from vpr_core.errors import InputError
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.types import Match, Recognition
from vpr_distill_ros import conversions, diagnostics, parameters
from vpr_distill_ros.interfaces import LoadMap, PlaceMatchArray, QueryPlace
from vpr_distill_ros.loading import acceptance, load_map, load_recognizer, load_verifier, one_line
from vpr_distill_ros.markers import Drawing
from vpr_distill_ros.sensor_node import Frame, SensorNode
from vpr_distill_ros.sensors import sensor
from vpr_distill_ros.stamps import stamp_to_ns

if TYPE_CHECKING:  # small_gicp is loaded where a robot verifies
    from vpr_core.retrieval.verify_lidar import LidarVerifier, Verification


@dataclass(frozen=True)
class _Answer:
    recognition: Recognition
    recognizer: PlaceRecognizer
    processing_ms: float
    verification: Verification | None = None
    """None where the node does not verify."""


class Localizer(SensorNode):
    """A map and a model loaded, every frame is answered with places; services ask, and replace the map."""

    def __init__(self) -> None:
        super().__init__("localizer")
        self._recognizer: PlaceRecognizer | None = None
        self._verifier: LidarVerifier | None = None
        self._loaded_map = ""
        self._recognizer_lock = threading.Lock()
        self._accepted_s: float | None = None
        self._last_best: Match | None = None
        parameters.declare(self)
        self._sensor = sensor(parameters.read(self))
        self._create_interfaces()

    def _create_interfaces(self) -> None:
        self._matches = self.create_lifecycle_publisher(PlaceMatchArray, "~/matches", 10)
        self._pose = self.create_lifecycle_publisher(PoseWithCovarianceStamped, "~/pose", 10)
        self._candidates = self.create_lifecycle_publisher(PoseArray, "~/candidates", 10)
        self._drawing = Drawing(self)
        # Apart from the rest, so that a query or the loading of a map holds up neither frames nor transitions.
        group = MutuallyExclusiveCallbackGroup()
        self.create_service(QueryPlace, "~/query", self._on_query, callback_group=group)
        self.create_service(LoadMap, "~/load_map", self._on_load_map, callback_group=group)
        self._start_diagnostics()

    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        return parameters.check_change(changes, self._is_configured, self._loaded_map)

    # Lifecycle

    def _load(self) -> str:
        values = parameters.read(self)
        recognizer = load_recognizer(values)
        self._verifier = load_verifier(values, recognizer, values.map)
        self._recognizer = recognizer
        self._loaded_map = values.map
        self._sensor = sensor(values)
        self._drawing.show_map(recognizer)
        self._tell_acceptance(recognizer)
        return (
            f"model {recognizer.model_hash}, map {recognizer.map_hash} of {recognizer.num_places} places, "
            f"{self._sensor.sees}s through {self._sensor.converter}"
            + (f", re-ranked by {recognizer.reranker.kind.name}" if recognizer.reranker else "")
        )

    def _tell_acceptance(self, recognizer: PlaceRecognizer) -> None:
        text, is_odd = acceptance(recognizer)
        if is_odd:
            self.get_logger().warning(text)
        else:  # rclpy refuses one line of code that logs with two severities
            self.get_logger().info(text)

    def _unload(self) -> None:
        with self._recognizer_lock:
            self._recognizer = self._verifier = None
        self._loaded_map = ""

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_deactivate(state)
        self._accepted_s, self._last_best = None, None
        return result

    # Frames

    def _work(self, item: Frame) -> None:
        answer = self._recognize(item.message, self.get_parameter("top_k").value, verify=True)
        self._publish(answer, item.message)
        self._frames.process((time.monotonic() - item.arrived_s) * 1e3)

    def _recognize(self, message: Any, top_k: int, verify: bool = False) -> _Answer:
        started_s = time.perf_counter()
        observation = self._sensor.to_array(message)
        stamp_ns = stamp_to_ns(message.header.stamp)
        target = self.get_parameter("target_precision").value or None
        with self._recognizer_lock:
            recognizer = self._recognizer
            if recognizer is None:
                raise InputError("no map is loaded")
            recognizer = replace(recognizer, target_precision=target)
            recognition = recognizer.recognize(observation, stamp_ns, top_k)
            verifier = self._verifier if verify and recognition.accepted else None
            verification = verifier.verify(observation, recognition) if verifier else None
        return _Answer(recognition, recognizer, (time.perf_counter() - started_s) * 1e3, verification)

    def _publish(self, answer: _Answer, query: Any) -> None:
        self._matches.publish(_to_message(answer, query))
        map_frame, stamp = answer.recognizer.map_frame, query.header.stamp
        if answer.recognizer.has_poses:
            self._candidates.publish(conversions.candidates_to_message(answer.recognition.matches, stamp, map_frame))
            self._drawing.show_candidates(answer.recognition.matches, stamp, map_frame)
        best = answer.recognition.accepted
        self._last_best = answer.recognition.matches[0]
        self._last_outcome = "accepted" if best else "refused"
        if best is None:
            return
        self._accepted_s = time.monotonic()
        if answer.verification is not None:
            self._publish_verified(answer.verification, map_frame)
        elif best.pose is not None:
            spread = [self.get_parameter(name).value for name in ("position_stddev_m", "heading_stddev_rad")]
            self._pose.publish(conversions.pose_with_covariance(best.pose, stamp, map_frame, *spread))

    def _publish_verified(self, verification: Verification, map_frame: str) -> None:
        if verification.verified is None:
            self.get_logger().info(f"not verified: {verification.reason}", throttle_duration_sec=5.0)
            return
        self._pose.publish(conversions.verified_pose(verification.verified, map_frame))

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
        sees = self._sensor.sees
        if len(request.image.data) and sees == "image":
            return request.image
        if len(request.image.data):
            raise InputError(
                f"the request holds an image of {len(request.image.data)} bytes, the model recognises places by LiDAR: "
                "leave the image empty to ask about the newest live cloud"
            )
        newest = self._inputs[0].newest if self._inputs else None
        if newest is None:
            if sees == "cloud":
                raise InputError("no live cloud has come: activate the node, and see that clouds come on its topic")
            raise InputError("the request holds no image and no live image has come: send one, or activate the node")
        return newest

    def _on_load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        recognizer = self._recognizer
        if recognizer is None:
            response.message = "no model is loaded: set the parameters bundle and map and configure the node"
            return response
        try:
            replacement = load_map(recognizer, request.folder)
            verifier = load_verifier(parameters.read(self), replacement, request.folder)
        except Exception as error:
            response.message = one_line(error)
            self.get_logger().error(f"map not replaced: {response.message}")
            return response
        self._replace(replacement, verifier, request.folder)
        response.success = True
        response.map_hash = replacement.map_hash
        response.places = replacement.num_places
        return response

    def _replace(self, recognizer: PlaceRecognizer, verifier: LidarVerifier | None, folder: str) -> None:
        with self._recognizer_lock:
            self._recognizer, self._verifier = recognizer, verifier
        self._loaded_map = folder
        self._drawing.show_map(recognizer)
        self._tell_acceptance(recognizer)
        self.set_parameters([Parameter("map", value=folder)])
        self.get_logger().info(f"map {recognizer.map_hash} of {recognizer.num_places} places")

    # Diagnostics

    def _diagnose(self) -> DiagnosticArray:
        source = sensor(parameters.read(self))
        health = diagnostics.Health(
            lifecycle=self._stage,
            load_error=self._load_error,
            topic=source.topic,
            sees=source.sees,
            input_age_s=self._input_age_s,
            stale_s=float(self.get_parameter("stale_s").value),
            last_outcome=self._last_outcome,
            accepted_age_s=None if self._accepted_s is None else time.monotonic() - self._accepted_s,
            complaint=self._complaint(source.topic),
            last_best=self._last_best,
        )
        stamp = self.get_clock().now().to_msg()
        name = f"{self.get_fully_qualified_name().lstrip('/')}: place recognition"
        counts = self._frames.snapshot()
        return diagnostics.to_message(name, health.topic, stamp, health, counts, self._identity())

    def _identity(self) -> dict[str, str]:
        recognizer = self._recognizer
        if recognizer is None:
            return {"map_hash": "", "model_hash": "", "places": "0", "calibrated": "no"}
        return {
            "map_hash": recognizer.map_hash,
            "model_hash": recognizer.model_hash,
            "places": str(recognizer.num_places),
            "calibrated": "no" if recognizer.calibration is None else "yes",
        }


def _to_message(answer: _Answer, query: Any) -> PlaceMatchArray:
    return conversions.matches_to_message(
        answer.recognition,
        query.header,
        map_frame=answer.recognizer.map_frame,
        map_hash=answer.recognizer.map_hash,
        model_hash=answer.recognizer.model_hash,
        processing_ms=answer.processing_ms,
    )
