"""What stands between the town and the picture: rain and snow in the air, drops on the lens."""

from __future__ import annotations

import cv2
import numpy as np

from vpr_core.synthetic.conditions import Condition

_STREAKS = 260
_FLAKES = 900
_DROPS = 12


def precipitation(image: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """The picture [H, W, 3] float32 in [0, 1] with what falls and what has run down the lens."""
    if condition.rain:
        image = _veiled(image, _streaks(image.shape[:2], condition.rain, rng), 0.28)
        image = _dropped(image, condition.rain, rng)
    if condition.snowfall:
        image = _veiled(image, _flakes(image.shape[:2], condition.snowfall, rng), 0.75)
    return image


def _veiled(image: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
    """Water and ice show the light of the whole sky, a little brighter than the mean of the picture."""
    light = np.minimum(image.mean(axis=(0, 1)) * 1.25 + 0.12, 0.95).astype(np.float32)
    share = mask[..., None] * np.float32(strength / 255)
    return image + (light - image) * share


def _streaks(shape: tuple[int, int], rain: float, rng: np.random.Generator) -> np.ndarray:
    height, width = shape
    mask = np.zeros(shape, np.uint8)
    count = rng.poisson(_STREAKS * rain)
    slant = rng.normal(0.0, 0.06)
    starts = rng.uniform((0, -0.15), (1, 1), (count, 2)) * (width, height)
    lengths = rng.gamma(2.5, 0.022, count) * height
    for (x, y), length, tone in zip(starts, lengths, rng.uniform(60, 230, count), strict=True):
        # Air that streams past the vehicle spreads streaks from the middle of the picture.
        lean = slant + 0.25 * (x / width - 0.5)
        ends = (np.array([(x, y), (x + lean * length, y + length)]) * 16).astype(int)
        cv2.line(mask, ends[0].tolist(), ends[1].tolist(), float(tone), 1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), 0.6)


def _flakes(shape: tuple[int, int], snowfall: float, rng: np.random.Generator) -> np.ndarray:
    height, width = shape
    mask = np.zeros(shape, np.uint8)
    count = rng.poisson(_FLAKES * snowfall)
    middles = (rng.uniform(0, 1, (count, 2)) * (width, height) * 16).astype(int)
    radii = np.clip(rng.gamma(1.6, 0.0016, count) * height, 0.4, 3.0)
    for middle, radius, tone in zip(middles.tolist(), radii, rng.uniform(70, 230, count), strict=True):
        cv2.circle(mask, middle, int(radius * 16), float(tone), -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), 0.7)


def _dropped(image: np.ndarray, rain: float, rng: np.random.Generator) -> np.ndarray:
    """Drops that stick to the lens are small fish-eyes: each shows the scene upside down and out of focus."""
    height, width = image.shape[:2]
    image = image.copy()
    for _ in range(rng.poisson(_DROPS * rain)):
        radius = max(int(rng.uniform(0.012, 0.03) * height), 2)
        x, y = int(rng.integers(radius, width - radius)), int(rng.integers(radius, height - radius))
        reach = 4 * radius
        around = image[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
        side = 2 * radius + 1
        lens = cv2.resize(around[::-1, ::-1], (side, side), interpolation=cv2.INTER_AREA)
        away = np.hypot(*np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]).astype(np.float32)
        share = (np.clip((1 - away) * radius / 1.5, 0, 1) * 0.75)[..., None]
        shaded = lens * (1 - 0.3 * away**3)[..., None]
        spot = image[y - radius : y + radius + 1, x - radius : x + radius + 1]
        spot += (shaded - spot) * share
    return image
