"""A town with the parked cars of one drive, ready to be looked at by rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from vpr_core.synthetic.facades import FacadeTable
from vpr_core.synthetic.ground import Ground
from vpr_core.synthetic.surface import Surface

# A ray that starts on a surface would hit it again at rounding distance.
_LIFT_M = 0.02


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
        self, surfaces: list[Surface], facades: FacadeTable, ground: Ground, cars_m: list[np.ndarray], seed: int
    ) -> None:
        """cars_m: the outline [N, 2] of every parked car; seed: of the drive, chooses lit windows and clouds."""
        self.facades, self.ground, self.seed = facades, ground, seed
        self._shade = ground.shaded_by(cars_m)
        self.material = np.concatenate([surface.material for surface in surfaces])
        self.colour = np.concatenate([surface.colour for surface in surfaces])
        self.owner = np.concatenate([surface.owner for surface in surfaces])
        self.normals = np.concatenate([surface.normals for surface in surfaces])
        self.label = np.concatenate([surface.label for surface in surfaces])
        first_face = np.cumsum([0] + [len(surface.faces) for surface in surfaces[:-1]])
        self._first_face = first_face.astype(np.int32)
        self._embree = EmbreeScene(robust=True)
        self._meshes = [TriangleMesh(self._embree, surface.vertices_m, surface.faces) for surface in surfaces]

    def at(self, time_s: float) -> Scene:
        """The scene with what moves where it is at a time since the start of the drive."""
        return self

    def cast(self, origin_m: np.ndarray, directions: np.ndarray) -> Hits:
        """Rays from one point [3] or from one each [N, 3], along unit vectors float32 [N, 3]."""
        origins = np.ascontiguousarray(np.broadcast_to(np.asarray(origin_m, np.float32), directions.shape))
        found = self._embree.run(origins, directions, output=1)
        face, geometry = found["primID"], found["geomID"]
        hit = face >= 0
        face[hit] += self._first_face[geometry[hit]]
        found["tfar"][~hit] = np.inf
        return Hits(found["tfar"], face)

    def open_beside_cars(self, points_m: np.ndarray) -> np.ndarray:
        """Share of the sky [N] that ground points [N, 3] see past parked cars."""
        return self.ground.look_up(self._shade, points_m)

    def blocked(self, points_m: np.ndarray, normals: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Whether something stands in one direction [3] from points float32 [N, 3], bool [N]."""
        origins = points_m + normals * np.float32(_LIFT_M)
        directions = np.asarray(direction, np.float32)[None]
        return self._embree.run(origins, directions, query="OCCLUDED") >= 0
