"""Several cameras of one vehicle: their images put together, one query, and where that puts the vehicle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Header

from vpr_core.data.camera_sets import CameraSets, ImageSet
from vpr_core.errors import InputError, VprError
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.several_cameras import Cameras, turn
from vpr_core.types import Pose
from vpr_distill_ros.answer import Answer
from vpr_distill_ros.localizer_parameters import LocalizerParameters
from vpr_distill_ros.sensor_node import Frame
from vpr_distill_ros.sensors import Sensor
from vpr_distill_ros.stamps import ns_to_stamp, stamp_to_ns
from vpr_distill_ros.transforms import VehicleFrames

_TICK_S = 0.05
_AS_THE_MAP = Pose((0.0, 0.0, 0.0))


@dataclass(frozen=True)
class TogetherTaken:
    """Messages of several cameras that are one query."""

    header: Header
    """With the stamp of the first camera's, or of the one in its place."""
    images: ImageSet[Any]


class LiveCameras:
    """The localizer's cameras while it is configured; their images are put together while it is active.

    deliver: gets every set as a frame, which arrived when its first image came. `answer` is for one thread at a time;
    the rest is called by several.
    """

    def __init__(
        self,
        node: Node,
        values: LocalizerParameters,
        sensor: Sensor,
        vehicle: VehicleFrames,
        deliver: Callable[[Frame], None],
    ) -> None:
        self._node, self._topics, self._sensor, self._vehicle = node, values.cameras, sensor, vehicle
        self._within_s, self._deliver = values.cameras_within_s, deliver
        self._lock = threading.Lock()
        self._timer: Any = None
        self._begin()

    def _begin(self) -> None:
        self._sets: CameraSets[Any] = CameraSets(len(self._topics), self._within_s, time.monotonic())
        self._cameras = Cameras(self._topics, self._sensor.to_array)
        self._first_frame = ""
        self._saw_best: int | None = None
        self._unturned: dict[int, str] = {}

    def open(self, open_input: Callable[..., None]) -> None:
        """Take images from all topics, through `open_input` of the node; raises InputError where ROS refuses one."""
        self._begin()
        clock = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        self._timer = self._node.create_timer(_TICK_S, self._tick, clock=clock)
        for camera, topic in enumerate(self._topics):
            advice = self._sensor.advice if camera == 0 else self._sensor.advice.replace("image_t", "more_image_t")
            open_input(topic, self._sensor.types, advice, partial(self._take, camera))

    def close(self) -> None:
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            self._node.destroy_timer(timer)

    def _take(self, camera: int, message: Any) -> None:
        if camera == 0:
            self._first_frame = message.header.frame_id
        with self._lock:
            self._give(self._sets.add(camera, stamp_to_ns(message.header.stamp), message, time.monotonic()))

    def _tick(self) -> None:
        with self._lock:
            self._give(self._sets.tick(time.monotonic()))

    def _give(self, complete: list[ImageSet[Any]]) -> None:
        for images in complete if self._timer is not None else []:
            header = Header(stamp=ns_to_stamp(images.stamp_ns))
            self._deliver(Frame(TogetherTaken(header, images), images.stamp_ns, images.arrived_s))

    def answer(self, query: TogetherTaken, recognizer: PlaceRecognizer, top_k: int) -> Answer:
        """Places for a set; raises InputError where no image of it is worth a query."""
        started_s = time.perf_counter()
        refuse = self._node.get_parameter("refuse").value.split()
        seen = self._cameras.recognize(recognizer, query.images, top_k, refuse)
        self._saw_best = seen.cameras[0]
        headers = {camera: message.header for camera, message in query.images.images.items()}
        by_camera = {camera: self._turn(camera, headers[camera]) for camera in set(seen.cameras)}
        header = Header(stamp=query.header.stamp, frame_id=headers[seen.cameras[0]].frame_id)
        processing_ms = (time.perf_counter() - started_s) * 1e3
        turns = tuple(by_camera[camera] for camera in seen.cameras) if recognizer.has_poses else None
        return Answer(header, seen.recognition, recognizer, processing_ms, turns=turns)

    def _turn(self, camera: int, header: Header) -> Pose | None:
        """T_place_base of a vehicle whose `camera` sees a place as the map's did; None where TF does not tell."""
        if camera == 0:
            return _AS_THE_MAP
        self._unturned.pop(camera, None)
        try:
            if not self._first_frame:
                raise InputError(f"no image with a frame has come on {self._topics[0]}, which is where the map's was")
            first = self._vehicle.of_sensor(Header(stamp=header.stamp, frame_id=self._first_frame))
            other = self._vehicle.of_sensor(header)
            if first is None or other is None:
                raise InputError("base_frame is empty, so TF is not asked where cameras are")
        except InputError as error:
            self._unturned[camera] = f"{self._topics[camera]} recognises places without a heading: {error}"
            return None
        return turn(first, other)

    # Diagnostics

    def doubts(self, stale_s: float) -> tuple[str, ...]:
        """Which camera does not help, and why; nothing while none is listened to."""
        if self._timer is None:
            return ()
        now_s, first = time.monotonic(), self._topics[0]
        told = [text for text in self._cameras.complaints if text]
        for camera, topic in enumerate(self._topics):
            silent_s = self._sets.silence_s(camera, now_s)
            if silent_s > stale_s:
                told.append(f"no image on {topic} for {silent_s:.1f} s: the answers come from the other cameras")
            elif self._sets.solitude_s(camera, now_s) > stale_s:
                told.append(
                    f"the stamps of {topic} lie more than cameras_within_s ({self._within_s:g} s) from those "
                    f"of {first}: set their clocks alike, or trigger them together"
                )
        unturned = self._unturned.get(0 if self._saw_best is None else self._saw_best)
        return (*told, unturned) if unturned else tuple(told)

    @property
    def figures(self) -> dict[str, str]:
        """By camera: images that came, those that belong to no query, queries without one, images refused by kind."""
        told = {"last_camera": "" if self._saw_best is None else self._topics[self._saw_best]}
        for topic, figures in zip(self._topics, self._sets.figures, strict=True):
            told |= {f"camera.{topic}.images": str(figures.images), f"camera.{topic}.apart": str(figures.apart),
                     f"camera.{topic}.missing": str(figures.missing)}  # fmt: skip
        refused = sorted(self._cameras.refused.items())
        return told | {f"camera.{self._topics[camera]}.refused.{kind}": str(times) for (camera, kind), times in refused}


def check(values: LocalizerParameters) -> None:
    """Raises VprError where several cameras do not go with the other parameters."""
    topics = values.cameras
    if not topics:
        return
    if len(set(topics)) < len(topics):
        raise VprError(
            f"the cameras are {', '.join(topics)}: name each topic once in image_topic and more_image_topics"
        )
    against = {
        "modality lidar": (values.modality == "lidar", "have one LiDAR"),
        "mode loop_closure": (values.mode == "loop_closure", "use one camera"),
        "verify": (bool(values.verifies), "set it to false"),
        "rerank": (values.rerank > 0, "set it to 0"),
        "the filter": (bool(values.odometry_topic) and values.filter, "set filter to false"),
    }
    for name, (is_wanted, instead) in against.items():
        if is_wanted:
            raise VprError(f"more_image_topics is given, and {name} takes one camera: {instead}, or more_image_topics "
                           "to ['']")  # fmt: skip
