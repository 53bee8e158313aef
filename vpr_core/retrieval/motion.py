"""Where the belief in places goes when the vehicle moves by what its odometry says.

Two places are joined where their poses lie within a few metres of each other, of whatever session and heading; the
increment of odometry, in the vehicle's own frame, then says how likely each edge was taken.
Only increments are compared, so odometry may drift, and a lane beside the map's is no error that adds up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from vpr_core.errors import MapError
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose

_UNEXPLAINED = 2.0
"""A vehicle has left the map where odometry lies more standard deviations than this from every edge."""
_MIN_SPACING_M = 0.5


@dataclass(frozen=True)
class MotionModel:
    """How far odometry and the places' spacing may disagree, and how often a vehicle enters and leaves the map."""

    position_sigma_m: float = 1.0
    """Standard deviation of the way between vehicle and place; half the places' spacing where that is more [m]."""
    heading_sigma_rad: float = 0.25
    """Standard deviation between the headings of vehicle and place [rad]."""
    drift_per_m: float = 0.1
    """Standard deviation of odometry's drift along the way, of each metre travelled [m/m]."""
    drift_rad_per_m: float = 0.02
    """Standard deviation of its heading, of each metre travelled [rad/m]."""
    drift_rad_per_rad: float = 0.1
    """Standard deviation of its heading, of each radian turned [rad/rad]."""
    leave_per_m: float = 1e-4
    """Chance a metre that the vehicle leaves the map where its way does not tell, as by a street beside the map's."""
    enter_per_m: float = 2e-3
    """Chance a metre that a vehicle off the map comes onto it, at any place."""
    jump_per_m: float = 5e-4
    """Chance a metre that the vehicle is put down at any other place."""

    def drift(self, motion: Motion) -> np.ndarray:
        """Standard deviations [m], [rad] of what odometry adds in this motion."""
        turned = self.drift_rad_per_rad * abs(motion.turn_rad)
        return np.array([self.drift_per_m * motion.distance_m, self.drift_rad_per_m * motion.distance_m + turned])


@dataclass(frozen=True)
class Motion:
    """An increment T_before_after in the plane of the vehicle: x forward, y left [m], and the turn [rad]."""

    x_m: float = 0.0
    y_m: float = 0.0
    turn_rad: float = 0.0

    @classmethod
    def of(cls, increment: Pose) -> Motion:
        return cls(increment.position_m[0], increment.position_m[1], increment.yaw_rad)

    @property
    def distance_m(self) -> float:
        return math.hypot(self.x_m, self.y_m)

    def then(self, after: Motion) -> Motion:
        """Both increments, one behind the other."""
        cos, sin = math.cos(self.turn_rad), math.sin(self.turn_rad)
        return Motion(
            self.x_m + cos * after.x_m - sin * after.y_m,
            self.y_m + sin * after.x_m + cos * after.y_m,
            math.remainder(self.turn_rad + after.turn_rad, 2 * math.pi),
        )

    def part(self, count: int) -> Motion:
        """One of `count` equal increments that make this one: arcs of one circle."""
        turn = self.turn_rad / count
        # The chord of the whole arc and of a part stand at half of their turns to the beginning.
        chord = 1 / count if abs(self.turn_rad) < 1e-6 else math.sin(turn / 2) / math.sin(self.turn_rad / 2)
        cos, sin = math.cos((turn - self.turn_rad) / 2), math.sin((turn - self.turn_rad) / 2)
        return Motion(chord * (cos * self.x_m - sin * self.y_m), chord * (sin * self.x_m + cos * self.y_m), turn)


@dataclass(frozen=True)
class PlaceGraph:
    """The places of a map and the E edges between those near each other, sorted by where they begin."""

    poses: np.ndarray
    """[N, 3] x, y [m] and heading [rad] of each place."""
    sources: np.ndarray
    """int [E] place where each edge begins."""
    starts: np.ndarray
    """int [N] first edge of each place; every place has one at least, to itself."""
    targets: np.ndarray
    """int [E] place where it ends."""
    steps: np.ndarray
    """[E, 3] x, y [m] and turn [rad] of each edge in the frame of its source."""
    step_m: float
    """The longest increment that these edges answer."""
    spacing_m: float
    """How far a place is from the nearest at another position, in the median over the map."""

    @classmethod
    def of(cls, place_map: PlaceMap, step_m: float) -> PlaceGraph:
        """The graph of a map's places for increments up to `step_m`. Raises MapError where the map has no poses."""
        if not place_map.has_poses:
            raise MapError(
                "the map has no poses, along which the filter follows a vehicle: make the map of frames with poses "
                "(`vpr-distill ingest --pose_topic`), or use single-frame matches"
            )
        poses = np.array([_planar(place.pose) for place in place_map.places if place.pose])
        spacing_m = _spacing_m(poses)
        sources, targets = _near(poses, step_m + 2.0 * spacing_m)
        starts = np.searchsorted(sources, np.arange(len(poses)))
        return cls(poses, sources, starts, targets, _between(poses[sources], poses[targets]), step_m, spacing_m)

    def move(
        self, belief: np.ndarray, offsets: np.ndarray, motion: Motion, model: MotionModel
    ) -> tuple[np.ndarray, np.ndarray]:
        """The belief [N] after one increment up to `step_m`; what no edge explains is missing from its sum.

        offsets: [N, 2] how far ahead of its place [m] and turned from it [rad] the vehicle is, in the mean of what is
        believed of each place. They are returned too: without them, each step would smear the belief over as much as
        the places' spacing, and a vehicle could turn off a straight street little by little.
        """
        attached = np.array([max(model.position_sigma_m, self.spacing_m / 2), model.heading_sigma_rad])
        drift = model.drift(motion)
        sigma_m, sigma_rad = np.hypot(attached, drift)
        off = self._off(offsets, motion)
        scaled = off * np.array([1 / sigma_m, 1 / sigma_m, 1 / sigma_rad], np.float32)
        weights = np.exp(-0.5 * np.einsum("ec,ec->e", scaled, scaled))
        explained = np.minimum(np.maximum.reduceat(weights, self.starts) * math.exp(_UNEXPLAINED**2 / 2), 1.0)
        carried = belief * explained / np.maximum(np.add.reduceat(weights, self.starts), 1e-30)
        mass = carried[self.sources] * weights
        moved = np.bincount(self.targets, mass, len(belief))
        cos, sin = np.cos(self.steps[:, 2]), np.sin(self.steps[:, 2])
        ahead = np.bincount(self.targets, mass * (cos * off[:, 0] + sin * off[:, 1]), len(belief))
        turned = np.bincount(self.targets, mass * off[:, 2], len(belief))
        # Drift has its share in what is off between odometry and the edges; the rest is where the vehicle is.
        kept = (attached / np.array([sigma_m, sigma_rad])) ** 2
        return moved, np.stack([ahead, turned], axis=1) * kept / np.maximum(moved, 1e-30)[:, None]

    def _off(self, offsets: np.ndarray, motion: Motion) -> np.ndarray:
        """float32 [E, 3] from each target to the vehicle, x, y [m] and turn [rad] in the frame of the source."""
        ahead_m, turned = offsets.T.astype(np.float32)
        cos, sin = np.cos(turned), np.sin(turned)
        x_m = ahead_m + cos * motion.x_m - sin * motion.y_m
        y_m = sin * motion.x_m + cos * motion.y_m
        vehicle = np.stack([x_m, y_m, turned + motion.turn_rad], axis=1).astype(np.float32)
        off = vehicle[self.sources] - self.steps
        off[:, 2] -= 2 * np.pi * np.round(off[:, 2] / (2 * np.pi))
        return off


def _planar(pose: Pose) -> tuple[float, float, float]:
    return pose.position_m[0], pose.position_m[1], pose.yaw_rad


def _spacing_m(poses: np.ndarray) -> float:
    positions = np.unique(np.round(poses[:, :2] / _MIN_SPACING_M), axis=0) * _MIN_SPACING_M
    if len(positions) < 2:
        return _MIN_SPACING_M
    return float(np.median(cKDTree(positions).query(positions, k=2)[0][:, 1]))


def _near(poses: np.ndarray, radius_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of places within the radius and a quarter turn of each other, each place with itself too, sorted."""
    tree = cKDTree(poses[:, :2])
    pairs = tree.query_pairs(radius_m, output_type="ndarray")
    alike = np.cos(poses[pairs[:, 0], 2] - poses[pairs[:, 1], 2]) >= 0
    own, pairs = np.arange(len(poses)), pairs[alike]
    sources = np.concatenate([own, pairs[:, 0], pairs[:, 1]])
    targets = np.concatenate([own, pairs[:, 1], pairs[:, 0]])
    order = np.lexsort([targets, sources])
    return sources[order], targets[order]


def _between(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """float32 [E, 3] poses of the targets in the frames of the sources."""
    x, y, turn = (targets - sources).T
    cos, sin = np.cos(sources[:, 2]), np.sin(sources[:, 2])
    return np.stack([cos * x + sin * y, cos * y - sin * x, np.remainder(turn, 2 * np.pi)], axis=1).astype(np.float32)
