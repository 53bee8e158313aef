"""`ros2 run vpr_distill_ros localizer`: live place recognition."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rclpy.executors import MultiThreadedExecutor

from vpr_distill_ros.process import run, spin


def main(args: Sequence[str] | None = None) -> int:
    return run(_localize, args)


def _localize() -> None:
    # Here, so that missing messages end in one line that says how to build them.
    from vpr_distill_ros.localizer_node import Localizer

    node = Localizer()
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    try:
        node.autostart()
        spin(executor)
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
