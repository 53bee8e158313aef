"""The reliability diagram by hand, and the report."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.evaluation.reliability import error_by_chance, reliability, threshold_rows, write_reliability
from vpr_core.retrieval.calibrating import thresholds
from vpr_core.retrieval.calibration import Calibration
from vpr_core.retrieval.light import LightShift
from vpr_core.retrieval.match_model import ByLight, Logistic, MatchModel

PROBABILITY = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
RIGHT = np.array([False, False, True, True, True])


def test_bins_and_error_by_hand() -> None:
    found = reliability(PROBABILITY, RIGHT)
    assert [(one.low, one.matches) for one in found.bins] == [(0.0, 1), (0.1, 2), (0.9, 2)]
    assert [one.right for one in found.bins] == [0.0, 0.5, 1.0]
    assert [one.probability for one in found.bins] == pytest.approx([0.05, 0.15, 0.975])
    assert found.expected_calibration_error == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5)
    assert found.auroc == pytest.approx((2 * 2 + 1 + 0.5) / 6)


def test_what_chance_makes_of_a_perfect_probability() -> None:
    rng = np.random.default_rng(1)
    for count in (100, 1000):
        probability = rng.random(count)
        errors = [reliability(probability, rng.random(count) < probability).expected_calibration_error
                  for _ in range(400)]  # fmt: skip
        assert 0.91 < np.mean(np.array(errors) <= error_by_chance(probability)) < 0.99
    assert error_by_chance(rng.random(4000)) < error_by_chance(rng.random(100)) / 4
    assert error_by_chance(np.array([0.0, 1.0])) == 0.0


def test_a_weight_is_a_repetition() -> None:
    times = np.array([3, 1, 2, 1, 4])
    weighted = reliability(PROBABILITY, RIGHT, times.astype(float))
    repeated = reliability(np.repeat(PROBABILITY, times), np.repeat(RIGHT, times))
    assert weighted.expected_calibration_error == pytest.approx(repeated.expected_calibration_error)
    for one, other in zip(weighted.bins, repeated.bins, strict=True):
        assert (one.share, one.probability, one.right) == pytest.approx((other.share, other.probability, other.right))


def test_where_all_are_right_there_is_no_auroc() -> None:
    found = reliability(np.array([0.9, 0.8]), np.array([True, True]))
    assert math.isnan(found.auroc) and found.to_json()["auroc"] is None


def test_the_report_stands_alone_and_says_what_is_not_supported(tmp_path: Path) -> None:
    logistic = Logistic((0.0,) * 5, (1.0,) * 5, (0.0,) * 5, 0.0)
    model = MatchModel(ByLight(logistic, logistic), 0.0, 0.5)
    no_light = LightShift.fit(np.ones((1, 3)), np.ones((1, 0)))
    found = thresholds(np.linspace(1.0, 0.6, 150), np.ones(150, bool))
    calibration = Calibration("abc", "def", 10.0, 15.0, 0.1, no_light, model, model, None, (0.0,) * 9, found)
    rows = threshold_rows(found)
    assert [row["accepted_from"] for row in rows if row["target"] == "99.9 %"] == ["not supported"]
    assert "in_unknown_light" not in rows[0], "clouds have no light"
    refused = threshold_rows([replace(entry, in_unknown_light=None) for entry in found])
    assert [row["in_unknown_light"] for row in refused] == ["not supported"] * len(rows)
    page = write_reliability(tmp_path / "r.html", calibration, reliability(PROBABILITY, RIGHT), [{"drive": "rain <x>"}])
    text = page.read_text()
    assert "<svg" in text and "not supported" in text and "rain &lt;x&gt;" in text and "map abc" in text.lower()
    assert "http" not in text.replace("http://www.w3.org", "")
