"""A ROS graph of this test run's own: processes over DDS, and a node here that watches them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

import numpy as np  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField  # noqa: E402

from vpr_core.data.frames import Frames  # noqa: E402
from vpr_distill_ros.stamps import ns_to_stamp  # noqa: E402

PACKAGE = "vpr_distill_ros"
# For discovery, imports and a busy machine; nothing waits so long when all is well.
PATIENCE_S = 90.0
_ASK_AGAIN_S = 10.0
_CLIENTS = 12
START_NS = 1_700_000_000_000_000_000
LARGE_MESSAGES = Path(__file__).parents[2] / "config" / "dds" / "localhost_large_messages.xml"
# Domains above 101 take UDP ports that Linux hands out to others.
DOMAIN = 1 + os.getpid() % 101


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Poll until `condition()` is true and return it; fail naming what was waited for."""
    limit_s = time.monotonic() + patience_s
    while not (result := condition()):
        if time.monotonic() > limit_s:
            pytest.fail(f"waited {patience_s:g} s for {what}")
        time.sleep(0.02)
    return result


class Process:
    """An executable of the package, its output in a file."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.popen = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def says(self, text: str) -> str:
        """Wait until the output contains `text`; fail at once where the process ended without it."""

        def found() -> bool:
            return text in self.output or self.popen.poll() is not None

        until(found, f"{text!r} in\n{self.output}")
        assert text in self.output, self.output
        return self.output

    def ends(self) -> int:
        """Wait for the end; the exit code."""
        until(lambda: self.popen.poll() is not None, f"the end of {self.popen.args}\n{self.output}")
        return self.popen.returncode

    def signalled(self, number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.popen.send_signal(number)
        return self.ends()

    def stop(self) -> None:
        """End it, if it has not ended: gently, since a killed process leaves DDS's shared memory in disorder."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGINT)
        try:
            self.popen.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


class Probe:
    """A node in this process, spun by a thread."""

    until = staticmethod(until)

    def __init__(self) -> None:
        self._context = Context()
        self._context.init(domain_id=DOMAIN)
        self.node = rclpy.create_node(f"probe_{os.getpid()}", context=self._context)
        self._clients: dict[tuple[Any, str], Any] = {}
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while self._context.ok():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                return

    def close(self) -> None:
        self._context.try_shutdown()
        self._thread.join()
        self.node.destroy_node()

    def collect(self, message_type: type, topic: str, qos: QoSProfile | int = 1000) -> list[Any]:
        """A list that grows by every message of the topic."""
        received: list[Any] = []
        self.node.create_subscription(message_type, topic, received.append, qos)
        return received

    def publisher(self, message_type: type, topic: str, qos: QoSProfile | int = 10) -> Any:
        """A publisher that has its subscriber."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        until(publisher.get_subscription_count, f"a subscriber to {topic}")
        return publisher

    def call(self, service_type: Any, name: str, **fields: Any) -> Any:
        """The response of a service."""
        client = self._client(service_type, name)
        until(client.service_is_ready, f"service {name}")
        request = service_type.Request(**fields)
        futures: list[Any] = []

        def answered() -> Any:
            # A busy server may answer before it has discovered where to (ros2/rmw_fastrtps#842): ask again.
            if time.monotonic() > asked_s + _ASK_AGAIN_S * len(futures):
                futures.append(client.call_async(request))
            return next((future for future in futures if future.done()), None)

        asked_s = time.monotonic()
        return until(answered, f"the response of {name}").result()

    def _client(self, service_type: Any, name: str) -> Any:
        """The newest are kept: a server has discovered them."""
        client = self._clients.pop((service_type, name), None) or self.node.create_client(service_type, name)
        self._clients[service_type, name] = client
        if len(self._clients) > _CLIENTS:
            self.node.destroy_client(self._clients.pop(next(iter(self._clients))))
        return client


class Robot:
    """A lifecycle node with one sensor, as a process, and what it says on /diagnostics."""

    def __init__(self, executable: str, process: Any, probe: Any, namespace: str) -> None:
        self.process, self.probe = process, probe
        self.name = f"{namespace}/{executable}"
        self.image_topic = f"{namespace}/image"
        self.cloud_topic = f"{namespace}/points"
        self.matches: list[Any] = []
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

    def status(
        self, reached: Callable[[DiagnosticStatus, dict[str, str]], Any], meanwhile: Callable[[], Any] | None = None
    ) -> dict[str, str]:
        """Call `meanwhile` until /diagnostics reports what `reached(status, values)` asks for; the values."""

        def newest() -> dict[str, str] | None:
            if self._diagnostics:
                status = self._diagnostics[-1].status[0]
                values = {pair.key: pair.value for pair in status.values}
                if reached(status, values):
                    return values
            if meanwhile is not None:
                meanwhile()
            return None

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

    def answers(self, count: int) -> list[Any]:
        self.wait(lambda: len(self.matches) >= count, f"{count} answers")
        return self.matches


@pytest.fixture(scope="session", autouse=True)
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No other machine, no other test run, no logs in the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
        before_kilted = os.environ.get("ROS_DISTRO") in ("humble", "jazzy")
        library = "FASTRTPS" if before_kilted else "FASTDDS"
        patch.setenv(f"{library}_DEFAULT_PROFILES_FILE", str(LARGE_MESSAGES))  # clouds of half a megabyte
        patch.setenv("ROS_LOG_DIR", str(tmp_path_factory.mktemp("ros_log")))
        if os.environ.get("ROS_DISTRO") == "humble":
            patch.setenv("ROS_LOCALHOST_ONLY", "1")
        else:
            patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield


@pytest.fixture(scope="session")
def probe(ros_environment: None) -> Iterator[Probe]:
    made = Probe()
    yield made
    made.close()


@pytest.fixture
def passer_by(ros_environment: None) -> Iterator[Callable[[], Probe]]:
    """passer_by() is one more process's place in the graph, to be closed early where its end matters.

    One DDS participant cannot offer a topic with two types, and nothing may be destroyed of a node that is spun.
    """
    made: list[Probe] = []

    def make() -> Probe:
        made.append(Probe())
        return made[-1]

    yield make
    for one in made:
        one.close()


def executable(name: str) -> Path:
    """Where `ros2 run` would find it."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    places = [Path(prefix) / "lib" / PACKAGE / name for prefix in prefixes if prefix]
    found = next((place for place in places if place.is_file()), None)
    assert found is not None, f"no executable {name} in {places}: run `make env`"
    return found


@pytest.fixture
def start(ros_environment: None, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """start(name, *arguments, env={}) runs an executable of the package; what still runs at the end is stopped."""
    started: list[Process] = []

    def run(name: str, *arguments: str, env: dict[str, str] | None = None) -> Process:
        log = tmp_path / f"{name}-{len(started)}.log"
        process = Process([str(executable(name)), *arguments], {**os.environ, **(env or {})}, log)
        started.append(process)
        return process

    yield run
    for process in started:
        process.stop()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A namespace of this test's own, so that nodes of different tests do not hear each other."""
    return "/" + "".join(char if char.isalnum() else "_" for char in request.node.name).strip("_")


@pytest.fixture
def start_robot(start: Callable[..., Process], probe: Probe, namespace: str) -> Callable[..., Robot]:
    """start_robot(executable, *arguments, **parameters) starts a node with a sensor in the test's namespace."""

    def make(executable: str, *arguments: str, **parameters: Any) -> Robot:
        values = {"image_topic": f"{namespace}/image", "diagnostics_period_s": 0.1, **parameters}
        words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        remapped = ["-r", f"__ns:={namespace}", "-r", f"/diagnostics:={namespace}/diagnostics"]
        process = start(executable, "--ros-args", *remapped, *words, *arguments)
        return Robot(executable, process, probe, namespace)

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
