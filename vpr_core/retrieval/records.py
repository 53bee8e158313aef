"""Matches as JSON lines: what `vpr-distill query` and the match_recorder node both write, and how to read it.

One line a query:
    {"stamp_ns": int, "received_ns": int | null, "processing_ms": float | null, "accepted": bool,
     "off_map_probability": float | null, "map_hash": str, "model_hash": str,
     "matches": [{"place_id": int, "session": str, "similarity": float, "probability": float | null, "accepted": bool,
                  "reason": str, "position": [x_m, y_m, z_m] | null, "inliers": int (re-ranked places alone),
                  "camera": str (topic, of several cameras alone)}, ...]}

Of candidates that were checked `query` adds "verified": where that puts the vehicle, as a pose below, or null where
none of them fits.
The places along the drive stand under "filtered" of the same line where `query` wrote it, and in a file of their own
where match_recorder did:
    {"stamp_ns": int, "received_ns": int, "map_hash": str, "model_hash": str,
     "filtered": {"place_id": int, "probability": float, "p_off_map": float, "accepted": bool, "reason": str,
                  "runner_up": int, "runner_up_probability": float, "position": [x_m, y_m, z_m]}}
Poses, the localizer's in a file that match_recorder writes:
    {"stamp_ns": int, "received_ns": int | null, "frame_id": str, "position": [x_m, y_m, z_m],
     "quaternion_xyzw": [float] * 4, "covariance": [float] * 36}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vpr_core.errors import InputError
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Match, Pose, Recognition


def recognition_to_record(
    recognition: Recognition,
    *,
    map_hash: str,
    model_hash: str,
    processing_ms: float | None = None,
    received_ns: int | None = None,
) -> dict[str, Any]:
    """One query's answer as JSON values, most similar place first.

    processing_ms: from the start of decoding to the end of the search, and of the checks where there are any.
    received_ns: system time at which a live answer arrived; None offline.
    """
    return {
        "stamp_ns": recognition.stamp_ns,
        "received_ns": received_ns,
        "processing_ms": processing_ms,
        "accepted": recognition.accepted is not None,
        "off_map_probability": recognition.off_map_probability,
        "map_hash": map_hash,
        "model_hash": model_hash,
        "matches": [_match_to_record(match) for match in recognition.matches],
    }


def _match_to_record(match: Match) -> dict[str, Any]:
    return {
        "place_id": match.place_id,
        "session": match.session,
        "similarity": match.similarity,
        "probability": match.probability,
        "accepted": match.accepted,
        "reason": match.reason.name.lower(),
        "position": list(match.pose.position_m) if match.pose else None,
        **({} if match.inliers is None else {"inliers": match.inliers}),
    }


def pose_to_record(
    pose: Pose, covariance: Sequence[float], stamp_ns: int, frame_id: str, *, received_ns: int | None = None
) -> dict[str, Any]:
    """A pose as JSON values; covariance: 36 numbers, of geometry_msgs/PoseWithCovariance."""
    return {
        "stamp_ns": stamp_ns,
        "received_ns": received_ns,
        "frame_id": frame_id,
        "position": list(pose.position_m),
        "quaternion_xyzw": list(pose.quaternion_xyzw),
        "covariance": list(covariance),
    }


def verification_to_record(verification: Verification[Any], frame_id: str) -> dict[str, Any] | None:
    """Where checking candidates puts the vehicle; frame_id: of the map."""
    found = verification.verified
    if found is None:
        return None
    return pose_to_record(found.T_map_base, found.covariance.ravel().tolist(), found.stamp_ns, frame_id)


def read_records(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records of a file, in its order; raises InputError naming the line that is no record."""
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}, line {number} is no JSON ({error}): was its writer killed?") from error
            if not isinstance(record, dict) or "stamp_ns" not in record:
                raise InputError(f"{path}, line {number} holds no record: expected an object with stamp_ns")
            yield record
