"""The candidates of a recognition checked against the clouds of their places."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np

from vpr_core.errors import MapError
from vpr_core.retrieval.place_clouds import PlaceClouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.registration import Registration, RegistrationOptions, register_surfaces, surface_of
from vpr_core.retrieval.rigid import matrix_of
from vpr_core.retrieval.surface import Surface
from vpr_core.retrieval.verification import Verification, decide
from vpr_core.types import Pose, Recognition

KEPT_SURFACES = 32
"""Places whose surfaces stay in memory, about 1 MB each: the next query mostly asks for the same."""


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

    def verify(
        self, cloud: np.ndarray, recognition: Recognition, T_base_lidar: Pose | None = None
    ) -> Verification[Registration]:
        """Check every match of a recognition against the cloud [N, 3 or more] (x, y, z [m] in the LiDAR's frame).

        T_base_lidar: where the LiDAR was for this cloud, where it moves on the vehicle.
        Raises InputError where it is no cloud.
        """
        query = self._query(cloud, T_base_lidar or self._T_base_lidar)
        places = list(dict.fromkeys(match.place_id for match in recognition.matches))
        tried = tuple((place_id, register_surfaces(query, self._surface(place_id), None, self.options))
                      for place_id in places)  # fmt: skip
        stamp_ns = recognition.stamp_ns + round(self._clouds.options.sweep_middle_s * 1e9)
        return decide(self._map, tried, stamp_ns, self.options.rival_margin)

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
