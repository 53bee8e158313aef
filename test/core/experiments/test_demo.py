"""What the demo measures, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import FramesError
from vpr_core.experiments.demo import check_floors, live_figures, run_demo
from vpr_core.types import Pose


def rows(noon: float, others: float) -> list[dict[str, Any]]:
    recall = {"query_noon": noon, "query_night": others - 0.1, "query_fog": others + 0.1}
    return [{"method": "trained", "queries": name, "recall_at_1": value} for name, value in recall.items()]


def record(stamp_ns: int, place_id: int, accepted: bool) -> dict[str, Any]:
    return {"stamp_ns": stamp_ns, "accepted": accepted, "processing_ms": 2.0, "matches": [{"place_id": place_id}]}


def test_an_untrained_network_stays_below_the_floors() -> None:
    assert [floor["met"] for floor in check_floors(rows(0.95, 0.6), {"hit_rate": 0.8})] == [True, True, True]
    assert [floor["met"] for floor in check_floors(rows(0.89, 0.31), {"hit_rate": 0.4})] == [False, False, False]
    assert [floor["met"] for floor in check_floors(rows(0.95, 0.6), {"hit_rate": None})] == [True, True, False]


def test_a_frame_that_was_not_answered_is_a_miss() -> None:
    """Places at 0 and 100 m; frames at 1, 2, 99 m, and at 500 m off the map; the frame at 2 m got no answer."""
    poses = [Pose((x, 0.0, 0.0)) for x in (1.0, 2.0, 99.0, 500.0)]
    drive = Frames(Path(), {}, tuple(Frame(i, i + 1, None, pose=pose) for i, pose in enumerate(poses)))
    places_m = np.array([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])
    figures = live_figures([record(1, 0, True), record(3, 0, True), record(4, 1, True)], drive, places_m)
    assert figures["with_place"] == 3 and figures["answered"] == 3
    assert figures["hit_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["precision"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["accepted_off_map"] == 1


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FramesError, match="not a demo"):
        run_demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
