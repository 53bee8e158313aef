"""The one call behind the command line and the live node: an image or a cloud in, places out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr_core.errors import InputError, MapError
from vpr_core.preprocess import check_aspect, check_image
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.gate import judge
from vpr_core.retrieval.index import Index, build_index
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.reranker import Reranker
from vpr_core.types import Match, Reason, Recognition

DEFAULT_TOP_K = 5


@dataclass(frozen=True)
class PlaceRecognizer:
    """A bundle and a map made with it."""

    bundle: Bundle
    place_map: PlaceMap
    index: Index
    top_k: int
    min_similarity: float
    device: str
    reranker: Reranker | None = None

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        place_map: str | Path,
        *,
        top_k: int = DEFAULT_TOP_K,
        min_similarity: float | None = None,
        device: str = "cpu",
        threads: int = 0,
        rerank: int = 0,
    ) -> PlaceRecognizer:
        """Load both folders.

        min_similarity: a match is accepted from here up; None takes the threshold stored in the bundle, or accepts
        every best match where the bundle has none.
        rerank: so many of the most similar places are put in the order of what their pictures share with the query's,
        for which the map has local features; 0 leaves the order of the descriptors.
        Raises BundleError and MapError; a map made with another bundle or of another sensor is refused, and for
        `rerank` one without local features.
        """
        if rerank < 0:
            raise InputError(f"rerank is {rerank}, expected 0 or more places")
        loaded = Bundle.load(bundle, device, threads)
        if min_similarity is None:
            min_similarity = -1.0 if loaded.accept_similarity is None else loaded.accept_similarity
        places = _load_map(place_map, loaded)
        reranker = Reranker.load(place_map, places, loaded, rerank, device) if rerank else None
        return cls(loaded, places, build_index(places.descriptors, device), top_k, min_similarity, device, reranker)

    def with_map(self, place_map: str | Path) -> PlaceRecognizer:
        """The same model and settings on another map; raises MapError."""
        places, reranker = _load_map(place_map, self.bundle), self.reranker
        if reranker:
            reranker = Reranker.load(place_map, places, self.bundle, reranker.candidates, self.device)
        return replace(self, place_map=places, index=build_index(places.descriptors, self.device), reranker=reranker)

    def recognize(self, observation: np.ndarray, stamp_ns: int, top_k: int | None = None) -> Recognition:
        """Places for what the sensor of the bundle's modality saw at `stamp_ns`.

        observation: camera: an RGB uint8 image [H, W, 3]; lidar: a cloud [N, 3 or more] (x, y, z [m] first).
        top_k: how many places; None as many as the recognizer was loaded with.
        Raises InputError where the image is no picture or has another aspect than the map's images, where the cloud is
        empty or shows too little, and where not even one place is asked for.
        """
        top_k = self.top_k if top_k is None else top_k
        if top_k < 1:
            raise InputError(f"top_k is {top_k}, expected 1 or more places")
        if self.place_map.image_size is not None:
            check_image(observation)
            check_aspect(observation, *self.place_map.image_size)
        descriptor = self.bundle.encode([observation])
        compared = self.reranker.candidates if self.reranker else 0
        similarities, rows = (found[0] for found in self.index.search(descriptor, max(top_k, compared)))
        inliers: list[int | None] = [None] * len(rows)
        if self.reranker:
            order, inliers = self.reranker.order(observation, rows)
            similarities, rows = similarities[order], rows[order]
        reasons = judge([float(value) for value in similarities[:top_k]], self.min_similarity)
        matches = tuple(map(self._match, rows, similarities, reasons, inliers))
        return Recognition(stamp_ns, matches, descriptor[0])

    def _match(self, row: int, similarity: float, reason: Reason, inliers: int | None) -> Match:
        place = self.place_map.places[row]
        return Match(int(row), place.session, place.stamp_ns, place.pose, float(similarity), reason, inliers=inliers)

    @property
    def modality(self) -> str:
        """What it recognises places by: "camera" or "lidar"."""
        return self.bundle.modality

    @property
    def model_hash(self) -> str:
        return self.bundle.hash

    @property
    def map_hash(self) -> str:
        return self.place_map.hash

    @property
    def map_frame(self) -> str:
        """Coordinate frame of the matches' poses; empty in a map without poses."""
        return self.place_map.map_frame if self.has_poses else ""

    @property
    def num_places(self) -> int:
        return len(self.place_map)

    @property
    def has_poses(self) -> bool:
        return self.place_map.has_poses


def _load_map(folder: str | Path, bundle: Bundle) -> PlaceMap:
    places = PlaceMap.load(folder, bundle.hash, bundle.modality)
    if not len(places):
        raise MapError(f"{folder} has no places")
    if places.descriptors.shape[1] != bundle.dim:
        raise MapError(f"{folder} holds {places.descriptors.shape[1]}-d descriptors, the bundle gives {bundle.dim}-d")
    return places
