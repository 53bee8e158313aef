"""What the demo measures, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import FramesError
from vpr_core.experiments.demo import run_demo
from vpr_core.experiments.demo_figures import by_condition, check_floors, live_figures
from vpr_core.types import Pose


def rows(noon: float, others: float) -> list[dict[str, Any]]:
    recall = {"noon": noon, "night": others - 0.1, "fog": others + 0.1, "opposite": 0.0}
    return [
        {"modality": modality, "method": method, "condition": name, "recall": value if "distilled" in method else 1.0}
        for modality in ("camera", "lidar")
        for method in ("student alone", "student distilled")
        for name, value in recall.items()
    ]


def record(stamp_ns: int, place_id: int, accepted: bool) -> dict[str, Any]:
    return {"stamp_ns": stamp_ns, "accepted": accepted, "processing_ms": 2.0, "matches": [{"place_id": place_id}]}


def met(noon: float, others: float, hit_rate: float | None) -> list[bool]:
    live = [{"modality": name, "hit_rate": hit_rate} for name in ("camera", "lidar")]
    return [floor["met"] for floor in check_floors(rows(noon, others), live)]


def test_an_untrained_network_stays_below_the_floors() -> None:
    assert met(0.95, 0.7, 0.8) == [True] * 6
    assert met(0.49, 0.31, 0.4) == [False] * 6
    assert met(0.95, 0.7, None) == [True] * 4 + [False] * 2


def test_the_table_for_readers_has_a_column_for_each_condition() -> None:
    distilled = by_condition(rows(0.9, 0.6))[1]
    assert distilled == {"modality": "camera", "method": "student distilled", "noon": 0.9, "night": 0.5, "fog": 0.7,
                         "opposite": 0.0, "others": 0.6}  # fmt: skip


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


def test_a_lidar_s_answers_carry_the_stamps_of_its_clouds() -> None:
    drive = Frames(Path(), {}, (Frame(0, 5, "image", "cloud", 7, Pose((1.0, 0.0, 0.0))),))
    for modality, stamp_ns in (("camera", 5), ("lidar", 7)):
        figures = live_figures([record(stamp_ns, 0, True)], drive, np.zeros((1, 3)), modality)
        assert (figures["answered"], figures["hit_rate"]) == (1, 1.0)


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FramesError, match="not a demo"):
        run_demo(tmp_path, steps=1)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
