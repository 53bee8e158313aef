"""Runs of which only some frames are asked for: the database stays whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.pairs import average_recall, evaluate_pairs

MakeDrive = Callable[..., Frames]
Angles = Callable[..., Callable[[Frames], np.ndarray]]


def asking(drive: Frames, queries: Sequence[int]) -> Frames:
    frames = [replace(frame, query=frame.index in queries) for frame in drive.frames]
    return replace(drive, frames=tuple(frames))


def test_each_run_is_asked_for_its_queries_in_the_whole_of_the_others(make_drive: MakeDrive, angles: Angles) -> None:
    """Frame 0 of b looks like place 2 of a, which is wrong; frame 2 of b lies off the map of a."""
    a = asking(make_drive("a", [0, 100, 200]), [1])
    b = asking(make_drive("b", [1, 101, 900]), [0, 2])
    describe = angles({"a": [0, 40, 80], "b": [79, 41, 10]})
    on_a, on_b = evaluate_pairs("method", describe, [a, b], radius_m=10.0)
    assert [frame.index for frame in on_a.queries.frames] == [0, 2] and len(on_a.database) == 3
    assert on_a.result.first_hit.tolist() == [3, -1] and on_a.result.best.tolist() == [2, 0]
    assert (on_b.result.evaluated, on_b.result.skipped, on_b.result.at[1]) == (1, 0, 1.0)
    average = average_recall([on_a, on_b])
    assert (average["recall_at_1"], average["evaluated"], average["skipped"]) == (0.5, 2, 1)


def test_a_run_without_queries_is_a_database_only(make_drive: MakeDrive, angles: Angles) -> None:
    a, b = make_drive("a", [0, 100]), asking(make_drive("b", [0, 100]), [])
    describe = angles({"a": [0, 40], "b": [0, 40]})
    (pair,) = evaluate_pairs("method", describe, [a, b])
    assert (pair.database.session, pair.queries.session, pair.result.at[1]) == ("b", "a", 1.0)
    with pytest.raises(FramesError, match="none of 2 runs has a query"):
        evaluate_pairs("method", describe, [asking(a, []), b])
