"""Small parts of procedural textures: noise, hashes, and bars whose edges are as soft as a pixel is wide."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

_SIDE = 256


@cache
def _white() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (_SIDE, _SIDE)).astype(np.float32)


@cache
def _smooth() -> np.ndarray:
    """Tileable noise with blotches of about 16 cells, in [-1, 1]."""
    tiled = np.tile(np.random.default_rng(2).normal(size=(_SIDE, _SIDE)).astype(np.float32), (3, 3))
    total = cv2.GaussianBlur(tiled, (0, 0), 6.0) * 12 + cv2.GaussianBlur(tiled, (0, 0), 2.5) * 2.5
    return np.clip(total[_SIDE : 2 * _SIDE, _SIDE : 2 * _SIDE] * 0.9, -1, 1)


def grain(u: np.ndarray, v: np.ndarray, cell: float) -> np.ndarray:
    """A random value in [-1, 1] for every cell, [N] float32."""
    return _white()[_wrapped(v, cell), _wrapped(u, cell)]


def blotches(u: np.ndarray, v: np.ndarray, size: float) -> np.ndarray:
    """Smooth noise in [-1, 1] whose blotches are about `size` wide, [N] float32."""
    return _smooth()[_wrapped(v, size / 16), _wrapped(u, size / 16)]


def clouds(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth noise in [-1, 1], interpolated between cells, [N] float32."""
    maps = as_picture(u % _SIDE), as_picture(v % _SIDE)
    found = cv2.remap(_smooth(), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(found).reshape(-1)[: len(u)]


def as_picture(values: np.ndarray) -> np.ndarray:
    """[N] as rows of 256, filled up with zeros: cv2.remap takes no more than 32767 in a row."""
    return np.pad(values, (0, -len(values) % 256)).reshape(-1, 256)


def _wrapped(values: np.ndarray, cell: float) -> np.ndarray:
    return np.floor(values * np.float32(1 / cell)).astype(np.int32) & (_SIDE - 1)


def hashed(*parts: np.ndarray | int) -> np.ndarray:
    """A value in [0, 1) from integers, the same for the same integers, float32."""
    state = np.full(1, 0x9E3779B9, np.uint32)
    for part in parts:
        state = (state ^ np.asarray(part).astype(np.uint32)) * np.uint32(0x85EBCA6B)
        state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        state = state ^ (state >> np.uint32(16))
    return (state >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def row(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """float32 [k], e.g. a colour to multiply with [N, k]."""
    return np.asarray(values, np.float32)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar products [N] of rows [N, k]; several times the speed of a sum over a short axis."""
    return np.einsum("ij,ij->i", a, b)


def bar(x: np.ndarray, low: np.ndarray | float, high: np.ndarray | float, width: np.ndarray) -> np.ndarray:
    """Share of a pixel of this width around x that lies between low and high, [N] float32."""
    return np.clip((x - low) / width + 0.5, 0, 1) - np.clip((x - high) / width + 0.5, 0, 1)


def mixed(colour: np.ndarray, other: np.ndarray | tuple[float, float, float], share: np.ndarray) -> np.ndarray:
    """colour [N, 3] with a share [N] of the other."""
    return colour + (np.asarray(other, np.float32) - colour) * share[:, None]
