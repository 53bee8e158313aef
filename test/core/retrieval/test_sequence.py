"""A recognizer and its filter together, on a drive's images and odometry, as a library and by the command line."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames
from vpr_core.errors import BagError, FramesError, MapError
from vpr_core.retrieval.filter import FilterReason
from vpr_core.retrieval.filter_fit import fit_filter_of_drive
from vpr_core.retrieval.observation_model import ObservationModel
from vpr_core.retrieval.query import odometry_of
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.sequence import SequenceRecognizer
from vpr_core.types import Pose

MODEL = ObservationModel(offset=-5.0, per_similarity=0.0, per_standing=4.0, off_map_log_ratio=0.0, evidence_m=2.0)


@pytest.fixture
def fitted_map(place_map: Path, tmp_path: Path) -> Path:
    """A map with a model of its own."""
    folder = shutil.copytree(place_map, tmp_path / "map")
    MODEL.save(folder)
    return folder


def test_single_frames_stay_as_they_are_beside_the_filter(bundle: Path, fitted_map: Path, frames: Path) -> None:
    recognizer, drive = PlaceRecognizer.load(bundle, fitted_map), Frames.load(frames)
    sequence = SequenceRecognizer.of(recognizer, fitted_map)
    for index, frame in enumerate(drive.frames):
        alone = recognizer.recognize(drive.image(index), frame.stamp_ns)
        recognition, estimate = sequence.recognize(drive.image(index), frame.stamp_ns, frame.pose)
        assert recognition.matches == alone.matches and estimate.stamp_ns == frame.stamp_ns
        assert len(estimate.belief) == len(drive)
    assert estimate.accepted and estimate.place_id == len(drive) - 1
    blind = sequence.recognize(drive.image(0), frame.stamp_ns + 1, None)[1]
    assert blind.reason is FilterReason.NO_ODOMETRY
    sequence.reset()
    assert sequence.recognize(drive.image(0), frame.stamp_ns + 2, frame.pose)[1].is_step


def test_odometry_may_begin_anywhere(bundle: Path, fitted_map: Path, frames: Path) -> None:
    drive = Frames.load(frames)
    answers = []
    for yaw_rad in (0.0, 2.0):
        sequence = SequenceRecognizer.of(PlaceRecognizer.load(bundle, fitted_map), fitted_map)
        found = []
        for index, frame in enumerate(drive.frames):
            assert frame.pose
            x_m, y_m, _ = frame.pose.position_m
            cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
            other = Pose.from_xy_yaw(cos * x_m - sin * y_m + 900.0, sin * x_m + cos * y_m, frame.pose.yaw_rad + yaw_rad)
            found.append(sequence.recognize(drive.image(index), frame.stamp_ns, other)[1])
        answers.append(found)
    for here, there in zip(*answers, strict=True):
        assert here.place_id == there.place_id and here.probability == pytest.approx(there.probability, abs=1e-3)


def test_a_map_without_a_model_says_what_to_do(bundle: Path, place_map: Path) -> None:
    recognizer = PlaceRecognizer.load(bundle, place_map)
    with pytest.raises(MapError, match=r"observation.json, made by `vpr-distill fit-filter`"):
        SequenceRecognizer.of(recognizer, place_map)


def test_fitted_and_asked_by_the_command_line(
    bundle: Path, place_map: Path, frames: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = shutil.copytree(place_map, tmp_path / "map"), tmp_path / "matches.jsonl"
    main(["fit-filter", "--bundle", str(bundle), "--map", str(folder), "--frames", str(frames)])
    assert "observation.json: off-map log ratio" in capsys.readouterr().out
    query = ["query", "--bundle", str(bundle), "--map", str(folder), "--bag", str(bag), "--out", str(out)]
    main([*query, "--filter", "true", "--pose_topic", "/odom"])
    records = [json.loads(line) for line in out.read_text().splitlines()]
    accepted = [record["filtered"] for record in records if record["filtered"]["accepted"]]
    assert f"filtered {len(accepted)} accepted" in capsys.readouterr().out and accepted
    truth = odometry_of(bag, "camera", None, "/ground_truth/odom")
    for record in records:
        pose, told = truth.at(record["stamp_ns"]), record["filtered"]
        if told["accepted"] and isinstance(pose, Pose):
            assert math.dist(told["position"], pose.position_m) <= 10.0
        assert 0 <= told["p_off_map"] <= 1 and told["reason"] in {reason.value for reason in FilterReason}
    main(query)
    assert "filtered" not in json.loads(out.read_text().splitlines()[0])


def test_which_odometry_is_asked_for(bag: Path) -> None:
    with pytest.raises(BagError, match="several pose topics: choose one with --pose_topic /ground_truth/odom | /odom"):
        odometry_of(bag, "camera")
    with pytest.raises(BagError, match="has no odometry"):
        odometry_of(bag, "camera", None, "none")


def test_a_drive_in_another_frame_fits_nothing(bundle: Path, place_map: Path, frames: Path, tmp_path: Path) -> None:
    other = shutil.copytree(frames, tmp_path / "frames")
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "map_frame": "odom"}))
    with pytest.raises(FramesError, match="in odom; expected all, in map: ingest it with --pose_topic"):
        fit_filter_of_drive(bundle, place_map, other)


def test_the_filter_sees_what_the_index_finds(bundle: Path, fitted_map: Path, frames: Path) -> None:
    recognizer, drive = PlaceRecognizer.load(bundle, fitted_map), Frames.load(frames)
    found = recognizer.recognize(drive.image(3), 1, top_k=recognizer.num_places)
    similar = recognizer.place_map.descriptors @ found.descriptor
    np.testing.assert_allclose([match.similarity for match in found.matches], np.sort(similar)[::-1], atol=1e-5)
