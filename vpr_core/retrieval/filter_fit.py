"""Fits a filter's observation model on a validation drive: a second drive through the map, with poses in its frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import FramesError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.check import SAME_PLACE_M, Check
from vpr_core.retrieval.checking import check_drive
from vpr_core.retrieval.filter import PlaceFilter
from vpr_core.retrieval.mapping import describe
from vpr_core.retrieval.observation_model import ObservationModel, fit_observation_model
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.verifiers import load_verifier
from vpr_core.types import Pose

RIGHT_M = 5.0
RADIUS_M = 10.0
WRONG_M = 20.0
HIDDEN_M = 50.0
"""A pair of query and place up to RIGHT_M apart is right, beyond WRONG_M wrong; an answer within RADIUS_M is right.
Places within HIDDEN_M show the same street."""
CHOICES = tuple(product((0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0), (10.0, 15.0, 20.0)))
"""Of `off_map_log_ratio` and `evidence_m`, as many as are tried."""
_LEAST = 1e-4

Progress = Callable[[int], object]
"""Called with the number of CHOICES just tried."""


def fit_filter(
    place_map: PlaceMap,
    similarities: np.ndarray,
    poses: list[Pose],
    stamps_ns: list[int],
    *,
    progress: Progress | None = None,
) -> ObservationModel:
    """The observation model of a bundle on a map.

    similarities: [M, N] of the validation drive's M frames, in their order, to the map's N places.
    poses, stamps_ns: M, T_map_base [m] and the frames' stamps.
    What tells right from wrong is fitted on single frames. How much successive frames tell, and how well the best of
    wrong places does, is what leaves the filter the least surprised by the truth (log loss): along the drive, and with
    the places around the vehicle hidden, as if its street were not in the map, as it drove and mirrored.
    Raises MapError where the drive does not touch the map, or the map has no poses.
    """
    distance_m, turn_rad = _apart(place_map, poses)
    facing = np.cos(turn_rad) >= np.cos(np.pi / 4)
    right = (distance_m <= RIGHT_M) & facing
    wrong = (distance_m > WRONG_M) | (np.cos(turn_rad) < 0)
    model = fit_observation_model(similarities, right, wrong)
    there = (distance_m <= RADIUS_M) & facing
    trials = _trials(similarities, distance_m <= HIDDEN_M, there, _motions(poses))

    def surprise(candidate: ObservationModel) -> float:
        places = PlaceFilter(place_map, candidate)
        total = sum(trial.surprise(places, stamps_ns) for trial in trials)
        if progress:
            progress(1)
        return total

    candidates = [replace(model, off_map_log_ratio=ratio, evidence_m=evidence_m) for ratio, evidence_m in CHOICES]
    return min(candidates, key=surprise)


@dataclass(frozen=True)
class _Trial:
    """A drive with known places."""

    similarities: np.ndarray
    """[M, N]"""
    motions: list[Pose]
    right: np.ndarray
    """bool [M, N]: which places are right; none where the vehicle is off the map."""
    weight: float

    def surprise(self, places: PlaceFilter, stamps_ns: list[int]) -> float:
        """The log loss of the filter's belief, summed over the frames."""
        places.reset()
        total = 0.0
        for row, motion, stamp_ns, right in zip(self.similarities, self.motions, stamps_ns, self.right, strict=True):
            estimate = places.update(row, motion, stamp_ns)
            truth = float(estimate.belief[right].sum()) if right.any() else estimate.p_off_map
            total -= math.log(max(truth, _LEAST))
        return self.weight * total


def _trials(similarities: np.ndarray, around: np.ndarray, there: np.ndarray, motions: list[Pose]) -> list[_Trial]:
    """The drive itself, and with what is bool [M, N] `around` the vehicle hidden, as it drove and mirrored."""
    hidden, none = _hidden(similarities, around), np.zeros_like(there)
    return [
        _Trial(similarities, motions, there, 1.0),
        _Trial(hidden, motions, none, 0.5),
        _Trial(hidden, [_mirrored(motion) for motion in motions], none, 0.5),
    ]


def _hidden(similarities: np.ndarray, around: np.ndarray) -> np.ndarray:
    """[M, N], those of bool [M, N] `around` as low as any other of their query."""
    lowest = np.where(around, np.inf, similarities).min(axis=1, keepdims=True, initial=float(similarities.max()))
    return np.where(around, lowest, similarities)


def _mirrored(motion: Pose) -> Pose:
    x_m, y_m, _ = motion.position_m
    return Pose.from_xy_yaw(x_m, -y_m, -motion.yaw_rad)


def _apart(place_map: PlaceMap, poses: list[Pose]) -> tuple[np.ndarray, np.ndarray]:
    """[M, N] metres and turn [rad] between each frame and each place."""
    frames, places = (
        np.array([(*pose.position_m[:2], pose.yaw_rad) for pose in held if pose])
        for held in (poses, [place.pose for place in place_map.places])
    )
    off = frames[:, None] - places.reshape(-1, 3)[None]
    return np.hypot(off[..., 0], off[..., 1]), off[..., 2]


def _motions(poses: list[Pose]) -> list[Pose]:
    return [Pose((0.0, 0.0, 0.0)), *(compose(inverse(a), b) for a, b in zip(poses, poses[1:], strict=False))]


def fit_checks(
    model: ObservationModel, checks: Sequence[Check | None], hidden: Sequence[Check | None], poses: Sequence[Pose]
) -> ObservationModel:
    """The model with what checking candidates tells, counted on the frames of a drive that were checked.

    checks: of each frame's candidates. hidden: of those that are left where its street is hidden, as if the vehicle
    were off the map. poses: T_map_base of each frame. One more of each kind is counted than was seen, so that few
    frames do not claim much.
    """
    told = [(check, pose) for check, pose in zip(checks, poses, strict=True) if check is not None]
    right = sum(_leads_to(check, pose) for check, pose in told)
    nothing = sum(_fits_nothing(check) for check, _ in told)
    off_map = [check for check in hidden if check is not None]
    fits = sum(check.T_map_base is not None for check in off_map)
    nothing_there = sum(map(_fits_nothing, off_map))
    total, total_off_map = len(told) + 3, len(off_map) + 3
    return replace(
        model,
        checked_log_ratio=math.log((right + 1) / total * total_off_map / (fits + 1)),
        unchecked_log_ratio=math.log((nothing + 1) / total * total_off_map / (nothing_there + 1)),
    )


def _fits_nothing(check: Check) -> bool:
    return check.T_map_base is None and not check.is_ambiguous


def _leads_to(check: Check, pose: Pose) -> bool:
    found = check.T_map_base
    return found is not None and math.dist(found.position_m[:2], pose.position_m[:2]) <= SAME_PLACE_M


def fit_filter_of_drive(
    bundle: str | Path,
    place_map: str | Path,
    frames: str | Path,
    *,
    verify_every: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    check_progress: Progress | None = None,
) -> tuple[Path, ObservationModel]:
    """Fit on a frames folder and store the model with the map; returns its file too.

    verify_every: of so many frames the candidates of one are checked, for a filter that counts what comes of it; 0
    checks none. check_progress: called twice for each frame that is.
    Raises BundleError, MapError, FramesError (no poses, or in another frame than the map's) and InputError.
    """
    loaded, drive = Bundle.load(bundle, device), Frames.load(frames)
    places = PlaceMap.load(place_map, loaded.hash, loaded.modality)
    poses = [frame.pose for frame in drive.frames if frame.pose]
    if len(poses) < len(drive) or drive.map_frame != places.map_frame:
        raise FramesError(
            f"{frames} has poses for {len(poses)} of {len(drive)} frames, in {drive.map_frame or 'no frame'}; expected "
            f"all, in {places.map_frame or 'a frame, which the map lacks too'}: ingest it with --pose_topic"
        )
    similarities = describe(loaded, drive) @ places.descriptors.T
    model = fit_filter(places, similarities, poses, [frame.stamp_ns for frame in drive.frames],
                       progress=progress)  # fmt: skip
    if verify_every:
        verifier = load_verifier(place_map, loaded.modality, device)
        hidden = _hidden(similarities, _apart(places, poses)[0] <= HIDDEN_M)
        checks, off_map = (check_drive(verifier, places, drive, seen, verify_every, check_progress)
                           for seen in (similarities, hidden))  # fmt: skip
        model = fit_checks(model, checks, off_map, poses)
    return model.save(place_map), model
