"""`ros2 run vpr_distill_ros bag_replay`: replays a recorded drive, or makes training frames of one, without rosbag2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vpr_distill_ros.process import run


def main(args: Sequence[str] | None = None) -> int:
    return run(_work, args)


def _work() -> None:
    # Here, so that a signal while it is imported ends it as one does later.
    from vpr_distill_ros.bag_replay_node import BagReplay

    BagReplay().work()


if __name__ == "__main__":
    sys.exit(main())
