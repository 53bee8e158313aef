"""The places that a robot has passed on this drive, in the order of time, within a budget of memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_core.errors import InputError
from vpr_core.types import Pose

MIB = 1 << 20
FEWEST = 64
"""Places for which there has to be room."""
_ROW = np.dtype([("place_id", "<i8"), ("stamp_ns", "<i8"), ("session", "<i8"), ("metres", "<f8"), ("pose", "<f8", 7)])
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class PastPlace:
    """One place of the past."""

    place_id: int
    """Its number among all that were kept, from 0; it keeps it when others are thinned out."""
    stamp_ns: int
    session: int
    """Poses of one session belong together: odometry went on unbroken."""
    metres: float
    """How far the robot had come since the start [m]."""
    pose: Pose | None
    """T_odom_base; None without odometry."""


class OwnPast:
    """Descriptors and places, added at the end and searched from the beginning; for one thread.

    dim: width of the descriptors. budget_bytes: what descriptors and places may take. All of it is asked for at once
    and becomes memory as it is filled, so that nothing is copied when the past grows.

    Where the budget is full, every second place of the older half goes: what lies longest ago is known at the
    largest distances, and no stretch of the way is forgotten. `kept` counts all that came, `thinned` those that went.
    Raises InputError where the budget has no room for `FEWEST` places.
    """

    def __init__(self, dim: int, budget_bytes: int) -> None:
        self.bytes_per_place = 4 * dim + _ROW.itemsize
        self.most = budget_bytes // self.bytes_per_place
        if self.most < FEWEST:
            least = -(-FEWEST * self.bytes_per_place // MIB)
            raise InputError(
                f"a memory of {budget_bytes / MIB:g} MiB holds {self.most} places of {dim}-d descriptors, expected "
                f"{FEWEST} or more: give {least} MiB"
            )
        try:
            self._descriptors, self._rows = np.empty((self.most, dim), np.float32), np.empty(self.most, _ROW)
        except MemoryError as error:
            raise InputError(f"this machine has no {budget_bytes / MIB:g} MiB for places: give less") from error
        self._count = self.kept = 0
        self.thinned = 0

    def __len__(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        """What the places take now."""
        return self._count * self.bytes_per_place

    @property
    def place_ids(self) -> np.ndarray:
        """int64 [N], rising; all numbers from 0 where none was thinned out."""
        return np.array(self._rows["place_id"][: self._count])

    def __getitem__(self, row: int) -> PastPlace:
        if not -self._count <= row < self._count:
            raise IndexError(row)
        place_id, stamp_ns, session, metres, pose = self._rows[: self._count][row].item()
        known = None if np.isnan(pose[0]) else Pose(tuple(pose[:3]), tuple(pose[3:]))
        return PastPlace(place_id, stamp_ns, session, metres, known)

    def keep(self, descriptor: np.ndarray, stamp_ns: int, session: int, metres: float, pose: Pose | None) -> PastPlace:
        """Add a place: descriptor [D]. Its session, stamp and metres must not be before those of the last."""
        if self._count == self.most:
            self._thin_out()
        numbers = (*pose.position_m, *pose.quaternion_xyzw) if pose else (np.nan,) * 7
        self._descriptors[self._count] = descriptor
        self._rows[self._count] = (self.kept, stamp_ns, session, metres, numbers)
        self._count += 1
        self.kept += 1
        return self[-1]

    def older(self, session: int, metres: float, stamp_ns: int) -> int:
        """How many rows, from the first, lie at `metres` or before and, of this session, at `stamp_ns` or before."""
        rows = self._rows[: self._count]
        by_way = int(np.searchsorted(rows["metres"], metres, side="right"))
        begins = int(np.searchsorted(rows["session"], session))
        by_time = begins + int(np.searchsorted(rows["stamp_ns"][begins:], stamp_ns, side="right"))
        return min(by_way, by_time)

    def reachable(
        self, first: int, session: int, pose: Pose, metres: float, radius_m: float, drift: float
    ) -> np.ndarray:
        """bool [first]: whether the robot can be back at a row's place, at `pose` after so many metres of way.

        That is within `radius_m` and `drift` of the way since. Of another session nothing is known, so it can.
        """
        rows = self._rows[:first]
        away_m = np.linalg.norm(rows["pose"][:, :3] - np.asarray(pose.position_m), axis=1)
        return (rows["session"] != session) | ~(away_m > radius_m + drift * (metres - rows["metres"]))

    def search(self, descriptor: np.ndarray, chosen: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the first rows, of which bool `chosen` [N] says who is asked, the `k` most similar.

        Similarities in falling order, and the rows. A matrix product over all of the past, and no copy of it.
        """
        similarity = self._descriptors[: len(chosen)] @ descriptor
        asked = np.flatnonzero(chosen)
        best = asked[np.argsort(-similarity[asked], kind="stable")[:k]]
        return similarity[best], best

    def _thin_out(self) -> None:
        half = self._count // 2
        rows = np.concatenate([np.arange(0, half, 2), np.arange(half, self._count)])
        # No row comes from before where it goes, so what is still to be moved is never written over.
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            self._descriptors[start : start + len(part)] = self._descriptors[part]
            self._rows[start : start + len(part)] = self._rows[part]
        self.thinned += self._count - len(rows)
        self._count = len(rows)
