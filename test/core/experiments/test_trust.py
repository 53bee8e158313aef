"""`vpr-distill trust`: from toy drives to checks, what an interrupt leaves, the arithmetic of figures and checks."""

from __future__ import annotations

import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.data.poses import compose, inverse
from vpr_core.errors import VprError
from vpr_core.evaluation.reliability import reliability
from vpr_core.experiments.trust_checks import Check, checks, checks_text
from vpr_core.experiments.trust_drives import ODOMETRY, QUICK, TrustPlan, neighbours, read_odometry
from vpr_core.experiments.trust_figures import COLUMNS, Row, judged_on, pooled, rows_of
from vpr_core.experiments.trust_outcomes import (
    FILTERED,
    FILTERED_VERIFIED,
    SINGLE,
    VERIFIED,
    Judge,
    Outcome,
    Seen,
    look,
)
from vpr_core.experiments.trust_results import Results
from vpr_core.experiments.trust_runs import carried
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.calibrating import calibrate
from vpr_core.retrieval.filter import PlaceFilter
from vpr_core.retrieval.mapping import build_map, describe
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.validation import ValidationDrive
from vpr_core.retrieval.verification import Verification
from vpr_core.retrieval.verify_lidar import LidarVerifier
from vpr_core.synthetic.lidar import Lidar
from vpr_core.types import POSE_COLUMNS, Pose, Recognition

BUNDLE, LIDAR = (Path(__file__).parents[3] / "bundles" / name for name in ("town_camera", "town_lidar"))
FRAMES, SPACING_M = 60, 2.0


def toy_drive(folder: Path, street: int, seed: int, turned_rad: float = 0.0) -> None:
    """A drive along a street whose walls are blocks of colour, as `make_drives` would leave it; nearly straight."""
    (folder / "images").mkdir(parents=True)
    walls = np.random.default_rng([5, street]).uniform(0, 255, (8, 12 + FRAMES, 3)).astype(np.uint8)
    rng, frames, odometry = np.random.default_rng([6, street, seed]), [], []
    for index in range(FRAMES):
        name = f"images/{index:06d}.png"
        seen = cv2.resize(walls[:, index : index + 12], (160, 120), interpolation=cv2.INTER_LINEAR)
        noisy = seen * rng.uniform(0.9, 1.0) + rng.normal(0, 8, seen.shape)
        cv2.imwrite(str(folder / name), noisy.clip(0, 255).astype(np.uint8))
        pose = Pose.from_xy_yaw(index * SPACING_M, 200.0 * street, turned_rad + 0.001 * index)
        frames.append(Frame(index, (1 + seed) * 10**13 + index * 500_000_000, name, None, None, pose))
        odometry.append((frames[-1].stamp_ns, *Pose((1.01 * index * SPACING_M, 0.0, 0.0)).cells()))
    card = {"session": folder.name, "bag": "toy", "topics": {}, "map_frame": "map", "image_size": [160, 120]}
    write_index(folder, frames, {**card, "counts": {"frames": len(frames)}, "drops": {}})
    with (folder / ODOMETRY).open("w", newline="") as file:
        csv.writer(file).writerows([("stamp_ns", *POSE_COLUMNS), *odometry])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy drives in the place of all of the quick plan but one of the town of like houses, which is drawn."""
    folder = tmp_path_factory.mktemp("trust")
    for seed, drive in enumerate(QUICK.drives(Path())):
        if drive.out.name == "identical13_noon":
            continue
        street = drive.town + (100 if drive.route == "offmap" else 0) + (200 if drive.style == "identical" else 0)
        toy_drive(folder / QUICK.name / "frames" / drive.out.name, street, seed)
    return folder


def test_from_drives_to_checks_and_nothing_is_made_twice(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["trust", "--quick", "true", "--bundles", str(BUNDLE), "--work", str(work), "--workers", "2",
               "--verify_every", "0"]  # fmt: skip
    main(command)
    shown = capsys.readouterr().out
    drawn = work / QUICK.name / "frames" / "identical13_noon"
    assert len(read_odometry(drawn)) == len(Frames.load(drawn)) > 50
    with (work / QUICK.name / "trust.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    noon = {row["mode"]: row for row in rows if (row["town"], row["condition"]) == ("town 7", "noon")}
    assert set(noon) == {SINGLE, FILTERED} and all(row["frames"] == str(FRAMES) for row in noon.values())
    assert float(noon[SINGLE]["recall_at_1"]) > 0.9
    beside = [row for row in rows if row["condition"] == "other towns" and row["mode"] == SINGLE]
    assert [row["town"] for row in beside] == ["town 7", "town 9", "town 11"]
    assert all(row["frames"] == str(2 * FRAMES) and row["on_map"] == "0" for row in beside)
    assert [row["runs"] for row in rows if row["condition"] == "kidnap night"] == ["6"] * 3
    together = [row for row in rows if row["condition"] == "together" and row["mode"] == SINGLE]
    assert [(row["town"], row["frames"]) for row in together] == [
        (f"town {town}", str(2 * FRAMES)) for town in QUICK.towns
    ]
    assert "MISSED  lidar   filtered                recall >= 0.9 noon to noon: not measured" in shown
    report = (work / QUICK.name / "trust.html").read_text()
    assert "checks met, verify: auto" in report and report.count("<svg") >= 4

    results = sorted((work / QUICK.name / "results").rglob("*.json"))
    written = [path.stat().st_mtime_ns for path in results]
    drawn_at = (drawn / ODOMETRY).stat().st_mtime_ns
    main(command)
    assert capsys.readouterr().out == shown
    assert [path.stat().st_mtime_ns for path in results] == written and len(results) == 4
    assert (drawn / ODOMETRY).stat().st_mtime_ns == drawn_at


def row(condition: str, mode: str = SINGLE, sensor: str = "camera", town: str = "town 7", **counts: Any) -> Row:
    values: dict[str, Any] = {"frames": 300, "on_map": 300, "accepted": 0, "wrong": 0, **counts}
    values["recalled"] = values["accepted"] - values["wrong"]
    return Row("drives", "bundle", town, sensor, condition, mode, **values)


def line(rows: list[Row], text: str, sensor: str = "camera", mode: str = SINGLE) -> Check:
    (found,) = [check for check in checks(rows) if text in check.line and (check.sensor, check.mode) == (sensor, mode)]
    return found


def test_precision_takes_500_accepted_and_counts_every_condition() -> None:
    good = [row("noon", accepted=290, wrong=1), row("night", accepted=210, wrong=4)]
    assert line(good, "precision").is_met
    assert "0.9900, 95 % lower bound 0.9791; 500 accepted, 5 wrong (1 noon, 4 night)" in line(good, "precision").figure
    assert not line([good[0], replace(good[1], accepted=209, wrong=1)], "precision").is_met
    assert not line([*good, row("opposite", accepted=1, wrong=1)], "precision").is_met
    beside = [row("off_map", on_map=0, accepted=9, wrong=9), row("noon", town="identical 13", accepted=9, wrong=9)]
    assert line([*good, *beside], "precision") == line(good, "precision")


def test_recall_is_of_frames_in_the_map_and_asked_of_each_lidar_condition() -> None:
    assert line([row("noon", accepted=270)], "noon to noon").is_met
    missed = line([row("noon", accepted=270, wrong=1)], "noon to noon")
    assert not missed.is_met and missed.figure == "0.897 of 300 frames (by town 0.897)"
    assert line([row("noon", accepted=270, frames=400)], "noon to noon").is_met
    rows = [row("night", VERIFIED, "lidar", accepted=150), row("opposite", VERIFIED, "lidar", accepted=10)]
    assert line(rows, ">= 0.5, night", "lidar", VERIFIED).is_met
    assert not line(rows, ">= 0.5, opposite", "lidar", VERIFIED).is_met
    assert line(rows, ">= 0.5, night", "lidar").figure == "not measured"


def test_the_worst_drive_decides_over_auroc_and_calibration_error() -> None:
    alone = "AUROC >= 0.8 on every", "error <= 0.05 on every"
    rows = [row("noon", auroc=0.9, ece=0.01), row("night", auroc=0.8, ece=0.05), row("rain", auroc=None, ece=0.02)]
    assert all(line(rows, text).is_met for text in alone)
    assert line(rows, alone[0]).figure == "2 of 2 drives, mean 0.850, lowest 0.800 (town 7, night)"
    turned = line([*rows, row("opposite", auroc=0.5, ece=0.4)], alone[0])
    assert turned.figure.endswith("lowest 0.500 (town 7, opposite); the map's way 2 of 2, lowest 0.800")
    assert not turned.is_met
    off_map = line([*rows, row("opposite", on_map=0, ece=0.4)], alone[1])
    assert not off_map.is_met, "a camera that faces away is asked for its calibration too"
    assert "largest 0.400 (town 7, opposite); the map's way 3 of 3, largest 0.050; 0 no" in off_map.figure
    few = line([*rows, row("rain", town="town 9", ece=0.06, ece_by_chance=0.07)], alone[1])
    assert not few.is_met, "what is asked is asked"
    assert few.figure.endswith("; 1 no larger than a perfect probability's on so few frames (95 %)")
    worse = [*rows, row("night", town="town 9", auroc=0.79, ece=0.06)]
    assert line(worse, alone[0]).figure == "2 of 3 drives, mean 0.830, lowest 0.790 (town 9, night)"
    assert not any(line(worse, text).is_met for text in alone)


def test_a_town_s_drives_together_are_asked_for_both_at_once() -> None:
    rows = [row("together", auroc=0.9, ece=0.05), row("together", auroc=0.8, ece=0.01, town="town 9")]
    assert line(rows, "together").is_met
    assert line(rows, "together").figure == "0.900 beside 0.050, 0.800 beside 0.010"
    for worse in (replace(rows[0], ece=0.06), replace(rows[0], auroc=0.79)):
        assert not line([worse, rows[1]], "together").is_met
    counted = [row("noon", accepted=600), row("together", accepted=600)]
    assert "600 accepted" in line(counted, "precision").figure, "no frame counts twice"


def test_off_the_map_nothing_is_accepted_and_500_frames_are_asked() -> None:
    rows = [row("off_map", on_map=0), row("other towns", on_map=0)]
    assert line(rows, "off the map").is_met
    assert line(rows, "off the map").figure == "0 accepted: 0 of 300 in the same town, 0 of 300 in other towns"
    assert not line(rows[:1], "off the map").is_met
    assert not line([rows[0], replace(rows[1], accepted=1, wrong=1)], "off the map").is_met


def test_like_houses_are_refused_as_ambiguous_and_the_church_is_accepted() -> None:
    rows = [row("noon", town="identical 13", accepted=20, refused_wrong=100, ambiguous=50),
            row("church noon", town="identical 13", frames=0, runs=1, found=1, church_m=40.0),
            row("church rain", town="identical 13", frames=0, runs=1, found=1, church_m=12.0)]  # fmt: skip
    assert line(rows, "nothing wrong").is_met and line(rows, "says ambiguous").is_met
    assert line(rows, "church").is_met
    assert line(rows, "church").figure == "in 2 of 2 drives, at the latest 12 m before it; 0 wrong on the way"
    worse = [replace(rows[0], wrong=1, ambiguous=49), rows[1], replace(rows[2], found=0, church_m=None)]
    assert not any(line(worse, text).is_met for text in ("nothing wrong", "says ambiguous", "church"))


def test_carried_elsewhere_counts_what_is_wrong_until_found() -> None:
    rows = [row("kidnap noon", FILTERED, runs=3, found=2, found_after=(10, 40)),
            row("kidnap night", FILTERED, town="town 9", runs=3, found=3, found_after=(8, 12, 30))]  # fmt: skip
    met = line(rows, "carried", mode=FILTERED)
    assert met.is_met
    assert met.figure == "0 wrong; 5 of 6 cuts found again after 12 frames in the median, 40 at most"
    assert not line([replace(rows[0], wrong=1), rows[1]], "carried", mode=FILTERED).is_met


def test_nothing_measured_is_missed_everywhere() -> None:
    assert checks([]) and not any(check.is_met for check in checks([]))


def test_lines_are_told_by_what_the_localizer_checks() -> None:
    found = checks([row("noon", VERIFIED, accepted=600), row("noon", accepted=600, wrong=60)])
    auto, false = checks_text(found).split("\n\n")
    assert auto.startswith("verify: auto\nmet ") and false.startswith("verify: false\nMISSED")
    assert "verified" not in false and "camera  single frame  " not in auto
    assert len(auto.splitlines()) + len(false.splitlines()) == len(found) + 4


def outcome(condition: str, probability: list[float], right: list[int], town: str = "town 7") -> Outcome:
    flags = np.array(right, bool)
    accepted = np.array(probability) >= 0.99
    return Outcome(
        town, "camera", condition, SINGLE, flags, flags, np.array(probability), accepted, accepted, ~accepted
    )


def test_a_tenth_of_the_frames_is_off_the_map() -> None:
    driven = outcome("noon", [0.95] * 17 + [0.15], [1] * 17 + [0])
    beside = outcome("off_map", [0.85, 0.05, 0.05, 0.05, 0.85, 0.05, 0.05, 0.05], [0] * 8)
    found = reliability(*judged_on([driven], [driven, beside]))
    assert found.matches == 20 and found.auroc == 1.0
    assert found.expected_calibration_error == pytest.approx((17 * 0.05 + 0.15 + 2 * 0.85) / 20)
    assert len(judged_on([driven], [driven])[0]) == 18


def test_a_camera_the_other_way_round_is_one_of_the_drives_that_its_probability_is_held_to() -> None:
    driven, elsewhere = outcome("noon", [0.95] * 18, [1] * 18), outcome("off_map", [0.05] * 18, [0] * 18)
    back = replace(outcome("opposite", [0.995] + [0.55] * 17, [1] + [0] * 17), on_map=np.zeros(18, bool))
    found = reliability(*judged_on([driven], [driven, back, elsewhere]))
    assert found.matches == 20
    assert found.expected_calibration_error == pytest.approx((18 * 0.05 + 2 * 0.05) / 20)
    rows = {row.condition: row for row in rows_of({("camera", "town 7"): Results([driven, back, elsewhere], [], [])},
                                                  "towns", {"camera": "hash"})}  # fmt: skip
    assert rows["together"].frames == 36 and rows["noon"].recall == 0.0
    assert rows["together"].ece == pytest.approx((18 * 0.05 + 0.005 + 17 * 0.55 + 4 * 0.05) / 40, abs=0.002)
    opposite = rows["opposite"]
    assert (opposite.accepted, opposite.wrong, opposite.right, opposite.auroc) == (1, 0, 0, None)
    assert opposite.ece == pytest.approx((0.005 + 17 * 0.55 + 2 * 0.05) / 20)


def test_headings_of_drive_and_map_say_whether_a_camera_is_on_it(tmp_path: Path) -> None:
    for name, turned_rad in (("map", 0.0), ("ahead", 0.5), ("back", np.pi)):
        toy_drive(tmp_path / name, 1, len(name), turned_rad)
    build_map(BUNDLE, tmp_path / "map", tmp_path / "place_map")
    places = PlaceMap.load(tmp_path / "place_map")
    ahead = Frames.load(tmp_path / "ahead")
    known = ValidationDrive.of(ahead, describe(Bundle.load(BUNDLE), ahead), True)
    calibrate(places, [known], 10.0)[0].save(tmp_path / "place_map", {})
    recognizer = PlaceRecognizer.load(BUNDLE, tmp_path / "place_map", target_precision=0.9)
    judge = Judge("town 1", "camera", recognizer, PlaceFilter(places, ObservationModel(0.0, 20.0, 1.0)))
    for name, is_on_map in (("ahead", True), ("back", False)):
        seen = look(recognizer, tmp_path / name)
        found = judge.single(seen.part(range(10, 40)), name)
        assert found.on_map.tolist() == [is_on_map] * 30
        assert found.right.mean() > 0.5, "by position"


def test_every_drive_of_the_plan_has_a_name_a_seed_and_one_use() -> None:
    plan = TrustPlan()
    drives = plan.drives(Path("bags"))
    assert len({drive.out for drive in drives}) == len(drives)
    of_each = [(drive.town, drive.style, drive.seed) for drive in drives]
    assert len(set(of_each)) == len(drives), "other parked cars and traffic in each"
    folders = {Path("frames") / drive.out.name for drive in drives}
    for town in [*(plan.town(Path("frames"), number) for number in plan.towns), plan.identical(Path("frames"))]:
        used = [town.database, *town.fitted.values(), *town.tested.values(), *filter(None, [town.off_map])]
        assert len(set(used)) == len(used) and folders.issuperset(used)


def test_a_carried_robot_notices_nothing_by_odometry_and_time() -> None:
    odometry = [Pose.from_xy_yaw(2.0 * index, 0.0, 0.1 * index) for index in range(8)]
    recognitions = [Recognition(10**9 * index**2, (), np.zeros(1, np.float32)) for index in range(8)]
    checks = [None, None, Verification(None, "", ()), *[None] * 5]
    along = carried(Seen(recognitions, odometry, None, checks), np.array([2, 3, 6, 7]))
    found, poses = along.recognitions, along.odometry
    assert along.verifications == [checks[2], None, None, None] and along.followed_as == FILTERED_VERIFIED
    assert [one.stamp_ns // 10**9 for one in found] == [4, 9, 9 + 36 - 25, 20 + 49 - 36]
    driven = [3, 6, 7]
    for before, after, index in zip(poses, poses[1:], driven, strict=False):
        step, own = compose(inverse(before), after), compose(inverse(odometry[index - 1]), odometry[index])
        assert step.position_m == pytest.approx(own.position_m) and step.yaw_rad == pytest.approx(own.yaw_rad)


def test_what_is_verified_was_accepted_before_and_counts_along_the_way(drives: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "night"
    shutil.copytree(drives["night"], folder, copy_function=os.link)
    frames = Frames.load(folder).frames
    with (folder / ODOMETRY).open("w", newline="") as file:
        rows = [(frame.stamp_ns, *frame.pose.cells()) for frame in frames if frame.pose]
        csv.writer(file).writerows([("stamp_ns", *POSE_COLUMNS), *rows])
    build_map(LIDAR, drives["noon"], tmp_path / "map")
    store_clouds(tmp_path / "map", drives["noon"], CloudOptions(T_base_lidar=Pose(Lidar().position_base_m)))
    places, bundle, night = PlaceMap.load(tmp_path / "map"), Bundle.load(LIDAR), Frames.load(folder)
    known = ValidationDrive(describe(bundle, night), night.positions_m)
    calibrate(places, [known], 10.0)[0].save(tmp_path / "map", {})
    recognizer = PlaceRecognizer.load(LIDAR, tmp_path / "map", target_precision=0.9)
    places_along = PlaceFilter(recognizer.place_map, ObservationModel(0.0, 20.0, 1.0))
    judge = Judge("town 3", "lidar", recognizer, places_along)
    alone = look(recognizer, folder)
    seen = look(recognizer, folder, verifier=LidarVerifier.load(tmp_path / "map"), every=8)
    single, verified = judge.single(alone, "night"), judge.verified(seen, "night")
    assert len(verified.accepted) == -(-len(frames) // 8) and single.accepted[::8].any()
    assert not (verified.accepted & ~single.accepted[::8]).any()
    assert verified.accepted.sum() >= 0.5 * (single.accepted & single.right)[::8].sum()
    assert not (verified.accepted & ~verified.right).any()
    told = replace(places_along.observation_model, checked_log_ratio=5.0)
    convinced = replace(judge, places=PlaceFilter(recognizer.place_map, told))
    followed, blind = convinced.filtered(seen, "night"), convinced.filtered(alone, "night")
    assert (followed.mode, blind.mode) == (FILTERED_VERIFIED, FILTERED)
    assert len(followed.right) == len(frames) and followed.accepted.sum() >= blind.accepted.sum()
    assert followed.probability[0] > blind.probability[0]


def test_outcomes_come_back_from_their_file() -> None:
    before = outcome("noon", [0.25, 0.995], [0, 1])
    after = Outcome.from_json(before.to_json())
    assert after.to_json() == before.to_json()
    assert after.accepted.dtype == bool and after.accepted.tolist() == [False, True]


def test_towns_lend_each_other_in_a_ring() -> None:
    assert neighbours((7, 9, 11), 7) == (9, [11]) and neighbours((7, 9, 11), 11) == (7, [9])
    with pytest.raises(VprError, match="three or more different ones"):
        TrustPlan(towns=(7, 9))
    whole = pooled([row("noon", accepted=10, auroc=0.8), row("noon", accepted=20, wrong=3, auroc=0.9, town="town 9")])
    assert (whole.accepted, whole.wrong, whole.precision) == (30, 3, pytest.approx(0.9))
    assert whole.auroc == pytest.approx(0.85)
