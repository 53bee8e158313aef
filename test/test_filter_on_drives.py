"""The shipped bundles through the filter: fitted on some streets of a town, asked on others and off the map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose, inverse
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.filter import Estimate, PlaceFilter
from vpr_core.retrieval.filter_fit import fit_filter
from vpr_core.retrieval.mapping import build_map, describe
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose

BUNDLES = Path(__file__).parents[1] / "bundles"
RADIUS_M = 10.0


@dataclass(frozen=True)
class Described:
    """A drive as a bundle sees it."""

    descriptors: np.ndarray
    poses: list[Pose]
    stamps_ns: list[int]

    @classmethod
    def of(cls, bundle: Bundle, folder: Path) -> Described:
        drive = Frames.load(folder)
        poses = [frame.pose for frame in drive.frames if frame.pose]
        return cls(describe(bundle, drive), poses, [frame.stamp_ns for frame in drive.frames])

    def followed(self, places: PlaceFilter, mapped: PlaceMap) -> list[Estimate]:
        """With odometry that is 1 % too long and turns by 0.1 degree a frame."""
        estimates = []
        for index, row in enumerate(self.descriptors @ mapped.descriptors.T):
            step = compose(inverse(self.poses[max(index - 1, 0)]), self.poses[index])
            x_m, y_m, _ = step.position_m
            drifted = Pose.from_xy_yaw(1.01 * x_m, 1.01 * y_m, step.yaw_rad + 0.0017)
            estimates.append(places.update(row, drifted, self.stamps_ns[index]))
        return estimates


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_at_night_along_odometry_and_off_the_map(
    modality: str, drives: dict[str, Path], tmp_path: Path, figures: list[str]
) -> None:
    folder = BUNDLES / f"town_{modality}"
    bundle = Bundle.load(folder)
    fitted_on = build_map(folder, drives["other_noon"], tmp_path / "other_map")
    validation = Described.of(bundle, drives["other_night"])
    similarities = validation.descriptors @ fitted_on.descriptors.T
    model = fit_filter(fitted_on, similarities, validation.poses, validation.stamps_ns)

    mapped = build_map(folder, drives["noon"], tmp_path / "map")
    night = Described.of(bundle, drives["night"])
    single = (night.descriptors @ mapped.descriptors.T).argmax(axis=1)
    estimates = night.followed(PlaceFilter(mapped, model), mapped)
    right = _right([estimate.place_id for estimate in estimates], mapped, night.poses)
    accepted = np.array([estimate.accepted for estimate in estimates])
    off_map = validation.followed(PlaceFilter(mapped, model), mapped)

    figures.append(
        f"filter, shipped {modality} bundle at night: right {right.mean():.3f} (single frames "
        f"{_right(list(single), mapped, night.poses).mean():.3f}), accepted {accepted.mean():.3f}, wrong among them "
        f"{(accepted & ~right).sum()}, off the map "
        f"{sum(found.accepted for found in off_map)} of {len(off_map)} accepted"
    )
    assert right[10:].mean() >= 0.95 and accepted.mean() >= 0.4
    assert not (accepted & ~right).any()
    assert sum(found.accepted for found in off_map) <= 0.02 * len(off_map)
    assert np.mean([found.p_off_map for found in off_map]) > 0.7


def _right(place_ids: list[int], mapped: PlaceMap, poses: list[Pose]) -> np.ndarray:
    found = [mapped.places[place_id].pose for place_id in place_ids]
    return np.array([
        place is not None and math.dist(place.position_m, pose.position_m) <= RADIUS_M
        for place, pose in zip(found, poses, strict=True)
    ])  # fmt: skip
