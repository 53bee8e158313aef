"""Rays through bare trees: a leaf that has fallen stops neither light nor a LiDAR's beam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_core.synthetic.conditions import Condition
from vpr_core.synthetic.scene import Hits, Scene
from vpr_core.synthetic.surface import Material
from vpr_core.synthetic.texture import hashed

# A ray that goes on from a face would hit it again at rounding distance.
_BEYOND_M = 0.003
# The thickest crown along one ray has fewer faces; a ray that met more would end there.
_MOST_FACES = 40
# Light through so many leaves' twigs is about as good as lost.
_MOST_FACES_OF_SHADE = 5
_TWIGS_OF_A_LEAF = 0.07
_LIFT_M = 0.02


@dataclass(frozen=True)
class Passage:
    """What N rays met first when fallen leaves are gone."""

    hits: Hits
    fallen: np.ndarray
    """[N] float32: fallen leaves on the way, where twigs still stand."""
    twigs_m: np.ndarray
    """[N] float32: distance to the first of them; inf without any."""

    @property
    def twig_share(self) -> np.ndarray:
        """[N] share of a pixel that twigs too thin to be modelled cover."""
        return _twig_share(self.fallen)


def passes_leaves(scene: Scene, hits: Hits, condition: Condition) -> np.ndarray:
    """Whether what each ray met is a leaf that has fallen, bool [N]; one leaf gives the same answer to all sensors."""
    fallen = np.zeros(len(hits.face), bool)
    if condition.leaves < 1:
        leaf = np.nonzero((hits.face >= 0) & (scene.material[hits.face] == Material.LEAVES))[0]
        face = hits.face[leaf]
        fallen[leaf] = hashed(scene.owner[face], face) >= condition.leaves
    return fallen


def cast(
    scene: Scene,
    origins_m: np.ndarray,
    directions: np.ndarray,
    condition: Condition,
    *,
    most_faces: int = _MOST_FACES,
) -> Passage:
    """Rays from one point [3] or from one each [N, 3] along unit vectors float32 [N, 3], on through fallen leaves.

    A ray ends at the leaf that comes after `most_faces` others.
    """
    hits = scene.cast(origins_m, directions)
    passed = np.zeros(len(directions), np.float32)
    going = np.nonzero(passes_leaves(scene, hits, condition))[0]
    if not len(going):
        return Passage(hits, passed, np.full(len(directions), np.inf, np.float32))
    distance_m, face = hits.distance_m.copy(), hits.face.copy()
    twigs_m = np.full(len(directions), np.inf, np.float32)
    twigs_m[going] = distance_m[going]
    origins = np.broadcast_to(np.asarray(origins_m, np.float32), directions.shape)
    for _ in range(most_faces):
        passed[going] += 1
        start_m = distance_m[going] + np.float32(_BEYOND_M)
        onward = scene.cast(origins[going] + directions[going] * start_m[:, None], directions[going])
        distance_m[going], face[going] = start_m + onward.distance_m, onward.face
        going = going[passes_leaves(scene, onward, condition)]
        if not len(going):
            break
    return Passage(Hits(distance_m, face), passed, twigs_m)


def shaded(
    scene: Scene, points_m: np.ndarray, normals: np.ndarray, direction: np.ndarray, condition: Condition
) -> np.ndarray:
    """Share of a distant light [N] that is kept from points float32 [N, 3]; bare crowns cast a thin shadow."""
    blocked = scene.blocked(points_m, normals, direction).astype(np.float32)
    behind = np.nonzero(blocked)[0] if condition.leaves < 1 else np.empty(0, int)
    if len(behind):
        origins = points_m[behind] + normals[behind] * np.float32(_LIFT_M)
        rays = np.ascontiguousarray(np.broadcast_to(np.asarray(direction, np.float32), origins.shape))
        passage = cast(scene, origins, rays, condition, most_faces=_MOST_FACES_OF_SHADE)
        blocked[behind] = np.where(passage.hits.face >= 0, np.float32(1), passage.twig_share)
    return blocked


def _twig_share(fallen: np.ndarray) -> np.ndarray:
    return 1 - np.exp(-np.float32(_TWIGS_OF_A_LEAF) * fallen)
