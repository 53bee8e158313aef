"""The candidates of a recognition checked against the points in space of their places' local features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vpr_core.errors import InputError, MapError
from vpr_core.preprocess import check_image
from vpr_core.retrieval.camera_model import CameraModel
from vpr_core.retrieval.local_features import FeatureKind, LocalFeatures
from vpr_core.retrieval.place_features import PlaceFeatures, load_kind
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.place_points import PlacePoints
from vpr_core.retrieval.resection import LONGEST_PX, Resection, ResectionOptions, View, resect
from vpr_core.retrieval.rigid import matrix_of, moved
from vpr_core.retrieval.verification import Verification, decide
from vpr_core.retrieval.verify import mutual_nearest
from vpr_core.types import Pose, Recognition


@dataclass(frozen=True)
class _Seen:
    """What a query shows."""

    features: LocalFeatures
    camera: CameraModel
    T_base_camera: np.ndarray

    @cached_property
    def rays(self) -> np.ndarray:
        """[K, 2] of the features, x / z and y / z in the optical frame."""
        return self.camera.rays(self.features.points, self.features.size)

    @property
    def size_px(self) -> tuple[float, float]:
        """Width and height of a picture of LONGEST_PX."""
        scale = LONGEST_PX / max(self.camera.width, self.camera.height)
        return self.camera.width * scale, self.camera.height * scale

    def view(self, chosen: np.ndarray, points: np.ndarray) -> View:
        """Of features [N] with points [N, 3]."""
        size_px = self.size_px
        return View(chosen, self.rays[chosen], points, self.camera.focal_px(size_px), size_px, self.T_base_camera)


class CameraVerifier:
    """A map's places with their features and points in space, ready to check candidates against.

    options: how a pose is found and what is accepted.
    camera: the query's; None where it is the map's.
    T_base_camera: where the query's camera is mounted; None where the map's was.
    Raises MapError where features or points are not the map's or its places have no poses.
    """

    def __init__(
        self,
        place_map: PlaceMap,
        features: PlaceFeatures,
        points: PlacePoints,
        kind: FeatureKind,
        options: ResectionOptions | None = None,
        camera: CameraModel | None = None,
        T_base_camera: Pose | None = None,
    ) -> None:
        if points.map_hash != place_map.hash or not len(points) == len(features) == len(place_map):
            raise MapError(f"points of map {points.map_hash} came for map {place_map.hash}: load those beside the map")
        if not place_map.has_poses:
            raise MapError("a map without poses cannot be verified against: ingest its drive with --pose_topic")
        self._map, self._features, self._points, self._kind = place_map, features, points, kind
        self.options = options or ResectionOptions()
        self.camera = camera or points.camera
        self._T_base_camera = matrix_of(T_base_camera or points.T_base_camera)
        self._positions_m = np.array([place.pose.position_m for place in place_map.places if place.pose])

    @classmethod
    def load(
        cls,
        folder: str | Path,
        options: ResectionOptions | None = None,
        camera: CameraModel | None = None,
        device: str = "cpu",
    ) -> CameraVerifier:
        """Of a place map's folder; raises MapError where it, its features or their points are absent or damaged."""
        place_map = PlaceMap.load(folder)
        features = PlaceFeatures.load(folder, place_map.hash)
        points = PlacePoints.load(folder, place_map.hash, features)
        return cls(place_map, features, points, load_kind(folder, features, device), options, camera)

    def verify(
        self,
        image: np.ndarray,
        recognition: Recognition,
        T_base_camera: Pose | None = None,
        camera: CameraModel | None = None,
    ) -> Verification[Resection]:
        """Check every match of a recognition against the image, RGB uint8 [H, W, 3].

        T_base_camera, camera: of this image; None where they are the verifier's. Nothing is verified of an image that
        is of another size than the camera's. Raises InputError where it is no image.
        """
        check_image(image)
        camera = camera or self.camera
        try:
            camera.check_size((image.shape[1], image.shape[0]), "the query camera's calibration")
        except InputError as error:
            return Verification(None, str(error), ())
        mounted = self._T_base_camera if T_base_camera is None else matrix_of(T_base_camera)
        seen = _Seen(self._kind.of(image, self._features.size), camera, mounted)
        places = list(dict.fromkeys(match.place_id for match in recognition.matches))
        pairs = self._pairs(seen.features, places)
        tried = tuple((place_id, resect(self._view(seen, pairs, place_id), self.options)) for place_id in places)
        return decide(self._map, tried, recognition.stamp_ns, self.options.rival_margin)

    def _pairs(self, query: LocalFeatures, places: list[int]) -> dict[int, np.ndarray]:
        """Of the candidates and the places beside them the features that they share with the query, each found once."""
        needed = dict.fromkeys(place_id for candidate in places for place_id in self._beside(candidate))
        return {place_id: self._match(query, self._features[place_id]) for place_id in needed}

    def _match(self, query: LocalFeatures, place: LocalFeatures) -> np.ndarray:
        if self._kind.match is not None:
            return self._kind.match(query, place)
        return mutual_nearest(query, place, self.options.ratio)

    def _beside(self, place_id: int) -> list[int]:
        """The place and those near it, which mostly show the same things."""
        distance_m = np.linalg.norm(self._positions_m - self._positions_m[place_id], axis=1)
        distance_m[place_id] = -1.0
        nearest = np.argsort(distance_m, kind="stable")[: self.options.places]
        return [int(row) for row in nearest if distance_m[row] <= self.options.beside_m]

    def _view(self, seen: _Seen, pairs: dict[int, np.ndarray], place_id: int) -> View:
        """What the query shows of a place and those beside it, in the place's frame."""
        T_place_map = np.linalg.inv(self._matrix(place_id))
        features, points = [], []
        for other in self._beside(place_id):
            rows = pairs[other]
            features.append(rows[:, 0])
            points.append(moved(T_place_map @ self._matrix(other), self._points[other][rows[:, 1]]))
        return seen.view(np.concatenate(features), np.concatenate(points))

    def _matrix(self, place_id: int) -> np.ndarray:
        pose = self._map.places[place_id].pose
        assert pose is not None
        return matrix_of(pose)
