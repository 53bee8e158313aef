"""What every node does that looks at places through one sensor: lifecycle, input, a thread of its own, diagnostics."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from vpr_core.data.usable import PATIENCE_S, Watch
from vpr_core.errors import InputError
from vpr_distill_ros.counters import FrameCounters, since
from vpr_distill_ros.loading import one_line
from vpr_distill_ros.parameters import BACKWARDS, PUBLISHERS, SensorParameters
from vpr_distill_ros.sensor_input import SensorInput
from vpr_distill_ros.sensors import Sensor, sensor
from vpr_distill_ros.stamps import stamp_to_ns
from vpr_distill_ros.worker import LatestWorker

LOG_PERIOD_S = 5.0
# As long as that /diagnostics tells of stamps that went back.
_BACKWARDS_TOLD_S = 10.0


@dataclass(frozen=True)
class Frame:
    """An image or a cloud as it arrived."""

    message: Any
    stamp_ns: int
    arrived_s: float


@dataclass(frozen=True)
class Received:
    """A frame, and why it was refused before it was looked at; None where it was not."""

    frame: Frame
    objection: InputError | None


class SensorNode(LifecycleNode):
    """Configure loads what the parameters name, activate opens the topics, deactivate and clean up undo it.

    A subclass declares its parameters, sets `_sensor`, and says what is loaded, what is done with a frame and what
    /diagnostics tells.
    """

    _sensor: Sensor

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._stage = "unconfigured"
        self._load_error = ""
        self._frames = FrameCounters()
        self._inputs: list[SensorInput] = []
        self._worker: LatestWorker[Any] | None = None
        self._newest: Received | None = None
        self._last_outcome = ""
        self._watch = Watch()
        self.add_on_set_parameters_callback(self._check_change)

    @abstractmethod
    def _check_change(self, changes: list[Parameter]) -> SetParametersResult:
        """Whether parameters may change."""

    @abstractmethod
    def _load(self) -> str:
        """Load what the parameters name; returns what to log. Whatever it raises is logged, and the node stays up."""

    @abstractmethod
    def _unload(self) -> None:
        """Let go of what `_load` loaded."""

    @abstractmethod
    def _work(self, item: Any) -> None:
        """What the node's thread does with an item; what it raises is counted and logged."""

    @abstractmethod
    def _diagnose(self) -> DiagnosticArray:
        """What /diagnostics says now."""

    def _open_inputs(self) -> None:
        self._open_input(self._sensor.topic, self._sensor.types, self._sensor.advice, self._on_message)

    def _open_input(self, topic: str, *arguments: Any, **options: Any) -> None:
        try:
            self._inputs.append(SensorInput(self, topic, *arguments, **options))
        except Exception as error:  # a topic name or a QoS override that ROS refuses
            raise InputError(f"cannot subscribe to {topic}: {error}") from error

    def _start_diagnostics(self) -> None:
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        period_s = float(self.get_parameter("diagnostics_period_s").value)
        self._start_timer(period_s, lambda: self._diagnostics.publish(self._diagnose()))

    def _start_timer(self, period_s: float, callback: Any) -> Any:
        """A timer of the real time: simulated time may stand still."""
        return self.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def autostart(self) -> None:
        """Configure and activate, where the parameter asks for it; a failure is logged and the node stays up."""
        wanted = self.get_parameter("autostart").value
        if wanted and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Stop the input and the thread; to be called before the node is left."""
        for source in self._inputs:
            source.close()
        self._inputs = []
        if self._worker is not None and self._worker.stop():
            self._frames.drop("deactivated")
        self._worker = None

    # Lifecycle

    @property
    def _is_configured(self) -> bool:
        return self._stage in ("inactive", "active")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            loaded = self._load()
        except Exception as error:  # rclpy would swallow whatever else a library raises
            if not rclpy.ok():  # a signal came meanwhile, and the next call of ROS raised
                return TransitionCallbackReturn.FAILURE
            self._load_error = one_line(error)
            waits = "the node waits to be configured again, Ctrl-C ends it"
            self.get_logger().error(f"cannot configure: {self._load_error} ({waits})")
            return TransitionCallbackReturn.FAILURE
        self._load_error = ""
        self._stage = "inactive"
        self.get_logger().info(loaded)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._worker = LatestWorker(self._work_safely, name="work")
        self._watch = Watch(self._patience_s)
        self._frames.begin()
        try:
            self._open_inputs()
        except InputError as error:
            self.close()
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self._stage = "active"
        source = self._sensor
        self.get_logger().info(f"active, {source.sees}s from {self.resolve_topic_name(source.topic)}")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        self._stage = "inactive"
        self._newest, self._last_outcome = None, ""
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._unload()
        self._stage = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.close()
        self._unload()
        self._stage = "finalized"
        return super().on_shutdown(state)

    # Frames

    def _on_message(self, message: Any) -> None:
        self._receive(Frame(message, stamp_to_ns(message.header.stamp), time.monotonic()))

    def _receive(self, frame: Frame) -> None:
        back_ns = self._frames.receive(frame.stamp_ns)
        if not frame.stamp_ns:
            text = f"{self._sensor.sees} stamps are zero: nothing that was at the time of such a frame is known"
            self.get_logger().warning(text, once=True)
        objection = self._objection_to_order(back_ns)
        self._newest = Received(frame, objection)
        if objection is None:
            self._take(frame)
        else:
            self._drop(objection)

    def _objection_to_order(self, back_ns: int) -> InputError | None:
        """To a frame that does not follow on the one before it: its stamp lies `back_ns` before, or several send."""
        refuse = self.get_parameter("refuse").value.split()
        several = next((source.several for source in self._inputs if source.several), "")
        if several and PUBLISHERS in refuse:
            return InputError(several, PUBLISHERS)
        if back_ns and BACKWARDS in refuse:
            return InputError(
                f"{self._sensor.sees} is older than the one before it, by {back_ns / 1e9:.3f} s of its stamp; a clock "
                "was set, a recording began again, or several publishers send?",
                BACKWARDS,
            )
        return None

    @property
    def _patience_s(self) -> float:
        """As `Watch` has it."""
        return PATIENCE_S

    def _observe(self, message: Any, watch: Watch) -> np.ndarray:
        """A message's image or cloud; raises InputError, also where it is not worth a query after those before it."""
        observation = self._sensor.to_array(message)
        watch.see(observation, stamp_to_ns(message.header.stamp), self.get_parameter("refuse").value.split())
        return observation

    def _take(self, frame: Frame) -> None:
        self._submit(frame)

    def _submit(self, item: Any) -> None:
        """Hand an item to the thread."""
        worker = self._worker
        if worker is None:
            self._frames.drop("deactivated")
        elif worker.submit(item):
            self._frames.supersede()

    def _work_safely(self, item: Any) -> None:
        try:
            self._work(item)
        except Exception as error:  # the thread must outlive a defect; after a signal, publishing fails too
            if rclpy.ok():
                self._drop(error)

    def _drop(self, error: Exception) -> None:
        is_first = self._frames.drop(error.kind if isinstance(error, InputError) else "internal")
        self._last_outcome = one_line(error)
        text = f"{self._sensor.sees} dropped: {self._last_outcome}"
        if is_first:
            self.get_logger().warning(text)
        else:
            self.get_logger().warning(text, throttle_duration_sec=LOG_PERIOD_S)

    def _health_of_input(self, values: SensorParameters, doubts: tuple[str, ...] = ()) -> dict[str, Any]:
        """What the health of every such node depends on. doubts: beside those that the input gives."""
        source, newest = sensor(values), self._newest
        return {
            "lifecycle": self._stage,
            "load_error": self._load_error,
            "sees": source.sees,
            "topic": source.topic,
            "input_age_s": since(newest.frame.arrived_s) if newest else None,
            "stale_s": values.stale_s,
            "complaint": self._complaint(source.topic),
            "last_outcome": self._last_outcome,
            "usable_age_s": self._frames.usable_age_s,
            "doubts": self._doubts + doubts,
        }

    @property
    def _doubts(self) -> tuple[str, ...]:
        """Why what is answered may be wrong, for /diagnostics."""
        refused = PUBLISHERS in self.get_parameter("refuse").value.split()
        told = [source.several for source in self._inputs if source.several and not refused]
        went_back_s = self._frames.backwards_age_s
        if went_back_s is not None and went_back_s < _BACKWARDS_TOLD_S:
            told.append(
                f"{self._sensor.sees} stamps went back {went_back_s:.1f} s ago: a clock was set, a recording began "
                "again, or several publishers send"
            )
        return tuple(told)

    def _complaint(self, topic: str) -> str:
        """What is wrong with a topic as it is now; empty where nothing is."""
        return next((source.complaint for source in self._inputs if source.topic == topic), "")
