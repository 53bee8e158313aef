"""Cheap evidence of how far a search may be believed, from the similarity of one query to every place of the map.

After Zaffar et al., "On the Estimation of Image-matching Uncertainty in Visual Place Recognition" (CVPR 2024): the
distance of the descriptors, what the best candidate elsewhere has against it, and how far the poses of the most similar
places lie apart. A neighbour along the road is the same place twice, not a rival: only what lies outside an exclusion
radius counts as elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_core.retrieval.light import NO_LIGHT
from vpr_core.retrieval.place_map import Place

AGREEING = 10
"""Of so many most similar places the share that lies by the candidate is its agreement."""
SPREAD_OVER = 5
"""Of so many most similar places the median of the distances from the candidate is its spread."""
MARGIN_LIMIT = 10.0
"""Where hardly any place differs from the others, standard deviations say nothing beyond this."""
FARTHEST = 2.0
"""The largest distance of two unit descriptors: that of the rival in a map that has no place elsewhere."""

RESOLUTION = 1e-3
"""What float32 tells of a distance near 0; added to both sides of a ratio, so that of two copies none is nearer."""


@dataclass(frozen=True)
class Layout:
    """How far the places of a map lie from one another.

    In metres, in x and y, where every place has a pose. Where poses lack, in places along the same session, and without
    end between sessions: an exclusion radius is then a number of places.
    """

    positions_m: np.ndarray | None
    """float64 [N, 2] in the map frame; None without poses."""
    session: np.ndarray
    """int [N], the number of each place's session."""

    @classmethod
    def of(cls, places: Sequence[Place]) -> Layout:
        """The layout of a map's places, in its order."""
        names = {place.session: number for number, place in enumerate(places)}
        poses = [place.pose.position_m[:2] for place in places if place.pose is not None]
        positions = np.array(poses, dtype=np.float64).reshape(-1, 2) if len(poses) == len(places) else None
        return cls(positions, np.array([names[place.session] for place in places], dtype=np.int64))

    def apart(self, rows: np.ndarray) -> np.ndarray:
        """float64 [K, N]: how far each place of the map lies from those of int `rows` [K]."""
        if self.positions_m is not None:
            return np.linalg.norm(self.positions_m[rows][:, None] - self.positions_m[None], axis=-1)
        steps = np.abs(np.arange(len(self.session))[None] - rows[:, None]).astype(np.float64)
        return np.where(self.session[rows][:, None] == self.session[None], steps, np.inf)


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against K candidates of one query; a row each, in the candidates' order."""

    rows: np.ndarray
    """int64 [K], the candidates."""
    distance: np.ndarray
    """[K] Euclidean distance of the unit descriptors, in [0, 2]."""
    ratio: np.ndarray
    """[K] that distance over the one of the most similar place elsewhere; above 1 where that is more similar.

    Both with RESOLUTION added.
    """
    margin: np.ndarray
    """[K] similarity above the most similar place elsewhere, in standard deviations of the similarity to all places."""
    agreement: np.ndarray
    """[K] share of the AGREEING most similar places that lies within the exclusion radius of the candidate."""
    spread: np.ndarray
    """[K] median distance from the candidate to the SPREAD_OVER most similar places [m, or places without poses]."""
    elsewhere: np.ndarray
    """bool [K]: outside the exclusion radius of the first candidate."""
    rival: int
    """Row of the most similar place outside the exclusion radius of the first candidate; -1 where there is none."""
    light: tuple[float, ...] = NO_LIGHT
    """In which the query was taken, see `light`."""
    is_look_alike: bool = False
    """Whether the first candidate looks like that rival in the map itself, see `look_alikes`."""


def evidence_of(
    similarity: np.ndarray,
    rows: np.ndarray,
    layout: Layout,
    exclusion: float,
    light: tuple[float, ...] = NO_LIGHT,
) -> Evidence:
    """Evidence for the candidates int `rows` [K], the one to be judged first.

    similarity: float [N] cosine of the query to every place. exclusion: radius [m, or places without poses] within
    which places show the same as the candidate. A map of few places, or of none elsewhere, gives a ratio to FARTHEST.
    light: of the query's image.
    """
    similarity, rows = similarity.astype(np.float64), np.asarray(rows, dtype=np.int64)
    top = np.argsort(-similarity, kind="stable")[:AGREEING]
    apart = layout.apart(rows)
    near = np.less_equal(apart, exclusion)
    rivals = np.where(near, -np.inf, similarity[None]).argmax(axis=1)
    has_rival = ~near.all(axis=1)
    against = np.where(has_rival, similarity[rivals], -1.0)
    scale = max(float(similarity.std()), 1e-6)
    distance = _distance(similarity[rows])
    margin = np.clip((similarity[rows] - against) / scale, -MARGIN_LIMIT, MARGIN_LIMIT)
    return Evidence(
        rows=rows,
        distance=distance,
        ratio=(distance + RESOLUTION) / (np.where(has_rival, _distance(against), FARTHEST) + RESOLUTION),
        margin=margin,
        agreement=near[:, top].mean(axis=1),
        spread=np.median(apart[:, top[:SPREAD_OVER]], axis=1),
        elsewhere=~near[0][rows],
        rival=int(rivals[0]) if has_rival[0] else -1,
        light=light,
    )


def _distance(similarity: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0))
