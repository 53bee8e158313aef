"""The localizer: images or clouds in, place matches out. All that it knows of places is one call of the recognizer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from vpr_core.data.usable import Watch
from vpr_core.errors import InputError
from vpr_core.retrieval.filter import Estimate
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verification import Verifier
from vpr_core.types import Match
from vpr_distill_ros import cameras, conversions, diagnostics, loop_diagnostics, loop_mode, parameters
from vpr_distill_ros.answer import Answer
from vpr_distill_ros.counters import since
from vpr_distill_ros.following import Followed, Following
from vpr_distill_ros.handover import Handover
from vpr_distill_ros.interfaces import FilteredPlace, LoadMap, PlaceMatchArray, QueryPlace
from vpr_distill_ros.loading import acceptance, load_map, load_recognizer, load_sequence, load_verifier, one_line
from vpr_distill_ros.markers import Drawing
from vpr_distill_ros.queries import asked
from vpr_distill_ros.query_camera import CAMERA_INFO_TYPES, QueryCamera
from vpr_distill_ros.sensor_node import LOG_PERIOD_S, Frame, SensorNode
from vpr_distill_ros.sensors import sensor
from vpr_distill_ros.stamps import stamp_to_ns
from vpr_distill_ros.transforms import VehicleFrames

_ODOMETRY_TYPES = {"nav_msgs/msg/Odometry": Odometry}
# Half a second of the fastest odometry, for a node that is busy.
_ODOMETRY_DEPTH = 100


class Localizer(SensorNode):
    """A map and a model loaded, every frame is answered with places; services ask, and replace the map."""

    def __init__(self) -> None:
        super().__init__("localizer")
        self._recognizer: PlaceRecognizer | None = None
        self._verifier: Verifier | None = None
        self._following: Following | None = None
        self._loops: loop_mode.LoopMode | None = None
        self._handover: Handover | None = None
        self._cameras: cameras.LiveCameras | None = None
        self._loaded_map = ""
        self._recognizer_lock = threading.Lock()
        self._accepted_s: float | None = None
        self._odometry_s: float | None = None
        self._odometry_drops: Counter[str] = Counter()
        self._last_best: Match | None = None
        self._last_estimate: Estimate | None = None
        parameters.declare(self)
        values = parameters.read(self)
        self._sensor, self._query_camera = sensor(values), QueryCamera(values)
        self._vehicle = VehicleFrames(self, "")
        self._create_interfaces()

    def _create_interfaces(self) -> None:
        self._matches = self.create_lifecycle_publisher(PlaceMatchArray, "~/matches", 10)
        self._filtered = self.create_lifecycle_publisher(FilteredPlace, "~/filtered", 10)
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
        cameras.check(values)
        self._query_camera = QueryCamera(values)
        if values.mode == loop_mode.NAME:
            ends = (self._matches.publish, self._candidates.publish, self._submit, self._frames.skip, self._drop)
            self._loops = loop_mode.LoopMode(self, values, self._drawing, loop_mode.Ends(*ends))
            self._vehicle = VehicleFrames(self, values.base_frame)
            self._sensor = sensor(values)
            return self._loops.loaded
        recognizer = load_recognizer(values)
        self._verifier = load_verifier(values, recognizer, values.map, self._query_camera)
        following = self._follow_on(recognizer, values, values.map)
        self._vehicle.close()
        self._vehicle = VehicleFrames(self, values.base_frame, listen=values.verify or bool(values.cameras))
        self._handover = Handover(self, values, recognizer.map_frame)
        self._recognizer, self._following = recognizer, following
        self._loaded_map = values.map
        self._sensor = sensor(values)
        if values.cameras:
            self._cameras = cameras.LiveCameras(self, values, self._sensor, self._vehicle, self._receive_several)
        self._drawing.show_map(recognizer)
        self._tell_acceptance(recognizer)
        return (
            f"model {recognizer.model_hash}, map {recognizer.map_hash} of {recognizer.num_places} places, "
            f"{self._sensor.sees}s through {self._sensor.converter}"
            + (f", re-ranked by {recognizer.reranker.kind.name}" if recognizer.reranker else "")
        )

    def _follow_on(
        self, recognizer: PlaceRecognizer, values: parameters.LocalizerParameters, folder: str
    ) -> Following | None:
        """What brings answers and odometry together; None without odometry. Raises MapError."""
        if not values.odometry_topic:
            return None
        sequence = load_sequence(values, recognizer, folder)
        return Following(sequence, recognizer.map_hash, self._on_followed, self._on_restart)

    def _open_inputs(self) -> None:
        if self._cameras is not None:
            self._cameras.open(self._open_input)
        else:
            super()._open_inputs()
        if self._query_camera.topic:
            arguments = (CAMERA_INFO_TYPES, "set camera_info_topic", self._query_camera.take)
            self._open_input(self._query_camera.topic, *arguments)
        topic = parameters.read(self).odometry_topic
        if topic:
            arguments = (_ODOMETRY_TYPES, "set odometry_topic", self._on_odometry)
            self._open_input(topic, *arguments, depth=_ODOMETRY_DEPTH)

    def _tell_acceptance(self, recognizer: PlaceRecognizer) -> None:
        text, is_odd = acceptance(recognizer, self._verifier is not None)
        if is_odd:
            self.get_logger().warning(text)
        else:  # rclpy refuses one line of code that logs with two severities
            self.get_logger().info(text)

    def close(self) -> None:
        if self._cameras is not None:
            self._cameras.close()
        super().close()

    def _unload(self) -> None:
        with self._recognizer_lock:
            self._recognizer = self._verifier = self._following = None
        self._vehicle.close()
        if self._handover is not None:
            self._handover.close()
            self._handover = None
        if self._loops is not None:
            self._loops.close()
            self._loops = None
        self._cameras = None
        self._loaded_map = ""

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_deactivate(state)
        self._accepted_s = self._odometry_s = self._last_best = self._last_estimate = None
        if self._following is not None:
            self._following.clear()
        if self._handover is not None:
            self._handover.begin()
        if self._loops is not None:
            self._frames.drop("deactivated", self._loops.clear())
        return result

    # Frames

    @property
    def _patience_s(self) -> float:
        """None for places apart from each other: where the vehicle has moved, the picture has changed."""
        return super()._patience_s if self._loops is None else 0.0

    def _receive_several(self, taken: cameras.TogetherTaken, stamp_ns: int, arrived_s: float) -> None:
        self._receive(Frame(taken, stamp_ns, arrived_s))

    def _take(self, frame: Frame) -> None:
        if self._loops is None:
            super()._take(frame)
        else:
            self._loops.add_frame(frame)

    def _work(self, item: Frame | loop_mode.Waiting) -> None:
        if isinstance(item, loop_mode.Waiting):
            self._close_loops(item)
            return
        answer = self._recognize(item.message, self.get_parameter("top_k").value, self._watch)
        self._publish(answer)
        self._frames.process((time.monotonic() - item.arrived_s) * 1e3)

    def _close_loops(self, item: loop_mode.Waiting) -> None:
        frame = item.posed.frame
        observe = partial(self._observe, frame.message, self._watch)
        answer = item.mode.work(item, observe, self.get_parameter("top_k").value)
        if answer is not None:
            self._last_outcome = "refused" if answer.recognition.accepted is None else "accepted"
            self._frames.process((time.monotonic() - frame.arrived_s) * 1e3)

    def _recognize(self, message: Any, top_k: int, watch: Watch) -> Answer:
        if isinstance(message, cameras.TogetherTaken) and self._cameras is not None:
            with self._recognizer_lock:
                return self._cameras.answer(message, self._current(), top_k)
        started_s = time.perf_counter()
        observation = self._observe(message, watch)
        T_base_sensor = self._vehicle.of_sensor(message.header) if self._verifier else None
        stamp_ns = stamp_to_ns(message.header.stamp)
        with self._recognizer_lock:
            recognizer = self._current()
            recognition = recognizer.recognize(observation, stamp_ns, top_k)
            # The filter may believe what one frame alone does not.
            verifier = self._verifier if self._filters or recognizer.could_accept(recognition) else None
            verification = verifier.verify(observation, recognition, T_base_sensor) if verifier else None
        if verification is not None:
            recognition = recognizer.checked(recognition, verification)
        processing_ms = (time.perf_counter() - started_s) * 1e3
        return Answer(message.header, recognition, recognizer, processing_ms, verification)

    def _current(self) -> PlaceRecognizer:
        """As the parameters are now; for whoever holds the lock. Raises InputError where there is none."""
        if self._recognizer is None:
            raise InputError(loop_mode.NO_MAP if self._loops is not None else "no map is loaded")
        return replace(self._recognizer, target_precision=self.get_parameter("target_precision").value or None)

    def _publish(self, answer: Answer) -> None:
        self._matches.publish(answer.message())
        matches, map_frame = answer.hypotheses, answer.recognizer.map_frame
        if answer.recognizer.has_poses:
            self._candidates.publish(conversions.candidates_to_message(matches, answer.stamp, map_frame))
            self._drawing.show_candidates(matches, answer.stamp, map_frame)
        self._last_best = answer.recognition.accepted or matches[0]
        if answer.verification is not None and answer.verification.verified is None:
            self.get_logger().info(f"not verified: {answer.verification.reason}", throttle_duration_sec=LOG_PERIOD_S)
        if not self._filters:
            self._settle(answer, None, answer.recognition.accepted is not None)
        following = self._following
        if following is not None:
            following.add_answer(answer)

    def _settle(self, answer: Answer, estimate: Estimate | None, is_accepted: bool) -> None:
        """Publish the pose of an answer, and note whether it was accepted."""
        self._last_outcome = "accepted" if is_accepted else "refused"
        if is_accepted:
            self._accepted_s = time.monotonic()
        pose = answer.pose(estimate, *self._spread)
        if pose is not None:
            self._pose.publish(pose)

    @property
    def _spread(self) -> tuple[float, float]:
        values = [self.get_parameter(name).value for name in ("position_stddev_m", "heading_stddev_rad")]
        return float(values[0]), float(values[1])

    # Odometry

    @property
    def _filters(self) -> bool:
        return self._following is not None and self._following.filters

    def _on_odometry(self, message: Odometry) -> None:
        following, handover, loops = self._following, self._handover, self._loops
        try:
            message = self._vehicle.of_odometry(message)
            self._odometry_s = time.monotonic()
            if loops is not None:
                loops.add_odometry(message)
            elif following is not None and handover is not None:
                following.add_odometry(message)
                handover.broadcast(message)
        except InputError as error:
            self._odometry_drops[error.kind] += 1
            self.get_logger().warning(f"odometry dropped: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _on_followed(self, followed: Followed) -> None:
        """An answer has its odometry, or will have none."""
        answer, estimate, handover = followed.answer, followed.estimate, self._handover
        if estimate is not None:
            self._last_estimate = estimate
            recognizer = answer.recognizer
            hashes = (recognizer.map_hash, recognizer.model_hash)
            self._filtered.publish(conversions.filtered_to_message(estimate, recognizer.map_frame, *hashes))
            self._settle(answer, estimate, estimate.accepted)
        if handover is not None:
            pose = answer.pose(estimate, *self._spread) if answer.knows_heading else None
            handover.add(pose, followed.odometry)

    def _on_restart(self) -> None:
        if self._handover is not None:
            self._handover.clear()

    # Services

    def _on_query(self, request: QueryPlace.Request, response: QueryPlace.Response) -> QueryPlace.Response:
        try:
            query = asked(request, self._sensor.sees, self._newest)
            # An image that was sent comes of no stream.
            watch = Watch(patience_s=0.0) if query is request.image else self._watch
            answer = self._recognize(query, request.max_candidates or self.get_parameter("top_k").value, watch)
        except Exception as error:
            response.message = one_line(error)
            return response
        response.success = True
        response.result = answer.message()
        return response

    @property
    def _newest(self) -> Any:
        if self._cameras is not None:
            return self._cameras.newest
        return self._inputs[0].newest if self._inputs else None

    def _on_load_map(self, request: LoadMap.Request, response: LoadMap.Response) -> LoadMap.Response:
        recognizer = self._recognizer
        if recognizer is None:
            unloaded = "no model is loaded: set the parameters bundle and map and configure the node"
            response.message = loop_mode.NO_MAP if self._loops is not None else unloaded
            return response
        try:
            replacement = load_map(recognizer, request.folder)
            values = parameters.read(self)
            verifier = load_verifier(values, replacement, request.folder, self._query_camera)
            following = self._follow_on(replacement, values, request.folder)
        except Exception as error:
            response.message = one_line(error)
            self.get_logger().error(f"map not replaced: {response.message}")
            return response
        self._replace(replacement, verifier, following, request.folder)
        response.success = True
        response.map_hash = replacement.map_hash
        response.places = replacement.num_places
        return response

    def _replace(
        self, recognizer: PlaceRecognizer, verifier: Verifier | None, following: Following | None, folder: str
    ) -> None:
        with self._recognizer_lock:
            self._recognizer, self._verifier, self._following = recognizer, verifier, following
        self._last_estimate = None
        if self._handover is not None:
            self._handover.begin(recognizer.map_frame)
        self._loaded_map = folder
        self._drawing.show_map(recognizer)
        self._tell_acceptance(recognizer)
        self.set_parameters([Parameter("map", value=folder)])
        self.get_logger().info(f"map {recognizer.map_hash} of {recognizer.num_places} places")

    # Diagnostics

    def _diagnose(self) -> DiagnosticArray:
        values = parameters.read(self)
        source = sensor(values)
        health = diagnostics.Health(
            lifecycle=self._stage,
            load_error=self._load_error,
            topic=source.topic,
            sees=source.sees,
            input_age_s=self._input_age_s,
            stale_s=values.stale_s,
            last_outcome=self._last_outcome,
            accepted_age_s=since(self._accepted_s),
            complaint=self._complaint(source.topic),
            usable_age_s=self._frames.usable_age_s,
            doubts=self._doubts + (self._cameras.doubts(values.stale_s) if self._cameras else ()),
            last_best=self._last_best,
            lost_s=values.lost_s,
            last_estimate=self._last_estimate,
            odometry_topic=values.odometry_topic,
            odometry_age_s=since(self._odometry_s),
            odometry_complaint=self._complaint(values.odometry_topic) or self._vehicle.complaint,
        )
        stamp, counts = self.get_clock().now().to_msg(), self._frames.snapshot()
        name = self.get_fully_qualified_name().lstrip("/")
        if values.mode == loop_mode.NAME:
            return loop_diagnostics.to_message(name, stamp, health, counts, self._loops, self._odometry_figures)
        name = f"{name}: place recognition"
        return diagnostics.to_message(name, health.topic, stamp, health, counts, self._identity())

    @property
    def _odometry_figures(self) -> dict[str, str]:
        kinds = {f"odometry_dropped.{kind}": str(times) for kind, times in sorted(self._odometry_drops.items())}
        return {"odometry_dropped": str(sum(self._odometry_drops.values())), **kinds}

    def _identity(self) -> dict[str, str]:
        recognizer, handover = self._recognizer, self._handover
        if recognizer is None or handover is None:
            return {"map_hash": "", "model_hash": "", "places": "0", "calibrated": "no"}
        return {
            "map_hash": recognizer.map_hash,
            "model_hash": recognizer.model_hash,
            "places": str(recognizer.num_places),
            "calibrated": "no" if recognizer.calibration is None else "yes",
            "filter": "on" if self._filters else "off",
            "sensor": self._vehicle.sensor,
            "answers_agree": "yes" if handover.agreeing else "no",
            "camera_info": self._query_camera.state,
            "initial_pose": handover.initial_pose,
            **self._odometry_figures,
            **(self._cameras.figures if self._cameras else {}),
        }
