"""`vpr-distill trust`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt

from vpr_core.commands.options import file_ending

TABLE = Path("tables") / "town_trust.csv"
BUNDLES = [Path("bundles") / "town_camera", Path("bundles") / "town_lidar"]


def define(command: ArgumentParser) -> None:
    """Measure how far a localizer may be believed, in made-up towns that no network was trained in.

    Each town is driven at noon for the map; at noon, night, in rain, low sun and the other way round for queries; in
    another lap under each of these, at dusk, there and back, in fog and winter to calibrate; and off the map. Maps,
    `calibrate` and `fit-filter` are made as for a robot, nothing from a drive that is tested with: the filter and what
    calibration knows of being elsewhere come from the next town's drive at dusk, and the tested drives of the town
    after it are off the map too. Measured are single frames and frames along drifting odometry, each with candidates
    that are verified (the LiDAR's by clouds, the camera's by points in space), as the localizer does by itself, and by
    descriptors alone; then a robot that is carried elsewhere, and a town of like houses with one church.

    Prints tables and, for each line of what is asked of such a localizer, whether it is met and with which figure;
    writes a CSV file and a report with reliability diagrams. docs/trust.md says what the columns mean. All of it takes
    two hours on two cores and 4 GB of --work; it goes on where it was stopped, and draws nothing twice.

    vpr-distill trust --quick true        # a few minutes: little of everything, figures without a meaning
    """
    command.add_argument(
        "--bundles", type=Path, nargs="+", default=BUNDLES, help="one of each sensor; by default those shipped"
    )  # fmt: skip
    command.add_argument("--towns", type=int, nargs="+", default=None, help="three or more (default: 7 9 11)")
    command.add_argument("--work", type=Path, default=Path("runs") / "trust", help="folder for drives, maps and report")
    command.add_argument(
        "--out", type=file_ending(".csv"), default=None,
        help=f"CSV file to write; {TABLE} by default, with --quick trust.csv beside the report",
    )  # fmt: skip
    command.add_argument(
        "--verify_every",
        type=NonNegativeInt,
        default=2,
        help="verify one of so many frames, which takes the longest; 0 verifies none",
    )
    command.add_argument(
        "--workers", type=PositiveInt | None, default=None, help="processes at once; one a core by default"
    )
    command.add_argument("--measure", type=bool, default=True, help="false: print what was measured, and no more")
    command.add_argument("--again", type=bool, default=False, help="measure anew on the drives that are there")
    command.add_argument("--quick", type=bool, default=False, help="short drives, few conditions")


def run(options: dict[str, Any]) -> None:
    from dataclasses import replace

    from vpr_core.experiments.trust import measure_trust
    from vpr_core.experiments.trust_drives import QUICK, TrustPlan

    plan = QUICK if options["quick"] else TrustPlan()
    if options["towns"]:
        plan = replace(plan, towns=tuple(options["towns"]))
    quick_table = options["work"] / plan.name / "trust.csv"
    found = measure_trust(
        plan,
        options["bundles"],
        options["work"],
        options["out"] or (quick_table if options["quick"] else TABLE),
        verify_every=options["verify_every"],
        only_stored=not options["measure"],
        again=options["again"],
        workers=options["workers"] or len(os.sched_getaffinity(0)),
    )
    print(found.text())
    print(found.table, found.report, sep="\n")
