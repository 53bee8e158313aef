"""The maps that the map builder makes, continues, saves and refuses."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.retrieval.recognizer import PlaceRecognizer


def test_a_replayed_bag_gives_the_map_that_the_command_line_makes(
    start: Callable[..., Any], probe: Any, namespace: str, bag: Path, frames: Path, bundle: Path, place_map: Path,
    lidar_bundle: Path, tmp_path: Path, figures: list[str],
) -> None:  # fmt: skip
    topics = {"/camera/image/compressed": "image", "/lidar/points": "points", "/ground_truth/odom": "odom",
              "/clock": "clock"}  # fmt: skip
    heard = {f"{what}_topic": f"{namespace}/{name}" for what, name in
             (("image", "image"), ("cloud", "points"), ("odometry", "odom"))}  # fmt: skip
    builders = {}
    for modality, model in (("camera", bundle), ("lidar", lidar_bundle)):
        values = {"modality": modality, "bundle": model, "map": tmp_path / modality, "session": "frames", **heard}
        words = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        builders[modality] = start("map_builder", "--ros-args", "-r", f"__ns:={namespace}/{modality}", *words)
    for process in builders.values():
        process.says("active, ")
    remapped = [word for name, to in topics.items() for word in ("-r", f"{name}:={namespace}/{to}")]
    replay = start("bag_replay", "--ros-args", *remapped, "-p", f"bag:={bag}", "-p", "wait_for_subscribers_s:=60.0",
                   "-p", "subscribers:=4", "-p", "rate:=0.5")  # fmt: skip
    assert replay.ends() == 0, replay.output
    for process in builders.values():
        assert process.signalled() == 0, process.output
        assert "Traceback" not in process.output and "places saved in" in process.output
    figures.append(compare(PlaceMap.load(tmp_path / "camera"), PlaceMap.load(place_map)))
    by_clouds = ingest(bag, tmp_path / "frames", image_topic="none", pose_topic="/ground_truth/odom")
    compare(PlaceMap.load(tmp_path / "lidar"), build_map(lidar_bundle, by_clouds, tmp_path / "offline"))
    live = PlaceRecognizer.load(bundle, tmp_path / "camera")
    best = live.recognize(Frames.load(frames).image(5), 1).matches[0]
    assert best.place_stamp_ns == Frames.load(frames).frames[5].stamp_ns and best.similarity > 0.999


def compare(live: PlaceMap, offline: PlaceMap) -> str:
    """Nine places of ten are in both, at the same poses and described alike."""
    rows = {place.stamp_ns: row for row, place in enumerate(offline.places)}
    common = [(row, rows[place.stamp_ns]) for row, place in enumerate(live.places) if place.stamp_ns in rows]
    assert len(common) >= 0.9 * len(offline)
    assert [live.places[row] for row, _ in common] == [offline.places[row] for _, row in common]
    apart = max(float(np.abs(live.descriptors[row] - offline.descriptors[other]).max()) for row, other in common)
    assert apart < 1e-5
    assert (live.map_frame, live.image_size, live.modality) == (offline.map_frame, offline.image_size, offline.modality)
    return (
        f"{live.modality} map made live: {len(common)} of the {len(offline)} places of the map made offline, "
        f"descriptors within {apart:.0e}"
    )


def test_an_existing_map_is_continued_as_a_session(mapper: Callable[..., Any]) -> None:
    first = mapper()
    first.visit(1, 2)
    assert first.process.signalled() == 0
    assert "2 places saved in" in first.process.output and "Traceback" not in first.process.output
    before = first.map
    second = mapper()
    second.process.says("session noon-2 continues 2 places of")
    second.visit(3, 4, 5)
    second.wait(lambda: second.shown and len(second.shown[-1].poses) == 5, "all places on ~/places")
    assert second.shown[-1].header.frame_id == "odom"
    assert [pose.position.x for pose in second.shown[-1].poses] == pytest.approx([3, 6, 9, 12, 15])
    assert second.process.signalled() == 0
    assert [place.session for place in second.map.places] == ["noon"] * 2 + ["noon-2"] * 3
    assert json.loads((second.folder / "map.json").read_text())["sessions"] == {"noon": 2, "noon-2": 3}
    assert second.mapped_s == [1, 2, 3, 4, 5]
    assert np.array_equal(second.map.descriptors[:2], before.descriptors)
    assert second.map.places[:2] == before.places


@pytest.mark.parametrize("fault", ["not to be continued", "of another model", "not a map", "no folder given"])
def test_what_cannot_be_continued_is_left_as_it_is(
    mapper: Callable[..., Any], place_map: Path, other_map: Path, frames: Path, fault: str
) -> None:
    given, reason = {
        "not to be continued": ({"map": place_map, "continue_map": False}, "holds a map already"),
        "of another model": ({"map": other_map}, "was made with model"),
        "not a map": ({"map": frames}, "holds frames"),
        "no folder given": ({"map": "''"}, "no map is given"),
    }[fault]
    before = contents(Path(given["map"]))
    node = mapper(**given)
    assert reason in node.process.says("cannot configure: ").splitlines()[-1]
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and reason in status.message)
    assert node.state == "unconfigured"
    assert "configure the node" in node.save().message
    assert node.process.signalled() == 0
    assert contents(Path(given["map"])) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_odometry_in_another_frame_than_the_map_s_adds_nothing(mapper: Callable[..., Any], place_map: Path) -> None:
    node = mapper(map=place_map, session="''", stale_s=100.0)
    before = contents(place_map)
    node.wait(lambda: node.photograph_at(1) or int(node.values["odometry_dropped"]), "odometry")
    reason = f"{place_map} has its poses in map, the odometry is in odom"
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and reason in status.message)
    assert node.process.signalled() == 0
    assert contents(place_map) == before


def test_a_map_is_saved_on_request_in_time_and_at_the_end(mapper: Callable[..., Any]) -> None:
    node = mapper()
    assert (node.save().success, node.save().message) == (False, "no place yet")
    assert not node.folder.exists()
    node.visit(1, 2)
    assert node.save().message == f"2 places saved in {node.folder}"
    assert node.mapped_s == [1, 2]
    node.status(lambda _, values: values["places_unsaved"] == "0")
    node.visit(3)
    assert node.values["places_unsaved"] == "1" and node.mapped_s == [1, 2]
    assert node.change(Transition.TRANSITION_DEACTIVATE) and node.mapped_s == [1, 2, 3]
    assert node.set("save_period_s", 0.1).reason.endswith("clean the node up before setting it")
    assert node.change(Transition.TRANSITION_CLEANUP) and node.set("save_period_s", 0.1).successful
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
    node.status(lambda _, values: (values["state"], values["places"]) == ("active", "3"))
    node.visit(4)
    node.wait(lambda: node.mapped_s == [1, 2, 3, 4], "a saving by the timer")
    assert node.map.places[-1].session == "noon-2"
    assert node.process.signalled(signal.SIGKILL) == -signal.SIGKILL
    assert node.mapped_s == [1, 2, 3, 4]


def test_a_disk_that_refuses_costs_no_place(mapper: Callable[..., Any], tmp_path: Path) -> None:
    node = mapper(map=tmp_path / "disk" / "map")
    node.visit(1)
    (tmp_path / "disk").write_text("a file where a folder is wanted")
    answer = node.save()
    assert not answer.success and "NotADirectoryError" in answer.message
    node.status(lambda status, _: status.level == DiagnosticStatus.ERROR and "is not saved" in status.message)
    assert node.change(Transition.TRANSITION_DEACTIVATE)
    assert not node.change(Transition.TRANSITION_CLEANUP) and node.state == "inactive"
    (tmp_path / "disk").unlink()
    assert node.change(Transition.TRANSITION_CLEANUP) and node.mapped_s == [1]


def test_places_that_cannot_be_saved_at_the_end_are_an_error(mapper: Callable[..., Any], tmp_path: Path) -> None:
    node = mapper(map=tmp_path / "disk" / "map")
    node.visit(1)
    (tmp_path / "disk").write_text("a file where a folder is wanted")
    assert node.process.signalled() == 1
    assert "error: 1 places are lost: NotADirectoryError" in node.process.output


def test_a_map_that_something_else_changed_is_not_overwritten(mapper: Callable[..., Any], place_map: Path) -> None:
    node = mapper()
    node.visit(1)
    PlaceMap.load(place_map).save(node.folder)
    beside = node.folder.with_name("map-noon")
    assert node.save().message == f"1 places saved in {beside}"
    assert node.map.hash == PlaceMap.load(place_map).hash and len(PlaceMap.load(beside)) == 1
