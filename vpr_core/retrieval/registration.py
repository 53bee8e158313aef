"""Where a query's cloud was taken relative to a place's, and whether to believe it.

GICP (Segal et al., RSS 2009) by small_gicp, begun at the best guesses of `birds_eye` since a place may be passed in any
direction. That it converged and that its residual is small says little: roads fit roads and corridors fit corridors.
So a registration is accepted only where everything in `RegistrationOptions` holds.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

import numpy as np
import small_gicp

from vpr_core.retrieval import birds_eye
from vpr_core.retrieval.fit import LEAST_RESIDUAL_M, Fit, measure
from vpr_core.retrieval.rigid import APART_M, are_apart, covariance, degeneracy, matrix_of, moved, pose_of, tilt_rad
from vpr_core.retrieval.surface import Surface, prepare
from vpr_core.types import Pose

_STEPS = 25
_SLID_POINTS, _SLID_NEAR_M = 400, 0.6
_CLOSE = 0.8
"""A second guess is refined where it overlaps by this share of the best one's overlap or more."""


@dataclass(frozen=True)
class RegistrationOptions:
    """How clouds are registered, and what is accepted."""

    voxel_m: float = 0.4
    """Clouds are thinned to one point for each cube of this edge [m]."""
    min_range_m: float = 1.5
    """Points nearer to the LiDAR are left out [m]: the vehicle itself, drops of rain."""
    max_range_m: float = 60.0
    """Points farther from the LiDAR are left out [m]."""
    starts: int = 5
    """Guesses that are tried."""
    max_shift_m: float = 20.0
    """Largest level distance of a guess from the place [m]."""
    coarse_m: float = 3.0
    """Points are paired up to this distance at first [m]."""
    fine_m: float = 1.0
    """Points are paired up to this distance in the end [m]; these pairs make residual, information and covariance."""
    compare_range_m: float = 40.0
    """Points farther from either vehicle count for neither overlap nor free space [m]."""
    min_upright: int = 150
    """Fewer points of what stands upright, in either cloud, show no place."""
    min_overlap: float = 0.42
    """Least share of either cloud's upright points that lie on a surface of the other."""
    max_contradiction: float = 0.08
    """Greatest share of either cloud's upright points that stand where the other saw through."""
    min_score: float = 0.35
    """Least overlap less `fit.COUNTS_AGAINST` times the contradiction: a weak fit must not be contradicted as well."""
    max_inlier_rmse_m: float = 0.25
    """Greatest residual of paired points [m]."""
    max_distance_m: float = 25.0
    """Greatest distance of the query from the place [m]."""
    max_tilt_rad: float = math.radians(15.0)
    """Greatest angle between the two vertical axes [rad]."""
    min_degeneracy: float = 0.02
    """Least ratio of the position's information in its weakest direction to that in its strongest."""
    max_rotation_sigma_rad: float = math.radians(2.0)
    """Greatest standard deviation of a rotation about any axis [rad]."""
    slide_m: float = 16.0
    """How far along the weakest direction another fit is looked for [m]: rows of equal houses, pillars of a hall."""
    rival_margin: float = 0.1
    """Another transform that would be accepted itself and scores less by this share at most makes it ambiguous."""
    correlated_points: float = 20.0
    """So many neighbouring points err together, and count as one measurement in the covariance."""
    systematic_m: float = 0.08
    """Standard deviation of what more points do not reduce [m]: sweeps bent by the vehicle's motion, voxels, stamps."""
    systematic_rad: float = math.radians(0.3)
    """The same of a rotation [rad]."""


class Verdict(enum.Enum):
    """What was found of a registration; the first that holds, in this order."""

    FEW_POINTS = "few points"
    FAR = "far from the place"
    DEGENERATE = "degenerate"
    NOT_CONVERGED = "not converged"
    LITTLE_OVERLAP = "little overlap"
    RESIDUAL = "large residual"
    CONTRADICTED = "free space contradicted"
    WEAK = "weak"
    AMBIGUOUS = "ambiguous"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class Registration:
    """Where the query's vehicle stood relative to the place's."""

    T_place_query: Pose
    """From the query's vehicle frame to the place's; the identity where nothing could be tried."""
    covariance: np.ndarray
    """[6, 6] of x, y, z [m] and rotations about x, y, z [rad], in this order, as geometry_msgs/PoseWithCovariance: the
    position in the place's frame and the rotation about that frame's axes."""
    overlap: float
    """The lesser share of either cloud's upright points that lie on a surface of the other, in [0, 1]."""
    overlap_query: float
    overlap_place: float
    inlier_rmse_m: float
    """Root mean square distance of paired points from the place's surfaces [m]."""
    contradiction: float
    """Share of upright points that stand where the other cloud was seen through, the greater of both, in [0, 1]."""
    score: float
    """Overlap less what speaks against it: what decides between two registrations."""
    degeneracy: float
    """The position's information in its weakest direction by that in its strongest, in [0, 1]; 0: not determined."""
    weakest: tuple[float, float, float]
    """The direction in which the position is determined least, in the place's frame (x forward, y left, z up)."""
    converged: bool
    verdict: Verdict
    reason: str
    """The verdict with figures, for a log."""

    @property
    def accepted(self) -> bool:
        return self.verdict is Verdict.ACCEPTED

    @property
    def is_ambiguous(self) -> bool:
        return self.verdict is Verdict.AMBIGUOUS


def register(
    query_cloud: np.ndarray,
    place_cloud: np.ndarray,
    initial: Pose | None = None,
    options: RegistrationOptions | None = None,
    sensor_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Registration:
    """Register two clouds [N, 3 or more] and [M, 3 or more] (x, y, z [m] first), each in its vehicle's frame.

    initial: T_place_query to begin at; None tries the headings and shifts that fit best seen from above.
    sensor_m: where the LiDAR was in either vehicle's frame; the origin for clouds in the LiDAR's own.
    Raises InputError where one is no cloud; what cannot be registered comes back with its verdict.
    """
    options = options or RegistrationOptions()
    query, place = (surface_of(cloud, options, sensor_m) for cloud in (query_cloud, place_cloud))
    return register_surfaces(query, place, initial, options)


def surface_of(
    cloud: np.ndarray, options: RegistrationOptions, sensor_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Surface:
    """A cloud made ready once for several registrations; raises InputError where it is none."""
    return prepare(cloud, options.voxel_m, options.min_range_m, options.max_range_m, sensor_m)


def register_surfaces(
    query: Surface, place: Surface, initial: Pose | None = None, options: RegistrationOptions | None = None
) -> Registration:
    """As `register`, of surfaces that `surface_of` made."""
    options = options or RegistrationOptions()
    if refusal := _too_few(query, place, options):
        return refusal
    found = [_refined(query, place, guess, options) for guess in _guesses(query, place, initial, options)]
    if initial is None:
        found += [_refined(query, place, guess, options) for guess in _slid(query, place, found[0], options)]
    found.sort(key=lambda attempt: attempt.fit.score, reverse=True)
    best, *others = [_judged(attempt, options) for attempt in found]
    rival = next((other for other in others if _rivals(best, other, options)), None)
    if rival:
        x, y, _ = rival.T_place_query.position_m
        degrees = math.degrees(rival.T_place_query.yaw_rad)
        text = (
            f"({x:.1f}, {y:.1f}) m, {degrees:.0f} degrees fits as well, scores {rival.score:.2f} and {best.score:.2f}"
        )
        return _refused(best, Verdict.AMBIGUOUS, text)
    return best


@dataclass(frozen=True)
class _Attempt:
    T: np.ndarray
    """T_place_query [4, 4]."""
    fit: Fit
    converged: bool


def _too_few(query: Surface, place: Surface, options: RegistrationOptions) -> Registration | None:
    for name, surface in (("query", query), ("place", place)):
        upright = len(surface.fine.upright)
        if upright < options.min_upright:
            text = f"the {name} has {upright} upright points of {len(surface)}, expected {options.min_upright} or more"
            return _nothing(f"{Verdict.FEW_POINTS.value}: {text}")
    return None


def _nothing(reason: str) -> Registration:
    unknown = np.diag([1e4] * 3 + [math.pi**2] * 3)
    return Registration(Pose((0.0, 0.0, 0.0)), unknown, 0.0, 0.0, 0.0, math.inf, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0), False,
                        Verdict.FEW_POINTS, reason)  # fmt: skip


def _guesses(query: Surface, place: Surface, initial: Pose | None, options: RegistrationOptions) -> list[np.ndarray]:
    """One transform to refine or two: that which overlaps most after a coarse registration, and one not far behind."""
    if initial is not None:
        return [matrix_of(initial)]
    starts = birds_eye.starts(query.query_spectra, place.place_spectrum, options.starts, options.max_shift_m)
    transforms = [start.transform for start in starts] or [np.eye(4)]
    coarse = [_coarse(query, place, T, options) for T in transforms]
    coarse.sort(key=lambda attempt: attempt[0], reverse=True)
    overlap, best = coarse[0]
    second = next((T for near, T in coarse[1:] if are_apart(best, T) and near >= _CLOSE * overlap), None)
    return [best] if second is None else [best, second]


def _coarse(query: Surface, place: Surface, T: np.ndarray, options: RegistrationOptions) -> tuple[float, np.ndarray]:
    """Share of upright points with one of the place's near them, and the transform [4, 4]."""
    result = small_gicp.align(
        place.coarse.cloud, query.coarse.cloud, place.coarse.tree, T, "GICP",
        max_correspondence_distance=options.coarse_m, max_iterations=15,
        rotation_epsilon=math.radians(0.5), translation_epsilon=0.05,
    )  # fmt: skip
    found = np.array(result.T_target_source)
    _, distance_m = place.coarse.nearest(moved(found, query.coarse.upright))
    return float(np.mean(distance_m < options.fine_m)) if len(distance_m) else 0.0, found


def _refined(query: Surface, place: Surface, T: np.ndarray, options: RegistrationOptions) -> _Attempt:
    result = small_gicp.align(
        place.fine.cloud, query.fine.cloud, place.fine.tree, T, "GICP",
        max_correspondence_distance=options.fine_m, max_iterations=_STEPS,
    )  # fmt: skip
    found = np.array(result.T_target_source)
    fit = measure(query, place, found, options.fine_m, options.compare_range_m)
    return _Attempt(found, fit, bool(result.converged))


def _slid(query: Surface, place: Surface, found: _Attempt, options: RegistrationOptions) -> list[np.ndarray]:
    """The transform elsewhere along the weakest direction that overlaps most, where it is not far behind."""
    points = query.fine.upright[:: max(len(query.fine.upright) // _SLID_POINTS, 1)]
    direction = degeneracy(found.fit.information)[1]
    farthest = int(options.slide_m)
    steps_m = np.arange(-farthest, farthest + 1, dtype=np.float64)
    steps_m = steps_m[(np.abs(steps_m) > APART_M) | (steps_m == 0)]
    shifted = moved(found.T, points) + steps_m[:, None, None] * direction
    _, distance_m = place.fine.nearest(shifted.reshape(-1, 3))
    overlap = np.mean(distance_m.reshape(len(steps_m), -1) < _SLID_NEAR_M, axis=1)
    elsewhere = np.where(steps_m == 0, -1.0, overlap)
    best = int(np.argmax(elsewhere))
    if elsewhere[best] < _CLOSE * overlap[steps_m == 0].max():
        return []
    T = found.T.copy()
    T[:3, 3] += steps_m[best] * direction
    return [T]


def _judged(attempt: _Attempt, options: RegistrationOptions) -> Registration:
    fit, (ratio, weakest) = attempt.fit, degeneracy(attempt.fit.information)
    weight = options.correlated_points * max(fit.inlier_rmse_m, LEAST_RESIDUAL_M) ** 2
    spread = covariance(fit.information, weight, options.systematic_m, options.systematic_rad)
    verdict, text = _verdict(attempt, ratio, weakest, spread, options)
    if ratio < options.min_degeneracy:  # what noise in the normals seems to say of it is nothing
        spread[:3, :3] += options.max_shift_m**2 * np.outer(weakest, weakest)
    x, y, z = map(float, weakest)
    return Registration(
        pose_of(attempt.T), spread, fit.overlap, fit.overlap_query, fit.overlap_place, fit.inlier_rmse_m,
        fit.contradiction, fit.score, ratio, (x, y, z), attempt.converged, verdict, f"{verdict.value}: {text}",
    )  # fmt: skip


def _verdict(
    attempt: _Attempt, ratio: float, weakest: np.ndarray, spread: np.ndarray, options: RegistrationOptions
) -> tuple[Verdict, str]:
    fit, T = attempt.fit, attempt.T
    distance_m = float(np.linalg.norm(T[:3, 3]))
    along = ", ".join(f"{value:.2f}" for value in weakest + 0.0)
    sigma_rad = math.sqrt(float(np.linalg.eigvalsh(spread[3:, 3:])[-1]))
    tilted_rad = tilt_rad(T)
    checks = (
        (distance_m <= options.max_distance_m and tilted_rad <= options.max_tilt_rad, Verdict.FAR,
         f"{distance_m:.1f} m and tilted by {math.degrees(tilted_rad):.0f} degrees, "
         f"at most {options.max_distance_m:g} m and {math.degrees(options.max_tilt_rad):.0f} degrees"),
        (ratio >= options.min_degeneracy, Verdict.DEGENERATE,
         f"translation along ({along}) is not determined, ratio {ratio:.4f} below {options.min_degeneracy:g}"),
        (sigma_rad <= options.max_rotation_sigma_rad, Verdict.DEGENERATE,
         f"rotation is known to {math.degrees(sigma_rad):.1f} degrees, "
         f"expected {math.degrees(options.max_rotation_sigma_rad):g} or less"),
        (attempt.converged, Verdict.NOT_CONVERGED, f"no end after {_STEPS} steps"),
        (fit.overlap >= options.min_overlap, Verdict.LITTLE_OVERLAP,
         f"{fit.overlap_query:.2f} of the query and {fit.overlap_place:.2f} of the place, "
         f"expected {options.min_overlap:g} of both"),
        (fit.inlier_rmse_m <= options.max_inlier_rmse_m, Verdict.RESIDUAL,
         f"{fit.inlier_rmse_m:.3f} m, at most {options.max_inlier_rmse_m:g} m"),
        (fit.contradiction <= options.max_contradiction, Verdict.CONTRADICTED,
         f"{fit.contradiction:.3f} of the points stand in free space, at most {options.max_contradiction:g}"),
        (fit.score >= options.min_score, Verdict.WEAK,
         f"overlap {fit.overlap:.2f} with contradiction {fit.contradiction:.3f}, score {fit.score:.2f} below "
         f"{options.min_score:g}"),
    )  # fmt: skip
    failed = next(((verdict, text) for holds, verdict, text in checks if not holds), None)
    return failed or (Verdict.ACCEPTED, f"overlap {fit.overlap:.2f}, residual {fit.inlier_rmse_m:.3f} m, "
                      f"contradiction {fit.contradiction:.3f}, degeneracy {ratio:.3f}")  # fmt: skip


def _rivals(best: Registration, other: Registration, options: RegistrationOptions) -> bool:
    near = other.score >= best.score - options.rival_margin * abs(best.score)
    return (
        best.accepted
        and other.accepted
        and near
        and are_apart(matrix_of(best.T_place_query), matrix_of(other.T_place_query))
    )


def _refused(registration: Registration, verdict: Verdict, text: str) -> Registration:
    return replace(registration, verdict=verdict, reason=f"{verdict.value}: {text}")
