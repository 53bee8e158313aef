"""What RViz and Foxglove draw: markers of candidates and places, and the shipped layouts."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile
from visualization_msgs.msg import Marker, MarkerArray

from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Match, Pose, Reason
from vpr_distill_ros.markers import candidate_markers, map_markers, match_colour

ROOT = Path(__file__).parents[2]
RVIZ = ROOT / "config" / "rviz" / "localize.rviz"
FOXGLOVE = ROOT / "config" / "foxglove" / "localize.json"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

# The classes that the layout uses and rviz_default_plugins has (Humble to Rolling), with what each displays.
RVIZ_DISPLAYS = {
    "Grid": None,
    "Image": "sensor_msgs/msg/CompressedImage",  # by the last part of the topic's name
    "Marker": "visualization_msgs/msg/Marker",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "Odometry": "nav_msgs/msg/Odometry",
    "PointCloud2": "sensor_msgs/msg/PointCloud2",
    "PoseArray": "geometry_msgs/msg/PoseArray",
    "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
}
RVIZ_OTHERS = {"MoveCamera", "Select", "FocusCamera", "Measure", "TopDownOrtho"}
RVIZ_PANELS = {"Displays", "Views", "Time"}
FOXGLOVE_PANELS = {"3D", "Image", "Plot", "RawMessages", "DiagnosticSummary"}


def match(
    number: int, similarity: float, accepted: bool = False, pose: Pose | None = None, probability: float | None = None
) -> Match:
    reason = Reason.ACCEPTED if accepted else Reason.NOT_BEST
    return Match(number, "drive", 1, pose, similarity, reason, probability)


def of(markers: MarkerArray, namespace: str) -> list[Marker]:
    return [marker for marker in markers.markers if marker.ns == namespace]


def test_candidates_carry_their_similarity_as_colour_and_text() -> None:
    poses = [Pose((float(x), 2.0, 0.0)) for x in range(3)]
    matches = [match(7, 0.9, True, poses[0]), match(3, 0.4, pose=poses[1]), match(5, -0.2, pose=poses[2])]
    drawn = candidate_markers(matches, Time(sec=5), "map")
    first, *rest = drawn.markers
    assert first.action == Marker.DELETEALL and len({(marker.ns, marker.id) for marker in rest}) == len(rest)
    assert all((marker.header.frame_id, marker.header.stamp.sec) == ("map", 5) for marker in drawn.markers)
    balls = of(drawn, "candidates")
    assert [(ball.pose.position.x, ball.pose.position.y) for ball in balls] == [(0, 2), (1, 2), (2, 2)]
    assert [ball.color for ball in balls] == [match_colour(m) for m in matches]
    assert [marker.text for marker in of(drawn, "similarities")] == ["0.90 accepted", "0.40", "-0.20"]
    (spread,) = of(drawn, "spread")
    assert [point.x for point in spread.points] == [0, 1, 0, 2] and len(spread.colors) == 4


def test_colour_goes_from_red_over_yellow_to_green() -> None:
    red, yellow, green = (match_colour(match(0, value, True)) for value in (-0.5, 0.5, 1.0))
    assert (red.r, red.g) == (1, 0) and (yellow.r, yellow.g) == (1, 1) and (green.r, green.g) == (0, 1)
    assert match_colour(match(0, 0.5)).a < yellow.a == 1


def test_on_a_calibrated_map_colour_and_text_are_of_the_probability() -> None:
    sure, doubtful = (
        match(0, 0.9, True, Pose((0.0, 0.0, 0.0)), 1.0),
        match(1, 0.9, pose=Pose((1.0, 0.0, 0.0)), probability=0.0),
    )
    drawn = candidate_markers([sure, doubtful], Time(), "map")
    assert [(ball.color.r, ball.color.g) for ball in of(drawn, "candidates")] == [(0, 1), (1, 0)]
    assert [marker.text for marker in of(drawn, "similarities")] == ["p 1.00 accepted", "p 0.00"]


def test_what_is_not_verified_says_so() -> None:
    refused = dataclasses.replace(match(0, 0.9, pose=Pose((0.0, 0.0, 0.0))), reason=Reason.NOT_VERIFIED)
    assert [marker.text for marker in of(candidate_markers([refused], Time(), "map"), "similarities")] == [
        "0.90 not verified"
    ]
    assert match_colour(refused).a < 1


def test_one_candidate_has_no_line_and_one_without_pose_no_marker() -> None:
    assert not of(candidate_markers([match(0, 0.5, pose=Pose((1.0, 0.0, 0.0)))], Time(), "map"), "spread")
    assert len(candidate_markers([match(0, 0.5), match(1, 0.4)], Time(), "").markers) == 1


def test_a_map_without_poses_takes_the_points_of_the_one_before_away() -> None:
    shown, gone = map_markers([Pose((1.0, 2.0, 3.0)), Pose((4.0, 5.0, 6.0))], "map"), map_markers([None, None], "")
    assert (shown.action, [(p.x, p.y, p.z) for p in shown.points]) == (Marker.ADD, [(1, 2, 3), (4, 5, 6)])
    assert gone.action == Marker.DELETE and (gone.ns, gone.id) == (shown.ns, shown.id)


def rviz_displays() -> Iterator[tuple[str, dict[str, Any]]]:
    for display in yaml.safe_load(RVIZ.read_text())["Visualization Manager"]["Displays"]:
        yield display["Class"].removeprefix("rviz_default_plugins/"), display


def rviz_topics() -> dict[str, str]:
    """Type by topic, as the display of each class subscribes it."""
    return {
        display["Topic"]["Value"]: RVIZ_DISPLAYS[name] or "" for name, display in rviz_displays() if RVIZ_DISPLAYS[name]
    }


def foxglove_topics() -> set[str]:
    panels = json.loads(FOXGLOVE.read_text())["configById"]
    topics = {topic for panel in panels.values() for topic in panel.get("topics", {})}
    paths = [path["value"] for panel in panels.values() for path in panel.get("paths", [])]
    named = [panel.get(key, "") for panel in panels.values() for key in ("topicPath", "topicToRender")]
    named += [panel.get("imageMode", {}).get("imageTopic", "") for panel in panels.values()]
    return topics | {re.split(r"[.\[]", path)[0] for path in [*paths, *named] if path}


def test_rviz_knows_every_class_of_the_layout() -> None:
    layout = yaml.safe_load(RVIZ.read_text())
    assert {name for name, _ in rviz_displays()} == set(RVIZ_DISPLAYS)
    manager = layout["Visualization Manager"]
    others = [tool["Class"] for tool in manager["Tools"]] + [manager["Views"]["Current"]["Class"]]
    assert set(others) == {f"rviz_default_plugins/{name}" for name in RVIZ_OTHERS}
    assert {panel["Class"] for panel in layout["Panels"]} == {f"rviz_common/{name}" for name in RVIZ_PANELS}
    for _, display in rviz_displays():
        assert display["Enabled"] == display["Value"], display["Name"]


def test_foxglove_finds_every_panel_of_the_layout() -> None:
    layout = json.loads(FOXGLOVE.read_text())

    def placed(branch: Any) -> list[str]:
        return [branch] if isinstance(branch, str) else placed(branch["first"]) + placed(branch["second"])

    assert sorted(placed(layout["layout"])) == sorted(layout["configById"])
    assert {panel.split("!")[0] for panel in layout["configById"]} == FOXGLOVE_PANELS


def test_the_layouts_show_topics_that_are_published(
    probe: Any, start: Callable[..., Any], bundle: Path, place_map: Path, bag: Path
) -> None:
    """The localizer on a replayed drive, under the names that both have without a namespace."""
    given = {"bundle": bundle, "map": place_map, "min_similarity": -0.99}
    words = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    places = probe.collect(Marker, "/localizer/map_places", LATCHED)
    markers = probe.collect(MarkerArray, "/localizer/markers")
    localizer = start("localizer", "--ros-args", *words)
    localizer.says("active")
    start("bag_replay", "--ros-args", "-p", f"bag:={bag}", "-p", "publish_clock:=false")
    probe.until(lambda: places and len(markers) > 1, "markers")

    shown = rviz_topics()
    named = {*shown, *foxglove_topics()}
    probe.until(lambda: all(map(probe.node.get_publishers_info_by_topic, named)), f"publishers of {sorted(named)}")
    offered = dict(probe.node.get_topic_names_and_types())
    assert {topic: offered[topic] for topic in shown} == {topic: [kind] for topic, kind in shown.items()}

    expected = PlaceMap.load(place_map)
    assert (len(places[0].points), places[0].header.frame_id) == (len(expected), expected.map_frame)
    assert len(of(markers[0], "candidates")) == 5 and of(markers[0], "similarities")[0].text.endswith("accepted")
    assert localizer.signalled() == 0
