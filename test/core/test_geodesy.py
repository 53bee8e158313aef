"""WGS84 to local metres and back: round trips, published pairs, and places where the answer can be worked out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vpr_core.geodesy import EQUATOR_M, FLATTENING, GeoPoint, enu_from_wgs84, wgs84_from_enu


@pytest.mark.parametrize("origin", [
    GeoPoint(49.01, 8.42, 120.0), GeoPoint(-33.86, 151.21, 5.0), GeoPoint(0.0, 180.0), GeoPoint(89.99, -70.0, 2000.0),
])  # fmt: skip
def test_five_kilometres_there_and_back_within_a_millimetre(origin: GeoPoint) -> None:
    enu_m = np.random.default_rng(0).uniform(-5000, 5000, (500, 3)) * (1, 1, 0.2)
    geodetic = wgs84_from_enu(enu_m, origin)
    np.testing.assert_allclose(enu_from_wgs84(*geodetic.T, origin), enu_m, atol=1e-3)
    assert np.abs(geodetic[:, 1]).max() <= 180 and np.abs(geodetic[:, 0]).max() <= 90


def test_a_published_pair() -> None:
    """The pair that pymap3d and Matlab's geodetic2enu are tested with: 1 km away at azimuth 33, elevation 70 deg."""
    origin = GeoPoint(42.0, -82.0, 200.0)
    enu_m = np.array([[186.277521, 286.842228, 939.692621]])
    np.testing.assert_allclose(wgs84_from_enu(enu_m, origin), [[42.002582, -81.997752, 1139.7018]], atol=1e-6)
    found_m = enu_from_wgs84(42.002582, -81.997752, 1139.7018, origin)
    np.testing.assert_allclose(found_m, enu_m, atol=0.1)  # of the six decimals of the published degrees


def test_where_it_can_be_worked_out() -> None:
    along_the_equator = enu_from_wgs84(0.0, 1.0, 0.0, GeoPoint(0.0, 0.0))
    one = math.radians(1)
    np.testing.assert_allclose(along_the_equator, [[EQUATOR_M * math.sin(one), 0, EQUATOR_M * (math.cos(one) - 1)]])
    # From the equator the north pole lies a polar radius north and an equatorial radius down.
    to_the_pole = enu_from_wgs84(90.0, 0.0, 0.0, GeoPoint(0.0, 0.0))
    np.testing.assert_allclose(to_the_pole, [[0, EQUATOR_M * (1 - FLATTENING), -EQUATOR_M]], atol=1e-6)


def test_straight_up_is_up_and_a_hole_in_the_fixes_stays_one() -> None:
    origin = GeoPoint(60.0, 25.0, 10.0)
    found_m = enu_from_wgs84(np.array([60.0, np.nan]), np.array([25.0, 25.0]), np.array([35.0, 0.0]), origin)
    np.testing.assert_allclose(found_m[0], [0, 0, 25], atol=1e-9)
    assert np.isnan(found_m[1]).all()
