"""Which images, clouds and poses of a drive belong together, and which of them become keyframes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vpr_core.data.frames import Frame
from vpr_core.types import Pose


@dataclass
class Stream:
    """Header stamps of one topic, sorted, with what else the first pass learns."""

    stamps_ns: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    values: list[Any] = field(default_factory=list)
    frame_id: str = ""


def plan_frames(
    streams: dict[str, Stream],
    image: str | None,
    cloud: str | None,
    pose: str | None,
    keyframe_m: float,
    keyframe_s: float,
    tolerance_ns: int,
    drops: Counter[str],
) -> list[Frame]:
    """Which messages become frames; `Frame.image` and `.cloud` hold nothing yet.

    image, cloud, pose: topics in `streams`, None where the drive has no such sensor; the image leads, without one the
    cloud. What finds no partner is left out and counted in `drops` by reason.
    """
    lead = streams[image or cloud or ""]
    clouds = streams[cloud].stamps_ns if image and cloud else None
    poses = streams[pose] if pose else None
    candidates: list[Frame] = []
    for stamp_ns in map(int, lead.stamps_ns):
        frame = Frame(len(candidates), stamp_ns, None, None, None if image else stamp_ns)
        if clouds is not None:
            nearest = _nearest(clouds, stamp_ns)
            if nearest is None or abs(nearest - stamp_ns) > tolerance_ns:
                drops[f"no cloud within {tolerance_ns / 1e9:g} s of the image"] += 1
                continue
            frame = replace(frame, cloud_stamp_ns=nearest)
        if poses is not None:
            at_stamp = interpolate(poses.stamps_ns, poses.values, stamp_ns)
            if at_stamp is None:
                drops["no two poses around it within 0.5 s"] += 1
                continue
            frame = replace(frame, pose=at_stamp)
        candidates.append(frame)
    return list(_keyframes(candidates, keyframe_m, round(keyframe_s * 1e9)))


def _nearest(stamps_ns: np.ndarray, stamp_ns: int) -> int | None:
    if not len(stamps_ns):
        return None
    right = int(np.searchsorted(stamps_ns, stamp_ns))
    around = stamps_ns[max(right - 1, 0) : right + 1]
    return int(around[np.argmin(np.abs(around - stamp_ns))])


def interpolate(stamps_ns: np.ndarray, poses: list[Pose], stamp_ns: int, max_gap_ns: int = 500_000_000) -> Pose | None:
    """Pose at `stamp_ns` between its two neighbours, linear in position and normalised linear in rotation.

    None where the stamp lies outside the poses or between two that are more than `max_gap_ns` apart.
    """
    right = int(np.searchsorted(stamps_ns, stamp_ns))
    if right < len(stamps_ns) and stamps_ns[right] == stamp_ns:
        return poses[right]
    if right in (0, len(stamps_ns)) or stamps_ns[right] - stamps_ns[right - 1] > max_gap_ns:
        return None
    before, after = poses[right - 1], poses[right]
    weight = float(stamp_ns - stamps_ns[right - 1]) / float(stamps_ns[right] - stamps_ns[right - 1])
    position = (1 - weight) * np.array(before.position_m) + weight * np.array(after.position_m)
    q0, q1 = np.array(before.quaternion_xyzw), np.array(after.quaternion_xyzw)
    rotation = (1 - weight) * q0 + weight * (q1 if q0 @ q1 >= 0 else -q1)
    rotation /= np.linalg.norm(rotation)
    return Pose(tuple(map(float, position)), tuple(map(float, rotation)))  # type: ignore[arg-type]


def _keyframes(candidates: list[Frame], keyframe_m: float, keyframe_ns: int) -> Iterator[Frame]:
    last: Frame | None = None
    index = 0
    for frame in candidates:
        if last is None or _far_enough(last, frame, keyframe_m, keyframe_ns):
            yield replace(frame, index=index)
            last, index = frame, index + 1


def _far_enough(last: Frame, frame: Frame, keyframe_m: float, keyframe_ns: int) -> bool:
    if last.pose is not None and frame.pose is not None:
        return float(np.linalg.norm(np.subtract(frame.pose.position_m, last.pose.position_m))) >= keyframe_m
    return frame.stamp_ns - last.stamp_ns >= keyframe_ns
