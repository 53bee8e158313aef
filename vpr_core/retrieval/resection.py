"""Where a picture was taken, by points in space that it shows, and whether to believe it.

Perspective-n-point by OpenCV: P3P in USAC, which has its own seed, then Levenberg-Marquardt on what agrees. A pose
comes out of wrong matches too, and many points on one sign or along one kerb agree on a wrong one. So a resection is
accepted only where everything in `ResectionOptions` holds.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vpr_core.retrieval.rigid import are_apart, covariance, degeneracy, matrix_of, moved, pose_of, tilt_rad
from vpr_core.types import Pose

LONGEST_PX = 640
"""Distances in the picture are given for pictures of this longer side; in others they are larger or smaller in
proportion."""
_ITERATIONS, _CONFIDENCE = 5000, 0.9999
_ROUNDS = 3
_FEWEST = 4
"""Points that P3P needs."""


@dataclass(frozen=True)
class ResectionOptions:
    """How a picture's pose is found, and what is accepted."""

    inlier_px: float = 6.0
    """Greatest distance of an inlier from where the pose puts its point [px], in pictures of LONGEST_PX."""
    beside_m: float = 9.0
    """Features of the map's places up to so far from the candidate are matched as well as its own [m]."""
    places: int = 5
    """So many places are taken at most, the candidate itself and the nearest to it."""
    ratio: float = 0.9
    """Features are matched where the distance of the descriptors is below this share of that to the second nearest."""
    min_points: int = 12
    """Fewer matched features with a point in space show no place."""
    min_inliers: int = 20
    """Least number of inliers, each feature counted once."""
    min_inlier_share: float = 0.15
    """Least share of the matched features with a point that are inliers."""
    min_spread: float = 0.055
    """Least standard deviation of the inliers in the picture along any line, its width and its height being 1."""
    max_rmse_px: float = 3.4
    """Greatest residual of the inliers [px], in pictures of LONGEST_PX."""
    max_distance_m: float = 15.0
    """Greatest distance of the query from the place [m]."""
    max_tilt_rad: float = math.radians(15.0)
    """Greatest angle between the two vertical axes [rad]."""
    min_degeneracy: float = 0.002
    """Least ratio of the position's information in its weakest direction to that in its strongest."""
    max_position_sigma_m: float = 0.5
    """Greatest standard deviation of the position in any direction [m]."""
    max_rotation_sigma_rad: float = math.radians(2.0)
    """Greatest standard deviation of a rotation about any axis [rad]."""
    self_rival_share: float = 0.5
    """Another pose that the matches left over agree on, with so many inliers for each of the first's, is a rival."""
    rival_margin: float = 0.3
    """Another candidate that means another pose and has fewer inliers by this share at most makes it ambiguous."""
    correlated_points: float = 4.0
    """So many features err together, and count as one measurement in the covariance."""
    least_residual_px: float = 1.0
    """The residual is taken to be so much at least [px], in pictures of LONGEST_PX."""
    systematic_m: float = 0.1
    """Standard deviation of what more points do not reduce [m]: mountings, stamps, the LiDAR's sweep."""
    systematic_rad: float = math.radians(0.5)
    """The same of a rotation [rad]."""


class Verdict(enum.Enum):
    """What was found of a resection; the first that holds, in this order."""

    FEW_POINTS = "few points"
    NO_POSE = "no pose"
    FEW_INLIERS = "few inliers"
    SMALL_SHARE = "small share of inliers"
    CROWDED = "inliers crowded"
    RESIDUAL = "large residual"
    FAR = "far from the place"
    DEGENERATE = "degenerate"
    AMBIGUOUS = "ambiguous"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class Resection:
    """Where the query's vehicle stood relative to the place's."""

    T_place_query: Pose
    """From the query's vehicle frame to the place's; the identity where there is no pose."""
    covariance: np.ndarray
    """[6, 6] of x, y, z [m] and rotations about x, y, z [rad], in this order, as geometry_msgs/PoseWithCovariance: the
    position in the place's frame and the rotation about that frame's axes."""
    points: int
    """Matched features with a point in space."""
    inliers: int
    """How many of them lie where the pose puts their points."""
    spread: float
    """Standard deviation of the inliers in the picture along the line on which they vary least, its width and its
    height being 1."""
    rmse_px: float
    """Root mean square distance of the inliers from where the pose puts their points, in a picture of LONGEST_PX."""
    degeneracy: float
    """The position's information in its weakest direction by that in its strongest, in [0, 1]; 0: not determined."""
    weakest: tuple[float, float, float]
    """The direction in which the position is determined least, in the place's frame (x forward, y left, z up)."""
    verdict: Verdict
    reason: str
    """The verdict with figures, for a log."""

    @property
    def inlier_share(self) -> float:
        """Of the matched features with a point, in [0, 1]."""
        return self.inliers / self.points if self.points else 0.0

    @property
    def score(self) -> float:
        """What decides between two resections: the inliers."""
        return float(self.inliers)

    @property
    def accepted(self) -> bool:
        return self.verdict is Verdict.ACCEPTED

    @property
    def is_ambiguous(self) -> bool:
        return self.verdict is Verdict.AMBIGUOUS


@dataclass(frozen=True)
class View:
    """What of a place a picture shows: pairs of its features with points in space, of one feature several at times."""

    features: np.ndarray
    """int64 [N], which feature of the picture a pair is of."""
    rays: np.ndarray
    """[N, 2] x / z and y / z of it in the query's optical frame."""
    points: np.ndarray
    """[N, 3] the point in space [m], in the place's vehicle frame."""
    focal_px: float
    """The query camera's focal length in a picture of LONGEST_PX."""
    size_px: tuple[float, float]
    """Width and height of that picture."""
    T_base_camera: np.ndarray
    """[4, 4], where the query's camera is mounted; its optical frame."""

    def __getitem__(self, chosen: np.ndarray) -> View:
        return replace(self, features=self.features[chosen], rays=self.rays[chosen], points=self.points[chosen])

    @property
    def count(self) -> int:
        """How many features of the picture have a pair."""
        return len(np.unique(self.features))


def resect(view: View, options: ResectionOptions | None = None) -> Resection:
    """The pose that most of the pairs agree on; what has none comes back with its verdict.

    Pairs without a ray or a point (NaN) are left out. The same view gives the same resection every time.
    """
    options = options or ResectionOptions()
    view = view[np.isfinite(view.rays).all(axis=1) & np.isfinite(view.points).all(axis=1)]
    total = view.count
    if total < options.min_points:
        text = f"{total} matched features have a point in space, expected {options.min_points} or more"
        return _nothing(total, Verdict.FEW_POINTS, text)
    found = _solved(view, options)
    if found is None:
        return _nothing(total, Verdict.NO_POSE, f"no four of {total} points agree with any other")
    best = _judged(view, *found, options)
    if best.accepted and (text := _self_rival(view, best, *found, options)):
        return replace(best, verdict=Verdict.AMBIGUOUS, reason=f"{Verdict.AMBIGUOUS.value}: {text}")
    return best


def _nothing(total: int, verdict: Verdict, text: str) -> Resection:
    unknown = np.diag([1e4] * 3 + [math.pi**2] * 3)
    return Resection(Pose((0.0, 0.0, 0.0)), unknown, total, 0, 0.0, math.inf, 0.0, (0.0, 0.0, 0.0), verdict,
                     f"{verdict.value}: {text}")  # fmt: skip


def _solved(view: View, options: ResectionOptions) -> tuple[np.ndarray, np.ndarray] | None:
    """T_camera_place [4, 4] and the inliers bool [N]; None where nothing agrees."""
    if len(view.rays) < _FEWEST:
        return None
    K, pixels = _ideal(view)
    try:
        solved, _, turn, shift, _ = cv2.solvePnPRansac(
            view.points, pixels[:, None], K, np.zeros(4), params=_usac(options)
        )
    except cv2.error:  # points that span nothing
        return None
    threshold_px = options.inlier_px
    inliers = _agreeing(view, _matrix(turn, shift), threshold_px) if solved else np.zeros(len(pixels), bool)
    for _ in range(_ROUNDS):
        if np.count_nonzero(inliers) < _FEWEST:
            return None
        turn, shift = cv2.solvePnPRefineLM(view.points[inliers], pixels[inliers], K, None, turn, shift)
        before, inliers = inliers, _agreeing(view, _matrix(turn, shift), threshold_px)
        if (before == inliers).all():
            break
    T = _matrix(turn, shift)
    return (T, inliers) if np.isfinite(T).all() and np.count_nonzero(inliers) >= _FEWEST else None


def _usac(options: ResectionOptions) -> cv2.UsacParams:
    usac = cv2.UsacParams()
    usac.threshold, usac.maxIterations, usac.confidence = options.inlier_px, _ITERATIONS, _CONFIDENCE
    usac.sampler, usac.score, usac.loMethod = cv2.SAMPLING_UNIFORM, cv2.SCORE_METHOD_MSAC, cv2.LOCAL_OPTIM_INNER_LO
    return usac


def _ideal(view: View) -> tuple[np.ndarray, np.ndarray]:
    """K and pixels of a camera of the same focal length without distortion, (0, 0) in the middle."""
    return np.diag([view.focal_px, view.focal_px, 1.0]), view.rays * view.focal_px


def _matrix(turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(turn)[0], np.asarray(shift).ravel()
    return T


def _residuals_px(view: View, T_camera_place: np.ndarray) -> np.ndarray:
    """[N, 2], infinite for points that are not before the camera."""
    ahead = moved(T_camera_place, view.points)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = (ahead[:, :2] / ahead[:, 2:] - view.rays) * view.focal_px
    off[~(ahead[:, 2] > 0)] = np.inf
    return off


def _agreeing(view: View, T_camera_place: np.ndarray, threshold_px: float) -> np.ndarray:
    return np.asarray(np.linalg.norm(_residuals_px(view, T_camera_place), axis=1) < threshold_px)


def _information(view: View, T_camera_place: np.ndarray) -> np.ndarray:
    """[6, 6] sum of J^T J of the residuals [px] by the vehicle's position and rotation, along the place's axes."""
    T_place_query = np.linalg.inv(T_camera_place) @ np.linalg.inv(view.T_base_camera)
    ahead = moved(T_camera_place, view.points)
    z = ahead[:, 2, None, None]
    projected = np.zeros((len(ahead), 2, 3))
    projected[:, :, :2] = np.eye(2)
    projected[:, :, 2] = -ahead[:, :2] / ahead[:, 2:]
    projected *= view.focal_px / z
    by_point = projected @ T_camera_place[:3, :3]
    arm = view.points - T_place_query[:3, 3]
    turning = np.cross(arm[:, None, :], by_point)
    jacobian = np.concatenate([-by_point, -turning], axis=2).reshape(-1, 6)
    return np.asarray(jacobian.T @ jacobian)


def _judged(view: View, T_camera_place: np.ndarray, inliers: np.ndarray, options: ResectionOptions) -> Resection:
    kept = view[inliers]
    rmse_px = float(np.sqrt(np.mean(np.square(_residuals_px(kept, T_camera_place)).sum(axis=1))))
    information = _information(kept, T_camera_place)
    ratio, weakest = degeneracy(information)
    # Of the two coordinates of each point the residual is of both together.
    weight = options.correlated_points * max(rmse_px, options.least_residual_px) ** 2 / 2
    spread = covariance(information, weight, options.systematic_m, options.systematic_rad)
    T_place_query = np.linalg.inv(view.T_base_camera @ T_camera_place)
    in_picture = kept.rays * view.focal_px / view.size_px
    crowd = float(np.sqrt(np.linalg.eigvalsh(np.cov(in_picture.T))[0].clip(0)))
    x, y, z = map(float, weakest)
    judged = Resection(pose_of(T_place_query), spread, view.count, kept.count, crowd, rmse_px, ratio,
                       (x, y, z), Verdict.ACCEPTED, "")  # fmt: skip
    verdict, text = _verdict(judged, T_place_query, options)
    return replace(judged, verdict=verdict, reason=f"{verdict.value}: {text}")


def _verdict(found: Resection, T: np.ndarray, options: ResectionOptions) -> tuple[Verdict, str]:
    distance_m, tilted_rad = float(np.linalg.norm(T[:3, 3])), tilt_rad(T)
    sigma_m = math.sqrt(float(np.linalg.eigvalsh(found.covariance[:3, :3])[-1]))
    sigma_rad = math.sqrt(float(np.linalg.eigvalsh(found.covariance[3:, 3:])[-1]))
    along = ", ".join(f"{value + 0.0:.2f}" for value in found.weakest)
    checks = (
        (found.inliers >= options.min_inliers, Verdict.FEW_INLIERS,
         f"{found.inliers} of {found.points}, expected {options.min_inliers} or more"),
        (found.inlier_share >= options.min_inlier_share, Verdict.SMALL_SHARE,
         f"{found.inliers} of {found.points}, expected a share of {options.min_inlier_share:g} or more"),
        (found.spread >= options.min_spread, Verdict.CROWDED,
         f"spread over {found.spread:.3f} of the picture, expected {options.min_spread:g} or more"),
        (found.rmse_px <= options.max_rmse_px, Verdict.RESIDUAL,
         f"{found.rmse_px:.1f} px, at most {options.max_rmse_px:g} px"),
        (distance_m <= options.max_distance_m and tilted_rad <= options.max_tilt_rad, Verdict.FAR,
         f"{distance_m:.1f} m and tilted by {math.degrees(tilted_rad):.0f} degrees, "
         f"at most {options.max_distance_m:g} m and {math.degrees(options.max_tilt_rad):.0f} degrees"),
        (found.degeneracy >= options.min_degeneracy, Verdict.DEGENERATE,
         f"translation along ({along}) is not determined, ratio {found.degeneracy:.4f} below "
         f"{options.min_degeneracy:g}"),
        (sigma_m <= options.max_position_sigma_m, Verdict.DEGENERATE,
         f"the position is known to {sigma_m:.1f} m, expected {options.max_position_sigma_m:g} or less"),
        (sigma_rad <= options.max_rotation_sigma_rad, Verdict.DEGENERATE,
         f"rotation is known to {math.degrees(sigma_rad):.1f} degrees, "
         f"expected {math.degrees(options.max_rotation_sigma_rad):g} or less"),
    )  # fmt: skip
    failed = next(((verdict, text) for holds, verdict, text in checks if not holds), None)
    return failed or (Verdict.ACCEPTED, f"{found.inliers} inliers of {found.points}, residual {found.rmse_px:.1f} px, "
                      f"spread {found.spread:.2f}, degeneracy {found.degeneracy:.3f}")  # fmt: skip


def _self_rival(
    view: View, best: Resection, T_camera_place: np.ndarray, inliers: np.ndarray, options: ResectionOptions
) -> str:
    """What of the matches that `best` leaves over speaks for another pose; empty where nothing does."""
    left = view[~inliers]
    found = _solved(left, options)
    if found is None:
        return ""
    other = _judged(left, *found, options)
    apart = are_apart(matrix_of(best.T_place_query), matrix_of(other.T_place_query))
    if not apart or other.inliers < max(options.self_rival_share * best.inliers, options.min_inliers):
        return ""
    x, y, _ = other.T_place_query.position_m
    return f"({x:.1f}, {y:.1f}) m fits as well, {other.inliers} inliers and {best.inliers}"
