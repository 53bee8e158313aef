"""A town with the cars and people of one drive, ready to be looked at by rays."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from vpr_core.synthetic.facades import FacadeTable
from vpr_core.synthetic.ground import Ground
from vpr_core.synthetic.surface import Surface
from vpr_core.synthetic.traffic import Traffic

# A ray that starts on a surface would hit it again at rounding distance.
_LIFT_M = 0.02
_SLACK_M = 5.0
"""What a corner's distance says less about: half of the longest edge, and how far apart origins of one cast are."""
_BENEATH = np.float32(0.15)
"""Share of the light that reaches the ground beneath what moves."""


@dataclass(frozen=True)
class Hits:
    """What N rays met first."""

    distance_m: np.ndarray
    """[N] float32; inf where a ray met nothing."""
    face: np.ndarray
    """[N] int32 row of the scene's face attributes; -1 where a ray met nothing."""


class Scene:
    """Surfaces that rays can be cast at; the attributes of all their faces in one array each."""

    def __init__(
        self,
        surfaces: list[Surface],
        facades: FacadeTable,
        ground: Ground,
        cars_m: list[np.ndarray],
        seed: int,
        traffic: Traffic | None = None,
    ) -> None:
        """cars_m: the outline [N, 2] of every parked car; seed: of the drive, chooses lit windows and clouds; traffic:
        what moves, which is nowhere until `at` says when it is."""
        self.facades, self.ground, self.seed = facades, ground, seed
        self._shade = ground.shaded_by(cars_m)
        self._traffic = traffic
        everything = surfaces if traffic is None else [*surfaces, traffic.rest]
        self.material = np.concatenate([surface.material for surface in everything])
        self.colour = np.concatenate([surface.colour for surface in everything])
        self.owner = np.concatenate([surface.owner for surface in everything])
        self.normals = np.concatenate([surface.normals for surface in everything])
        self.label = np.concatenate([surface.label for surface in everything])
        self._standing = _Mesh([(surface.vertices_m, surface.faces) for surface in surfaces])
        self._moving: _Mesh | None = None

    def at(self, time_s: float) -> Scene:
        """The scene with what moves where it is at a time since the start of the drive."""
        if self._traffic is None:
            return self
        moved, mesh = copy.copy(self), self._traffic.at(time_s)
        rows = mesh.rows + np.int32(len(self.normals) - len(self._traffic.rest.normals))
        moved.normals = self.normals.copy()
        moved.normals[rows] = mesh.normals
        moved._moving = _Mesh([(mesh.vertices_m, mesh.faces)], rows)
        return moved

    def cast(self, origin_m: np.ndarray, directions: np.ndarray) -> Hits:
        """Rays from one point [3] or from one each [N, 3], along unit vectors float32 [N, 3]."""
        origins = np.ascontiguousarray(np.broadcast_to(np.asarray(origin_m, np.float32), directions.shape))
        hits = self._standing.cast(origins, directions)
        if self._moving is None:
            return hits
        chosen = self._moving.within_reach(origins, directions, hits.distance_m)
        others = self._moving.cast(origins[chosen], directions[chosen])
        nearer = np.nonzero(others.distance_m < hits.distance_m[chosen])[0]
        hits.distance_m[chosen[nearer]], hits.face[chosen[nearer]] = others.distance_m[nearer], others.face[nearer]
        return hits

    def open_beside_cars(self, points_m: np.ndarray) -> np.ndarray:
        """Share of the sky [N] that ground points [N, 3] see past cars: parked ones beside them, moving ones above."""
        share = self.ground.look_up(self._shade, points_m)
        if self._moving is not None:
            share[self._moving.blocked(points_m, np.array([0.0, 0.0, 1.0]))] *= _BENEATH
        return share

    def blocked(self, points_m: np.ndarray, normals: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Whether something stands in one direction [3] from points float32 [N, 3], bool [N]."""
        origins = points_m + normals * np.float32(_LIFT_M)
        blocked = self._standing.blocked(origins, direction)
        if self._moving is not None:
            low = np.nonzero(~blocked & (origins[:, 2] < self._moving.top_m))[0]
            blocked[low] = self._moving.blocked(origins[low], direction)
        return blocked


class _Mesh:
    """Triangles that rays are cast at together."""

    def __init__(self, pieces: list[tuple[np.ndarray, np.ndarray]], rows: np.ndarray | None = None) -> None:
        """pieces: vertices and faces; rows: the row in the scene's attributes of every face, if not in order."""
        self._first_face = np.cumsum([0] + [len(faces) for _, faces in pieces[:-1]]).astype(np.int32)
        self._rows, self._corners_m = rows, np.concatenate([vertices_m for vertices_m, _ in pieces])
        self._embree = EmbreeScene(robust=True)
        self._meshes = [TriangleMesh(self._embree, vertices_m, faces) for vertices_m, faces in pieces]

    @cached_property
    def _columns_m(self) -> np.ndarray:
        """[2, V] x and y of all corners, each in one piece."""
        return np.ascontiguousarray(self._corners_m[:, :2].T)

    @cached_property
    def top_m(self) -> float:
        return float(self._corners_m[:, 2].max(initial=0.0))

    def within_reach(self, origins_m: np.ndarray, directions: np.ndarray, distance_m: np.ndarray) -> np.ndarray:
        """Indices [K] of rays that could meet this before they end at a distance [N]: those that get as far as the
        nearest corner and are not above everything by then. Origins lie within a few metres of each other."""
        x, y = (self._columns_m[axis] - origins_m[0, axis] for axis in (0, 1))
        nearest_m = math.sqrt((x * x + y * y).min(initial=1e12)) - _SLACK_M
        if nearest_m <= 0:
            return np.arange(len(directions))
        level = np.sqrt(1 - directions[:, 2] ** 2)
        lowest_m = origins_m[:, 2].min()
        above = directions[:, 2] * np.float32(nearest_m) > np.float32(self.top_m - lowest_m) * level
        return np.nonzero((distance_m > nearest_m) & ~(above & (directions[:, 2] > 0)))[0]

    def cast(self, origins_m: np.ndarray, directions: np.ndarray) -> Hits:
        found = self._embree.run(origins_m, directions, output=1)
        face, geometry = found["primID"], found["geomID"]
        hit = face >= 0
        face[hit] += self._first_face[geometry[hit]]
        if self._rows is not None:
            face[hit] = self._rows[face[hit]]
        found["tfar"][~hit] = np.inf
        return Hits(found["tfar"], face)

    def blocked(self, origins_m: np.ndarray, direction: np.ndarray) -> np.ndarray:
        return self._embree.run(origins_m, np.asarray(direction, np.float32)[None], query="OCCLUDED") >= 0
