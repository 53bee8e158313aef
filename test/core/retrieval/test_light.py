"""In which light a picture was taken, and what that does to the evidence of a search."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.errors import MapError
from vpr_core.evaluation.reliability import checked_row
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.calibrating import ValidationDrive, calibrate, collect
from vpr_core.retrieval.calibration import Calibration
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.evidence import Layout
from vpr_core.retrieval.gate import CalibratedGate
from vpr_core.retrieval.light import LIGHT, LightShift, light_of
from vpr_core.retrieval.mapping import build_map, describe, describe_with_light
from vpr_core.retrieval.match_model import KNOWN
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.types import Pose

BUNDLES = Path(__file__).parents[3] / "bundles"
RADIUS_M = 10.0
DAY, NIGHT = (-0.6, -0.2, -2.0, 0.1), (-1.6, -0.7, -1.4, -0.2)
UNSEEN = (-0.6, -0.2, -0.1, 0.8)
BY_DAY, BY_NIGHT = 0.5, 1.2


def test_what_is_measured_of_a_picture() -> None:
    image = np.full((120, 160, 3), (50, 100, 200), np.uint8)
    luminance = (0.299 * 50 + 0.587 * 100 + 0.114 * 200) / 255
    expected = (math.log(luminance), math.log(luminance), math.log(0.75), math.log(4.0))
    assert light_of(image) == pytest.approx(expected) and len(LIGHT) == 4
    image[:12] = 255
    assert light_of(image)[:2] == pytest.approx((math.log(luminance), 0.0)), "a tenth of it is bright"
    larger = np.repeat(np.repeat(image, 3, axis=0), 3, axis=1)
    assert light_of(larger) == pytest.approx(light_of(image), abs=0.02)


@pytest.mark.parametrize("value", [0, 255])
def test_a_black_or_a_white_picture_has_a_finite_light(value: int) -> None:
    assert np.isfinite(light_of(np.full((60, 80, 3), value, np.uint8))).all()
    assert light_of(np.full((60, 80, 3), value, np.uint8))[3] == 0.0


def test_right_matches_in_one_light_are_shifted_to_the_mean_of_all() -> None:
    rng = np.random.default_rng(0)
    light = np.repeat([DAY, NIGHT], [300, 100], axis=0) + rng.normal(0, 0.01, (400, 4))
    features = np.repeat([[-1.0, 0.5], [-0.2, 0.5]], [300, 100], axis=0)
    shift = LightShift.fit(features, light)
    mean = 0.75 * -1.0 + 0.25 * -0.2
    assert shift.of(DAY)[0] == pytest.approx([-1.0 - mean, 0.0], abs=0.01)
    assert shift.of(NIGHT)[0] == pytest.approx([-0.2 - mean, 0.0], abs=0.04), (
        "a few frames in the mean of all are added"
    )
    assert 0.9 < shift.of(NIGHT)[1] < shift.of(DAY)[1] < 1.0
    candidates = np.array([[-0.2, 0.5, 7.0], [0.0, 0.5, 8.0]])
    by_night = shift(candidates, NIGHT)
    assert by_night.shape == (2, 6) and np.array_equal(by_night[:, :3], candidates)
    assert by_night[:, 3:5] == pytest.approx(candidates[:, :2] - [-0.2 - mean, 0.0], abs=0.04)
    assert by_night[:, 5] == pytest.approx(float(shift.of(NIGHT)[1]))
    many = np.tile(NIGHT, (3000, 1))
    assert shift(np.tile(candidates, (3000, 1, 1)), many)[[0, -1]] == pytest.approx(np.stack([by_night, by_night]))
    unseen, known = shift.of((5.0, 5.0, 5.0, 5.0))
    assert unseen == pytest.approx([0.0, 0.0], abs=1e-9) and known == pytest.approx(0.0, abs=1e-9)
    assert len(shift.frames) < 40 and sum(shift.frames) == 400


def test_without_light_nothing_is_shifted() -> None:
    features = np.random.default_rng(1).normal(size=(50, 3))
    shift = LightShift.fit(features, np.empty((50, 0)))
    found = shift(features[:, None], np.empty((50, 0)))
    assert len(shift.frames) == 1 and np.array_equal(found[:, 0, :3], features)
    assert np.array_equal(found[:, 0, 3:6], features) and not found[..., 6].any()
    assert not shift.of(NIGHT)[0].any() and not shift.of(NIGHT)[1], "nothing was known when it was fitted"
    lit = LightShift.fit(features, np.random.default_rng(2).normal(size=(50, 4)))
    assert lit.of(DAY)[0].any() and not lit.of(())[0].any() and not lit.of(())[1], "nothing is known of the query"


def lit(drive: ValidationDrive, light: tuple[float, ...], seed: int) -> ValidationDrive:
    spread = np.random.default_rng([7, seed]).normal(0, 0.05, (len(drive.descriptors), 4))
    return replace(drive, light=np.array(light) + spread)


def probability(world: Any, calibration: Calibration, drive: ValidationDrive) -> np.ndarray:
    samples = collect(world.place_map, [drive], RADIUS_M, calibration.exclusion_m)
    return calibration.best(samples.by_light(calibration.light_shift).features[:, 0])


@pytest.fixture(scope="module")
def by_light(world: Any) -> dict[str, tuple[Calibration, list[ValidationDrive]]]:
    """Calibrated on drives by day and by night, with what is known of their light and without."""
    drives = [lit(world.drive(noise, seed), light, seed) for seed, (noise, light) in
              enumerate([(BY_DAY, DAY), (BY_DAY, DAY), (BY_NIGHT, NIGHT), (BY_NIGHT, NIGHT)])]  # fmt: skip
    drives.append(lit(world.elsewhere(300, 1), DAY, 9))
    drives.append(lit(world.elsewhere(300, 2), NIGHT, 10))
    blind = [replace(drive, light=None) for drive in drives]
    return {name: (calibrate(world.place_map, of, RADIUS_M)[0], of) for name, of in (("lit", drives), ("blind", blind))}


def test_a_bright_picture_that_is_like_nothing_is_off_the_map_where_a_dark_one_may_not_be(
    world: Any, by_light: dict[str, tuple[Calibration, list[ValidationDrive]]]
) -> None:
    knowing, blind = by_light["lit"][0], by_light["blind"][0]
    by_night, elsewhere = world.drive(BY_NIGHT, 30), world.elsewhere(400, 31)
    told = probability(world, knowing, lit(elsewhere, DAY, 31)).mean()
    assert told < 0.5 * probability(world, blind, elsewhere).mean(), "by day nothing right is so far"
    assert told < 0.5 * probability(world, knowing, lit(elsewhere, NIGHT, 31)).mean()
    assert probability(world, knowing, lit(by_night, NIGHT, 30)).mean() > probability(world, blind, by_night).mean()


def test_drives_in_one_light_alone_know_that_light() -> None:
    """Scattered as frames of a synthetic town's drive at noon are."""
    rng = np.random.default_rng(4)
    first, second, by_night = (np.array(light) + rng.normal(0, (0.15, 0.05, 0.17, 0.03), (300, 4))
                               for light in (DAY, DAY, NIGHT))  # fmt: skip
    shift = LightShift.fit(np.zeros((300, 3)), first)
    assert (shift.of(second)[1] >= KNOWN).mean() > 0.85 and (shift.of(by_night)[1] < KNOWN).all()


def test_in_a_light_that_no_validation_frame_had_a_match_is_judged_as_without_light(
    world: Any, by_light: dict[str, tuple[Calibration, list[ValidationDrive]]]
) -> None:
    knowing, blind = by_light["lit"][0], by_light["blind"][0]
    for drive in (world.drive(BY_DAY, 50), world.drive(BY_NIGHT, 51), world.elsewhere(300, 52)):
        unseen = lit(drive, UNSEEN, 53)
        np.testing.assert_allclose(probability(world, knowing, unseen), probability(world, blind, drive), atol=1e-6)
    for own, of_blind in zip(knowing.thresholds, blind.thresholds, strict=True):
        assert of_blind.probability == of_blind.in_unknown_light
        assert knowing.threshold(own.target, 1.0) == own.probability
        stricter = knowing.threshold(own.target, 0.1)
        if stricter is None:
            assert own.probability is None or of_blind.probability is None
        else:
            assert stricter == pytest.approx(max(own.probability, of_blind.probability), abs=1e-9)
    assert knowing.threshold(0.9, 0.1) is not None


def test_too_few_checked_frames_to_hold_any_out_are_no_error(world: Any) -> None:
    drives = []
    for seed in range(10):
        drive = world.drive(BY_DAY, seed)
        few = replace(drive, descriptors=drive.descriptors[:60], positions_m=drive.positions_m[:60])
        drives.append(replace(few, checks=[Check(None) if index % 10 == 0 else None for index in range(60)]))
    calibration, _ = calibrate(world.place_map, drives, RADIUS_M)
    assert calibration.checked is not None
    assert all(one.probability is None for one in calibration.checked.thresholds)


def test_drives_of_which_one_has_no_light_are_calibrated_on_without(
    world: Any, by_light: dict[str, tuple[Calibration, list[ValidationDrive]]]
) -> None:
    _, drives = by_light["lit"]
    mixed = calibrate(world.place_map, [replace(drives[0], light=None), *drives[1:]], RADIUS_M)[0]
    assert mixed == by_light["blind"][0]


def test_the_gate_takes_the_light_of_the_query(
    world: Any, by_light: dict[str, tuple[Calibration, list[ValidationDrive]]]
) -> None:
    calibration = by_light["lit"][0]
    places = world.place_map
    gate = CalibratedGate(calibration, Layout.of(places.places), places.look_alikes)
    seen = world.drive(BY_NIGHT, 40)
    told = {}
    for name, light in (("day", DAY), ("night", NIGHT)):
        answers = [
            gate.judge(row, np.argsort(-row)[:5], 0.95, -1.0, light)[1]
            for row in seen.descriptors @ places.descriptors.T
        ]
        told[name] = [np.mean([one.probabilities[0] for one in answers]),
                      np.mean([one.off_map_probability for one in answers])]  # fmt: skip
    assert told["night"][0] > told["day"][0] and told["night"][1] < told["day"][1]


def test_what_a_check_adds_is_judged_in_the_light_too(world: Any) -> None:
    """Every second frame is checked, and half of the checks on the map lead to the vehicle's place."""

    def checked(drive: ValidationDrive) -> ValidationDrive:
        places = [None] * len(drive.descriptors) if drive.positions_m is None else drive.positions_m
        checks = [
            None if index % 2 else Check(None if place is None or index % 4 else Pose((*place[:2], 0.0)), 2.0)
            for index, place in enumerate(places)
        ]
        return replace(drive, checks=checks)

    drives = [lit(world.drive(noise, seed), light, seed)
              for seed, (noise, light) in enumerate([(BY_DAY, DAY), (BY_NIGHT, NIGHT)])]  # fmt: skip
    drives += [lit(world.elsewhere(300, 1), DAY, 9), lit(world.elsewhere(300, 2), NIGHT, 10)]
    calibration = calibrate(world.place_map, [checked(drive) for drive in drives], RADIUS_M)[0]
    assert calibration.checked and calibration.checked.best.plain != calibration.checked.best.in_light
    gate = CalibratedGate(calibration, Layout.of(world.place_map.places), world.place_map.look_alikes)
    similarities = world.drive(BY_NIGHT, 60).descriptors @ world.place_map.descriptors.T
    told = {
        light: np.mean([
            gate.judge_checked(row, np.argsort(-row)[:5], Check(None), 0.9, -1.0, light).probabilities[0]
            for row in similarities
        ])
        for light in (DAY, NIGHT)
    }  # fmt: skip
    assert told[NIGHT] > told[DAY]
    unknown = tuple(replace(one, in_unknown_light=None) for one in calibration.checked.thresholds)
    alike = replace(calibration, checked=replace(calibration.checked, thresholds=unknown))
    assert replace(gate, calibration=alike).has_checks(0.9, DAY)
    assert not replace(gate, calibration=alike).has_checks(0.9, UNSEEN), "so an accepted match has to be verified"
    assert gate.has_checks(0.9, UNSEEN)
    row = checked_row("night", calibration, collect(world.place_map, [checked(drives[1])], RADIUS_M, 15.0).checked, 0.9)
    assert row["frames"] == 150


@pytest.mark.parametrize(
    "change",
    [
        {"frames": []},
        {"frames": [0.0]},
        {"scale": [0.0, 1.0, 1.0, 1.0]},
        {"lights": [[1.0, 2.0]]},
        {"scale": [1.0, 1.0], "lights": [[1.0, 2.0]]},
        {"features": [[1.0, 2.0, 3.0, 4.0]]},
        {"lights": [[float("nan"), 0.0, 0.0, 0.0]]},
    ],
)
def test_a_damaged_light_shift_is_refused(
    by_light: dict[str, tuple[Calibration, list[ValidationDrive]]], tmp_path: Path, change: dict[str, Any]
) -> None:
    whole = LightShift((1.0,) * 4, ((0.0,) * 4,), ((0.0,) * 3,), (1.0,))
    calibration = by_light["lit"][0]
    replace(calibration, light_shift=whole).save(tmp_path, {})
    assert Calibration.load(tmp_path, calibration.map_hash, calibration.model_hash) is not None
    path = tmp_path / "calibration.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "light_shift": manifest["light_shift"] | change}))
    with pytest.raises(MapError, match="does not parse .*make it again with `vpr-distill calibrate`"):
        Calibration.load(tmp_path, calibration.map_hash, calibration.model_hash)


@pytest.mark.parametrize("sensor", ["camera", "lidar"])
def test_what_a_map_is_calibrated_with_is_what_its_recognizer_gives(
    drives: dict[str, Path], tmp_path: Path, sensor: str
) -> None:
    bundle, noon = Bundle.load(BUNDLES / f"town_{sensor}"), Frames.load(drives["noon"])
    descriptors, light = describe_with_light(bundle, noon)
    np.testing.assert_array_equal(descriptors, describe(bundle, noon))
    assert light.shape == (len(noon), 4 if sensor == "camera" else 0)
    places = build_map(BUNDLES / f"town_{sensor}", drives["noon"], tmp_path / "map")
    observation = noon.image(3) if sensor == "camera" else noon.cloud(3)
    plain = PlaceRecognizer.load(BUNDLES / f"town_{sensor}", tmp_path / "map")
    assert plain.recognize(observation, 1).light == (), "a map that is not calibrated asks for none"
    calibrate(places, [ValidationDrive.of(noon, descriptors, True, None, light)], RADIUS_M)[0].save(
        tmp_path / "map", {}
    )
    calibrated = PlaceRecognizer.load(BUNDLES / f"town_{sensor}", tmp_path / "map")
    assert calibrated.recognize(observation, 1).light == tuple(light[3])
    if sensor == "camera":
        dark = (observation // 8).astype(np.uint8)
        several, sensors = calibrated.recognize_many([dark, observation], 1)
        assert several.light == (light_of(dark), tuple(light[3]))[sensors[0]]
