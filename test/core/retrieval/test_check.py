"""Checks of candidates as evidence: what they raise, what they lower, and who is accepted then."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vpr_core.evaluation.reliability import checked_row
from vpr_core.retrieval.calibrating import Validated, ValidationDrive, calibrate, collect
from vpr_core.retrieval.calibration import Calibration
from vpr_core.retrieval.check import SAME_PLACE_M, Check
from vpr_core.retrieval.evidence import Layout
from vpr_core.retrieval.gate import CalibratedGate
from vpr_core.retrieval.match_model import CHECKED_RAISES
from vpr_core.retrieval.verification import Verification
from vpr_core.types import Pose, Reason

RADIUS_M = 10.0
NOISE = 1.6


def checked(drive: ValidationDrive, seed: int, every: int = 1) -> ValidationDrive:
    """On the map nine in ten checks lead to where the vehicle is, off it one in fifty leads anywhere and fits badly."""
    rng = np.random.default_rng([7, seed])
    checks: list[Check | None] = []
    for index in range(len(drive.descriptors)):
        if drive.positions_m is None:
            found = Check(Pose((95.0, 0.0, 0.0)), 0.4) if rng.random() < 0.02 else Check(None)
        elif rng.random() < 0.9:
            x, y = drive.positions_m[index, :2]
            found = Check(Pose((float(x), float(y), 0.0)), float(rng.uniform(0.8, 3.0)))
        else:
            found = Check(None)
        checks.append(found if index % every == 0 else None)
    return dataclasses.replace(drive, checks=checks)


@pytest.fixture(scope="module")
def fitted(world: Any) -> tuple[Calibration, Validated]:
    drives = [checked(world.drive(NOISE, seed), seed) for seed in range(3)]
    return calibrate(world.place_map, [*drives, checked(world.elsewhere(300, 0), 9)], RADIUS_M)


@pytest.fixture(scope="module")
def gate(world: Any, fitted: tuple[Calibration, Validated]) -> CalibratedGate:
    return CalibratedGate(fitted[0], Layout.of(world.place_map.places), world.place_map.look_alikes)


def at(world: Any, row: int) -> Pose:
    return world.place_map.places[row].pose


def test_a_check_supports_the_places_that_it_leads_to_and_the_nearest_is_judged() -> None:
    positions = np.array([[0.0, 0.0], [8.0, 0.0], [5.0, 0.0], [5.0 + SAME_PLACE_M + 0.1, 0.0]])
    support = Check(Pose((5.5, 0.0, 40.0)), 0.7).support(positions)
    assert support.fit.tolist() == [0.7, 0.7, 0.7, 0.7] and support.chosen == 2 and support.is_borne_out
    support = Check(Pose((5.0, 0.0, 0.0)), 0.7).support(positions)
    assert support.fit.tolist() == [0.7, 0.7, 0.7, 0.0] and support.against.tolist() == [0.0, 0.0, 0.0, 0.7]
    elsewhere, nowhere = Check(Pose((0.0, 99.0, 0.0)), 0.7).support(positions), Check(None).support(positions)
    assert not elsewhere.is_borne_out and elsewhere.chosen == 0 and elsewhere.against.tolist() == [0.7] * 4
    assert not nowhere.columns.any() and nowhere.chosen == 0


def test_candidates_that_put_the_vehicle_at_one_pose_count_together(world: Any) -> None:
    """Places 40 to 42 see the vehicle at place 40, place 43 sees it 5 m away, place 44 is refused."""
    from vpr_core.data.poses import compose, inverse

    beside = compose(at(world, 40), Pose((5.0, 0.0, 0.0)))
    tried = tuple(
        (
            row,
            SimpleNamespace(
                T_place_query=compose(inverse(at(world, row)), there), score=0.5, accepted=row != 44, is_ambiguous=False
            ),
        )  # fmt: skip
        for row, there in (
            (40, at(world, 40)),
            (41, at(world, 40)),
            (42, at(world, 40)),
            (43, beside),
            (44, at(world, 40)),
        )
    )
    kept: Any = SimpleNamespace(T_map_base=at(world, 40))
    assert Check.of(Verification(kept, "", tried), world.place_map) == Check(at(world, 40), 1.5)
    assert Check.of(Verification(None, "", tried), world.place_map) == Check(None, rivals=frozenset({40, 41, 42, 43}))
    assert Check.of(Verification(None, "", tried[4:]), world.place_map) == Check(None)
    slides = (44, SimpleNamespace(accepted=False, is_ambiguous=True))
    assert Check.of(Verification(None, "", (slides,)), world.place_map) == Check(None, rivals=frozenset({44}))


def test_checks_let_more_be_accepted_and_no_less_be_right(world: Any, fitted: tuple[Calibration, Validated]) -> None:
    calibration, validated = fitted
    assert validated.checked is not None and len(validated.checked.right) == len(validated.right)
    raw = collect(world.place_map, [checked(world.drive(NOISE, 20), 20)], RADIUS_M, calibration.exclusion_m)
    samples = raw.by_light(calibration.light_shift)
    plain = calibration.accepts(samples.features[:, 0], 0.98) & samples.right[:, 0]
    accepted = calibration.accepts_checked(samples.of_chosen(samples.checked_features), 0.98)[1]
    assert accepted.sum() > 1.2 * plain.sum() > 100 and samples.right_chosen[accepted].mean() >= 0.98
    row = checked_row("fog, verified", calibration, raw.checked, 0.98)
    assert (row["frames"], row["accepted"], row["wrong"]) == (300, accepted.sum(), 0)
    elsewhere = collect(world.place_map, [checked(world.elsewhere(600, 5), 5)], RADIUS_M, calibration.exclusion_m)
    elsewhere = elsewhere.by_light(calibration.light_shift)
    taken = calibration.accepts_checked(elsewhere.of_chosen(elsewhere.checked_features), 0.98)[1]
    assert (elsewhere.of_chosen(elsewhere.support)[:, 0] > 0).any() and taken.sum() <= 1


def test_a_check_only_counts_in_the_direction_of_its_meaning(fitted: tuple[Calibration, Validated]) -> None:
    model = fitted[0].checked
    assert model is not None
    for part in (model.best, model.others):
        assert all(weight * sign >= 0 for weight, sign in zip(part.plain.weights, CHECKED_RAISES, strict=True))
        assert part.plain.weights[-2] > 0, "of the fit"


def test_the_place_that_the_check_leads_to_is_accepted_be_it_the_most_similar_or_not(
    world: Any, gate: CalibratedGate
) -> None:
    """A view of place 40 with something of place 200, to which the check leads."""
    look = 0.55 * world.looks[40] + 0.45 * world.looks[200]
    similarity = world.place_map.descriptors @ (look / np.linalg.norm(look))
    rows = np.array([40, 41, 200, 39])
    assert gate.has_checks(0.98) and not gate.has_checks(None) and not gate.has_checks(0.9999)
    assert Reason.ACCEPTED not in gate.judge(similarity, rows, 0.98, -1.0)[1].reasons[1:]
    assert gate.could_reach(similarity, rows, 0.98)
    found = gate.judge_checked(similarity, rows, Check(at(world, 200), 2.5), 0.98, -1.0)
    assert [reason is Reason.ACCEPTED for reason in found.reasons] == [False, False, True, False]
    assert found.reasons[0] in (Reason.BELOW_TARGET, Reason.NOT_BEST)
    assert found.probabilities[2] == max(found.probabilities) > 0.9
    low = gate.judge_checked(similarity, rows, Check(at(world, 200), 2.5), 0.98, float(similarity[200]) + 0.01)
    assert low.reasons[2] is Reason.BELOW_SIMILARITY and Reason.ACCEPTED not in low.reasons


def test_a_check_that_leads_nowhere_or_elsewhere_refuses_what_was_accepted(world: Any, gate: CalibratedGate) -> None:
    similarity = world.place_map.descriptors @ world.drive(0.6, 3).descriptors[40]
    rows = np.argsort(-similarity)[:5]
    plain = gate.judge(similarity, rows, 0.98, -1.0)[1]
    assert plain.reasons[0] is Reason.ACCEPTED
    borne_out = gate.judge_checked(similarity, rows, Check(at(world, 40), 2.0), 0.98, -1.0)
    assert borne_out.reasons[0] is Reason.ACCEPTED and Reason.ACCEPTED not in borne_out.reasons[1:]
    for check in (Check(None), Check(at(world, 200), 2.0)):
        refused = gate.judge_checked(similarity, rows, check, 0.98, -1.0)
        assert refused.reasons[0] is Reason.NOT_VERIFIED and Reason.ACCEPTED not in refused.reasons
        assert refused.probabilities[0] < borne_out.probabilities[0]
    rivals = frozenset(rows[[0, 3]].tolist())
    two_fit = gate.judge_checked(similarity, rows, Check(None, rivals=rivals), 0.98, -1.0)
    marked = [reason is Reason.AMBIGUOUS for reason in two_fit.reasons]
    assert marked == [True, False, False, True, False], "the reason names the places"
    assert Reason.ACCEPTED not in two_fit.reasons


def test_off_the_map_stays_so_where_nothing_fits(world: Any, gate: CalibratedGate) -> None:
    plain, reasons = [], []
    for look in world.elsewhere(100, 5).descriptors:
        similarity = world.place_map.descriptors @ look
        rows = np.argsort(-similarity)[:5]
        plain.append(gate.judge(similarity, rows, 0.98, -1.0)[1].reasons[0])
        reasons.append(gate.judge_checked(similarity, rows, Check(None), 0.98, -1.0).reasons[0])
    kept = {Reason.OFF_MAP, Reason.AMBIGUOUS}
    assert kept <= set(plain) and reasons == [one if one in kept else Reason.NOT_VERIFIED for one in plain]


def test_what_was_stored_judges_alike(fitted: tuple[Calibration, Validated], tmp_path: Path) -> None:
    calibration, _ = fitted
    calibration.save(tmp_path, {})
    assert calibration.checked is not None and Calibration.load(tmp_path, "hash", "model") == calibration


def test_of_every_nth_frame_the_check_is_enough_and_of_few_it_is_not(world: Any) -> None:
    drives = [checked(world.drive(NOISE, seed), seed, every=4) for seed in range(2)]
    calibration, validated = calibrate(world.place_map, drives, RADIUS_M)
    assert calibration.checked is not None and validated.checked is not None
    assert (len(validated.right), len(validated.checked.right)) == (600, 150)
    few = calibrate(world.place_map, [checked(world.drive(NOISE, 0), 0, every=10)], RADIUS_M)
    assert few[0].checked is None and few[1].checked is None
