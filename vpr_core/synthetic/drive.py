"""Recording drives through a town as rosbag2 folders, one or several at once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from vpr_core.data.bag_writer import BagWriter
from vpr_core.errors import VprError
from vpr_core.geodesy import GeoPoint
from vpr_core.parallel import Progress, Task, run_tasks
from vpr_core.synthetic.camera import Camera, jpeg, photograph, pixel_passage
from vpr_core.synthetic.conditions import Condition, condition_named, sun_at
from vpr_core.synthetic.gnss import Gnss, fixes, town_origin
from vpr_core.synthetic.labels import label_image
from vpr_core.synthetic.leaves import Passage
from vpr_core.synthetic.lidar import Lidar, scan
from vpr_core.synthetic.routes import checked_route
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.styles import style_named
from vpr_core.synthetic.town import Town
from vpr_core.synthetic.trajectory import Trajectory, drifted, follow
from vpr_core.types import Pose

IMAGE_TOPIC = "/camera/image/compressed"
CAMERA_INFO_TOPIC = "/camera/camera_info"
CLOUD_TOPIC = "/lidar/points"
ODOMETRY_TOPIC = "/odom"
GROUND_TRUTH_TOPIC = "/ground_truth/odom"
LABEL_TOPIC = "/camera/labels/compressed"
FIX_TOPIC = "/gnss/fix"
TF_TOPIC = "/tf"
STATIC_TF_TOPIC = "/tf_static"

ODOMETRY_HZ = 20.0
_FIRST_FRAME_S = 0.2
_FIRST_FIX_S = 0.03
_LIDAR_LATE_S = 0.008


_Event = tuple[float, Callable[[float, Any], None], Any]


@dataclass(frozen=True)
class Drive:
    """One drive to record: the arguments of `record_drive`."""

    out: Path
    town: int
    condition: str
    route: str
    seed: int
    max_length_m: float | None = None
    image_size: tuple[int, int] = (320, 240)
    camera_hz: float = 2.0
    labels: bool = True
    lidar_columns: int = 1024
    style: str = "old_town"

    def rng(self, stream: int, *, of_condition: bool = True) -> np.random.Generator:
        """Random numbers of this drive. Those that do not depend on the condition repeat the same path."""
        names = self.route + (self.condition if of_condition else "")
        return np.random.default_rng([self.town, self.seed, zlib.crc32(names.encode()), stream])

    @property
    def epoch_ns(self) -> int:
        """Stamp of the start, some hour of the years 2020 to 2024."""
        hour = int(self.rng(0).integers(0, 5 * 365 * 24))
        return (1_577_836_800 + hour * 3600) * 1_000_000_000


def record_drive(
    out: Path,
    *,
    town: int | Town,
    condition: str,
    route: str,
    seed: int,
    max_length_m: float | None = None,
    image_size: tuple[int, int] = (320, 240),
    camera_hz: float = 2.0,
    labels: bool = True,
    lidar_columns: int = 1024,
    style: str = "old_town",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Drives a route of a town under a condition and writes the bag `out`, which it returns.

    The bag holds camera images with their intrinsics and, unless `labels` is False, an image of what each pixel shows;
    LiDAR sweeps; GNSS fixes around `town_origin`; odometry that drifts, the exact pose beside it, and the transforms
    between all frames but map. Topics are named in this module.

    town: its seed, or a Town already built. seed: of the drive; another seed has other parked cars, another place in
    the lane, other lit windows and other noise. image_size: (width, height). At about 8 m/s, 2 Hz give a frame every
    4 m. lidar_columns: shots of one turn of the LiDAR. style: of the town, where it is given by its seed.
    `progress(done, total)` is called after every picture; what it raises ends the drive and leaves no bag.

    The same arguments give the same bytes on the same machine. Raises VprError on an unknown condition, route or style
    and a rate that the LiDAR cannot keep, BagError where the bag cannot be written.
    """
    town_seed = town.seed if isinstance(town, Town) else town
    drive = Drive(
        Path(out), town_seed, condition, route, seed, max_length_m, image_size, camera_hz, labels, lidar_columns, style
    )
    weather = _checked(drive)
    # The small products here gain nothing from several BLAS threads, which would spin on other drives' cores.
    with threadpool_limits(1), BagWriter(drive.out, overwrite=overwrite) as bag:
        place = town if isinstance(town, Town) else Town(town, style)
        _Recorder(drive, place, weather, bag).run(progress)
    return drive.out


def labels_at(drive: Drive, stamps_ns: Iterable[int]) -> Iterator[np.ndarray]:
    """What each pixel of the drive's camera shows at these stamps, uint8 [height, width] as `label_image` has it.

    With the drive's own image_size these are the labels that its bag has, or would have had. Raises as `record_drive`.
    """
    vehicle = _Vehicle(drive, Town(drive.town, drive.style), _checked(drive))
    for stamp_ns in stamps_ns:
        yield vehicle.labels((stamp_ns - drive.epoch_ns) / 1e9)


def _checked(drive: Drive) -> Condition:
    """The condition of a drive; raises VprError where the drive asks for what there is not."""
    checked_route(drive.route)
    style_named(drive.style)
    if not 0 < drive.camera_hz <= Lidar.rotation_hz:
        raise VprError(f"camera_hz is {drive.camera_hz}, expected more than 0 and at most {Lidar.rotation_hz:.0f}, the "
                       "turns of the LiDAR in a second")  # fmt: skip
    return condition_named(drive.condition)


class _Vehicle:
    """On its way through what stands and moves there, with a camera."""

    def __init__(self, drive: Drive, town: Town, condition: Condition) -> None:
        self._drive = drive
        self._condition = _of_the_day(condition, drive.rng(6))
        self._camera = Camera(*drive.image_size)
        line_m = _shortened(town.route(drive.route), drive.max_length_m)
        self.trajectory: Trajectory = follow(line_m, drive.rng(3, of_condition=False))
        self._scene: Scene = town.scene(drive.seed, self.trajectory)

    def labels(self, time_s: float, passage: Passage | None = None) -> np.ndarray:
        """`label_image` at that time; passage: as there."""
        scene, pose, pitch_rad = self._scene.at(time_s), self.trajectory.pose(time_s), self.trajectory.pitch(time_s)
        return label_image(self._camera, scene, pose, self._condition, pitch_rad=pitch_rad, passage=passage)


class _Recorder(_Vehicle):
    """The vehicle with its sensors, writing as it goes."""

    def __init__(self, drive: Drive, town: Town, condition: Condition, bag: BagWriter) -> None:
        super().__init__(drive, town, condition)
        self._bag, self._lidar, self._gnss = bag, Lidar(columns=drive.lidar_columns), Gnss()
        self._origin = town_origin(town.seed)
        self._sun_azimuth_rad = town.sun_azimuth_rad + float(drive.rng(1).normal(0, 0.35))
        self._noise = drive.rng(2)

    def run(self, progress: Progress | None) -> None:
        events = [*self._odometry_events(), *self._fix_events(), *self._frame_events()]
        events.sort(key=lambda event: event[0])
        total = sum(write == self._write_frame for _, write, _ in events)
        done = 0
        self._write_mounting()
        for time_s, write, value in events:
            write(time_s, value)
            if write == self._write_frame:
                done += 1
                if progress is not None:
                    progress(done, total)

    def _odometry_events(self) -> Iterator[_Event]:
        times_s = np.arange(0.0, self.trajectory.duration_s, 1 / ODOMETRY_HZ)
        poses = drifted(self.trajectory, times_s, self._drive.rng(4))
        for time_s, pose in zip(times_s, poses, strict=True):
            yield float(time_s), self._write_odometry, pose

    def _fix_events(self) -> Iterator[_Event]:
        times_s = np.arange(_FIRST_FIX_S, self.trajectory.duration_s, 1 / self._gnss.rate_hz)
        found = fixes(self._gnss, self._scene, self.trajectory, times_s, self._origin, self._drive.rng(7))
        for time_s, fix, deviation_m in zip(times_s, *found, strict=True):
            yield float(time_s), self._write_fix, (GeoPoint(*fix), tuple(deviation_m))

    def _frame_events(self) -> Iterator[_Event]:
        """Camera and LiDAR run at one rate, a few milliseconds apart."""
        rng = self._drive.rng(5)
        last_s = self.trajectory.duration_s - 0.2
        for time_s in np.arange(_FIRST_FRAME_S, last_s, 1 / self._drive.camera_hz):
            camera_late_s, lidar_late_s = np.clip(rng.normal(0, 0.002, 2), -0.005, 0.005)
            yield float(time_s + camera_late_s), self._write_frame, None
            yield float(time_s + _LIDAR_LATE_S + lidar_late_s), self._write_cloud, None

    def _stamp_ns(self, time_s: float) -> int:
        return self._drive.epoch_ns + round(time_s * 1e9)

    def _write_mounting(self) -> None:
        sensors = {
            "camera_optical": _pose(self._camera.T_base_camera),
            "lidar": Pose(self._lidar.position_base_m),
            "gnss": Pose(self._gnss.position_base_m),
        }
        transforms = [("base_link", frame, pose) for frame, pose in sensors.items()]
        self._bag.transforms(STATIC_TF_TOPIC, self._stamp_ns(0.0), transforms)

    def _write_frame(self, time_s: float, _: None) -> None:
        """A picture, and what each of its pixels shows."""
        stamp_ns, scene = self._stamp_ns(time_s), self._scene.at(time_s)
        pose, pitch_rad = self.trajectory.pose(time_s), self.trajectory.pitch(time_s)
        condition, azimuth_rad = sun_at(self._condition, self._sun_azimuth_rad, time_s)
        passage = pixel_passage(self._camera, scene, pose, condition, pitch_rad)
        image = photograph(
            self._camera, scene, pose, condition, azimuth_rad, pitch_rad=pitch_rad, rng=self._noise, passage=passage
        )
        size = (self._camera.width, self._camera.height)
        self._bag.camera_info(CAMERA_INFO_TOPIC, stamp_ns, "camera_optical", size=size, matrix=self._camera.matrix)
        self._bag.image_jpeg(IMAGE_TOPIC, stamp_ns, "camera_optical", jpeg(image))
        if self._drive.labels:
            labels = cv2.imencode(".png", self.labels(time_s, passage))[1].tobytes()
            self._bag.image_png(LABEL_TOPIC, stamp_ns, "camera_optical", labels)

    def _write_cloud(self, time_s: float, _: None) -> None:
        """A sweep; what else moves is taken to stand still during it, where it is in its middle."""
        course = self.trajectory.course(time_s + self._lidar.column_times_s)
        scene = self._scene.at(time_s + self._lidar.sweep_s / 2)
        self._bag.cloud(
            CLOUD_TOPIC, self._stamp_ns(time_s), "lidar", scan(self._lidar, scene, course, self._condition, self._noise)
        )

    def _write_fix(self, time_s: float, fix: tuple[GeoPoint, tuple[float, float, float]]) -> None:
        self._bag.nav_sat_fix(FIX_TOPIC, self._stamp_ns(time_s), "gnss", *fix)

    def _write_odometry(self, time_s: float, drifting: Pose) -> None:
        stamp_ns, speed = self._stamp_ns(time_s), self.trajectory.speed(time_s)
        self._bag.odometry(ODOMETRY_TOPIC, stamp_ns, "odom", "base_link", drifting, speed)
        self._bag.transforms(TF_TOPIC, stamp_ns, [("odom", "base_link", drifting)])
        self._bag.odometry(GROUND_TRUTH_TOPIC, stamp_ns, "map", "base_link", self.trajectory.pose(time_s), speed)


def _pose(transform: np.ndarray) -> Pose:
    """A transform [4, 4] as a Pose."""
    x, y, z = map(float, transform[:3, 3])
    qx, qy, qz, qw = map(float, Rotation.from_matrix(transform[:3, :3]).as_quat(canonical=True))
    return Pose((x, y, z), (qx, qy, qz, qw))


def _of_the_day(condition: Condition, rng: np.random.Generator) -> Condition:
    """The condition as it was on one drive: the sun a little higher or lower, more or fewer clouds and lit windows."""
    return replace(
        condition,
        sun_elevation_rad=condition.sun_elevation_rad * rng.uniform(0.8, 1.15),
        clouds=condition.clouds * rng.uniform(0.5, 1.5),
        lit_windows=condition.lit_windows * rng.uniform(0.8, 1.2),
        exposure=condition.exposure * rng.uniform(0.88, 1.12),
        fog_per_m=condition.fog_per_m * rng.uniform(0.9, 1.15),
    )


def _shortened(line_m: np.ndarray, length_m: float | None) -> np.ndarray:
    """The beginning of a line whose points are 1 m apart."""
    return line_m if length_m is None else line_m[: max(int(length_m) + 1, 3)]


def record_drives(
    drives: Sequence[Drive], *, workers: int = 2, overwrite: bool = False, bar: bool = False
) -> list[Path]:
    """Records drives, each in a process of its own with at most `workers` at once; returns their bags.

    bar: shows progress on stderr. An interrupt or the failure of one drive stops the others; bags that were complete
    by then stay, nothing half stays. Raises what `record_drive` raises.
    """
    for drive in drives:
        _checked(drive)
    tasks = {str(drive.out): Task(_record_alone, (drive, overwrite)) for drive in drives}
    run_tasks(tasks, workers=workers, unit="frame", bar=bar)
    return [Path(drive.out) for drive in drives]


def _record_alone(drive: Drive, overwrite: bool, progress: Progress) -> None:
    cv2.setNumThreads(1)
    record_drive(
        drive.out,
        town=drive.town,
        condition=drive.condition,
        route=drive.route,
        seed=drive.seed,
        max_length_m=drive.max_length_m,
        image_size=drive.image_size,
        camera_hz=drive.camera_hz,
        labels=drive.labels,
        lidar_columns=drive.lidar_columns,
        style=drive.style,
        overwrite=overwrite,
        progress=progress,
    )
