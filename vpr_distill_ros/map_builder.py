"""`ros2 run vpr_distill_ros map_builder`: makes a place map while driving."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rclpy.executors import MultiThreadedExecutor

from vpr_distill_ros.process import run, spin


def main(args: Sequence[str] | None = None) -> int:
    return run(_build, args)


def _build() -> None:
    # Here, so that a signal while it is imported ends it as one does later.
    from vpr_distill_ros.map_builder_node import MapBuilder

    node = MapBuilder()
    # One thread may wait for the map to be saved while the others take in frames and odometry.
    executor = MultiThreadedExecutor(num_threads=3)
    executor.add_node(node)
    try:
        node.autostart()
        spin(executor)
    finally:
        node.finish()


if __name__ == "__main__":
    sys.exit(main())
