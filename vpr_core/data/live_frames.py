"""A frames folder made while a recording runs, from messages as they arrive, by the rules of `ingest`."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vpr_core.data.card import Recording, counted, make_card
from vpr_core.data.card_picture import draw_card
from vpr_core.data.frame_writer import FrameWriter
from vpr_core.data.frames import Frame, write_index
from vpr_core.data.pose_source import TopicPoses
from vpr_core.data.poses import MAX_GAP_NS, MAX_SPEED_MPS
from vpr_core.data.stamps import StampOrder, header_stamp_ns
from vpr_core.data.synchronise import Candidate, KeyframeChooser, Partners
from vpr_core.errors import FramesError, InputError
from vpr_core.files import folder_in_the_making
from vpr_core.types import Pose

_LATE_NS = 500_000_000
"""How much later than its stamp tells a message may arrive, beside others, and still find its partners."""
_CLOCK_BACK_NS = 5_000_000_000
_MOST_WAITING = 128
"""Messages of a sensor that wait for partners at most; then the oldest is decided with what is there."""


class LiveFrames:
    """Takes messages of a camera, a LiDAR and poses in any order and writes keyframes as soon as they are certain.

    A message is kept until whatever could belong to it must have arrived, about a second by the stamps, so that memory
    does not grow with the drive. The folder appears with `finish`; `discard`, or leaving the context by an error,
    leaves nothing.

    Raises FramesError where `out` exists already and is not to be overwritten.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        has_image: bool = True,
        has_cloud: bool = True,
        has_pose: bool = True,
        keyframe_m: float = 2.0,
        keyframe_s: float = 1.0,
        tolerance_s: float = 0.1,
        max_speed_mps: float = MAX_SPEED_MPS,
        session: str | None = None,
        area: str | None = None,
        overwrite: bool = False,
    ) -> None:
        if not has_image and not has_cloud:
            raise FramesError(f"{out}: frames need a camera or a LiDAR")
        self.out = Path(out)
        self._session, self._area = session or self.out.name, area
        self._drops: Counter[str] = Counter()
        self._irregular: Counter[str] = Counter()
        self._sensors = {
            name: _Waiting(StampOrder(name, self._drops, self._irregular))
            for name, there in (("image", has_image), ("cloud", has_cloud))
            if there
        }
        self._lead = self._sensors["image" if has_image else "cloud"]
        self._poses = TopicPoses(StampOrder("pose", self._drops, self._irregular), max_speed_mps) if has_pose else None
        self._keyframes = {"metres": keyframe_m} if has_pose else {"seconds": keyframe_s}
        self._chooser = KeyframeChooser(keyframe_m, keyframe_s)
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._settle_ns = max(self._tolerance_ns, MAX_GAP_NS if has_pose else 0) + _LATE_NS
        self._span = _Span()
        self._plan: list[Candidate] = []
        self._jumps_ns: set[int] = set()
        self._closing = ExitStack()
        folder = self._closing.enter_context(folder_in_the_making(self.out, FramesError, "card.json", overwrite))
        self._writer = FrameWriter(folder, tuple(self._sensors), self._drops, self._irregular)

    def __enter__(self) -> LiveFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()

    @property
    def counts(self) -> dict[str, Any]:
        """Progress so far: "frames" written, "waiting" messages, "drops" by reason and "irregular"."""
        waiting = sum(len(sensor.stamps_ns) for sensor in self._sensors.values())
        drops, irregular = dict(sorted(self._drops.items())), dict(sorted(self._irregular.items()))
        frames = min(map(len, self._writer.written.values()))
        return {"frames": frames, "waiting": waiting, "drops": drops, "irregular": irregular}

    def add_image(self, message: Any) -> None:
        """sensor_msgs/Image or CompressedImage, of rclpy or of a bag."""
        self._add("image", message)

    def add_cloud(self, message: Any) -> None:
        """sensor_msgs/PointCloud2."""
        self._add("cloud", message)

    def add_pose(self, stamp_ns: int, pose: Pose, frame_id: str) -> None:
        """T_map_base; frame_id: of the map."""
        if self._poses is None:
            raise FramesError(f"{self.out} is made without poses")
        if self._poses.add(stamp_ns, pose, frame_id):
            self._follow("pose", stamp_ns)
            self._advance()

    def _add(self, name: str, message: Any) -> None:
        if name not in self._sensors:
            raise FramesError(f"{self.out} is made without a sensor called {name}")
        stamp_ns = header_stamp_ns(message)
        if self._sensors[name].order.accept(stamp_ns):
            self._follow(name, stamp_ns)
            self._sensors[name].add(stamp_ns, message)
            self._advance()

    def _follow(self, name: str, stamp_ns: int) -> None:
        if self._span.follow(name, stamp_ns):
            self._decide(before_ns=None)

    def _advance(self) -> None:
        """Decide what has waited long enough, and forget what nothing waits for."""
        self._decide(self._span.now_ns - self._settle_ns)
        self._forget()

    def _decide(self, before_ns: int | None) -> None:
        """Decide images (or clouds) with stamps up to there, in their order; None for all that wait."""
        waiting, due = self._lead.stamps_ns, 0
        while due < len(waiting) and (
            before_ns is None or waiting[due] <= before_ns or len(waiting) - due > _MOST_WAITING
        ):
            due += 1
        if not due:
            return
        partners = self._partners()
        for stamp_ns in waiting[:due]:
            candidate = partners.of(stamp_ns)
            if isinstance(candidate, str):
                self._drops[candidate] += 1
            elif self._chooser.choose(candidate):
                self._write(candidate)
        self._lead.forget(due)

    def _partners(self) -> Partners:
        clouds = self._sensors.get("cloud")
        track = self._poses.track() if self._poses else None
        if track is not None:
            self._jumps_ns.update(map(int, track.jumps_ns))
        clouds_ns = np.array(clouds.stamps_ns, np.int64) if clouds else None
        return Partners(self._tolerance_ns, "image" in self._sensors, clouds_ns, None, track)

    def _write(self, candidate: Candidate) -> None:
        self._plan.append(candidate)
        for name, stamp_ns in (("image", candidate.stamp_ns), ("cloud", candidate.cloud_ns)):
            if name not in self._sensors:
                continue
            message = self._sensors[name].messages[stamp_ns or 0]
            try:
                self._writer.write(name, [len(self._plan) - 1], message)
            except InputError as error:
                self._drops[f"{name}: {str(error).split(':')[0]}"] += 1

    def _forget(self) -> None:
        """Clouds and poses that no image still waits for."""
        oldest_ns = min([self._span.now_ns - self._settle_ns, *self._lead.stamps_ns[:1]])
        if (clouds := self._sensors.get("cloud")) and clouds is not self._lead:
            too_old = int(np.searchsorted(clouds.stamps_ns, oldest_ns - self._tolerance_ns))
            clouds.forget(max(too_old, len(clouds.stamps_ns) - _MOST_WAITING))
        if self._poses:
            self._poses.keep(oldest_ns - 2 * MAX_GAP_NS, self._span.now_ns)

    def finish(self, early: bool = False) -> Path:
        """Decide what still waits, write the card and return the folder; raises FramesError where no frame came.

        early: what waits is given up, as after an OSError of the disk. Raises OSError where card or index cannot be
        written.
        """
        try:
            if not early:
                self._decide(before_ns=None)
            frames = self._writer.frames(self._plan)
            if not frames:
                raise FramesError(f"{self.out}: no frame came of it: {counted(self._drops) or 'no message arrived'}")
            self._describe(frames)
        except BaseException:
            self.discard()
            raise
        self._closing.close()
        return self.out

    def _describe(self, frames: list[Frame]) -> None:
        card, kept_ns = make_card(self._recording(), frames), {frame.stamp_ns for frame in frames}
        broken = [candidate for candidate in self._plan if candidate.stamp_ns not in kept_ns]
        lost_m = [candidate.pose.position_m for candidate in broken if candidate.pose]
        draw_card(self._writer.folder, card, frames, np.array(lost_m).reshape(-1, 3))
        write_index(self._writer.folder, frames, card)

    def discard(self) -> None:
        """Leave nothing behind; after `finish` it does nothing."""
        self._closing.pop_all().__exit__(_DiscardedError, _DiscardedError(), None)

    def _recording(self) -> Recording:
        there = {name: name if name in self._sensors else None for name in ("image", "cloud")}
        return Recording(
            session=self._session,
            bag="",
            area=self._area,
            topics={**there, "pose": "pose" if self._poses else None, "label": None},
            map_frame=self._poses.map_frame if self._poses else "",
            keyframes=self._keyframes,
            drops=self._drops,
            irregular=self._irregular,
            messages=dict(sorted(self._span.messages.items())),
            sizes=self._writer.sizes,
            poses=self._poses.card if self._poses else None,
            jumps_ns=np.array(sorted(self._jumps_ns), np.int64),
            begin_ns=self._span.begin_ns,
            ends_ns=self._span.ends_ns,
        )


class _DiscardedError(Exception):
    """The folder is given up."""


@dataclass
class _Waiting:
    """Messages of one sensor, sorted by stamp."""

    order: StampOrder
    stamps_ns: list[int] = field(default_factory=list)
    messages: dict[int, Any] = field(default_factory=dict)

    def add(self, stamp_ns: int, message: Any) -> None:
        insort(self.stamps_ns, stamp_ns)
        self.messages[stamp_ns] = message

    def forget(self, count: int) -> None:
        for stamp_ns in self.stamps_ns[:count]:
            del self.messages[stamp_ns]
        del self.stamps_ns[:count]


@dataclass
class _Span:
    """The time that messages tell."""

    now_ns: int = 0
    begin_ns: int = 0
    ends_ns: dict[str, int] = field(default_factory=dict)
    messages: Counter[str] = field(default_factory=Counter)

    def follow(self, name: str, stamp_ns: int) -> bool:
        """Whether the clock went back by so much that nothing which waits will find anything more."""
        self.messages[name] += 1
        self.begin_ns = self.begin_ns or stamp_ns
        self.ends_ns[name] = stamp_ns
        went_back = stamp_ns < self.now_ns - _CLOCK_BACK_NS
        self.now_ns = stamp_ns if went_back else max(self.now_ns, stamp_ns)
        return went_back
