"""Evaluation by pairs of runs, as on Oxford RobotCar: each run is once the map of every other one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.evaluate import Describe, Evaluation, check_drives, compare, mean_share, rounded
from vpr_core.evaluation.recall import DEFAULT_RADIUS_M
from vpr_core.evaluation.search import SEARCH, Retrieve


def evaluate_pairs(
    method: str,
    describe_drive: Describe,
    drives: Sequence[Frames],
    radius_m: float = DEFAULT_RADIUS_M,
    retrieve: Retrieve | None = None,
    metric: str = "cosine",
    max_heading_deg: float | None = None,
) -> list[Evaluation]:
    """Every ordered pair of different runs, all frames of the first as database and the queries of the second.

    Each drive is described once; `Frames.queries` says which of its frames are asked for, and a drive without any is
    a database only. `retrieve` and `metric` are those of `evaluate`, `max_heading_deg` is that of `true_places`.
    Raises FramesError as that does, where there are
    fewer than two runs, one is given twice or none has queries.
    """
    folders = [drive.folder.resolve() for drive in drives]
    if len(set(folders)) != len(folders) or len(folders) < 2:
        given = ", ".join(str(drive.folder) for drive in drives) or "none"
        raise FramesError(f"pairs of runs need two or more different frames folders, given: {given}")
    check_drives(drives)
    if not any(drive.queries.any() for drive in drives):
        raise FramesError(f"none of {len(drives)} runs has a query: frames.csv says 0 of every frame of {folders[0]}")
    search = retrieve or SEARCH[metric]
    known = [describe_drive(drive) for drive in drives]
    asked = [rows[drive.queries] for drive, rows in zip(drives, known, strict=True)]
    return [
        compare(
            method,
            (drives[here], drives[there].asked),
            (known[here], asked[there]),
            radius_m,
            search,
            metric,
            max_heading_deg,
        )
        for here, there in permutations(range(len(drives)), 2)
        if drives[there].queries.any()
    ]


def average_recall(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Unweighted means over the pairs of one method, as a row under those of `Evaluation.row`.

    Its recall_at_1 is AR@1 and its recall_at_1_percent AR@1%, both in [0, 1]. Pairs in which no query has a true match
    are left out and counted; where no pair is left, the means are None.
    """
    pairs = [evaluation for evaluation in evaluations if evaluation.result.evaluated]
    shares = [pair.shares() for pair in pairs]
    means = {name: mean_share([share[name] for share in shares]) for name in evaluations[0].shares()}
    return {
        "method": evaluations[0].method,
        "metric": evaluations[0].metric,
        "database": "average",
        "queries": f"{len(pairs)} pairs",
        **{name: rounded(mean) for name, mean in means.items()},
        "evaluated": sum(evaluation.result.evaluated for evaluation in evaluations),
        "skipped": sum(evaluation.result.skipped for evaluation in evaluations),
        **evaluations[0].limits(),
        "pairs": len(pairs),
        "pairs_left_out": len(evaluations) - len(pairs),
    }
