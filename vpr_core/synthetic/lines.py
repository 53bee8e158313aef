"""Lines [P, 2] of points: distances along them and directions."""

from __future__ import annotations

import numpy as np


def along(line_m: np.ndarray) -> np.ndarray:
    """Distance of every point from the first along the line, [P] m."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line_m, axis=0), axis=1))])


def directions(line_m: np.ndarray) -> np.ndarray:
    """Unit vector along the line at each of its points, [P, 2]."""
    direction = np.gradient(line_m, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return direction


def beside(line_m: np.ndarray, offset_m: np.ndarray | float) -> np.ndarray:
    """The line moved to its left, by one distance or by one for each point [P, 1]."""
    direction = directions(line_m)
    return line_m + offset_m * np.stack([-direction[:, 1], direction[:, 0]], axis=1)


def heading(line_m: np.ndarray) -> np.ndarray:
    """Direction of the line at each of its points, unwrapped, [P] rad."""
    east, north = np.gradient(line_m, axis=0).T
    return np.unwrap(np.arctan2(north, east))
