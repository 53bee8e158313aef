"""What the demo measures: recall by condition, what the live matches were worth, and the floors they must reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.places import within
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M
from vpr_core.experiments.town import MAP_CONDITION, mean_of_others

MODALITIES = ("camera", "lidar")
"""Of the students."""


def by_condition(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Recall@1 with a column for each condition, and `mean_of_others`.

    The teacher comes first, then the camera's methods and the LiDAR's.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table:
        key = (row["modality"], row["method"])
        found.setdefault(key, {"modality": key[0], "method": key[1]})[row["condition"]] = round(row["recall"], 3)
    for row in found.values():
        row["others"] = round(mean_of_others({name: row[name] for name in row.keys() - {"modality", "method"}}), 3)
    return sorted(found.values(), key=lambda row: ("fused", *MODALITIES).index(row["modality"]))


def live_figures(
    records: list[dict[str, Any]], drive: Frames, places_m: np.ndarray, modality: str = "camera"
) -> dict[str, Any]:
    """What the live matches of images or clouds were worth, by the drive's true poses.

    A frame has a place where one lies within DEFAULT_RADIUS_M. `hit_rate`: of the frames that have a place, the share
    that was answered with one of those first; `precision`: of the accepted matches, the share that is right;
    `accepted_off_map`: accepted matches of frames without a place.
    """
    near = within(places_m, drive.positions_m, DEFAULT_RADIUS_M)
    stamps = [frame.stamp_ns if modality == "camera" else frame.cloud_stamp_ns for frame in drive.frames]
    truth = dict(zip(stamps, near, strict=True))
    answered = [record for record in records if record["stamp_ns"] in truth and record["matches"]]
    right = [record["matches"][0]["place_id"] in truth[record["stamp_ns"]] for record in answered]
    accepted = [record["accepted"] for record in answered]
    off_map = [not len(truth[record["stamp_ns"]]) for record in answered]
    with_place = sum(len(found) > 0 for found in near)
    return {
        "frames": len(drive),
        "answered": len(answered),
        "with_place": with_place,
        "hit_rate": round(sum(right) / with_place, 4) if with_place else None,
        "accepted": sum(accepted),
        "precision": round(sum(np.logical_and(right, accepted)) / sum(accepted), 4) if any(accepted) else None,
        "accepted_off_map": int(sum(np.logical_and(off_map, accepted))),
        "median_processing_ms": round(float(np.median([r["processing_ms"] for r in answered])), 2)
        if answered
        else None,
    }


def check_floors(rows: list[dict[str, Any]], live: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What trained networks must reach in this town; untrained ones do not."""
    measured = []
    for modality, (at_noon, of_others, _) in FLOORS.items():
        recall = {
            row["condition"]: row["recall"]
            for row in rows
            if (row["modality"], row["method"]) == (modality, "student distilled")
        }
        measured += [
            (f"{modality} student, Recall@1 noon to noon", recall[MAP_CONDITION], at_noon),
            (f"{modality} student, Recall@1 mean of the other conditions", mean_of_others(recall), of_others),
        ]
    measured += [
        (f"{row['modality']} student, live hit rate", row["hit_rate"] or 0.0, FLOORS[row["modality"]][2])
        for row in live
    ]
    return [
        {"floor": name, "at_least": floor, "measured": round(value, 4), "met": value >= floor}
        for name, value, floor in measured
    ]


FLOORS = {"camera": (0.9, 0.5, 0.7), "lidar": (0.5, 0.5, 0.5)}
"""Recall@1 at the map's condition and in the mean of the others, and the live hit rate."""
