"""`vpr-distill calibrate`: from drives to a map that judges by probability."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames
from vpr_core.retrieval.calibration import FILE
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.verifiers import load_verifier
from vpr_core.retrieval.verify_lidar import LidarVerifier
from vpr_core.types import Pose, Reason


@pytest.fixture(scope="module")
def town_map(tmp_path_factory: pytest.TempPathFactory, untrained: Path, drives: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("calibrated") / "map"
    build_map(untrained, drives["noon"], folder)
    return folder


@pytest.fixture(scope="module")
def calibrated(
    tmp_path_factory: pytest.TempPathFactory, town_map: Path, untrained: Path, drives: dict[str, Path]
) -> Path:
    folder = tmp_path_factory.mktemp("calibrated") / "map"
    shutil.copytree(town_map, folder)
    main(["calibrate", "--bundle", str(untrained), "--map", str(folder), "--frames", str(drives["night"]),
          "--off_map", str(drives["other_night"]), "--test", str(drives["noon"])])  # fmt: skip
    return folder


def test_figures_are_printed_stored_and_drawn(
    capsys: pytest.CaptureFixture[str], calibrated: Path, untrained: Path, drives: dict[str, Path]
) -> None:
    main(["calibrate", "--bundle", str(untrained), "--map", str(calibrated), "--frames", str(drives["night"]),
          "--off_map", str(drives["other_night"]), "--test", str(drives["noon"])])  # fmt: skip
    shown = capsys.readouterr().out
    on_map, beside = len(Frames.load(drives["night"])), len(Frames.load(drives["other_night"]))
    assert f"{on_map + beside} validation frames, {beside} of them off the map" in shown
    assert "expected calibration error" in shown and "99.9 %  not supported" in shown
    stored = json.loads((calibrated / FILE).read_text())
    assert stored["report"]["drives"] == {"frames": ["night"], "off_map": ["other_night"]}
    assert stored["report"]["reliability"]["matches"] == on_map + beside
    assert stored["report"]["tested"][0]["frames"] == len(Frames.load(drives["noon"]))
    assert "<svg" in (calibrated / "reliability.html").read_text()


def test_a_calibrated_map_gives_probabilities_and_judges_by_them(
    calibrated: Path, town_map: Path, untrained: Path, drives: dict[str, Path]
) -> None:
    recognizer = PlaceRecognizer.load(untrained, calibrated, target_precision=0.9)
    image = Frames.load(drives["noon"]).image(20)
    found = recognizer.recognize(image, 1)
    assert recognizer.calibration is not None and found.off_map_probability is not None
    assert all(match.probability is not None and 0 <= match.probability <= 1 for match in found.matches)
    unsupported = PlaceRecognizer.load(untrained, calibrated, target_precision=0.9999).recognize(image, 1)
    reasons = {match.reason for match in unsupported.matches}
    assert unsupported.accepted is None and reasons <= {Reason.BELOW_TARGET, Reason.AMBIGUOUS}
    assert [match.probability for match in unsupported.matches] == [match.probability for match in found.matches]
    by_similarity = PlaceRecognizer.load(untrained, calibrated, target_precision=None, min_similarity=0.5)
    assert by_similarity.recognize(image, 1).matches[0].reason is Reason.ACCEPTED
    plain = recognizer.with_map(town_map)
    assert plain.calibration is None and plain.recognize(image, 1).matches[0].probability is None
    assert plain.with_map(calibrated).recognize(image, 1).matches == found.matches


def test_a_calibration_of_another_map_is_refused(
    calibrated: Path, untrained: Path, drives: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_map(untrained, drives["night"], tmp_path / "map")
    shutil.copy(calibrated / FILE, tmp_path / "map" / FILE)
    with pytest.raises(SystemExit):
        main(["query", "--bundle", str(untrained), "--map", str(tmp_path / "map"), "--bag", str(tmp_path)])
    assert "calibrate again with `vpr-distill calibrate`" in capsys.readouterr().err
    main(["calibrate", "--bundle", str(untrained), "--map", str(tmp_path / "map"), "--frames", str(drives["noon"])])
    assert "no validation frame is of a place that the map lacks" in capsys.readouterr().out
    PlaceRecognizer.load(untrained, tmp_path / "map")


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ("other_noon", "have a place of the map within 10 m that faces their way, expected 50 or more"),
        ("elsewhere", "a drive elsewhere belongs to --off_map"),
    ],
)
def test_drives_that_cannot_calibrate_are_refused_in_one_line(
    town_map: Path, untrained: Path, drives: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    frames: str, message: str,
) -> None:  # fmt: skip
    given = [drives["other_noon"]]
    if frames == "elsewhere":
        shutil.copytree(drives["noon"], tmp_path / "elsewhere")
        card = json.loads((tmp_path / "elsewhere" / "card.json").read_text())
        (tmp_path / "elsewhere" / "card.json").write_text(json.dumps({**card, "area": "town 9"}))
        given = [drives["night"], tmp_path / "elsewhere"]
    with pytest.raises(SystemExit):
        main(["calibrate", "--bundle", str(untrained), "--map", str(town_map), "--frames", *map(str, given)])
    assert message in capsys.readouterr().err and not (town_map / FILE).exists()


def test_a_camera_map_with_points_is_calibrated_for_verification(
    tmp_path: Path, bundle: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The map's own drive three times over: 60 frames with images."""
    command = ["calibrate", "--bundle", str(bundle), "--frames", *[str(frames)] * 3]
    build_map(bundle, frames, tmp_path / "bare")
    with pytest.raises(SystemExit):
        main([*command, "--map", str(tmp_path / "bare"), "--verify", "true"])
    assert "vpr-distill map --features" in capsys.readouterr().err
    main(["map", "--bundle", str(bundle), "--frames", str(frames), "--out", str(tmp_path / "map"),
          "--features", "sift", "--sweep_middle_s", "0.05"])  # fmt: skip
    main([*command, "--map", str(tmp_path / "map"), "--verify_every", "1"])
    count = 3 * len(Frames.load(frames))
    assert f"verified, {count} of these frames:" in capsys.readouterr().out
    recognizer, image = PlaceRecognizer.load(bundle, tmp_path / "map", target_precision=0.9), Frames.load(frames).image
    found, verifier = recognizer.recognize(image(9), 1), load_verifier(tmp_path / "map", "camera")
    judged = recognizer.checked(found, verifier.verify(image(9), found))
    assert judged.accepted is not None and judged.accepted.place_id == 9
    elsewhere = recognizer.checked(found, verifier.verify(np.zeros_like(image(9)), found))
    assert elsewhere.accepted is None


def test_a_lidar_map_with_clouds_is_calibrated_for_verification(
    tmp_path: Path, lidar_bundle: Path, lidar_map: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The map's own drive three times over: 60 frames with clouds."""
    command = ["calibrate", "--bundle", str(lidar_bundle), "--frames", *[str(frames)] * 3]
    bare = Path(shutil.copytree(lidar_map, tmp_path / "bare"))
    main([*command, "--map", str(bare)])
    assert "verified" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*command, "--map", str(bare), "--verify", "true"])
    assert "has no clouds to verify with" in capsys.readouterr().err
    folder = Path(shutil.copytree(lidar_map, tmp_path / "map"))
    store_clouds(folder, frames, CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05))
    main([*command, "--map", str(folder), "--verify_every", "21"])
    assert "too few frames were checked for `verify`, it takes 50 on the map" in capsys.readouterr().out
    main([*command, "--map", str(folder), "--verify_every", "1"])
    shown, count = capsys.readouterr().out, len(Frames.load(frames))
    assert f"verified, {3 * count} of these frames:" in shown
    stored = json.loads((folder / FILE).read_text())
    assert stored["report"]["verified"]["matches"] == 3 * count
    assert stored["checked"]["best"]["plain"]["weights"][5] > 0 or stored["report"]["verified"]["auroc"] is None
    assert "Reliability, verified" in (folder / "reliability.html").read_text()
    recognizer = PlaceRecognizer.load(lidar_bundle, folder, target_precision=0.9)
    cloud = Frames.load(frames).cloud(9)
    found = recognizer.recognize(cloud, 1)
    assert recognizer.could_accept(found)
    judged = recognizer.checked(found, LidarVerifier.load(folder).verify(cloud, found))
    assert judged.accepted is not None and judged.accepted.pose is not None
    place = Frames.load(frames).frames[9].pose
    assert place and math.dist(judged.accepted.pose.position_m, place.position_m) < 10.0
    plain = recognizer.with_map(bare)
    assert plain.checked(found, LidarVerifier.load(folder).verify(cloud, found)).matches == found.matches
