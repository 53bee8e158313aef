"""Two localizers for ten minutes over DDS, camera and LiDAR: their memory, every frame's fate, the time to a match.

KITTI where the folder that `VPR_SHARED` names has it (default ../shared), else a drive through the town, sent again and
again with stamps that go on: 20 images and 10 clouds a second, at the share of that pace which leaves half of the
processors idle (`pace`, at most 1). Each localizer is a process, the sender and listener is this one. Shipped bundles,
maps of the drive itself.

sent = received + lost in DDS, and received = answered + superseded by a newer one + dropped. `behind` is how many newer
frames had been sent when an answer came: where frames queued up it would grow without end. `alone` is the same call of
the recognizer without ROS, before the nodes run; `in the node` is that call there; `to a match` is from just before
publishing until the match is back here. Memory is resident, its slope taken after the first quarter; 30 s are all
warm-up. What one message takes comes and goes; the least of each quarter is what stays.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from vpr_core.data.bag import BagReader, stamp_of
from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.images import image_from_message
from vpr_core.data.ingest import ingest
from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.experiments.live import TOPIC_PARAMETERS, Graph
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.synthetic.drive import CLOUD_TOPIC, IMAGE_TOPIC, record_drive
from vpr_core.types import Pose

ROOT = Path(__file__).resolve().parents[1]
KITTI = Path(os.environ.get("VPR_SHARED", ROOT.parent / "shared")) / "data" / "kitti_raw_2011_09_26_drive_0001"
TOPICS = {"camera": IMAGE_TOPIC, "lidar": CLOUD_TOPIC}
RATES_HZ = {"camera": 20.0, "lidar": 10.0}
TO_ARRAY = {"camera": image_from_message, "lidar": cloud_from_message}
LOAD = 0.5
"""Of all processors' time, what both recognizers may take; the rest is for DDS, decoding and this process."""
MEMORY_PERIOD_S = 2.0


@dataclass
class Sensor:
    """What goes to one localizer, and what came of it."""

    modality: str
    bundle: Path
    place_map: Path
    messages: list[bytes]
    """Serialised, in the order of the drive."""
    alone_ms: list[float]
    sent: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By stamp the number of the message and the time of sending."""
    waits_ms: list[float] = field(default_factory=list)
    in_node_ms: list[float] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    memory_mib: list[tuple[float, float]] = field(default_factory=list)
    """(time [s], resident memory [MiB])."""
    told: dict[str, str] = field(default_factory=dict)
    """The newest figures on /diagnostics."""

    @property
    def namespace(self) -> str:
        return f"/{self.modality}"

    def receive(self, message: Any) -> None:
        now_s, stamp = time.monotonic(), message.header.stamp
        number, sent_s = self.sent[stamp.sec * 10**9 + stamp.nanosec]
        self.waits_ms.append((now_s - sent_s) * 1e3)
        self.in_node_ms.append(message.processing_ms)
        self.behind.append(len(self.sent) - number)

    def count(self, name: str) -> int:
        return int(self.told.get(f"frames_{name}", 0))

    @property
    def is_settled(self) -> bool:
        """Whether /diagnostics accounts for all that the node has, and every answer is back."""
        ends = sum(self.count(name) for name in ("processed", "superseded", "skipped", "dropped"))
        return self.count("received") == ends and self.count("processed") == len(self.waits_ms) > 0


def run(quick: bool) -> list[dict[str, object]]:
    """A row for each figure, a column for each sensor; nothing where ROS 2 is not there."""
    if importlib.util.find_spec("rclpy") is None or importlib.util.find_spec("vpr_distill_msgs") is None:
        return []
    return soak(30.0, 10) if quick else soak(600.0, 100)


def soak(seconds: float, repeat: int) -> list[dict[str, object]]:
    """repeat: recognitions measured alone. Raises LiveError where a localizer ends or does not answer any more."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bag = _kitti(folder / "bag") if KITTI.is_dir() else _town(folder / "bag")
        frames = ingest(bag, folder / "frames", keyframe_m=0.0, pose_topic="/odom")
        sensors = [_prepare(modality, bag, frames, folder, repeat) for modality in TOPICS]
        busy = sum(RATES_HZ[one.modality] * np.median(one.alone_ms) / 1e3 for one in sensors)
        pace = min(1.0, round(LOAD * (os.cpu_count() or 1) / busy, 2))
        with Graph(folder / "live") as graph:
            _drive(graph, sensors, pace, seconds)
    drive = "KITTI drive 0001" if KITTI.is_dir() else "town"
    return _table(sensors, f"{drive}, {seconds:g} s, pace {pace:g}")


def _kitti(bag: Path) -> Path:
    """Camera, LiDAR and poses of the drive."""
    transforms = np.loadtxt(KITTI / "poses_kiss_icp.txt").reshape(-1, 3, 4)
    stamps = {name: [int(np.datetime64(line.replace(" ", "T"), "ns").astype(np.int64))
                     for line in (KITTI / name / "timestamps.txt").read_text().splitlines() if line]
              for name in ("image_02", "velodyne")}  # fmt: skip
    with BagWriter(bag) as writer:
        for index, transform in enumerate(tqdm(transforms, desc="KITTI", unit="frame", leave=False)):
            stored = np.load(KITTI / "velodyne" / f"{index:010d}.npz")
            xyz = np.cumsum(stored["dxyz_cm"], axis=1, dtype=np.int16).T / 100.0
            cloud = np.column_stack([xyz, stored["intensity"] / 255.0]).astype(np.float32)
            quaternion = tuple(map(float, Rotation.from_matrix(transform[:, :3]).as_quat()))
            pose, at_ns = Pose(tuple(map(float, transform[:, 3])), quaternion), stamps["velodyne"][index]
            writer.odometry("/odom", at_ns, "map", "lidar", pose, 0.0)
            writer.cloud(CLOUD_TOPIC, at_ns, "lidar", cloud)
            jpeg = (KITTI / "image_02" / f"{index:010d}.jpg").read_bytes()
            writer.image_jpeg(IMAGE_TOPIC, stamps["image_02"][index], "camera_optical", jpeg)
    return bag


def _town(bag: Path) -> Path:
    return record_drive(bag, town=6, condition="noon", route="loop", seed=1, max_length_m=100.0, labels=False)


def _prepare(modality: str, bag: Path, frames: Path, folder: Path, repeat: int) -> Sensor:
    """The drive's messages of a sensor, a map of it, and what a recognition of them takes alone."""
    bundle, place_map = ROOT / "bundles" / f"town_{modality}", folder / f"{modality}_map"
    build_map(bundle, frames, place_map)
    recognizer = PlaceRecognizer.load(bundle, place_map, threads=1)
    with BagReader(bag) as reader:
        raw = list(reader.raw_messages([TOPICS[modality]]))
        decoded = [reader.decode(message) for message in raw[:repeat]]
    alone_ms = []
    for index, message in enumerate([*decoded[:2], *decoded]):
        started_s = time.perf_counter()
        recognizer.recognize(TO_ARRAY[modality](message), index + 1)
        alone_ms.append((time.perf_counter() - started_s) * 1e3)
    return Sensor(modality, bundle, place_map, [bytes(message.data) for message in raw], alone_ms[2:])


def _drive(graph: Graph, sensors: list[Sensor], pace: float, seconds: float) -> None:
    """Start the localizers, send for so long, and wait until they have answered what they took."""
    processes = {}
    for one in sensors:
        sensor = {"modality": one.modality, TOPIC_PARAMETERS[one.modality]: TOPICS[one.modality]}
        given = {"bundle": one.bundle, "map": one.place_map, "min_similarity": -0.99, **sensor}
        processes[one.modality] = graph.start("localizer", one.namespace, **given).pid
    with _Participant(graph, sensors) as publishers:
        for one in sensors:
            graph.wait_until(publishers[one.modality].get_subscription_count, f"a subscriber of the {one.modality}")
        began_s = time.monotonic()
        with tqdm(total=round(seconds), desc="soak", unit="s", leave=False) as bar:
            for now_s in _send(sensors, publishers, pace, seconds):
                graph.check()
                for one in sensors:
                    one.memory_mib.append((now_s - began_s, _resident_mib(processes[one.modality])))
                bar.update(round(now_s - began_s) - bar.n)
        graph.wait_until(lambda: all(one.is_settled for one in sensors), "the last answers")


def _send(sensors: list[Sensor], publishers: dict[str, Any], pace: float, seconds: float) -> Iterator[float]:
    """Publish at the sensors' rates times `pace`, stamps ever going on; now and then the time, to look at memory."""
    from sensor_msgs.msg import CompressedImage, PointCloud2

    from vpr_distill_ros.stamp_shift import shift

    kinds = {"camera": CompressedImage, "lidar": PointCloud2}
    began_s = look_s = time.monotonic()
    while (now_s := time.monotonic()) - began_s < seconds:
        due = {one.modality: began_s + len(one.sent) / RATES_HZ[one.modality] / pace for one in sensors}
        one = min(sensors, key=lambda sensor: due[sensor.modality])
        if now_s >= look_s:
            yield now_s
            look_s += MEMORY_PERIOD_S
        time.sleep(max(min(due[one.modality], look_s) - time.monotonic(), 0.0))
        if time.monotonic() < due[one.modality]:
            continue
        number = len(one.sent)
        data = one.messages[number % len(one.messages)]
        stamp_ns = 10**9 + round(number / RATES_HZ[one.modality] * 1e9)
        shifted = shift(data, kinds[one.modality], stamp_ns - stamp_of(data))
        one.sent[stamp_ns] = (number + 1, time.monotonic())
        publishers[one.modality].publish(shifted)


class _Participant:
    """Publishers by modality, and the matches and figures of the localizers taken in by a thread meanwhile."""

    def __init__(self, graph: Graph, sensors: list[Sensor]) -> None:
        self._graph, self._sensors = graph, sensors

    def __enter__(self) -> dict[str, Any]:
        # Fast DDS reads its profile from the environment when the first participant of a process is made.
        os.environ.update(self._graph.environment)
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import CompressedImage, PointCloud2

        from vpr_distill_msgs.msg import PlaceMatchArray

        self._context = rclpy.Context()
        self._context.init(domain_id=self._graph.domain)
        self._node = rclpy.create_node("soak", context=self._context)
        for one in self._sensors:
            self._node.create_subscription(PlaceMatchArray, f"{one.namespace}/localizer/matches", one.receive, 100)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 100)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        return {"camera": self._node.create_publisher(CompressedImage, IMAGE_TOPIC, 10),
                "lidar": self._node.create_publisher(PointCloud2, CLOUD_TOPIC, 10)}  # fmt: skip

    def __exit__(self, *_: object) -> None:
        self._context.try_shutdown()
        self._thread.join()
        self._node.destroy_node()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        while self._context.ok():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except ExternalShutdownException:
                return

    def _diagnosed(self, message: Any) -> None:
        for status in message.status:
            for one in self._sensors:
                if status.name.startswith(f"{one.modality}/localizer"):
                    one.told = {pair.key: pair.value for pair in status.values}


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _table(sensors: list[Sensor], what: str) -> list[dict[str, object]]:
    columns = {one.modality: _column(one) for one in sensors}
    names = list(columns["camera"])
    return [{what: name, **{modality: column[name] for modality, column in columns.items()}} for name in names]


def _column(one: Sensor) -> dict[str, object]:
    times_s, memory_mib = np.array(one.memory_mib).T
    warm = times_s >= times_s[-1] / 4
    slope = np.polyfit(times_s[warm] / 60, memory_mib[warm], 1)[0] if warm.sum() > 1 else float("nan")
    return {
        "sent": len(one.sent),
        "received": one.count("received"),
        "lost in DDS": len(one.sent) - one.count("received"),
        "answered": one.count("processed"),
        "superseded": one.count("superseded"),
        "dropped": one.count("dropped"),
        "behind, at most": max(one.behind),
        "alone, p50 / p95 [ms]": _percentiles(one.alone_ms),
        "in the node, p50 / p95 [ms]": _percentiles(one.in_node_ms),
        "to a match, p50 / p95 [ms]": _percentiles(one.waits_ms),
        "to a match, last quarter [ms]": _percentiles(one.waits_ms[-max(len(one.waits_ms) // 4, 1) :]),
        "memory, least in quarters 2, 3, 4 [MiB]": " ".join(
            f"{part.min():.1f}" for part in np.array_split(memory_mib[warm], 3) if len(part)
        ),
        "slope [MiB/min]": f"{slope:+.2f}",
    }


def _percentiles(milliseconds: list[float]) -> str:
    return "{:.1f} / {:.1f}".format(*np.percentile(milliseconds, [50, 95]))
