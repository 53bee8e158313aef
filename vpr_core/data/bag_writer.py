"""Writing rosbag2 folders (MCAP and metadata.yaml) from plain arrays, without a ROS installation."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from vpr_core.errors import BagError
from vpr_core.geodesy import GeoPoint
from vpr_core.types import Pose

# The common messages are the same from Humble on.
_TYPES = get_typestore(Stores.ROS2_HUMBLE)
_POINT_FIELD_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
# Constants of sensor_msgs/NavSatStatus and NavSatFix.
_STATUS_FIX, _SERVICE_GPS, _DIAGONAL_KNOWN = 0, 1, 2
_FOREVER = QosTime(9_223_372_036, 854_775_807)
# Whoever listens late gets it too, when a player has sent it long ago; rviz takes /tf_static from no other publisher.
_LATCHED = Qos(
    QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, _FOREVER, _FOREVER,
    QosLiveliness.AUTOMATIC, _FOREVER, False,
)  # fmt: skip
_XYZI = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])


class BagWriter:
    """A bag under construction, used as a context manager.

    The bag grows in a hidden folder beside `path` and takes its name when it is complete, so that neither an error
    nor a kill leaves half a bag there. Messages are logged at their stamp; where a method takes `log_ns`, it may be
    another time. The same calls give the same bytes.

    definitions: text of the .msg file by type name, e.g. {"vpr_distill_msgs/msg/PlaceMatch": "int64 place_id ..."}, of
    what `raw` shall take and the rosbags Humble type store does not know, and of all that they consist of.

    Raises `BagError` where `path` exists and `overwrite` is not set, and where the disk refuses.
    """

    def __init__(
        self, path: str | Path, *, overwrite: bool = False, definitions: Mapping[str, str] | None = None
    ) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._types = _types_with(definitions) if definitions else _TYPES
        self._workshop = self.path.parent / f".{self.path.name}.partial"
        self._writer: Writer | None = None
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        with self._disk_errors():
            self._tidy_up()
        if self.path.exists() and not self._overwrite:
            raise BagError(f"{self.path} exists already; name another folder or allow it to be overwritten")
        if self.path.exists() and not (self.path / "metadata.yaml").is_file():
            raise BagError(f"{self.path} is not replaced: without metadata.yaml in it, it is something else than a bag")
        with self._disk_errors():
            # Humble reads metadata of version 8 but not of 9, which writes the QoS profiles as a list.
            self._writer = Writer(self._workshop / self.path.name, version=8, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            with self._disk_errors():
                self._open_writer.close()
                self._publish()
        except BaseException:
            self._discard()
            raise
        self._writer = None

    def image_jpeg(self, topic: str, stamp_ns: int, frame_id: str, jpeg: bytes, *, log_ns: int | None = None) -> None:
        """sensor_msgs/CompressedImage holding these JPEG bytes."""
        self._compressed(topic, stamp_ns, frame_id, "jpeg", jpeg, _log(stamp_ns, log_ns))

    def image_png(self, topic: str, stamp_ns: int, frame_id: str, png: bytes) -> None:
        """sensor_msgs/CompressedImage holding these PNG bytes of 8-bit grey values, e.g. labels."""
        self._compressed(topic, stamp_ns, frame_id, "mono8; png compressed", png, stamp_ns)

    def _compressed(self, topic: str, stamp_ns: int, frame_id: str, kind: str, data: bytes, log_ns: int) -> None:
        pixels, header = np.frombuffer(data, np.uint8), _header(stamp_ns, frame_id)
        self.write(topic, _message("sensor_msgs/msg/CompressedImage", header, kind, pixels), log_ns)

    def image(self, topic: str, stamp_ns: int, frame_id: str, rgb: np.ndarray, *, log_ns: int | None = None) -> None:
        """sensor_msgs/Image with encoding rgb8 from uint8 [H, W, 3]."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise BagError(f"image for {topic} is {rgb.dtype} {list(rgb.shape)}, expected uint8 [H, W, 3]")
        height, width = rgb.shape[:2]
        data = np.ascontiguousarray(rgb).reshape(-1)
        header = _header(stamp_ns, frame_id)
        message = _message("sensor_msgs/msg/Image", header, height, width, "rgb8", 0, width * 3, data)
        self.write(topic, message, _log(stamp_ns, log_ns))

    def camera_info(
        self,
        topic: str,
        stamp_ns: int,
        frame_id: str,
        *,
        size: tuple[int, int],
        matrix: np.ndarray,
    ) -> None:
        """sensor_msgs/CameraInfo of a pinhole camera without distortion: size (width, height) [px], matrix K [3, 3]."""
        projection = np.hstack([matrix, np.zeros((3, 1))])
        roi = _message("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        message = _message(
            "sensor_msgs/msg/CameraInfo",
            _header(stamp_ns, frame_id),
            size[1],
            size[0],
            "plumb_bob",
            np.zeros(5),
            np.asarray(matrix, np.float64).reshape(-1),
            np.eye(3).reshape(-1),
            projection.astype(np.float64).reshape(-1),
            0,
            0,
            roi,
        )
        self.write(topic, message, stamp_ns)

    def cloud(self, topic: str, stamp_ns: int, frame_id: str, points: np.ndarray) -> None:
        """sensor_msgs/PointCloud2 from float [N, 4] (x, y, z [m], intensity) or from a structured [N] array, whose
        fields are kept as they are."""
        records = _records(topic, points)
        fields = [_point_field(records.dtype, name) for name in records.dtype.names or ()]
        step, count = records.dtype.itemsize, len(records)
        data = np.frombuffer(records.tobytes(), np.uint8)
        header = _header(stamp_ns, frame_id)
        kind = "sensor_msgs/msg/PointCloud2"
        message = _message(kind, header, 1, count, fields, False, step, step * count, data, True)
        self.write(topic, message, stamp_ns)

    def odometry(
        self,
        topic: str,
        stamp_ns: int,
        frame_id: str,
        child_frame_id: str,
        pose: Pose,
        speed_mps: float,
        *,
        log_ns: int | None = None,
    ) -> None:
        """nav_msgs/Odometry: T_frame_child and the forward speed of the child; covariances are zero (unknown)."""
        point = _message("geometry_msgs/msg/Point", *pose.position_m)
        quaternion = _message("geometry_msgs/msg/Quaternion", *pose.quaternion_xyzw)
        position = _message("geometry_msgs/msg/Pose", point, quaternion)
        linear = _message("geometry_msgs/msg/Vector3", speed_mps, 0.0, 0.0)
        twist = _message("geometry_msgs/msg/Twist", linear, _message("geometry_msgs/msg/Vector3", 0.0, 0.0, 0.0))
        message = _message(
            "nav_msgs/msg/Odometry",
            _header(stamp_ns, frame_id),
            child_frame_id,
            _message("geometry_msgs/msg/PoseWithCovariance", position, np.zeros(36)),
            _message("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)),
        )
        self.write(topic, message, _log(stamp_ns, log_ns))

    def nav_sat_fix(
        self, topic: str, stamp_ns: int, frame_id: str, fix: GeoPoint, deviation_m: tuple[float, float, float]
    ) -> None:
        """sensor_msgs/NavSatFix of an unaided GPS receiver; deviation_m: standard deviation east, north and up."""
        covariance = np.diag(np.square(np.asarray(deviation_m, np.float64))).reshape(-1)
        kind = "sensor_msgs/msg/NavSatFix"
        status = _message("sensor_msgs/msg/NavSatStatus", _STATUS_FIX, _SERVICE_GPS)
        header = _header(stamp_ns, frame_id)
        message = _message(kind, header, status, *map(float, fix), covariance, _DIAGONAL_KNOWN)
        self.write(topic, message, stamp_ns)

    def transforms(self, topic: str, stamp_ns: int, transforms: Sequence[tuple[str, str, Pose]]) -> None:
        """tf2_msgs/TFMessage of (parent frame, child frame, T_parent_child); on /tf_static for late listeners too."""
        stamped = [
            _message(
                "geometry_msgs/msg/TransformStamped",
                _header(stamp_ns, parent),
                child,
                _message(
                    "geometry_msgs/msg/Transform",
                    _message("geometry_msgs/msg/Vector3", *pose.position_m),
                    _message("geometry_msgs/msg/Quaternion", *pose.quaternion_xyzw),
                ),
            )
            for parent, child, pose in transforms
        ]
        self.write(topic, _message("tf2_msgs/msg/TFMessage", stamped), stamp_ns)

    def write(self, topic: str, message: Any, log_ns: int) -> None:
        """Any message of the rosbags Humble type store, e.g. one altered by a test.

        Raises BagError where the topic already carries another type.
        """
        kind = message.__msgtype__
        self.raw(topic, kind, bytes(_TYPES.serialize_cdr(message, kind)), log_ns)

    def raw(self, topic: str, kind: str, data: bytes, log_ns: int) -> None:
        """A message as it came: CDR bytes of a type that the Humble type store or `definitions` know.

        Raises BagError where neither does, and where the topic already carries another type.
        """
        with self._disk_errors():
            connection = self._connections.get(topic) or self._connect(topic, kind)
            if connection.msgtype != kind:
                raise BagError(f"{topic} in {self.path} already carries {connection.msgtype}, it cannot take {kind}")
            self._open_writer.write(connection, log_ns, data)

    def _connect(self, topic: str, kind: str) -> Connection:
        if kind not in self._types.fielddefs:
            raise BagError(f"{topic} carries {kind}, whose definition is not known: give it to the writer, or leave it")
        offered = (_LATCHED,) if topic == "/tf_static" else ()
        writer = self._open_writer
        connection = writer.add_connection(topic, kind, typestore=self._types, offered_qos_profiles=offered)
        self._connections[topic] = connection
        return connection

    @property
    def _open_writer(self) -> Writer:
        assert self._writer is not None, "use BagWriter as a context manager"
        return self._writer

    def _tidy_up(self) -> None:
        """Take away what a killed run left, but for the bag that it was about to replace."""
        replaced = self._workshop / "replaced"
        if replaced.exists() and not self.path.exists():
            os.rename(replaced, self.path)
        if self._workshop.exists():
            shutil.rmtree(self._workshop)

    def _publish(self) -> None:
        replaced = self._workshop / "replaced"
        if self.path.exists():
            os.rename(self.path, replaced)
        os.rename(self._workshop / self.path.name, self.path)
        shutil.rmtree(self._workshop)

    def _discard(self) -> None:
        """Takes the unfinished bag away. What went wrong before matters more than what goes wrong here."""
        replaced = self._workshop / "replaced"
        with contextlib.suppress(OSError):
            if replaced.exists() and not self.path.exists():
                os.rename(replaced, self.path)
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.abort()
            self._writer = None
        shutil.rmtree(self._workshop, ignore_errors=True)

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BagError(f"cannot write the bag {self.path}: {error.strerror or error}") from error


def is_common(kind: str) -> bool:
    """Whether a bag can be written of this type without being told its definition."""
    return kind in _TYPES.fielddefs


def _types_with(definitions: Mapping[str, str]) -> Typestore:
    types = get_typestore(Stores.ROS2_HUMBLE)
    found: dict[str, Any] = {}
    for name, text in definitions.items():
        found |= get_types_from_msg(text, name)
    types.register({name: fields for name, fields in found.items() if name not in types.fielddefs})
    return types


def _message(kind: str, *values: Any) -> Any:
    """A message from its fields' values, in the order of its definition."""
    return _TYPES.types[kind](*values)


def _header(stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return _message("std_msgs/msg/Header", _message("builtin_interfaces/msg/Time", seconds, nanoseconds), frame_id)


def _log(stamp_ns: int, log_ns: int | None) -> int:
    return stamp_ns if log_ns is None else log_ns


def _records(topic: str, points: np.ndarray) -> np.ndarray:
    if points.dtype.names is not None and points.ndim == 1:
        return points
    if points.ndim != 2 or points.shape[1] != 4:
        raise BagError(f"cloud for {topic} is {points.dtype} {list(points.shape)}, expected [N, 4] or a structured [N]")
    return np.ascontiguousarray(points, np.float32).view(_XYZI).reshape(-1)


def _point_field(dtype: np.dtype, name: str) -> Any:
    assert dtype.fields is not None
    kind, offset = dtype.fields[name][:2]
    if kind.str[1:] not in _POINT_FIELD_TYPES or kind.str[0] == ">":
        raise BagError(f"cloud field {name} is {kind.str}, expected a little-endian integer up to 32 bits or a float")
    return _message("sensor_msgs/msg/PointField", name, offset, _POINT_FIELD_TYPES[kind.str[1:]], 1)
