"""`ros2 run vpr_distill_ros snapshot_recorder`: keeps a bag of what a localizer refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rclpy.executors import SingleThreadedExecutor

from vpr_distill_ros.process import run, spin


def main(args: Sequence[str] | None = None) -> int:
    return run(_record, args)


def _record() -> None:
    # Here, so that missing messages end in one line that says how to build them.
    from vpr_distill_ros.snapshot_recorder_node import SnapshotRecorder

    node = SnapshotRecorder()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        spin(executor)
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
