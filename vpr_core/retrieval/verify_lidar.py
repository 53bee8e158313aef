"""The candidates of a recognition checked against the clouds of their places.

Every candidate is registered, whatever its similarity: the best one is kept, not the first and not the last. Two that
fit equally well and mean different poses make the answer ambiguous, which is a refusal.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from vpr_core.data.poses import compose
from vpr_core.errors import MapError
from vpr_core.retrieval.place_clouds import PlaceClouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.registration import (
    Registration,
    RegistrationOptions,
    are_apart,
    matrix_of,
    register_surfaces,
    surface_of,
)
from vpr_core.retrieval.surface import Surface
from vpr_core.types import Pose, Recognition

KEPT_SURFACES = 32
"""Places whose surfaces stay in memory, about 1 MB each: the next query mostly asks for the same."""


@dataclass(frozen=True)
class Verified:
    """Where the vehicle is, in the map, by the cloud of one place."""

    place_id: int
    T_map_base: Pose
    """At the middle of the query's sweep."""
    stamp_ns: int
    """Of that moment: the query's stamp and the map's `sweep_middle_s`."""
    covariance: np.ndarray
    """[6, 6] of x, y, z [m] and rotations about x, y, z [rad], in this order, in the map's frame and about its axes.
    Of the registration alone: how well the map's poses are known is not in it."""
    registration: Registration


@dataclass(frozen=True)
class Verification:
    """What checking the candidates of one recognition gave."""

    verified: Verified | None
    """None: NOT_VERIFIED, for `reason`."""
    reason: str
    tried: tuple[tuple[int, Registration], ...]
    """Each candidate's place and registration, in the order of the recognition."""


class LidarVerifier:
    """A map's places with their clouds, ready to check candidates against; for one thread.

    options: how clouds are registered and what is accepted.
    T_base_lidar: where the query's LiDAR is mounted; None where the map's was.
    Raises MapError where the clouds are not the map's or its places have no poses.
    """

    def __init__(
        self,
        place_map: PlaceMap,
        clouds: PlaceClouds,
        options: RegistrationOptions | None = None,
        T_base_lidar: Pose | None = None,
    ) -> None:
        if clouds.map_hash != place_map.hash or len(clouds) != len(place_map):
            raise MapError(f"clouds of map {clouds.map_hash} came for map {place_map.hash}: load those beside the map")
        if not place_map.has_poses:
            raise MapError("a map without poses cannot be verified against: ingest its drive with --pose_topic")
        self._map, self._clouds = place_map, clouds
        made = clouds.options
        self.options = options or RegistrationOptions(
            voxel_m=made.voxel_m, min_range_m=made.min_range_m, max_range_m=made.max_range_m
        )
        self._T_base_lidar = T_base_lidar or clouds.options.T_base_lidar
        self._surfaces: OrderedDict[int, Surface] = OrderedDict()

    @classmethod
    def load(cls, folder: str | Path, options: RegistrationOptions | None = None) -> LidarVerifier:
        """Of a place map's folder; raises MapError where it or its clouds are absent or damaged."""
        place_map = PlaceMap.load(folder)
        return cls(place_map, PlaceClouds.load(folder, place_map.hash), options)

    def verify(self, cloud: np.ndarray, recognition: Recognition, T_base_lidar: Pose | None = None) -> Verification:
        """Check every match of a recognition against the cloud [N, 3 or more] (x, y, z [m] in the LiDAR's frame).

        T_base_lidar: where the LiDAR was for this cloud, where it moves on the vehicle.
        Raises InputError where it is no cloud.
        """
        query = self._query(cloud, T_base_lidar or self._T_base_lidar)
        places = list(dict.fromkeys(match.place_id for match in recognition.matches))
        tried = tuple((place_id, register_surfaces(query, self._surface(place_id), None, self.options))
                      for place_id in places)  # fmt: skip
        stamp_ns = recognition.stamp_ns + round(self._clouds.options.sweep_middle_s * 1e9)
        found = [self._verified(place_id, one, stamp_ns) for place_id, one in tried if one.accepted]
        found.sort(key=lambda one: one.registration.score, reverse=True)
        if not found:
            return Verification(None, _why_none(tried), tried)
        if rival := next((other for other in found[1:] if self._contradicts(found[0], other)), None):
            return Verification(None, f"ambiguous: {_named(found[0])} and {_named(rival)} both fit", tried)
        return Verification(found[0], found[0].registration.reason, tried)

    def _query(self, cloud: np.ndarray, T_base_lidar: Pose) -> Surface:
        T = matrix_of(T_base_lidar)
        points = np.asarray(cloud)
        if points.ndim == 2 and points.shape[1] >= 3 and np.issubdtype(points.dtype, np.floating):
            points = points[:, :3] @ T[:3, :3].T + T[:3, 3]
        return surface_of(points, self.options, T_base_lidar.position_m)

    def _surface(self, place_id: int) -> Surface:
        surface = self._surfaces.pop(place_id, None)
        if surface is None:
            sensor_m = self._clouds.options.T_base_lidar.position_m
            surface = surface_of(self._clouds[place_id], self.options, sensor_m)
        self._surfaces[place_id] = surface
        if len(self._surfaces) > KEPT_SURFACES:
            self._surfaces.popitem(last=False)
        return surface

    def _verified(self, place_id: int, registration: Registration, stamp_ns: int) -> Verified:
        T_map_place = self._map.places[place_id].pose
        assert T_map_place is not None
        T_map_base = compose(T_map_place, registration.T_place_query)
        spread = turned(registration.covariance, T_map_place)
        return Verified(place_id, T_map_base, stamp_ns, spread, registration)

    def _contradicts(self, best: Verified, other: Verified) -> bool:
        """Whether the other fits about as well and means another pose."""
        score = best.registration.score
        near = other.registration.score >= score - self.options.rival_margin * abs(score)
        return near and are_apart(matrix_of(best.T_map_base), matrix_of(other.T_map_base))


def turned(covariance: np.ndarray, T_map_place: Pose) -> np.ndarray:
    """A covariance [6, 6] along the place's axes along the map's."""
    rotation = Rotation.from_quat(T_map_place.quaternion_xyzw).as_matrix()
    both = np.kron(np.eye(2), rotation)
    return np.asarray(both @ covariance @ both.T)


def _why_none(tried: tuple[tuple[int, Registration], ...]) -> str:
    """The words of the candidate that came nearest."""
    if not tried:
        return "no candidate"
    place_id, best = max(tried, key=lambda one: one[1].score)
    return f"none of {len(tried)} candidates fits; the nearest, place {place_id}: {best.reason}"


def _named(verified: Verified) -> str:
    x, y, _ = verified.T_map_base.position_m
    return f"place {verified.place_id} (pose {x:.1f}, {y:.1f} m, score {verified.registration.score:.2f})"
