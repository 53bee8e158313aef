"""Latitude and longitude on the WGS84 ellipsoid, and metres east, north and up of an origin (ENU, REP-103)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# NIMA TR8350.2: the ellipsoid's equatorial radius and flattening.
EQUATOR_M = 6378137.0
FLATTENING = 1 / 298.257223563
_ECCENTRICITY_SQUARED = FLATTENING * (2 - FLATTENING)


class GeoPoint(NamedTuple):
    """A point on or above the WGS84 ellipsoid."""

    latitude_deg: float
    longitude_deg: float
    altitude_m: float = 0.0
    """Above the ellipsoid, as a GNSS receiver reports it in sensor_msgs/NavSatFix."""


def enu_from_wgs84(
    latitude_deg: np.ndarray | float,
    longitude_deg: np.ndarray | float,
    altitude_m: np.ndarray | float,
    origin: GeoPoint,
) -> np.ndarray:
    """[N, 3] float64 metres east, north and up of `origin`, in the plane that touches the ellipsoid there.

    latitude_deg, longitude_deg, altitude_m: [N] each, or one number. NaN gives NaN.
    """
    fixes = np.stack(np.broadcast_arrays(np.atleast_1d(latitude_deg), longitude_deg, altitude_m), axis=1)
    return (_ecef(fixes) - _ecef(np.array([origin]))) @ _ecef_from_enu(origin)


def wgs84_from_enu(enu_m: np.ndarray, origin: GeoPoint) -> np.ndarray:
    """[N, 3] float64 latitude [deg], longitude [deg] and altitude [m] of points [N, 3] east, north and up of `origin`.

    The inverse of `enu_from_wgs84` to below a micrometre, anywhere but near the Earth's centre.
    """
    ecef_m = _ecef(np.array([origin])) + np.asarray(enu_m, float) @ _ecef_from_enu(origin).T
    x, y, z = ecef_m.T
    from_axis_m = np.hypot(x, y)
    latitude = np.arctan2(z, from_axis_m * (1 - _ECCENTRICITY_SQUARED))
    # Each round brings the error down by the eccentricity squared, that is by about 150.
    for _ in range(6):
        lift_m = _ECCENTRICITY_SQUARED * _normal_radius_m(latitude) * np.sin(latitude)
        latitude = np.arctan2(z + lift_m, from_axis_m)
    sin, cos = np.sin(latitude), np.cos(latitude)
    # Distance along the normal; unlike from_axis / cos - radius, it holds at the poles.
    altitude_m = from_axis_m * cos + z * sin - EQUATOR_M**2 / _normal_radius_m(latitude)
    return np.stack([np.degrees(latitude), np.degrees(np.arctan2(y, x)), altitude_m], axis=1)


def _normal_radius_m(latitude: np.ndarray) -> np.ndarray:
    """Distance along the normal from the surface to the Earth's axis."""
    return EQUATOR_M / np.sqrt(1 - _ECCENTRICITY_SQUARED * np.sin(latitude) ** 2)


def _ecef(geodetic: np.ndarray) -> np.ndarray:
    """[N, 3] metres from the Earth's centre, x towards latitude 0, longitude 0, z towards the north pole, of [N, 3]
    latitudes [deg], longitudes [deg] and altitudes [m]."""
    latitude, longitude, altitude_m = np.radians(geodetic[:, 0]), np.radians(geodetic[:, 1]), geodetic[:, 2]
    radius_m = _normal_radius_m(latitude)
    from_axis_m = (radius_m + altitude_m) * np.cos(latitude)
    z_m = (radius_m * (1 - _ECCENTRICITY_SQUARED) + altitude_m) * np.sin(latitude)
    return np.stack([from_axis_m * np.cos(longitude), from_axis_m * np.sin(longitude), z_m], axis=1)


def _ecef_from_enu(origin: GeoPoint) -> np.ndarray:
    """[3, 3] rotation whose columns are east, north and up at the origin."""
    latitude, longitude = np.radians(origin.latitude_deg), np.radians(origin.longitude_deg)
    (sin_lat, cos_lat), (sin_lon, cos_lon) = ((np.sin(x), np.cos(x)) for x in (latitude, longitude))
    east = (-sin_lon, cos_lon, 0.0)
    north = (-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat)
    up = (cos_lat * cos_lon, cos_lat * sin_lon, sin_lat)
    return np.array([east, north, up]).T
