"""Poses from /tf and /tf_static: the chain from one coordinate frame to another, put together at any moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_core.data.poses import PoseTrack, Track, compose, has_rotation, inverse, pose_from_transform, track_of
from vpr_core.data.stamps import StampOrder, header_stamp_ns
from vpr_core.data.topics import TF_STATIC
from vpr_core.errors import BagError
from vpr_core.types import Pose


@dataclass(frozen=True)
class Link:
    """One transform of a chain: a track where it moves, a pose where it is static."""

    transform: Track | Pose
    inverted: bool
    """Whether the chain passes it from child to parent."""

    def at(self, stamp_ns: int) -> Pose | str:
        pose = self.transform if isinstance(self.transform, Pose) else self.transform.at(stamp_ns)
        return inverse(pose) if self.inverted and isinstance(pose, Pose) else pose


@dataclass(frozen=True)
class Chain:
    """Transforms one behind the other; each moving one is interpolated at the stamp before they are put together."""

    links: list[Link]

    def at(self, stamp_ns: int) -> Pose | str:
        pose = Pose((0.0, 0.0, 0.0))
        for link in self.links:
            step = link.at(stamp_ns)
            if isinstance(step, str):
                return step
            pose = compose(pose, step)
        return pose

    @property
    def jumps_ns(self) -> np.ndarray:
        moving = [link.transform.jumps_ns for link in self.links if not isinstance(link.transform, Pose)]
        return np.unique(np.concatenate([np.empty(0, np.int64), *moving]))


class Transforms:
    """The transforms of a drive. As soon as those between the two frames are known, the others are given up: a robot
    may have a hundred that move."""

    def __init__(
        self, parent: str, child: str, drops: Counter[str], irregular: Counter[str], max_speed_mps: float
    ) -> None:
        self._parent, self._child = parent, child
        self._drops, self._irregular, self._max_speed_mps = drops, irregular, max_speed_mps
        self._moving: dict[tuple[str, str], dict[int, Pose]] = {}
        self._static: dict[tuple[str, str], Pose] = {}
        self._orders: dict[tuple[str, str], StampOrder] = {}
        self._wanted: set[tuple[str, str]] = set()
        self.map_frame, self.base_frame = parent, child

    @property
    def card(self) -> dict[str, Any]:
        names = [self._parent]
        for parent, child in (edge for edge, _ in self._path()):
            names.append(child if parent == names[-1] else parent)
        return {"source": "tf", "chain": names}

    def take(self, topic: str, message: Any) -> None:
        known = 0 if self._wanted else len(self._edges())
        for transform in message.transforms:
            edge = transform.header.frame_id.lstrip("/"), transform.child_frame_id.lstrip("/")
            if self._wanted and edge not in self._wanted:
                continue
            pose = pose_from_transform(transform.transform)
            name = f"{topic} {edge[0]} > {edge[1]}"
            if not has_rotation(pose):
                reason = "rotation is zero" if pose.is_finite else "transform is not finite"
                self._drops[f"{name}: {reason}"] += 1
            elif topic == TF_STATIC:
                self._static[edge] = pose
            else:
                self._take_moving(edge, name, header_stamp_ns(transform), pose)
        if not self._wanted and len(self._edges()) > known:
            self._give_up_others()

    def _take_moving(self, edge: tuple[str, str], name: str, stamp_ns: int, pose: Pose) -> None:
        order = self._orders.setdefault(edge, StampOrder(name, self._drops, self._irregular))
        if order.accept(stamp_ns):
            self._moving.setdefault(edge, {})[stamp_ns] = pose

    def _give_up_others(self) -> None:
        if path := self._reached().get(self._child):
            self._wanted = {edge for edge, _ in path}
            self._moving = {edge: poses for edge, poses in self._moving.items() if edge in self._wanted}
            self._static = {edge: pose for edge, pose in self._static.items() if edge in self._wanted}

    def track(self) -> Track:
        """Raises BagError where nothing joins the two frames."""
        return Chain([Link(self._transform(edge), inverted) for edge, inverted in self._path()])

    def _transform(self, edge: tuple[str, str]) -> PoseTrack | Pose:
        return self._static[edge] if edge in self._static else track_of(self._moving[edge], self._max_speed_mps)

    def _path(self) -> list[tuple[tuple[str, str], bool]]:
        """Edges from parent to child frame, each with whether it is passed against its direction."""
        reached = self._reached()
        if self._child not in reached:
            known = ", ".join(f"{parent} > {child}" for parent, child in self._edges()) or "none"
            raise BagError(f"no transforms lead from {self._parent} to {self._child}; the bag holds {known}")
        return reached[self._child]

    def _reached(self) -> dict[str, list[tuple[tuple[str, str], bool]]]:
        """The path to every frame that transforms join with the parent frame."""
        reached: dict[str, list[tuple[tuple[str, str], bool]]] = {self._parent: []}
        open_frames, edges = [self._parent], self._edges()
        while open_frames:
            frame = open_frames.pop(0)
            for edge in edges:
                other = edge[1] if edge[0] == frame else edge[0] if edge[1] == frame else frame
                if other not in reached:
                    reached[other] = [*reached[frame], (edge, edge[1] == frame)]
                    open_frames.append(other)
        return reached

    def _edges(self) -> list[tuple[str, str]]:
        return sorted({*self._moving, *self._static})
