"""The localizer by its services: lifecycle, queries, maps, parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import GetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage

from vpr_core.errors import InputError
from vpr_core.retrieval.place_map import PlaceMap
from vpr_distill_msgs.srv import LoadMap, QueryPlace
from vpr_distill_ros.loaded_map import LoadedMap
from vpr_distill_ros.localizer_node import Localizer
from vpr_distill_ros.stamps import stamp_to_ns

START_NS = 1_700_000_000_000_000_000


def test_lifecycle_by_services(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot(autostart="false")
    assert node.state == "unconfigured"
    camera = node.probe.node.create_publisher(CompressedImage, node.image_topic, 10)
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.state == "inactive"
    assert camera.get_subscription_count() == 0
    for round_number in (1, 2):
        assert node.change(Transition.TRANSITION_ACTIVATE) and node.state == "active"
        answered = len(node.matches)
        node.send_until(camera, node.photograph(jpegs[0]), lambda before=answered: len(node.matches) > before)
        assert node.change(Transition.TRANSITION_DEACTIVATE) and node.state == "inactive", round_number
        node.probe.until(lambda: camera.get_subscription_count() == 0, "the end of the subscription")
    assert node.change(Transition.TRANSITION_CLEANUP) and node.state == "unconfigured"
    assert "no map" in node.call(QueryPlace, "query", image=node.photograph(jpegs[0])).message
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
    assert node.change(Transition.TRANSITION_ACTIVE_SHUTDOWN) and node.state == "finalized"
    assert node.process.signalled() == 0 and "Traceback" not in node.process.output


@pytest.mark.parametrize("fault", ["map of another model", "no bundle", "no map", "bundle absent", "map damaged"])
def test_what_cannot_be_loaded_leaves_the_node_up_and_says_why(
    robot: Callable[..., Any], place_map: Path, other_map: Path, tmp_path: Path, fault: str
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "map.json").write_text("{")
    parameters = {
        "map of another model": {"map": other_map},
        "no bundle": {"bundle": "''"},
        "no map": {"map": "''"},
        "bundle absent": {"bundle": tmp_path / "absent"},
        "map damaged": {"map": damaged},
    }[fault]
    node = robot(**parameters)
    node.process.says("cannot configure: ")
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and status.message.startswith("no map: "))
    assert node.state == "unconfigured"
    if "map" in parameters:
        assert node.set("map", str(place_map)).successful
        assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
        node.status(lambda status, _: "no image" in status.message)
    assert node.process.signalled() == 0 and "Traceback" not in node.process.output


def test_load_map_replaces_the_map_or_keeps_the_old_one(
    robot: Callable[..., Any], jpegs: list[bytes], place_map: Path, other_map: Path, tmp_path: Path
) -> None:
    known = PlaceMap.load(place_map)
    shorter = dataclasses.replace(known, places=known.places[:4], descriptors=known.descriptors[:4])
    shorter.save(tmp_path / "shorter")
    node = robot()
    node.process.says("active")
    for folder, reason in ((other_map, "was made with model"), (tmp_path / "absent", "absent"), ("", "no map")):
        response = node.call(LoadMap, "load_map", folder=str(folder))
        assert not response.success and reason in response.message
        assert node.call(QueryPlace, "query", image=node.photograph(jpegs[0])).result.map_hash == known.hash
    response = node.call(LoadMap, "load_map", folder=str(tmp_path / "shorter"))
    assert response.success and response.places == 4
    assert response.map_hash == PlaceMap.load(tmp_path / "shorter").hash != known.hash
    result = node.call(QueryPlace, "query", image=node.photograph(jpegs[0]), max_candidates=100).result
    assert result.map_hash == response.map_hash and len(result.matches) == 4
    (value,) = node.call(GetParameters, "get_parameters", names=["map"]).values
    assert value.string_value == str(tmp_path / "shorter")


def test_a_map_that_was_loading_when_the_node_is_cleaned_up_is_let_go(
    monkeypatch: pytest.MonkeyPatch, bundle: Path, place_map: Path
) -> None:
    rclpy.init(args=["--ros-args", "-p", f"bundle:={bundle}", "-p", f"map:={place_map}"])
    try:
        node = Localizer()
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        load = LoadedMap.load

        def load_for_long(*given: Any) -> LoadedMap:
            loaded = load(*given)
            node.trigger_cleanup()
            return loaded

        monkeypatch.setattr(LoadedMap, "load", load_for_long)
        with pytest.raises(InputError, match="the node was cleaned up"):
            node._replace_map(str(place_map))
        assert node._loaded is None
        node.close()
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


def test_query_by_service(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot(top_k=4)
    node.process.says("active")
    assert "no live image" in node.call(QueryPlace, "query").message
    sent = node.call(QueryPlace, "query", image=node.photograph(jpegs[2]), max_candidates=2)
    assert sent.success and sent.message == ""
    assert [sent.result.matches[0].place_id, len(sent.result.matches)] == [2, 2]
    broken = node.call(QueryPlace, "query", image=node.photograph(b"no picture"))
    assert not broken.success and "decode" in broken.message and not broken.result.matches
    node.send_until(node.camera(), node.photograph(jpegs[1], START_NS + 7), lambda: node.matches)
    live = node.call(QueryPlace, "query")
    assert live.success and stamp_to_ns(live.result.header.stamp) == START_NS + 7
    assert [live.result.matches[0].place_id, len(live.result.matches)] == [1, 4]


def test_parameters_that_may_change_apply_at_once(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot()
    node.process.says("active")
    assert node.set("top_k", 2).successful
    assert len(node.call(QueryPlace, "query", image=node.photograph(jpegs[0])).result.matches) == 2
    for name, value, reason in (
        ("top_k", 0, "out of range"),
        ("bundle", "/other", "configured"),
        ("modality", "radar", "not supported"),
        ("autostart", False, "read-only"),
    ):
        result = node.set(name, value)
        assert not result.successful and reason in result.reason
    assert len(node.call(QueryPlace, "query", image=node.photograph(jpegs[0])).result.matches) == 2
