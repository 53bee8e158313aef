"""What is too old to say where the vehicle is: answered as STALE, and believed by nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition

from vpr_distill_msgs.msg import PlaceMatch
from vpr_distill_msgs.srv import QueryPlace

LATE_NS = 6_000_000_000


def reasons(message: Any) -> set[int]:
    return {match.reason for match in message.matches}


def test_images_that_come_late_are_refused_until_they_come_in_time(
    robot: Callable[..., Any], jpegs: list[bytes]
) -> None:
    node = robot(stale_s=3.0, refuse="dark")  # one picture, again and again
    camera = node.camera()

    def late() -> None:
        camera.publish(node.photograph(jpegs[2], time.time_ns() - LATE_NS))

    node.wait(lambda: node.matches or late(), "an answer")
    assert reasons(node.matches[-1]) == {PlaceMatch.STALE} and not node.matches[-1].accepted
    values = node.status(
        lambda status, _: (
            status.level == DiagnosticStatus.WARN
            and "uncertain: no match is accepted (stale); images are " in status.message
            and " s old when they are looked at, expected 3 at most" in status.message
        ),
        late,
    )
    assert values["last_reason"] == "stale" and not node.poses and values["sensor_clock"] == "the node's"
    values = node.status(lambda _, values: int(values["frames_stale"]) > 0, late)
    assert values["answers_agree"] == "no"
    node.process.says(" s old when they are looked at, expected 3 at most: the way from the sensor is slow")
    node.wait(lambda: node.poses or camera.publish(node.photograph(jpegs[2], time.time_ns())), "a pose")
    node.status(lambda status, _: (status.level, status.message) == (DiagnosticStatus.OK, "localized"))


def test_what_is_late_stays_late_when_the_node_is_activated_again(
    robot: Callable[..., Any], jpegs: list[bytes]
) -> None:
    node = robot(stale_s=3.0, refuse="dark")
    camera = node.camera()
    node.send_until(camera, node.photograph(jpegs[2], time.time_ns()), lambda: node.matches)
    assert node.change(Transition.TRANSITION_DEACTIVATE) and node.change(Transition.TRANSITION_ACTIVATE)
    answered, later_ns = len(node.matches), 12_000_000_000
    began_ns = time.time_ns()
    # The network holds images up for twelve seconds: one that was taken before then comes now.
    node.wait(lambda: time.time_ns() - began_ns > later_ns, "twelve seconds")
    node.wait(
        lambda: len(node.matches) > answered or camera.publish(node.photograph(jpegs[2], time.time_ns() - later_ns)),
        "an answer",
    )
    assert reasons(node.matches[-1]) == {PlaceMatch.STALE}


def test_asked_about_a_camera_that_fell_silent_it_tells_no_place(robot: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = robot()
    node.send_until(node.camera(), node.photograph(jpegs[2]), lambda: node.matches)
    assert node.call(QueryPlace, "query").result.accepted
    assert node.set("stale_s", 0.3).successful
    node.wait(lambda: reasons(node.call(QueryPlace, "query").result) == {PlaceMatch.STALE}, "a stale answer")
    sent = node.call(QueryPlace, "query", image=node.photograph(jpegs[2]))
    assert sent.success and sent.result.accepted, "an image that is sent is not live"
