"""Images of several cameras that belong together by their stamps, in the order in which they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vpr_core.data.stamps import LATE_NS

T = TypeVar("T")

WITHIN_S = 0.05
"""Stamps so far from the first camera's are of one moment [s]: a vehicle at 15 m/s has moved by 0.75 m."""
WAIT_S = 0.2
"""How long the images of a moment wait for that of a camera which is late [s]."""
MISSED = 5
"""A camera that was missing from so many sets in a row is not waited for until it comes again."""
SILENT_S = 1.0
"""When nothing has come from the first camera for so long, others' images take its place [s]."""
_KEPT_S = 2 * SILENT_S


@dataclass(frozen=True)
class ImageSet(Generic[T]):
    """What cameras took at one moment."""

    stamp_ns: int
    """The first camera's, or where that is silent the earliest of another."""
    images: Mapping[int, T]
    """By number of the camera, of those that have one."""
    arrived_s: float
    """When the first of them came."""


@dataclass
class CameraFigures:
    """What became of a camera's images, and how many answers were given without one."""

    images: int = 0
    apart: int = 0
    """Images that belong to no set: none of the first camera's is near, a later set was given out already, or the
    clock was set back."""
    missing: int = 0
    """Sets without an image of this camera."""
    missing_in_a_row: int = 0


@dataclass
class _Image(Generic[T]):
    stamp_ns: int
    item: T
    arrived_s: float


@dataclass
class _Waiting(Generic[T]):
    stamp_ns: int
    images: dict[int, _Image[T]]

    @property
    def arrived_s(self) -> float:
        return min(image.arrived_s for image in self.images.values())


@dataclass
class CameraSets(Generic[T]):
    """Puts together images of `cameras` cameras whose stamps lie within `within_s` of the first one's.

    A set is given out when it has an image of every camera, or when what it lacks need not be waited for: the camera
    has sent a later one or was missing from the last sets, or the set has waited for WAIT_S. Images that are not near
    one of the first camera's are left out and counted, unless that camera is silent: then one that has waited takes
    its place. Two seconds of images are kept at most. Times `now_s` are of any one clock. For one thread at a time.
    """

    cameras: int
    within_s: float
    now_s: float
    """When the cameras begin to send, for those that never do."""
    figures: list[CameraFigures] = field(init=False)
    _newest_ns: list[int | None] = field(init=False)
    _arrived_s: list[float] = field(init=False)
    _joined_s: list[float] = field(init=False)
    _loose: list[list[_Image[T]]] = field(init=False)
    _waiting: list[_Waiting[T]] = field(init=False)
    _given_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self.figures = [CameraFigures() for _ in range(self.cameras)]
        self._arrived_s, self._joined_s = [self.now_s] * self.cameras, [self.now_s] * self.cameras
        self._begin_again()

    def add(self, camera: int, stamp_ns: int, item: T, now_s: float) -> list[ImageSet[T]]:
        """Take in an image; the sets that are complete with it, by their stamps. A clock set back begins anew."""
        if stamp_ns < (self._newest_ns[camera] or 0) - LATE_NS:
            self._let_go()
        self.figures[camera].images += 1
        self.figures[camera].missing_in_a_row = 0
        self._newest_ns[camera] = max(self._newest_ns[camera] or 0, stamp_ns)
        self._arrived_s[camera] = now_s
        image = _Image(stamp_ns, item, now_s)
        if not self._join(camera, image):
            if camera == 0:
                self._lead(camera, image, now_s)
            else:
                self._loose[camera].append(image)
        return self.tick(now_s)

    def tick(self, now_s: float) -> list[ImageSet[T]]:
        """The sets that need not wait any longer."""
        if self.silence_s(0, now_s) > SILENT_S:
            self._lead_without_first(now_s)
        self._forget(now_s)
        ready = []
        while self._waiting and self._is_ready(self._waiting[0], now_s):
            one = self._waiting.pop(0)
            if one.stamp_ns >= self._given_ns:
                ready.append(self._given_out(one))
            else:  # a camera that is late while the first is silent
                self._leave_out(one)
        return ready

    def flush(self, now_s: float) -> list[ImageSet[T]]:
        """The sets that still wait, at the end of a drive."""
        given = self.tick(now_s + 2 * WAIT_S)
        self._let_go()
        return given

    def silence_s(self, camera: int, now_s: float) -> float:
        """For how long nothing has come from a camera."""
        return now_s - self._arrived_s[camera]

    def solitude_s(self, camera: int, now_s: float) -> float:
        """For how long no image of a camera has belonged to a set."""
        return now_s - self._joined_s[camera]

    def _join(self, camera: int, image: _Image[T]) -> bool:
        lacking = [one for one in self._waiting if camera not in one.images and self._are_one(one, image)]
        if not lacking:
            return False
        min(lacking, key=lambda one: abs(one.stamp_ns - image.stamp_ns)).images[camera] = image
        self._joined_s[camera] = image.arrived_s
        return True

    def _lead(self, leader: int, image: _Image[T], now_s: float) -> None:
        """A set begins with an image, and takes in those of other cameras that came before it."""
        waiting = _Waiting(image.stamp_ns, {leader: image})
        self._joined_s[leader] = now_s
        for camera, loose in enumerate(self._loose):
            near = [one for one in loose if camera != leader and self._are_one(waiting, one)]
            if near:
                taken = min(near, key=lambda one: abs(one.stamp_ns - image.stamp_ns))
                waiting.images[camera], self._joined_s[camera] = taken, now_s
            before_ns = image.stamp_ns - round(self.within_s * 1e9)
            self._loose[camera] = [one for one in loose if one is not waiting.images.get(camera)
                                   and one.stamp_ns >= before_ns]  # fmt: skip
            self.figures[camera].apart += len(loose) - len(self._loose[camera]) - bool(near)
        self._waiting.append(waiting)
        self._waiting.sort(key=lambda one: one.stamp_ns)

    def _lead_without_first(self, now_s: float) -> None:
        while True:
            first = [(loose[0].stamp_ns, camera) for camera, loose in enumerate(self._loose)
                     if loose and (now_s - loose[0].arrived_s >= WAIT_S or self._is_missed(0))]  # fmt: skip
            if not first:
                return
            camera = min(first)[1]
            self._lead(camera, self._loose[camera].pop(0), now_s)

    def _are_one(self, waiting: _Waiting[T], image: _Image[T]) -> bool:
        return abs(waiting.stamp_ns - image.stamp_ns) <= round(self.within_s * 1e9)

    def _is_ready(self, waiting: _Waiting[T], now_s: float) -> bool:
        return now_s - waiting.arrived_s >= WAIT_S or all(
            camera in waiting.images or self._need_not_wait(camera, waiting.stamp_ns) for camera in range(self.cameras)
        )

    def _need_not_wait(self, camera: int, stamp_ns: int) -> bool:
        newest_ns = self._newest_ns[camera]
        has_passed = newest_ns is not None and newest_ns > stamp_ns
        return has_passed or self._is_missed(camera)

    def _is_missed(self, camera: int) -> bool:
        return self.figures[camera].missing_in_a_row >= MISSED

    def _given_out(self, waiting: _Waiting[T]) -> ImageSet[T]:
        for camera, figures in enumerate(self.figures):
            figures.missing += camera not in waiting.images
            figures.missing_in_a_row = 0 if camera in waiting.images else figures.missing_in_a_row + 1
        self._given_ns = waiting.stamp_ns
        images = {camera: waiting.images[camera].item for camera in sorted(waiting.images)}
        return ImageSet(waiting.stamp_ns, images, waiting.arrived_s)

    def _forget(self, now_s: float) -> None:
        for camera, loose in enumerate(self._loose):
            self._loose[camera] = [one for one in loose if now_s - one.arrived_s <= _KEPT_S]
            self.figures[camera].apart += len(loose) - len(self._loose[camera])

    def _let_go(self) -> None:
        for one in self._waiting:
            self._leave_out(one)
        for camera, loose in enumerate(self._loose):
            self.figures[camera].apart += len(loose)
        self._begin_again()

    def _leave_out(self, waiting: _Waiting[T]) -> None:
        for camera in waiting.images:
            self.figures[camera].apart += 1

    def _begin_again(self) -> None:
        self._newest_ns, self._waiting, self._given_ns = [None] * self.cameras, [], 0
        self._loose = [[] for _ in range(self.cameras)]
