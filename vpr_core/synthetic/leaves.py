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


@dataclass(frozen=True)
class Passage:
    """What N rays met first when fallen leaves are gone."""

    hits: Hits
    fallen: np.ndarray
    """[N] float32: fallen leaves on the way, where twigs still stand."""


def passes_leaves(scene: Scene, hits: Hits, condition: Condition) -> np.ndarray:
    """Whether what each ray met is a leaf that has fallen, bool [N]; one leaf gives the same answer to all sensors."""
    fallen = np.zeros(len(hits.face), bool)
    if condition.leaves < 1:
        leaf = np.nonzero((hits.face >= 0) & (scene.material[hits.face] == Material.LEAVES))[0]
        face = hits.face[leaf]
        fallen[leaf] = hashed(scene.owner[face], face) >= condition.leaves
    return fallen


def cast(scene: Scene, origins_m: np.ndarray, directions: np.ndarray, condition: Condition) -> Passage:
    """Rays from one point [3] or from one each [N, 3] along unit vectors float32 [N, 3], on through fallen leaves."""
    hits = scene.cast(origins_m, directions)
    passed = np.zeros(len(directions), np.float32)
    going = np.nonzero(passes_leaves(scene, hits, condition))[0]
    if not len(going):
        return Passage(hits, passed)
    distance_m, face = hits.distance_m.copy(), hits.face.copy()
    origins = np.broadcast_to(np.asarray(origins_m, np.float32), directions.shape)
    for _ in range(_MOST_FACES):
        passed[going] += 1
        start_m = distance_m[going] + np.float32(_BEYOND_M)
        onward = scene.cast(origins[going] + directions[going] * start_m[:, None], directions[going])
        distance_m[going], face[going] = start_m + onward.distance_m, onward.face
        going = going[passes_leaves(scene, onward, condition)]
        if not len(going):
            break
    return Passage(Hits(distance_m, face), passed)
