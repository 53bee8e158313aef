"""How nodes are spun, where the executor of a ROS 2 ends what another goes on with."""

from __future__ import annotations

import pytest
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import MultiThreadedExecutor
from std_msgs.msg import Empty

from vpr_distill_ros.process import InvalidHandle, spin


@pytest.mark.parametrize("distribution", ["humble", "jazzy"])
def test_a_handle_that_was_destroyed_ends_no_node_of_humble(monkeypatch: pytest.MonkeyPatch, distribution: str) -> None:
    """A callback uses what is destroyed, as Humble's executor itself does with a subscription's message."""
    monkeypatch.setenv("ROS_DISTRO", distribution)
    rclpy.init()
    try:
        node = rclpy.create_node("spun")
        gone = node.create_publisher(Empty, "gone", 1)
        node.destroy_publisher(gone)
        calls: list[int] = []

        def call() -> None:
            calls.append(1)
            if len(calls) == 1:
                gone.publish(Empty())
            rclpy.try_shutdown()

        node.create_timer(0.01, call, clock=Clock(clock_type=ClockType.STEADY_TIME))
        executor = MultiThreadedExecutor(num_threads=2)
        executor.add_node(node)
        if distribution == "humble":
            spin(executor)
            assert len(calls) == 2
        else:
            with pytest.raises(InvalidHandle):
                spin(executor)
    finally:
        rclpy.try_shutdown()
