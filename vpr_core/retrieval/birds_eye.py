"""Where to begin a registration: how two clouds fit to each other seen from above, for every heading and shift.

A place may be passed in any direction and metres beside its keyframe, and an iterative registration finds only what it
begins near. Of each cloud a picture from above is made of what stands upright; all shifts of all headings are compared
at once by Fourier transforms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft

CELLS = 64
CELL_M = 2.0
RADIUS_M = 48.0
"""Points farther from the vertical axis are left out: 2 * 48 m and 16 m of shift do not wrap around 128 m."""
HEADINGS = 72
_FULL_CELL = 8
"""More points in a cell do not count: a near wall would outweigh all others."""


@dataclass(frozen=True)
class Start:
    """A guess of T_place_query on the level."""

    x_m: float
    y_m: float
    yaw_rad: float
    score: float
    """Correlation of the pictures, 1 where they are the same."""

    @property
    def transform(self) -> np.ndarray:
        """[4, 4] float64."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        matrix = np.eye(4)
        matrix[:2, :2] = (cos, -sin), (sin, cos)
        matrix[:2, 3] = self.x_m, self.y_m
        return matrix


def place_spectrum(points: np.ndarray) -> np.ndarray:
    """Spectrum complex64 [CELLS, CELLS // 2 + 1] of the picture of upright points [N, 3] in metres."""
    return np.asarray(fft.rfft2(_pictures(points[None, :, :2]))[0])


def query_spectra(points: np.ndarray) -> np.ndarray:
    """Spectra complex64 [HEADINGS, CELLS, CELLS // 2 + 1] of the points turned to every heading."""
    yaw = np.arange(HEADINGS) * (2 * math.pi / HEADINGS)
    cos, sin = (values.astype(np.float32)[:, None] for values in (np.cos(yaw), np.sin(yaw)))
    x, y = points[:, 0].astype(np.float32), points[:, 1].astype(np.float32)
    return np.asarray(fft.rfft2(_pictures(np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1))))


def starts(query: np.ndarray, place: np.ndarray, count: int, max_shift_m: float) -> list[Start]:
    """The `count` best guesses by spectra of `query_spectra` and `place_spectrum`, the best first, no two alike."""
    fits = fft.irfft2(place * query.conj(), s=(CELLS, CELLS))  # [HEADINGS, CELLS, CELLS], shift 0 in the corner
    shift_m = fft.fftfreq(CELLS, 1 / (CELLS * CELL_M))
    fits[:, np.hypot(*np.meshgrid(shift_m, shift_m, indexing="ij")) > max_shift_m] = -np.inf
    found = []
    for _ in range(count):
        heading, row, column = (int(index) for index in np.unravel_index(int(np.argmax(fits)), fits.shape))
        score = float(fits[heading, row, column])
        if not np.isfinite(score):
            break
        yaw_rad = heading * (2 * math.pi / HEADINGS)
        found.append(Start(float(shift_m[row]), float(shift_m[column]), yaw_rad, score))
        _strike_out(fits, heading, row, column)
    return found


def _strike_out(fits: np.ndarray, heading: int, row: int, column: int) -> None:
    """Leave no guess beside one that was taken: within two headings and two cells."""
    around = np.arange(-2, 3)
    fits[np.ix_((heading + around) % HEADINGS, (row + around) % CELLS, (column + around) % CELLS)] = -np.inf


def _pictures(points: np.ndarray) -> np.ndarray:
    """float32 [B, CELLS, CELLS] of points [B, N, 2]: the square root of each cell's points, of unit length."""
    near = np.hypot(points[0, :, 0], points[0, :, 1]) < RADIUS_M  # the same for all, which differ by a turn
    cells = np.floor(points[:, near] / CELL_M + 0.5).astype(np.int64) % CELLS
    batch = np.arange(len(points))[:, None] * CELLS
    flat = ((batch + cells[..., 0]) * CELLS + cells[..., 1]).ravel()
    counts = np.bincount(flat, minlength=len(points) * CELLS * CELLS).reshape(len(points), CELLS, CELLS)
    pictures = np.sqrt(np.minimum(counts, _FULL_CELL)).astype(np.float32)
    length = np.linalg.norm(pictures, axis=(1, 2), keepdims=True)
    return np.asarray(pictures / np.maximum(length, 1e-6))
