"""Poses from sensor_msgs/NavSatFix: metres east, north and up of an origin, heading along the way driven."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpr_core.data.poses import PoseTrack
from vpr_core.data.stamps import StampOrder, header_stamp_ns
from vpr_core.errors import InputError
from vpr_core.geodesy import GeoPoint, enu_from_wgs84
from vpr_core.types import Pose

_NO_FIX = 0
"""sensor_msgs/NavSatStatus: below it (STATUS_NO_FIX, STATUS_UNKNOWN) there is no position."""
_MAX_GAP_NS = 1_500_000_000
"""Many receivers give one fix a second."""
_JITTER_M = 10.0
_HEADING_BASE_M = 5.0
"""Fixes nearer to each other than this say nothing about the direction between them."""


class GnssFixes:
    """The fixes of a drive; the origin is the first one unless another is given."""

    base_frame = ""
    """The antenna's is not it: the heading is the vehicle's."""

    def __init__(self, order: StampOrder, max_speed_mps: float, origin: GeoPoint | None) -> None:
        self._order, self._max_speed_mps = order, max_speed_mps
        self._given = origin
        self._fixes: dict[int, GeoPoint] = {}

    def take(self, topic: str, message: Any) -> None:
        stamp_ns = header_stamp_ns(message)
        fix = GeoPoint(float(message.latitude), float(message.longitude), float(message.altitude))
        if int(message.status.status) < _NO_FIX:
            self._drop("no fix")
        elif not np.isfinite(fix[:2]).all() or abs(fix.latitude_deg) > 90:
            self._drop("position is not on Earth")
        elif self._order.accept(stamp_ns):
            if not np.isfinite(fix.altitude_m):
                self._order.irregular[f"{self._order.name}: fix without altitude, put at that of the origin"] += 1
            self._fixes[stamp_ns] = fix

    @property
    def origin(self) -> GeoPoint:
        if self._given is not None or not self._fixes:
            return self._given or GeoPoint(0.0, 0.0, 0.0)
        first = self._fixes[min(self._fixes)]
        return first._replace(altitude_m=first.altitude_m if np.isfinite(first.altitude_m) else 0.0)

    @property
    def map_frame(self) -> str:
        """Drives of one origin share a frame, those of two do not; hence the origin is in its name."""
        latitude, longitude, altitude = self.origin
        return f"enu:{latitude:.8f},{longitude:.8f},{altitude:.3f}"

    @property
    def card(self) -> dict[str, Any]:
        origin = {name: round(value, 9) for name, value in self.origin._asdict().items()}
        heading = f"along the way driven, over at least {_HEADING_BASE_M:g} m; kept while standing"
        return {"source": "gnss", "origin": origin, "heading": heading}

    def track(self) -> PoseTrack:
        stamps = sorted(self._fixes)
        fixes = np.array([self._fixes[stamp] for stamp in stamps], float).reshape(-1, 3)
        altitude_m = np.where(np.isfinite(fixes[:, 2]), fixes[:, 2], self.origin.altitude_m)
        positions_m = enu_from_wgs84(fixes[:, 0], fixes[:, 1], altitude_m, self.origin)
        poses = [
            Pose((float(x), float(y), float(z)), Pose.from_xy_yaw(0.0, 0.0, yaw).quaternion_xyzw)
            for (x, y, z), yaw in zip(positions_m, headings_rad(positions_m), strict=True)
        ]
        return PoseTrack(np.array(stamps, np.int64), poses, self._max_speed_mps, _MAX_GAP_NS, _JITTER_M)

    def _drop(self, reason: str) -> None:
        self._order.drops[f"{self._order.name}: {reason}"] += 1


def headings_rad(positions_m: np.ndarray) -> list[float]:
    """Yaw of each of [N, 3] positions, counter-clockwise from east, from the way that leads to and from it.

    Positions that barely move keep the last direction, and the first one before the vehicle moved at all.
    """
    turning, way = [0], np.zeros(len(positions_m))
    for index, position in enumerate(positions_m):
        away_m = float(np.linalg.norm((position - positions_m[turning[-1]])[:2]))
        way[index] = len(turning) - 1 + min(away_m / _HEADING_BASE_M, 1.0)
        if away_m >= _HEADING_BASE_M:
            turning.append(index)
    if len(turning) < 2:
        return [0.0] * len(positions_m)
    steps = np.diff(positions_m[turning], axis=0)
    directions = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    # The direction of a step holds in its middle; a vehicle turns evenly enough in between.
    return [float(yaw) for yaw in np.interp(way, np.arange(len(steps)) + 0.5, directions)]


def parse_origin(text: str) -> GeoPoint:
    """ "LAT,LON" or "LAT,LON,ALT" in degrees and metres; raises InputError."""
    try:
        origin = GeoPoint(*map(float, text.split(",")))
    except (ValueError, TypeError):
        raise InputError(f"{text!r} is no origin: expected LAT,LON or LAT,LON,ALT in degrees and metres") from None
    if not np.isfinite(origin).all() or abs(origin.latitude_deg) > 90 or abs(origin.longitude_deg) > 360:
        raise InputError(f"{text!r} lies not on Earth: expected LAT,LON or LAT,LON,ALT in degrees and metres")
    return origin
