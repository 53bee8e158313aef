"""Which images, clouds, labels and poses of a drive belong together, and which of them become keyframes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vpr_core.data.poses import Track
from vpr_core.types import Pose


@dataclass(frozen=True)
class Candidate:
    """What belongs together, by header stamps."""

    stamp_ns: int
    """Of the image, or of the cloud in a drive without a camera."""
    cloud_ns: int | None = None
    label_ns: int | None = None
    pose: Pose | None = None


@dataclass(frozen=True)
class Partners:
    """Sorted stamps and poses among which an image finds what belongs to it; None where there is no such sensor."""

    tolerance_ns: int
    has_image: bool
    clouds_ns: np.ndarray | None
    labels_ns: np.ndarray | None
    track: Track | None

    def of(self, stamp_ns: int) -> Candidate | str:
        """What belongs to the image (or cloud, in a drive without a camera) at this stamp, or why it is left out.

        A label that is too far is left out alone: the frame does without.
        """
        cloud_ns, label_ns = None, None
        if not self.has_image:
            cloud_ns = stamp_ns
        elif self.clouds_ns is not None:
            cloud_ns = nearest(self.clouds_ns, stamp_ns, self.tolerance_ns)
            if cloud_ns is None:
                return f"no cloud within {self.tolerance_ns / 1e9:g} s of the image"
        if self.labels_ns is not None:
            label_ns = nearest(self.labels_ns, stamp_ns, self.tolerance_ns)
        pose = self.track.at(stamp_ns) if self.track is not None else None
        if isinstance(pose, str):
            return pose
        return Candidate(stamp_ns, cloud_ns, label_ns, pose)


def nearest(stamps_ns: np.ndarray, stamp_ns: int, tolerance_ns: int) -> int | None:
    """The nearest of sorted stamps, the earlier of two that are as near; None where none is within tolerance."""
    right = int(np.searchsorted(stamps_ns, stamp_ns))
    around = stamps_ns[max(right - 1, 0) : right + 1]
    if not len(around):
        return None
    found = int(around[np.argmin(np.abs(around - stamp_ns))])
    return found if abs(found - stamp_ns) <= tolerance_ns else None


class KeyframeChooser:
    """Takes candidates in the order of their stamps and says which become keyframes."""

    def __init__(self, keyframe_m: float, keyframe_s: float) -> None:
        self._keyframe_m, self._keyframe_ns = keyframe_m, round(keyframe_s * 1e9)
        self._last: Candidate | None = None

    def choose(self, candidate: Candidate) -> bool:
        chosen = self._last is None or self._far_enough(self._last, candidate)
        if chosen:
            self._last = candidate
        return chosen

    def _far_enough(self, last: Candidate, candidate: Candidate) -> bool:
        if last.pose is not None and candidate.pose is not None:
            step_m = np.subtract(candidate.pose.position_m, last.pose.position_m)
            return float(np.linalg.norm(step_m)) >= self._keyframe_m
        return candidate.stamp_ns - last.stamp_ns >= self._keyframe_ns


def plan_frames(
    leads_ns: np.ndarray, partners: Partners, chooser: KeyframeChooser, drops: Counter[str], lost_ns: list[int]
) -> Iterator[Candidate]:
    """The keyframes among images (or clouds) of these sorted stamps.

    What is left out is counted in `drops` by reason, its stamps are added to `lost_ns`.
    """
    for stamp_ns in map(int, leads_ns):
        candidate = partners.of(stamp_ns)
        if isinstance(candidate, str):
            drops[candidate] += 1
            lost_ns.append(stamp_ns)
        elif chooser.choose(candidate):
            yield candidate
