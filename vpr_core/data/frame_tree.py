"""Coordinate frames and the transforms between them, as /tf_static and /tf tell them one by one."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from vpr_core.data.poses import PoseTrack, has_rotation
from vpr_core.data.transforms import Chain, Link
from vpr_core.errors import InputError
from vpr_core.types import Pose

_KEPT_NS = 10_000_000_000
"""How far back transforms that move are known, and after how long of silence one of them is forgotten."""
_CLOCK_BACK_NS = 1_000_000_000


@dataclass
class _Moving:
    """T_parent_child at sorted stamps."""

    stamps_ns: list[int] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)

    def add(self, stamp_ns: int, pose: Pose) -> None:
        if self.stamps_ns and stamp_ns < self.stamps_ns[-1] - _CLOCK_BACK_NS:
            self.stamps_ns, self.poses = [], []
        at = bisect_left(self.stamps_ns, stamp_ns)
        if self.stamps_ns[at : at + 1] != [stamp_ns]:
            self.stamps_ns.insert(at, stamp_ns)
            self.poses.insert(at, pose)
        old = bisect_left(self.stamps_ns, self.stamps_ns[-1] - _KEPT_NS)
        del self.stamps_ns[:old], self.poses[:old]

    def around(self, stamp_ns: int) -> PoseTrack:
        """The few poses by a stamp, of which the one at it is made."""
        right = bisect_left(self.stamps_ns, stamp_ns)
        near = slice(max(right - 2, 0), right + 2)
        return PoseTrack(np.array(self.stamps_ns[near], np.int64), self.poses[near])


class FrameTree:
    """Takes transforms in any order and puts them together; for one thread at a time.

    A frame has one parent. Names may begin with a slash, as they did in ROS 1.
    """

    def __init__(self) -> None:
        self._links: dict[str, dict[str, Pose | _Moving]] = {}

    def add_static(self, parent: str, child: str, pose: Pose) -> None:
        """T_parent_child for good, or until it is told again; raises InputError where it is none."""
        parent, child = _checked(parent, child, pose)
        self._links.setdefault(child, {})[parent] = pose

    def add(self, parent: str, child: str, stamp_ns: int, pose: Pose) -> None:
        """T_parent_child at a moment; raises InputError where it is none."""
        parent, child = _checked(parent, child, pose)
        links = self._links.setdefault(child, {})
        link = links.setdefault(parent, _Moving())
        if isinstance(link, _Moving):  # what was said to be static stays so
            link.add(stamp_ns, pose)
            self._forget_silent(links, link.stamps_ns[-1])

    @staticmethod
    def _forget_silent(links: dict[str, Pose | _Moving], now_ns: int) -> None:
        """A frame may be given another parent: the one before is not heard of any more."""
        moving = [(parent, link) for parent, link in links.items() if isinstance(link, _Moving)]
        for parent, link in moving:
            if link.stamps_ns[-1] < now_ns - _KEPT_NS:
                del links[parent]

    def lookup(self, target: str, source: str, stamp_ns: int = 0) -> Pose:
        """T_target_source: what takes coordinates in `source` to coordinates in `target`.

        stamp_ns: the moment; of no account where nothing between the two moves.
        Raises InputError of kind "tf" where nothing joins the two, or not at that moment, or not in one way.
        """
        links = [Link(link.around(stamp_ns) if isinstance(link, _Moving) else link, inverted)
                 for link, inverted in self._path(_plain(target), _plain(source))]  # fmt: skip
        found = Chain(links).at(stamp_ns)
        if isinstance(found, str):
            raise InputError(f"the transform from {target} to {source} is not known at {stamp_ns} ns: {found}", "tf")
        return found

    def newest_ns(self, target: str, source: str) -> int | None:
        """Stamp up to which the way between two frames is known; None where nothing on it moves. Raises as `lookup`."""
        path = self._path(_plain(target), _plain(source))
        newest = [link.stamps_ns[-1] for link, _ in path if isinstance(link, _Moving)]
        return min(newest, default=None)

    def _path(self, target: str, source: str) -> list[tuple[Pose | _Moving, bool]]:
        """Transforms from target to source, each with whether it is passed from child to parent."""
        up, down = self._to_root(target), self._to_root(source)
        if not set(up) & set(down):
            raise InputError(f"no transform from {target} to {source}: {self._why(target, up, source, down)}", "tf")
        common = next(frame for frame in up if frame in down)
        above = [(self._link(frame), True) for frame in up[: up.index(common)]]
        return [*above, *((self._link(frame), False) for frame in reversed(down[: down.index(common)]))]

    def _link(self, child: str) -> Pose | _Moving:
        (link,) = self._links[child].values()
        return link

    def _to_root(self, frame: str) -> list[str]:
        """The frame and all above it."""
        passed = [frame]
        while parents := self._links.get(passed[-1]):
            if len(parents) > 1:
                names = " and ".join(sorted(parents))
                raise InputError(f"the frame {passed[-1]} has two parents, {names}: let one node alone send it", "tf")
            (parent,) = parents
            if parent in passed:
                loop = " > ".join([parent, *reversed(passed[passed.index(parent) :])])
                raise InputError(f"transforms lead in a circle, {loop}: one of them is wrong", "tf")
            passed.append(parent)
        return passed

    def _why(self, target: str, up: list[str], source: str, down: list[str]) -> str:
        known = {*self._links, *(parent for links in self._links.values() for parent in links)}
        if unknown := [frame for frame in (target, source) if frame not in known]:
            return f"no transform names {' or '.join(unknown)}"
        return f"{' < '.join(down)} and {' < '.join(up)} do not meet"


def _plain(frame: str) -> str:
    return frame.lstrip("/")


def _checked(parent: str, child: str, pose: Pose) -> tuple[str, str]:
    """Names as they are kept; raises InputError where they and the pose are no transform."""
    parent, child = _plain(parent), _plain(child)
    if not parent or not child or parent == child:
        raise InputError(f"a transform from {parent!r} to {child!r} came, expected the names of two frames", "tf")
    if not has_rotation(pose):
        reason = "rotation is zero" if pose.is_finite else "it is not finite"
        raise InputError(f"the transform from {parent} to {child} cannot be used: {reason}", "tf")
    return parent, child
