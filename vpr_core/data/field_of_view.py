"""How much of what one camera sees another sees too, by position and heading alone."""

from __future__ import annotations

import numpy as np

_RINGS, _RAYS = 24, 24
"""Points of a view that are looked for in another; the overlap is right to about a hundredth."""
_AT_ONCE = 4096


def view_overlap(first: np.ndarray, second: np.ndarray, angle_deg: float, reach_m: float) -> np.ndarray:
    """float64 [N], the share of each first view's area that lies in the second's, in [0, 1].

    first, second [N, 3]: x and y [m] and yaw [rad] of cameras, each of which sees a sector of a circle: `angle_deg`
    wide, half of it to either side of its yaw, and `reach_m` far. All views are of one size, so that the overlap is
    the same from either side.
    """
    parts = range(0, len(first), _AT_ONCE)
    found = [_overlap(first[at : at + _AT_ONCE], second[at : at + _AT_ONCE], angle_deg, reach_m) for at in parts]
    return np.concatenate([np.empty(0), *found])


def most_similar_views(
    near: list[np.ndarray], views: np.ndarray, angle_deg: float, reach_m: float, least: float
) -> list[np.ndarray]:
    """Of the frames near each frame the one whose view overlaps its own most; none where all overlap less than `least`.

    near: int64 row numbers for each of [N] frames; views [N, 3] as in `view_overlap`. Of equal ones the first is taken.
    """
    frames = np.repeat(np.arange(len(near)), [len(found) for found in near])
    others = np.concatenate([np.empty(0, np.int64), *near])
    overlaps = view_overlap(views[frames], views[others], angle_deg, reach_m)
    parts = np.split(overlaps, np.cumsum([len(found) for found in near])[:-1]) if near else []
    return [
        found[[part.argmax()]] if len(found) and part.max() >= least else found[:0]
        for found, part in zip(near, parts, strict=True)
    ]


def _overlap(first: np.ndarray, second: np.ndarray, angle_deg: float, reach_m: float) -> np.ndarray:
    half_rad = np.radians(angle_deg) / 2
    # Rings of equal area, and the middle of each cell.
    radius_m = reach_m * np.sqrt((np.arange(_RINGS) + 0.5) / _RINGS)
    ray_rad = half_rad * (2 * (np.arange(_RAYS) + 0.5) / _RAYS - 1)
    bearing_rad = first[:, 2, None, None] + ray_rad[None, None, :]
    x_m = first[:, 0, None, None] + radius_m[None, :, None] * np.cos(bearing_rad) - second[:, 0, None, None]
    y_m = first[:, 1, None, None] + radius_m[None, :, None] * np.sin(bearing_rad) - second[:, 1, None, None]
    aside_rad = np.angle(np.exp(1j * (np.arctan2(y_m, x_m) - second[:, 2, None, None])))
    return ((np.abs(aside_rad) <= half_rad) & (np.hypot(x_m, y_m) <= reach_m)).mean(axis=(1, 2))
