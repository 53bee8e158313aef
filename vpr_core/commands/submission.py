"""What `vpr-distill evaluate --submission` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from vpr_core.commands.options import named_path

if TYPE_CHECKING:
    from vpr_core.evaluation.comparison import Drives
    from vpr_core.evaluation.methods import Method


def submitted(out: Path, methods: Sequence[Method], options: dict[str, Any], drives: Drives) -> str:
    """Write the ranked lists of the first method, or else the first that were read, and say so."""
    from vpr_core.evaluation.ranked import load_ranked
    from vpr_core.evaluation.submission import ranked_by, ranked_in, write_submission

    if methods:
        name, metric = methods[0].name, "euclidean" if options["metric"] == "euclidean" else "cosine"
        with tqdm(total=sum(map(len, drives.all)), desc=name, unit="frame", disable=methods[0].is_read) as bar:
            lists = ranked_by(methods[0], drives, metric, bar.update)
    else:
        name, path = named_path(options["ranked"][0])
        lists = ranked_in(load_ranked(path), drives)
    return f"{write_submission(out, drives, lists)}: {sum(map(len, lists))} queries ranked by {name}"
