"""The localizer on a calibrated map: probabilities, acceptance by target precision, reasons, diagnostics."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from visualization_msgs.msg import MarkerArray

from vpr_core.retrieval.calibration import Calibration
from vpr_core.retrieval.light import LightShift
from vpr_core.retrieval.match_model import ByLight, Logistic, MatchModel, Threshold
from vpr_core.retrieval.place_map import PlaceMap
from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import LoadMap, QueryPlace

START_NS = 1_700_000_000_000_000_000


def calibrate_by_hand(folder: Path) -> Path:
    """A calibration by distance alone: a picture of the map itself has probability 0.98; 99.9 % is not supported."""
    places = PlaceMap.load(folder)
    flat = Logistic((0.0,) * 5, (1.0,) * 5, (0.0, 0.0, 0.0, 0.0, 0.0), math.log(0.98 / 0.02))
    model, no_light = MatchModel(ByLight(flat, flat), 10.0, 0.5), LightShift.fit(np.zeros((1, 3)), np.zeros((1, 0)))
    entries = (
        Threshold(0.9, 0.97, 100, 5, 0.9, 0.97),
        Threshold(0.99, 0.99, 100, 0, 0.97, 0.99),
        Threshold(0.999, None, 100, 0, 0.97, None),
    )
    Calibration(
        places.hash, places.model_hash, 10.0, 15.0, 0.1, no_light, model, model, None, (0.0,) * 9, entries
    ).save(folder, {})  # fmt: skip
    return folder


@pytest.fixture
def calibrated_map(place_map: Path, tmp_path: Path) -> Path:
    return calibrate_by_hand(Path(shutil.copytree(place_map, tmp_path / "calibrated")))


def test_acceptance_follows_the_target_and_everything_says_so(
    robot: Callable[..., Any], jpegs: list[bytes], calibrated_map: Path
) -> None:
    node = robot(map=calibrated_map)
    markers = node.probe.collect(MarkerArray, f"{node.name}/markers")
    node.process.says("accepting from probability 0.9900, for a precision of 0.99")
    camera = node.camera()
    node.send_until(camera, node.photograph(jpegs[2]), lambda: node.matches)
    message = node.matches[0]
    assert not message.accepted and math.isnan(message.off_map_probability)
    # To a network that was not trained on streets these places look alike.
    assert {match.reason for match in message.matches} == {PlaceMatch.AMBIGUOUS, PlaceMatch.BELOW_TARGET}
    assert [match.probability for match in message.matches] == pytest.approx([0.98] * 5)
    values = node.status(lambda status, _: status.level == DiagnosticStatus.WARN and "(ambiguous)" in status.message)
    places = PlaceMap.load(calibrated_map)
    assert (values["map_hash"], values["model_hash"]) == (places.hash, places.model_hash)
    assert (values["calibrated"], values["last_probability"]) == ("yes", "0.9800")
    assert not node.poses

    assert node.set("target_precision", 0.9).successful
    node.send_until(camera, node.photograph(jpegs[2], START_NS + 1), lambda: node.poses)
    accepted = next(message for message in node.matches if message.accepted)
    assert [match.reason for match in accepted.matches] == [PlaceMatch.ACCEPTED, *[PlaceMatch.NOT_BEST] * 4]
    assert node.status(lambda status, _: status.level == DiagnosticStatus.OK)["last_reason"] == "accepted"
    node.wait(lambda: markers and any(one.text.startswith("p 0.98") for one in markers[-1].markers), "a probability")

    assert node.set("target_precision", 0.999).successful
    refused = node.call(QueryPlace, "query", image=node.photograph(jpegs[2]))
    assert refused.success and not refused.result.accepted
    assert refused.result.matches[0].reason == PlaceMatch.AMBIGUOUS
    assert refused.result.matches[0].probability == pytest.approx(0.98)
    for value in (-0.1, 1.1):
        assert not node.set("target_precision", value).successful


def test_a_map_that_is_loaded_brings_its_own_calibration_or_none(
    robot: Callable[..., Any], jpegs: list[bytes], place_map: Path, calibrated_map: Path
) -> None:
    node = robot(target_precision=0.9999)
    node.process.says("accepting from similarity -0.99")
    first = node.call(QueryPlace, "query", image=node.photograph(jpegs[1])).result
    assert first.accepted and math.isnan(first.matches[0].probability)
    assert node.call(LoadMap, "load_map", folder=str(calibrated_map)).success
    node.process.says("refusing every match: the map's calibration does not support a precision of 0.9999")
    second = node.call(QueryPlace, "query", image=node.photograph(jpegs[1])).result
    assert not second.accepted and second.matches[0].probability == pytest.approx(0.98)
    assert node.set("target_precision", 0.0).successful
    third = node.call(QueryPlace, "query", image=node.photograph(jpegs[1])).result
    assert third.accepted and third.matches[0].probability == pytest.approx(0.98)


def test_a_calibration_of_another_map_leaves_the_node_up_and_says_why(
    robot: Callable[..., Any], calibrated_map: Path
) -> None:
    places = PlaceMap.load(calibrated_map)
    PlaceMap(places.descriptors[:4], places.places[:4], places.model_hash, places.map_frame, places.modality,
             places.image_size).save(calibrated_map)  # fmt: skip
    node = robot(map=calibrated_map)
    node.process.says("cannot configure: ")
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "calibrate again with" in status.message)
    assert node.state == "unconfigured"
