"""The whole of it: a bag replayed over DDS to a localizer in a process of its own agrees with the offline query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr_core.experiments.live import run_live
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.query import query_bag
from vpr_core.retrieval.recognizer import PlaceRecognizer

pytest.importorskip("rclpy")
RATE = 4.0


@pytest.mark.parametrize("drive", ["noon", "night"])
def test_live_and_offline_agree(
    workshop: Path, drives: dict[str, Path], trained: Path, drive: str, tmp_path: Path, figures: list[str]
) -> None:
    """Same stamps, same places in the same order, similarity within 1e-4; at least 80 % of the frames answered."""
    build_map(trained, drives["noon"], tmp_path / "map")
    bag = workshop / "bags" / drive
    topic = "/camera/image/compressed"
    live = run_live(trained, tmp_path / "map", bag, topic, RATE, tmp_path / "live")
    offline = {record["stamp_ns"]: record for record in query_bag(PlaceRecognizer.load(trained, tmp_path / "map"), bag)}
    assert {record["stamp_ns"] for record in live} <= set(offline)
    answered = len(live) / len(offline)
    assert answered >= 0.8  # the newest goes before what waits, and a busy machine stalls
    differences = []
    for record in live:
        expected = offline[record["stamp_ns"]]
        assert record["map_hash"] == expected["map_hash"] and record["model_hash"] == expected["model_hash"]
        assert record["accepted"] == expected["accepted"]
        assert [match["place_id"] for match in record["matches"]] == [m["place_id"] for m in expected["matches"]]
        differences += [
            abs(match["similarity"] - other["similarity"])
            for match, other in zip(record["matches"], expected["matches"], strict=True)
        ]
    figures.append(
        f"live against offline, {drive} at rate {RATE:g}: {answered:.1%} of {len(offline)} frames answered, "
        f"largest difference of similarity {max(differences):.1e}"
    )
    assert np.max(differences) <= 1e-4
