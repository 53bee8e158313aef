"""The localizer with places in the order of what their pictures share with the image."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition

from vpr_core.preprocess import decode_image
from vpr_core.retrieval.place_features import store_features
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_distill_msgs.srv import LoadMap, QueryPlace

START_NS = 1_700_000_000_000_000_000
ACCEPT_ALL = -0.99


@pytest.fixture
def feature_map(place_map: Path, frames: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(place_map, tmp_path / "feature_map"))
    store_features(folder, frames, "orb")
    return folder


def asked(node: Any, data: bytes) -> list[int]:
    """The places of an image, by the service."""
    answer = node.call(QueryPlace, "query", image=node.photograph(data))
    assert answer.success, answer.message
    return [match.place_id for match in answer.result.matches]


def test_with_and_without_re_ranking_answers_are_those_of_the_recognizer(
    robot: Callable[..., Any], jpegs: list[bytes], bundle: Path, feature_map: Path
) -> None:
    node = robot(map=feature_map, rerank=6, top_k=6)
    node.process.says("re-ranked by orb")
    options = {"min_similarity": ACCEPT_ALL, "top_k": 6}
    plain = PlaceRecognizer.load(bundle, feature_map, **options)
    ranked = PlaceRecognizer.load(bundle, feature_map, **options, rerank=6)
    usual, expected = (
        [[match.place_id for match in recognizer.recognize(decode_image(data), 1).matches] for data in jpegs[:6]]
        for recognizer in (plain, ranked)
    )
    assert usual != expected
    assert [asked(node, data) for data in jpegs[:6]] == expected
    node.send_until(node.camera(), node.photograph(jpegs[2], START_NS), lambda: node.matches and node.poses)
    assert [match.place_id for match in node.matches[0].matches] == expected[2]
    assert node.matches[0].accepted and node.matches[0].matches[0].place_id == 2


def test_without_re_ranking_a_map_with_features_is_a_map(
    robot: Callable[..., Any], jpegs: list[bytes], bundle: Path, feature_map: Path
) -> None:
    node = robot(map=feature_map, top_k=6)
    node.process.says("active")
    recognizer = PlaceRecognizer.load(bundle, feature_map, top_k=6)
    expected = [match.place_id for match in recognizer.recognize(decode_image(jpegs[3]), 1).matches]
    assert asked(node, jpegs[3]) == expected
    result = node.set("rerank", 6)
    assert not result.successful and "clean the node up" in result.reason


def test_a_map_without_features_is_told_and_the_one_in_use_stays(
    robot: Callable[..., Any], jpegs: list[bytes], place_map: Path, feature_map: Path
) -> None:
    node = robot(rerank=6)
    node.process.says("cannot configure: ")
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "no local features" in status.message)
    assert node.set("map", str(feature_map)).successful
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
    before = asked(node, jpegs[1])
    response = node.call(LoadMap, "load_map", folder=str(place_map))
    assert not response.success and "no local features" in response.message
    assert asked(node, jpegs[1]) == before
    assert "Traceback" not in node.process.output
