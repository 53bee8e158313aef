"""The card of a frames folder: what was recorded, what was dropped and why, and what to know before using it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpr_core.data.frames import Frame

_ENDED_EARLY_S = 2.0
"""A topic whose last message came so much before the last of all has stopped on the way."""

PICTURE = "card.png"


@dataclass(frozen=True)
class Recording:
    """What the card says of the drive beside its frames."""

    session: str
    bag: str
    area: str | None
    topics: dict[str, str | None]
    map_frame: str
    keyframes: dict[str, float]
    drops: Counter[str]
    irregular: Counter[str]
    messages: dict[str, int]
    sizes: dict[str, tuple[int, int]]
    poses: dict[str, Any] | None
    jumps_ns: np.ndarray
    begin_ns: int
    ends_ns: dict[str, int]
    work: str = ""
    """Hash of the arguments and the bag."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """Of the sensors, as `mounting` describes it; empty where nothing is known."""


def make_card(drive: Recording, frames: list[Frame]) -> dict[str, Any]:
    """Everything of card.json but its schema."""
    stamps_ns = [frame.stamp_ns for frame in frames]
    unlabelled = sum(frame.label is None for frame in frames) if drive.topics.get("label") else 0
    irregular = drive.irregular + Counter({"frames without a label": unlabelled})
    return {
        "session": drive.session,
        "bag": drive.bag,
        "area": drive.area,
        "topics": drive.topics,
        "map_frame": drive.map_frame,
        "image_size": _size(drive, "image"),
        "label_size": _size(drive, "label"),
        "counts": {"frames": len(frames), "messages": drive.messages},
        "drops": dict(sorted(drive.drops.items())),
        "irregular": dict(sorted(irregular.items())),
        "ended_early": _ended_early(drive),
        "synchronisation_ms": _synchronisation_ms(frames, drive),
        "poses": drive.poses and {**drive.poses, "jumps": len(drive.jumps_ns)},
        "keyframes": drive.keyframes,
        "seconds": round((max(stamps_ns) - min(stamps_ns)) / 1e9, 3),
        "metres": _metres(frames, drive.jumps_ns) if drive.poses else None,
        "picture": PICTURE,
        "made_from": drive.work,
        **({"calibration": drive.calibration} if drive.calibration else {}),
    }


def _size(drive: Recording, sensor: str) -> list[int] | None:
    return list(drive.sizes[sensor]) if sensor in drive.sizes else None


def _ended_early(drive: Recording) -> dict[str, float]:
    """Seconds after the first message at which a topic stopped though others went on."""
    end_ns = max(drive.ends_ns.values(), default=0)
    return {
        topic: round((last_ns - drive.begin_ns) / 1e9, 3)
        for topic, last_ns in sorted(drive.ends_ns.items())
        if end_ns - last_ns > _ENDED_EARLY_S * 1e9 and topic != "/tf_static"
    }


def _synchronisation_ms(frames: list[Frame], drive: Recording) -> dict[str, float] | None:
    lags_ms = [
        abs(frame.stamp_ns - frame.cloud_stamp_ns) / 1e6
        for frame in frames
        if drive.topics["image"] and frame.cloud_stamp_ns is not None
    ]
    return {"mean": round(float(np.mean(lags_ms)), 3), "max": round(float(np.max(lags_ms)), 3)} if lags_ms else None


def _metres(frames: list[Frame], jumps_ns: np.ndarray) -> float:
    """Length of the way over the frames; what the poses jumped was not driven."""
    positions_m = np.array([frame.pose.position_m for frame in frames if frame.pose]).reshape(-1, 3)
    steps_m = np.linalg.norm(np.diff(positions_m, axis=0), axis=1)
    part = np.searchsorted(jumps_ns, [frame.stamp_ns for frame in frames], side="right")
    return round(float(steps_m[np.diff(part) == 0].sum()), 2)


def summary(card: dict[str, Any]) -> str:
    """The card on one line."""
    parts = [f"{card['counts']['frames']} frames, {card['metres']} m, {card['seconds']} s"]
    parts += [f"{topic} stops after {seconds} s" for topic, seconds in card["ended_early"].items()]
    parts += [f"drops: {counted(card['drops']) or 'none'}"]
    parts += [f"irregular: {counted(card['irregular'])}"] if card["irregular"] else []
    return ", ".join(parts)


def counted(reasons: dict[str, int]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
