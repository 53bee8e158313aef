"""Re-ranking of a map's places by what their pictures share with the query's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_core.errors import BundleError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.local_features import FeatureKind
from vpr_core.retrieval.place_features import PlaceFeatures, load_kind
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.verify import rerank


@dataclass(frozen=True)
class Reranker:
    """The features of a map, and how those of a query are taken."""

    kind: FeatureKind
    places: PlaceFeatures
    candidates: int
    """How many places of the retrieval are compared."""

    @classmethod
    def load(
        cls, folder: str | Path, place_map: PlaceMap, bundle: Bundle, candidates: int, device: str = "cpu"
    ) -> Reranker:
        """That of the map in a folder.

        Raises MapError where the map has no features, or damaged ones or another map's; BundleError for a LiDAR.
        """
        if bundle.modality != "camera":
            raise BundleError(f"re-ranking compares images, the bundle is a {bundle.modality} bundle: set rerank to 0")
        places = PlaceFeatures.load(folder, place_map.hash)
        return cls(load_kind(folder, places, device), places, candidates)

    def order(self, image: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, list[int | None]]:
        """The order of places that were retrieved, int64 [K], and in that order the inliers of each.

        image: RGB uint8 [H, W, 3]. rows: [K], of which the first `candidates` are compared; the others stay behind
        them, with None. Places with equally many inliers stay in the order of the retrieval.
        """
        compared = rows[: self.candidates]
        first, inliers = rerank(
            self.kind.of(image, self.places.size), [self.places[row] for row in compared], self.kind.match
        )
        rest = np.arange(len(compared), len(rows))
        return np.concatenate([first, rest]), [*(int(count) for count in inliers[first]), *(None for _ in rest)]
