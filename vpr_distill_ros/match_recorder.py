"""`ros2 run vpr_distill_ros match_recorder`: writes a localizer's matches as JSON lines, and its places and poses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vpr_distill_ros.process import run


def main(args: Sequence[str] | None = None) -> int:
    return run(_record, args)


def _record() -> None:
    # Here, so that missing messages end in one line that says how to build them.
    from vpr_distill_ros.match_recorder_node import MatchRecorder

    MatchRecorder().record()


if __name__ == "__main__":
    sys.exit(main())
