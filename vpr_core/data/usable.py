"""Whether an image or a cloud shows enough to be worth a query, or a place: what a broken sensor sends, named.

Everything is measured on the image shrunk to 64 x 48 means of its pixels, where the noise of a sensor at high gain has
gone and what a place is known by has not.
"""

from __future__ import annotations

import threading
import zlib
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

import cv2
import numpy as np

from vpr_core.data.stamps import LATE_NS
from vpr_core.errors import InputError

DARK, WHITE, COVERED, FROZEN, HALF_CLOUD = KINDS = ("dark", "white", "covered", "frozen", "half_cloud")
"""What is refused; the words that a node counts it under, and that its parameter `refuse` takes."""

PATIENCE_S = 2.0
"""A stream may show one and the same picture, or none at all, for so long: a bare wall passes, a cover stays [s]."""
DARK_LEVEL = 60.0
"""The brightest hundredth of an image reaches this, of 255: headlights and lamps do in the darkest street, and the
noise of a sensor in the dark does not."""
SATURATED_LEVEL, SATURATED_SHARE = 250.0, 0.7
"""From this level on, of 255, a pixel tells nothing; as much of an image may be like that and still show a place."""
STRUCTURE_LEVEL, STRUCTURE_CORRELATION, STRUCTURE_SHARE = 1.0, 0.3, 0.2
"""A tile shows something where neighbours differ from its plane alike: by as many levels of 255, and by so much of all
that differs, which in noise is nothing. A fifth of the tiles has to: less is left where a lens is covered."""
BRIGHT_LEVEL = 190.0
"""Where nothing shows, an image is white from this median on, and covered below: glare or a bank of fog, or a cap."""
DIRECTIONS = 36
"""Sectors around a LiDAR, of ten degrees each."""
NEAR_M = 0.1
"""Nearer points are no returns: drivers write zeros for rays that came to nothing [m]."""
PART_OF_SECTORS, PART_OF_POINTS = 0.75, 0.25
"""Of the fewest sectors and points of the clouds before, so many have to be there. A road is never seen in fewer
sectors than another; rays into the sky come and go, so that points may change by more."""
POINTS_NEEDED = 500
"""Clouds of fewer leave sectors empty by chance, and are not judged."""
CLOUDS_NEEDED, CLOUDS_KEPT = 10, 50
"""What is usual for a LiDAR is known after so many clouds, and forgotten after so many more."""

_WIDTH, _HEIGHT, _TILE = 64, 48, 8
_HASHED_BYTES = 1 << 20
_POINTS_LOOKED_AT = 16_384


@dataclass(frozen=True)
class ImageFigures:
    """What an image shows, as far as it can be told without knowing what."""

    bright: float
    """Level of 255 that its brightest hundredth reaches."""
    median: float
    saturated: float
    """Share of it that is overexposed."""
    structured: float
    """Share of its 48 tiles in which something shows."""


def image_figures(image: np.ndarray) -> ImageFigures:
    """Figures of an RGB uint8 image [H, W, 3]."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    bright, median = np.percentile(small, [99, 50])
    return ImageFigures(
        float(bright), float(median), float((small >= SATURATED_LEVEL).mean()), float(_structured(small).mean())
    )


def _structured(small: np.ndarray) -> np.ndarray:
    """bool [6, 8]: the tiles of an image [48, 64] in which neighbouring pixels differ alike from a plane of brightness.

    The plane goes with the shading of a hand or a vignette, which shows no place. Noise has no neighbours, so its
    covariance is nought however strong it is.
    """
    tiles = small.reshape(_HEIGHT // _TILE, _TILE, _WIDTH // _TILE, _TILE).transpose(0, 2, 1, 3)
    along = np.tile(np.arange(_TILE, dtype=np.float32) - (_TILE - 1) / 2, (_TILE, 1))
    rest = tiles - tiles.mean((2, 3), keepdims=True)
    for axis in (along, along.T):
        rest = rest - (rest * axis).sum((2, 3), keepdims=True) / (axis**2).sum() * axis
    beside = (rest[..., :, 1:] * rest[..., :, :-1]).mean((2, 3))
    below = (rest[..., 1:, :] * rest[..., :-1, :]).mean((2, 3))
    alike = (beside + below) / 2
    found: np.ndarray = (alike > STRUCTURE_LEVEL**2) & (alike > STRUCTURE_CORRELATION * (rest**2).mean((2, 3)))
    return found


def cloud_extent(points: np.ndarray) -> tuple[float, int]:
    """Share of the directions around a LiDAR in which points [N, 3+] (x, y, z [m] first) lie, and how many points.

    A direction counts from a twentieth of what is there in the mean, so that stray points make none.
    """
    step = len(points) // _POINTS_LOOKED_AT | 1  # odd, so that it hits all columns of an organised cloud
    x, y = points[::step, 0], points[::step, 1]
    there = (np.abs(x) > NEAR_M) | (np.abs(y) > NEAR_M)
    turned = np.arctan2(y[there], x[there]) / (2 * np.pi) + 0.5
    sectors = np.bincount((turned * DIRECTIONS).astype(int) % DIRECTIONS, minlength=DIRECTIONS)
    return float((sectors > 0.05 * sectors.mean()).mean()), int(there.sum()) * step


class Watch:
    """Looks at the images or the clouds of one sensor in their order; may be used by several threads.

    patience_s: for how long, by the stamps, the same picture or one without structure is let pass [s]. 0 lets none
    pass, as for a place of a map, which should be known by more.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_ns = round(patience_s * 1e9)
        self._lock = threading.Lock()
        self._stamp_ns: int | None = None
        self._hash = 0
        self._same_since_ns = self._bare_since_ns = 0
        self._is_bare = False
        self._usual: deque[tuple[float, int]] = deque(maxlen=CLOUDS_KEPT)

    def see(self, observation: np.ndarray, stamp_ns: int, refuse: Collection[str] = KINDS) -> None:
        """Raises InputError of a kind among `refuse` where the observation is not worth a query.

        observation: an RGB uint8 image [H, W, 3], or a cloud float [N, 3+] (x, y, z [m] first). The same once more,
        with the same stamp, is judged as before. After a clock was set back patience begins again.
        """
        with self._lock:
            if self._stamp_ns is None or stamp_ns <= self._stamp_ns - LATE_NS:
                self._same_since_ns = self._bare_since_ns = stamp_ns
                self._hash, self._is_bare = 0, False
            if observation.ndim == 3:
                self._see_image(observation, stamp_ns, refuse)
            else:
                self._see_cloud(observation, stamp_ns, refuse)

    def _see_image(self, image: np.ndarray, stamp_ns: int, refuse: Collection[str]) -> None:
        frozen_ns = self._follow(image, stamp_ns)
        figures = image_figures(image)
        if DARK in refuse and figures.bright < DARK_LEVEL:
            reached = f"its brightest hundredth reaches {figures.bright:.0f} of 255, expected {DARK_LEVEL:.0f} or more"
            raise InputError(f"image is dark: {reached}; an unlit tunnel, a cap, or too short an exposure?", DARK)
        if WHITE in refuse and figures.saturated > SATURATED_SHARE:
            reached = f"{figures.saturated:.0%} of it is overexposed, expected {SATURATED_SHARE:.0%} at most"
            raise InputError(f"image is white: {reached}; glare, or too long an exposure?", WHITE)
        self._see_structure(figures, stamp_ns, refuse)
        self._see_change(frozen_ns, "image", refuse)

    def _see_structure(self, figures: ImageFigures, stamp_ns: int, refuse: Collection[str]) -> None:
        was_bare, self._is_bare = self._is_bare, figures.structured < STRUCTURE_SHARE
        if not was_bare:
            self._bare_since_ns = stamp_ns
        if not self._is_bare or stamp_ns - self._bare_since_ns < self._patience_ns:
            return
        kind = WHITE if figures.median >= BRIGHT_LEVEL else COVERED
        if kind in refuse:
            shown = f"something shows in {figures.structured:.0%} of it, expected {STRUCTURE_SHARE:.0%} or more"
            cause = "fog, glare" if kind == WHITE else "is the lens covered, dirty or fogged up"
            raise InputError(f"image is {kind}: {shown}; {cause}, or a bare wall before it?", kind)

    def _see_cloud(self, points: np.ndarray, stamp_ns: int, refuse: Collection[str]) -> None:
        is_again, frozen_ns = stamp_ns == self._stamp_ns, self._follow(points, stamp_ns)
        share, number = cloud_extent(points)
        if HALF_CLOUD in refuse and len(self._usual) >= CLOUDS_NEEDED:
            usual_share, usual_number = (min(figure) for figure in zip(*self._usual, strict=True))
            enough = usual_number >= POINTS_NEEDED
            if enough and (share < PART_OF_SECTORS * usual_share or number < PART_OF_POINTS * usual_number):
                raise InputError(
                    f"cloud is only a part: {number} points in {share:.0%} of the directions, expected {usual_number} "
                    f"in {usual_share:.0%} as before; lost packets, a covered LiDAR, or another field of view, for "
                    "which deactivate the node and activate it again?",
                    HALF_CLOUD,
                )
        self._see_change(frozen_ns, "cloud", refuse)
        if number and not is_again:
            self._usual.append((share, number))

    def _follow(self, observation: np.ndarray, stamp_ns: int) -> int:
        """For how long the stream has shown exactly this, by the stamps [ns]; 0 where it has just begun to."""
        seen = _hash(observation)
        if seen != self._hash:
            self._hash, self._same_since_ns = seen, stamp_ns
        self._stamp_ns = stamp_ns
        return stamp_ns - self._same_since_ns

    def _see_change(self, frozen_ns: int, sees: str, refuse: Collection[str]) -> None:
        """Even a vehicle that stands sees noise: what is equal to the last bit is no measurement."""
        if FROZEN in refuse and frozen_ns > 0 and frozen_ns >= self._patience_ns:
            raise InputError(
                f"{sees} is frozen: the same to the last bit for {frozen_ns / 1e9:.1f} s while stamps go on, expected "
                "another; restart the sensor's driver, and in a simulation without noise let it pass",
                FROZEN,
            )


def _hash(observation: np.ndarray) -> int:
    """Of all of it, or of rows from all over it where it is large."""
    step = 1 + observation.nbytes // _HASHED_BYTES
    return zlib.crc32(np.ascontiguousarray(observation[::step]).view(np.uint8).data) + 1
