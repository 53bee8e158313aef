"""sensor_msgs/PointCloud2 to an array, from rclpy's message or a bag reader's alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpr_core.errors import InputError

# sensor_msgs/PointField datatype constants.
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def cloud_from_message(message: Any) -> np.ndarray:
    """float32 [N, 4]: x, y, z [m] in the message's frame and intensity (0 where the message has none).

    Padded points and rows, big-endian data, organised clouds and any numeric field type are read as the message
    describes them; points with a coordinate that is NaN or infinite are left out. A message of no point gives none.
    Raises InputError, whose `kind` says which: "fields" (x, y or z absent, or of an unknown type), "layout" (steps and
    offsets that do not fit each other), "truncated" (less data than the message promises), "empty" (points, but none
    with finite coordinates).
    """
    records = _records(message)
    columns = [records[name].astype(np.float32) for name in ("x", "y", "z")]
    names = records.dtype.names or ()
    intensity = records["intensity"].astype(np.float32) if "intensity" in names else np.zeros_like(columns[0])
    points = np.stack([*columns, intensity], axis=-1).reshape(-1, 4)
    finite = np.isfinite(points[:, :3]).all(axis=1)
    if len(points) and not finite.any():
        raise InputError(
            f"point cloud has no finite point: all {len(points)} have a NaN or infinite coordinate", kind="empty"
        )
    return points[finite]


def _records(message: Any) -> np.ndarray:
    """Structured [height, width] view of the message's data; nothing is copied."""
    fields = {field.name: field for field in message.fields if field.name in ("x", "y", "z", "intensity")}
    if missing := [name for name in ("x", "y", "z") if name not in fields]:
        came = [field.name for field in message.fields]
        raise InputError(
            f"point cloud has no field {' '.join(missing)}, it has {came}: expected x, y, z", kind="fields"
        )
    if unknown := [field for field in fields.values() if field.datatype not in _DTYPES]:
        raise InputError(
            f"point cloud field {unknown[0].name} has datatype {unknown[0].datatype}, expected 1 to 8", kind="fields"
        )
    order = ">" if message.is_bigendian else "<"
    formats = {field.name: np.dtype(order + _DTYPES[field.datatype]) for field in fields.values()}
    point_bytes = max(field.offset + formats[field.name].itemsize for field in fields.values())
    row_bytes = message.width * message.point_step
    if point_bytes > message.point_step or (message.height > 1 and row_bytes > message.row_step):
        raise InputError(
            f"point cloud of {message.height} rows of {message.width} points has point_step {message.point_step} and "
            f"row_step {message.row_step}: its fields need {point_bytes} bytes a point and {row_bytes} a row",
            kind="layout",
        )
    dtype = np.dtype(
        {
            "names": list(fields),
            "formats": list(formats.values()),
            "offsets": [field.offset for field in fields.values()],
            "itemsize": message.point_step,
        }
    )
    data = np.frombuffer(message.data, np.uint8)
    needed = (message.height - 1) * message.row_step + message.width * message.point_step if message.height else 0
    if data.size < needed:
        raise InputError(
            f"point cloud holds {data.size} bytes, its header promises {needed}: it was cut off", kind="truncated"
        )
    shape = (message.height, message.width)
    return np.ndarray(shape, dtype, buffer=data, strides=(message.row_step, message.point_step))


def within_range(points: np.ndarray, max_range_m: float | None) -> np.ndarray:
    """The points [N, 3+] (x, y, z [m] first) not farther than `max_range_m` from the sensor; None keeps all."""
    if max_range_m is None:
        return points
    return points[distance_m(points) <= max_range_m]


def distance_m(points: np.ndarray) -> np.ndarray:
    """[N] distances of points [N, 3+] from the sensor."""
    with np.errstate(over="ignore"):  # a broken driver's coordinates are finite, their squares may not be
        return np.asarray(np.linalg.norm(points[:, :3], axis=1))


def usable_points(
    cloud: np.ndarray, min_range_m: float, max_range_m: float, sensor_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> np.ndarray:
    """The finite points float64 [M, 3] between two ranges from the sensor; raises InputError where it is no cloud."""
    if cloud.ndim != 2 or cloud.shape[1] < 3 or not np.issubdtype(cloud.dtype, np.floating):
        raise InputError(f"point cloud is {cloud.dtype} {list(cloud.shape)}, expected float32 [N, 3] or wider: x, y, z")
    points = cloud[:, :3].astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    range_m = np.linalg.norm(points - sensor_m, axis=1)
    return points[(range_m >= min_range_m) & (range_m <= max_range_m)]
