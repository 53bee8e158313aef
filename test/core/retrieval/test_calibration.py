"""Probabilities fitted to drives through a made-up map, and what is refused with which reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from vpr_core.errors import FramesError, MapError
from vpr_core.evaluation.reliability import of_validation
from vpr_core.retrieval import calibrating
from vpr_core.retrieval.calibrating import (
    OFF_MAP,
    Validated,
    ValidationDrive,
    calibrate,
    collect,
    lower_bound,
    thresholds,
)
from vpr_core.retrieval.calibration import FILE, TARGETS, Calibration
from vpr_core.retrieval.evidence import Layout
from vpr_core.retrieval.gate import CalibratedGate
from vpr_core.retrieval.match_model import RAISES
from vpr_core.retrieval.model_fit import fit_logistic
from vpr_core.types import Reason

RADIUS_M = 10.0
NOISE, LITTLE_NOISE = 1.6, 0.9


@pytest.fixture(scope="module")
def fitted(world: Any) -> tuple[Calibration, Validated]:
    drives = [world.drive(NOISE, seed) for seed in range(4)]
    return calibrate(world.place_map, [*drives, world.elsewhere(300, 0)], RADIUS_M)


@pytest.fixture(scope="module")
def calibration(fitted: tuple[Calibration, Validated]) -> Calibration:
    return fitted[0]


@pytest.fixture(scope="module")
def gate(world: Any) -> CalibratedGate:
    """Of a sensor that is rarely wrong on the map."""
    drives = [world.drive(LITTLE_NOISE, seed) for seed in range(4)]
    calibration, _ = calibrate(world.place_map, [*drives, world.elsewhere(300, 0)], RADIUS_M)
    return CalibratedGate(calibration, Layout.of(world.place_map.places), world.place_map.look_alikes)


def judged(gate: CalibratedGate, world: Any, descriptor: np.ndarray, target: float | None = 0.95, k: int = 5) -> Any:
    similarity = world.place_map.descriptors @ descriptor
    return gate.judge(similarity, np.argsort(-similarity)[:k], target, -1.0)


def test_on_a_drive_not_calibrated_on_probabilities_are_the_shares_that_are_right(world: Any) -> None:
    calibration, _ = calibrate(world.place_map, [world.drive(NOISE, seed) for seed in range(4)], RADIUS_M)
    samples = collect(
        world.place_map, [world.drive(NOISE, seed) for seed in (10, 11, 12)], RADIUS_M, calibration.exclusion_m
    ).by_light(calibration.light_shift)
    for probability, right in (
        (calibration.best(samples.features[:, 0]), samples.right[:, 0]),
        (calibration.others(samples.features[:, 1:]).ravel(), samples.right[:, 1:].ravel()),
    ):
        assert 0.1 < (~right).mean() < 0.9
        for low in (0.0, 0.5, 0.8):
            within = (probability >= low) & (probability < {0.0: 0.5, 0.5: 0.8, 0.8: 1.01}[low])
            assert within.sum() > 30 and abs(probability[within].mean() - right[within].mean()) < 0.15, low


def test_at_a_target_the_accepted_of_another_drive_are_right_as_often(world: Any, calibration: Calibration) -> None:
    samples = collect(world.place_map, [world.drive(NOISE, seed) for seed in range(20, 26)], RADIUS_M, 15.0)
    samples = samples.by_light(calibration.light_shift)
    accepted = calibration.best(samples.features[:, 0]) >= (calibration.threshold(0.95) or 2.0)
    right = samples.right[accepted, 0]
    assert accepted.sum() > 300 and right.mean() >= 0.95
    elsewhere = collect(world.place_map, [world.elsewhere(500, 9)], RADIUS_M, 15.0).by_light(calibration.light_shift)
    taken = [
        calibration.best(elsewhere.features[:, 0]) >= (calibration.threshold(target) or 2.0) for target in (0.9, 0.99)
    ]
    assert taken[1].sum() < taken[0].sum() and taken[1].mean() < 0.1


def test_the_share_of_the_time_off_the_map_lowers_probabilities(world: Any) -> None:
    drives = [world.drive(NOISE, 0), world.elsewhere(100, 0)]
    samples = collect(world.place_map, drives[:1], RADIUS_M, 15.0)
    fitted = [calibrate(world.place_map, drives, RADIUS_M, off_map_share=share)[0] for share in (0.0, 0.1, 0.5)]
    mean = [one.best(samples.by_light(one.light_shift).features[:, 0]).mean() for one in fitted]
    assert mean[0] > mean[1] > mean[2]


def test_evidence_only_counts_in_the_direction_of_its_meaning(calibration: Calibration) -> None:
    for model in (calibration.best, calibration.others):
        weights = model.by_light.plain.weights
        assert all(weight * sign >= 0 for weight, sign in zip(weights, RAISES, strict=True))
        assert any(weights)


def test_the_fit_is_that_of_a_naive_search() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 1)) * 3 + 5
    target = rng.random(400) < 1 / (1 + np.exp(-(features[:, 0] - 5)))
    found = fit_logistic(features, target, np.ones(400), (1,))
    inputs = (features[:, 0] - features.mean()) / features.std()
    yes, no = target.sum(), (~target).sum()
    goal = np.where(target, (yes + 1) / (yes + 2), 1 / (no + 2))

    def loss(weight: float, bias: float) -> float:
        p = 1 / (1 + np.exp(-(weight * inputs + bias)))
        return float(-(goal * np.log(p) + (1 - goal) * np.log(1 - p)).sum() + 0.5 * weight**2)

    (weight,) = found.weights
    least = loss(weight, found.bias)
    steps = (-1e-3, 0.0, 1e-3)
    assert all(loss(weight + a, found.bias + b) >= least - 1e-9 for a in steps for b in steps)
    assert fit_logistic(features, ~target, np.ones(400), (1,)).weights == (0.0,)


def test_where_no_match_is_wrong_probabilities_stay_short_of_one(world: Any) -> None:
    calibration, validated = calibrate(world.place_map, [world.drive(0.05, 0)], RADIUS_M)
    assert validated.right.all()
    assert validated.probability.min() > 0.9 and validated.probability.max() < 1.0
    assert calibration.off_map is None and calibration.threshold(0.99) is not None


def test_a_target_takes_one_wrong_match_more_than_was_seen() -> None:
    falling = np.linspace(1.0, 0.995, 1200)

    def of_right(count: int) -> set[float]:
        found = thresholds(falling[:count], np.ones(count, bool))
        return {entry.target for entry in found if entry.probability is not None}

    supported = {count: of_right(count) for count in (8, 9, 98, 99, 998, 999)}
    assert not supported[8] and supported[9] == {0.9}
    assert 0.99 not in supported[98] and 0.99 in supported[99]
    assert 0.999 not in supported[998] and supported[999] == set(TARGETS)
    right = np.ones(1200, bool)
    right[300] = False
    found = {entry.target: entry for entry in thresholds(falling, right)}
    assert (found[0.99].accepted, found[0.99].wrong) == (1200, 1)
    assert (found[0.995].accepted, found[0.995].wrong) == (1200, 1)
    assert found[0.999].probability is None and (found[0.999].accepted, found[0.999].wrong) == (1200, 1)
    assert found[0.99].probability == falling[-1]


def test_equal_probabilities_are_accepted_together_or_not_at_all() -> None:
    found = {entry.target: entry for entry in thresholds(np.full(200, 0.96), np.arange(200) > 0)}
    assert (found[0.99].accepted, found[0.99].wrong, found[0.99].probability) == (200, 1, 0.96)
    assert found[0.995].probability is None


def test_a_doubtful_match_is_never_accepted_however_few_were_wrong() -> None:
    some = thresholds(np.linspace(1.0, 0.0, 300_000), np.ones(300_000, bool))
    for entry in some:
        least = max(0.5, 1 - 5 * (1 - entry.target))
        assert entry.probability is not None and least <= entry.probability < least + 1e-3
    assert [entry.probability for entry in thresholds(np.full(300, 0.4), np.ones(300, bool))] == [None] * len(TARGETS)


def test_a_threshold_holds_for_each_drive_by_itself() -> None:
    """Two wrong of 60 in fog are more than 99 % allows, though 600 at noon are right."""
    probability = np.concatenate([np.linspace(1.0, 0.98, 600), np.linspace(0.99, 0.96, 60)])
    right = np.ones(660, bool)
    right[[630, 640]] = False
    drive = np.repeat([0, 1], [600, 60])

    def least(group: np.ndarray | None) -> float:
        found = {entry.target: entry.probability for entry in thresholds(probability, right, None, group)}
        assert found[0.99] is not None and found[0.9] == probability[-1]
        return found[0.99]

    assert least(None) == probability[-1]
    assert least(drive) > probability[630] > probability[640]
    few = {entry.target: entry.wrong for entry in thresholds(probability, right, None, drive)}
    assert few[0.99] == 0 and few[0.9] == 2


def test_off_the_map_no_more_are_accepted_than_may_be_wrong() -> None:
    """Whatever share of its time the robot is there: 5 of 100 are too many for 99 %, not for 95 %."""
    probability = np.concatenate([np.linspace(1.0, 0.99, 900), np.linspace(0.995, 0.1, 100)])
    right, drive = np.arange(1000) < 900, np.repeat([0, OFF_MAP], [900, 100])
    weight = np.where(right, 1.0, 0.01)
    found = {entry.target: entry for entry in thresholds(probability, right, weight, drive)}
    assert found[0.95].wrong > 1 >= found[0.99].wrong
    alone = {entry.target: entry for entry in thresholds(probability, right, weight)}
    assert alone[0.99].wrong > found[0.99].wrong


def test_frames_that_no_place_is_near_are_elsewhere_in_whatever_drive(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = world.drive(LITTLE_NOISE, 0)
    assert drive.positions_m is not None
    left = np.where(np.arange(300)[:, None] < 60, 1000.0, 0.0) + drive.positions_m
    groups = []

    def seen(*given: Any) -> Any:
        groups.append(given[3])
        return thresholds(*given)

    monkeypatch.setattr(calibrating, "thresholds", seen)
    calibrate(world.place_map, [dataclasses.replace(drive, positions_m=left), world.drive(LITTLE_NOISE, 1)], RADIUS_M)
    assert groups[0].tolist() == [OFF_MAP] * 60 + [0] * 240 + [1] * 300


def test_frames_that_weigh_nothing_are_in_no_bin(world: Any) -> None:
    drives = [*(world.drive(LITTLE_NOISE, seed) for seed in range(3)), world.elsewhere(300, 0)]
    found = of_validation(calibrate(world.place_map, drives, RADIUS_M, off_map_share=0.0)[1])
    assert np.isfinite(found.expected_calibration_error) and sum(one.share for one in found.bins) == pytest.approx(1)


def test_the_lower_bound_is_where_the_data_would_be_a_one_in_twenty_chance() -> None:
    for accepted, wrong in ((100, 0), (300, 2), (50, 10)):
        bound = lower_bound(accepted, wrong)
        assert binom.sf(accepted - wrong - 1, accepted, bound) == pytest.approx(0.05, abs=1e-6)
    assert lower_bound(3, 3) == lower_bound(0, 0) == 0.0


def test_a_target_between_two_is_judged_by_the_stricter(calibration: Calibration) -> None:
    assert calibration.threshold(0.93) == calibration.threshold(0.95) != calibration.threshold(0.9)
    assert calibration.threshold(0.9999) is None


def test_a_clear_view_is_accepted_and_every_match_has_its_probability(world: Any, gate: CalibratedGate) -> None:
    rows, judgement = judged(gate, world, world.looks[40])
    assert rows[0] == 40 and judgement.reasons[0] is Reason.ACCEPTED
    assert judgement.probabilities[0] > 0.95 and len(judgement.probabilities) == 5
    assert all(0 <= probability <= 1 for probability in judgement.probabilities)
    assert Reason.ACCEPTED not in judgement.reasons[1:]
    near = [abs(int(row) - 40) <= 2 for row in rows[1:]]
    assert near.count(True) == 4 and min(judgement.probabilities[1:]) > 0.5


def test_a_target_that_the_data_does_not_support_refuses_everything(world: Any, gate: CalibratedGate) -> None:
    _, judgement = judged(gate, world, world.looks[40], target=0.9999)
    assert set(judgement.reasons) <= {Reason.BELOW_TARGET, Reason.AMBIGUOUS} and judgement.probabilities[0] > 0.95


def test_elsewhere_is_off_the_map_or_below_the_target(world: Any, gate: CalibratedGate) -> None:
    reasons = [judged(gate, world, look, 0.99)[1].reasons[0] for look in world.elsewhere(200, 5).descriptors]
    assert reasons.count(Reason.OFF_MAP) > 100
    assert reasons.count(Reason.ACCEPTED) < 6


def test_two_places_that_look_the_same_are_ambiguous_and_both_are_named(world: Any, gate: CalibratedGate) -> None:
    looks = world.looks.copy()
    looks[190:211] = looks[40:61]
    twins = dataclasses.replace(world, place_map=dataclasses.replace(world.place_map, descriptors=looks), looks=looks)
    for k in (2, 3, 5, 8):
        rows, judgement = judged(gate, twins, looks[50], k=k)
        assert len(rows) == k == len(judgement.reasons)
        named = {int(row) for row, reason in zip(rows, judgement.reasons, strict=True) if reason is Reason.AMBIGUOUS}
        assert {50, 200} <= named and all(min(abs(row - 50), abs(row - 200)) <= 8 for row in named), (k, named)
    assert judged(gate, twins, looks[50], k=1)[1].reasons == (Reason.AMBIGUOUS,)
    assert judged(gate, twins, looks[120])[1].reasons[0] is Reason.ACCEPTED


def test_a_similarity_that_is_asked_for_refuses_besides(world: Any, gate: CalibratedGate) -> None:
    similarity = world.place_map.descriptors @ world.drive(0.1, 0).descriptors[40]
    rows = np.argsort(-similarity)[:3]
    assert gate.judge(similarity, rows, 0.95, -1.0)[1].reasons[0] is Reason.ACCEPTED
    assert gate.judge(similarity, rows, 0.95, float(similarity.max()) + 1e-3)[1].reasons[0] is Reason.BELOW_SIMILARITY
    by_similarity = gate.judge(similarity, rows, None, float(similarity[rows[1]]))[1]
    assert by_similarity.reasons == (Reason.ACCEPTED, Reason.NOT_BEST, Reason.BELOW_SIMILARITY)
    assert by_similarity.probabilities[0] > 0.9


def test_what_was_stored_judges_alike(world: Any, calibration: Calibration, tmp_path: Path) -> None:
    calibration.save(tmp_path, {"note": 1})
    again = Calibration.load(tmp_path, "hash", "model")
    assert again == calibration
    assert Calibration.load(tmp_path / "elsewhere", "hash", "model") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"map_hash": "other"}, "was made for map other, expected hash: calibrate again"),
        ({"model_hash": "other"}, "was made for model other, expected model"),
        ({"schema": 1}, "has schema 1, this version reads 3; make it again with `vpr-distill calibrate`"),
        ({"checked": {}}, "does not parse"),
        ({"best": {}}, "does not parse"),
        ({"typical": [1.0]}, "expected 9 finite numbers"),
        ({"thresholds": None}, "does not parse"),
        ({"radius_m": None}, "does not parse"),
    ],
)
def test_a_calibration_of_something_else_or_damaged_is_refused(
    calibration: Calibration, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = calibration.save(tmp_path, {})
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(MapError, match=message):
        Calibration.load(tmp_path, "hash", "model")
    (tmp_path / FILE).write_text("{")
    with pytest.raises(MapError, match="cannot be read"):
        Calibration.load(tmp_path, "hash", "model")


def test_drives_that_tell_nothing_are_refused(world: Any, make_world: Callable[..., Any]) -> None:
    with pytest.raises(FramesError, match="the map has no poses"):
        calibrate(make_world(with_poses=False).place_map, [world.drive(1.0, 0)], RADIUS_M)
    with pytest.raises(
        FramesError, match="0 of 300 validation frames have a place of the map within 10 m, expected 50"
    ):
        calibrate(world.place_map, [world.elsewhere(300, 0)], RADIUS_M)
    short = world.drive(1.0, 0)
    with pytest.raises(FramesError, match="40 of 40"):
        calibrate(world.place_map, [ValidationDrive(short.descriptors[:40], short.positions_m[:40])], RADIUS_M)


def test_no_frame_next_to_a_held_out_block_is_trained_on(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vpr_core.retrieval import calibrating

    used: list[np.ndarray] = []
    fit = calibrating._fit
    monkeypatch.setattr(calibrating, "_fit", lambda samples, weight, use: used.append(use) or fit(samples, weight, use))
    calibrate(world.place_map, [world.drive(NOISE, 0), world.drive(NOISE, 1)], RADIUS_M)
    *folds, last = used
    assert len(folds) == calibrating.FOLDS and last.all()
    for fold, use in enumerate(folds):
        for start in (0, 300):
            left = np.flatnonzero(~use[start : start + 300])
            first, end = max(60 * fold - 5, 0), min(60 * (fold + 1) + 5, 300)
            assert left.tolist() == list(range(first, end))
