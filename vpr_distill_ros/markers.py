"""What RViz and Foxglove draw: the candidates of a query, coloured by how probable they are, and the map's places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Vector3
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.types import Match, Pose, Reason
from vpr_distill_ros.poses import pose_to_message

# The map's places are sent once for each map: who comes later gets them too.
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

_PLACE_COLOUR = (0.55, 0.65, 0.8, 0.9)
_PLACE_SIZE_M = 0.5
_CLOSURE_COLOUR = (0.1, 0.8, 0.2, 1.0)
_BEST_SIZE_M, _OTHER_SIZE_M = 3.0, 2.0
_LINE_WIDTH_M = 0.2
_TEXT_HEIGHT_M = 1.5
_TEXT_ABOVE_M = 3.0
_TOLD = {Reason.ACCEPTED: " accepted", Reason.NOT_VERIFIED: " not verified", Reason.STALE: " stale"}
"""Reasons that stand beside the figure."""


class Drawing:
    """The topics ~/map_places and ~/markers of a node."""

    def __init__(self, node: LifecycleNode) -> None:
        self._places = node.create_publisher(Marker, "~/map_places", _LATCHED)
        self._candidates = node.create_lifecycle_publisher(MarkerArray, "~/markers", 10)

    def show_map(self, recognizer: PlaceRecognizer) -> None:
        self.show_places((place.pose for place in recognizer.place_map.places), recognizer.map_frame)

    def show_places(self, poses: Iterable[Pose | None], map_frame: str) -> None:
        self._places.publish(map_markers(poses, map_frame))

    def show_candidates(self, matches: Sequence[Match], stamp: Time, map_frame: str) -> None:
        """For as long as somebody looks."""
        if self._candidates.get_subscription_count():
            self._candidates.publish(candidate_markers(matches, stamp, map_frame))

    def show_loops(
        self, query: Pose, matches: Sequence[Match], closed: Sequence[tuple[Pose, Pose]], stamp: Time, frame: str
    ) -> None:
        """For as long as somebody looks."""
        if self._candidates.get_subscription_count():
            self._candidates.publish(loop_markers(query, matches, closed, stamp, frame))


def candidate_markers(matches: Sequence[Match], stamp: Time, map_frame: str) -> MarkerArray:
    """The matches that have a pose: a ball with its similarity or probability for each, a line from the best to others.

    Where the query itself was taken is what is asked for, so no line leads there. The first marker deletes those of the
    query before.
    """
    header, posed = Header(stamp=stamp, frame_id=map_frame), _posed(matches)
    markers = _candidates(header, posed)
    if len(posed) > 1:
        markers.append(_lines(header, posed[0][1], posed[1:]))
    return MarkerArray(markers=markers)


def loop_markers(
    query: Pose, matches: Sequence[Match], closed: Sequence[tuple[Pose, Pose]], stamp: Time, frame: str
) -> MarkerArray:
    """The same, with a line to each match from where the query was taken, which odometry knows.

    closed: query and place of the closures accepted so far, each a green line that stays.
    """
    header, posed = Header(stamp=stamp, frame_id=frame), _posed(matches)
    markers = _candidates(header, posed)
    if posed:
        markers.append(_lines(header, query, posed))
    if closed:
        lines = _line_list(header, "closures")
        lines.points = [_point(pose) for pair in closed for pose in pair]
        lines.color = _colour(*_CLOSURE_COLOUR)
        markers.append(lines)
    return MarkerArray(markers=markers)


def _posed(matches: Sequence[Match]) -> list[tuple[Match, Pose]]:
    return [(match, match.pose) for match in matches if match.pose is not None]


def _candidates(header: Header, posed: Sequence[tuple[Match, Pose]]) -> list[Marker]:
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, (match, pose) in enumerate(posed):
        markers += [_ball(header, number, match, pose), _text(header, number, match, pose)]
    return markers


def map_markers(poses: Iterable[Pose | None], map_frame: str) -> Marker:
    """A point at every place; for a map without poses, the deletion of the points that an earlier one left."""
    points = [_point(pose) for pose in poses if pose is not None]
    marker = Marker(header=Header(frame_id=map_frame), ns="map_places", type=Marker.POINTS, points=points)
    marker.action = Marker.ADD if points else Marker.DELETE
    marker.pose.orientation.w = 1.0
    marker.scale = Vector3(x=_PLACE_SIZE_M, y=_PLACE_SIZE_M)
    marker.color = _colour(*_PLACE_COLOUR)
    return marker


def match_colour(match: Match) -> ColorRGBA:
    """Red at 0 and below, yellow at 0.5, green at 1; translucent unless the match is accepted.

    Of the probability, or of the similarity where the map is not calibrated.
    """
    value = match.similarity if match.probability is None else match.probability
    share = min(max(value, 0.0), 1.0)
    return _colour(min(1.0, 2.0 - 2.0 * share), min(1.0, 2.0 * share), 0.1, 1.0 if match.accepted else 0.6)


def _ball(header: Header, number: int, match: Match, pose: Pose) -> Marker:
    size_m = _OTHER_SIZE_M if number else _BEST_SIZE_M
    marker = Marker(header=header, ns="candidates", id=number, type=Marker.SPHERE, pose=pose_to_message(pose))
    marker.scale = Vector3(x=size_m, y=size_m, z=size_m)
    marker.color = match_colour(match)
    return marker


def _text(header: Header, number: int, match: Match, pose: Pose) -> Marker:
    marker = Marker(header=header, ns="similarities", id=number, type=Marker.TEXT_VIEW_FACING)
    marker.pose = pose_to_message(pose)
    marker.pose.position.z += _TEXT_ABOVE_M
    marker.scale.z = _TEXT_HEIGHT_M
    marker.color = _colour(1.0, 1.0, 1.0, 1.0)
    value = f"{match.similarity:.2f}" if match.probability is None else f"p {match.probability:.2f}"
    marker.text = value + _TOLD.get(match.reason, "")
    return marker


def _lines(header: Header, begin: Pose, posed: Sequence[tuple[Match, Pose]]) -> Marker:
    marker = _line_list(header, "spread")
    for match, pose in posed:
        marker.points += [_point(begin), _point(pose)]
        marker.colors += [match_colour(match)] * 2
    return marker


def _line_list(header: Header, name: str) -> Marker:
    marker = Marker(header=header, ns=name, type=Marker.LINE_LIST)
    marker.pose.orientation.w = 1.0
    marker.scale.x = _LINE_WIDTH_M
    return marker


def _point(pose: Pose) -> Point:
    x, y, z = map(float, pose.position_m)
    return Point(x=x, y=y, z=z)


def _colour(r: float, g: float, b: float, a: float) -> ColorRGBA:
    return ColorRGBA(r=r, g=g, b=b, a=a)
