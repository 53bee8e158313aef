"""In which light a picture was taken, and how much that shifts the evidence of a search.

By night a right match is as far as a wrong one by day, and the descriptors do not say which it is. The picture does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vpr_core.preprocess import resize_image

LIGHT = ("log_median", "log_bright", "log_saturation", "log_blue_over_red")
"""What is known of a picture's light; nothing is of a cloud's, whose sensor brings its own."""
NO_LIGHT: tuple[float, ...] = ()
BANDWIDTH = 0.5
"""Lights so near, in standard deviations of those of right matches, count as alike."""
PRIOR_FRAMES = 5.0
"""As many frames in the mean of all lights are added to those in a light like the query's."""
_HEIGHT, _WIDTH = 60, 80
_BRIGHT = 0.95
_DARKEST = 1e-2
_LEAST_SCALE = 0.2
"""As the light of frames of one drive scatters, so that one drive knows another in the same light."""
_AT_ONCE = 128
_CELL = 0.5
"""Frames in one cell of this width, in standard deviations, are kept as one."""


def light_of(image: np.ndarray) -> tuple[float, ...]:
    """The light of an RGB uint8 image [H, W, 3], as LIGHT says: natural logarithms of values in [0, 1].

    The median and the 95 % quantile of luminance (BT.601), the mean saturation (HSV), mean blue over mean red.
    """
    small = resize_image(image, _HEIGHT, _WIDTH).reshape(-1, 3) / 255.0
    luminance = small @ (0.299, 0.587, 0.114)
    most, least = small.max(axis=1), small.min(axis=1)
    saturation = float(np.mean((most - least) / np.maximum(most, _DARKEST)))
    red, _, blue = small.mean(axis=0)
    values = (float(np.median(luminance)), float(np.quantile(luminance, _BRIGHT)), saturation)
    return *(_log(value) for value in values), _log(blue) - _log(red)


def _log(value: float) -> float:
    return math.log(max(value, _DARKEST))


@dataclass(frozen=True)
class LightShift:
    """How the features of right matches lie in one light from those in the mean of all lights.

    A kernel regression (Nadaraya, Watson) over the lights of validation frames that were right.
    """

    scale: tuple[float, ...]
    """[L] standard deviations of the lights."""
    lights: tuple[tuple[float, ...], ...]
    """[C][L] means of the frames of each cell."""
    features: tuple[tuple[float, ...], ...]
    """[C][F] means of their features."""
    frames: tuple[float, ...]
    """[C]."""

    def __call__(self, features: np.ndarray, light: np.ndarray | Sequence[float]) -> np.ndarray:
        """float64 [..., K, W + F + 1]: features [..., K, W] of candidates in lights [..., L], W >= F; behind them the
        first F as they would be in the mean of all lights, and how far such light is known, in [0, 1)."""
        shift, known = self.of(light)
        whole = np.asarray(features, np.float64)
        shifted = whole[..., : shift.shape[-1]] - shift[..., None, :]
        return np.concatenate(
            [whole, shifted, np.broadcast_to(known[..., None, None], (*whole.shape[:-1], 1))], axis=-1
        )

    def of(self, light: np.ndarray | Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """By how much features of right matches are larger in lights [..., L] than in the mean of all [..., F].

        And how far such light is known, [...] in [0, 1). Both are 0 in a light like none that validation frames were
        right in, and where nothing is known of light.
        """
        lights = np.asarray(light, np.float64)
        rows = lights.reshape(math.prod(lights.shape[:-1]), lights.shape[-1])
        parts = [self._of_rows(rows[start : start + _AT_ONCE]) for start in range(0, max(len(rows), 1), _AT_ONCE)]
        shift, known = (np.concatenate(part) for part in zip(*parts, strict=True))
        return shift.reshape(*lights.shape[:-1], shift.shape[-1]), known.reshape(lights.shape[:-1])

    def _of_rows(self, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale, lights, from_mean, frames = self._arrays
        if not (len(scale) and light.shape[-1]):
            return np.zeros((len(light), from_mean.shape[-1])), np.zeros(len(light))
        apart = (light[:, None] - lights) / scale
        alike = frames * np.exp(-0.5 * (apart**2).sum(axis=-1) / BANDWIDTH**2)
        count = alike.sum(axis=-1)
        return alike @ from_mean / (count + PRIOR_FRAMES)[:, None], count / (count + PRIOR_FRAMES)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        """Scale [L], lights [C, L], features [C, F] less their mean over all frames, frames [C]."""
        features, frames = np.array(self.features), np.array(self.frames)
        return (
            np.array(self.scale),
            np.array(self.lights),
            features - np.average(features, axis=0, weights=frames),
            frames,
        )

    @classmethod
    def fit(cls, features: np.ndarray, light: np.ndarray) -> LightShift:
        """Of right matches with features [M, F] in lights [M, L], at least one."""
        scale = np.maximum(light.std(axis=0), _LEAST_SCALE)
        cells: dict[tuple[float, ...], list[int]] = {}
        for row, cell in enumerate(np.round(light / (scale * _CELL))):
            cells.setdefault(tuple(cell.tolist()), []).append(row)

        def means(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
            return tuple(tuple(np.round(values[rows].mean(axis=0), 6).tolist()) for rows in cells.values())

        return cls(
            tuple(scale.tolist()), means(light), means(features), tuple(float(len(rows)) for rows in cells.values())
        )

    @classmethod
    def from_json(cls, entry: dict[str, Any], width: int) -> LightShift:
        """Of `width` features. Raises TypeError, ValueError and KeyError on anything else."""
        scale, frames = tuple(map(float, entry["scale"])), tuple(map(float, entry["frames"]))
        lights, features = np.array(entry["lights"], float), np.array(entry["features"], float)
        if len(scale) not in (0, len(LIGHT)):
            raise ValueError(f"expected light_shift of {len(LIGHT)} values of light, got {len(scale)}")
        if lights.shape != (len(frames), len(scale)) or features.shape != (len(frames), width) or not len(frames):
            raise ValueError(
                f"expected light_shift of one or more cells with {width} features each, got {len(frames)} cells with "
                f"lights {list(lights.shape)} and features {list(features.shape)}"
            )
        values = np.concatenate([scale, frames, lights.ravel(), features.ravel()])
        if not (np.isfinite(values).all() and min((*scale, *frames)) > 0):
            raise ValueError("expected finite numbers, and scales and frames above 0 in light_shift")
        return cls(scale, tuple(map(tuple, lights.tolist())), tuple(map(tuple, features.tolist())), frames)
