"""docs/trust.md, filter.md and refused.md name every reason, state and refusal that the nodes have, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from vpr_core.retrieval.filter import FilterReason
from vpr_core.types import Reason
from vpr_distill_ros.diagnostics import STATES
from vpr_distill_ros.parameters import REFUSED

DOCS = Path(__file__).parents[2] / "docs"


def rows_below(page: str, heading: str) -> list[str]:
    """What stands in the first column of the table whose first line begins with `heading`."""
    table = (DOCS / page).read_text().split(f"\n{heading}")[1].split("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)


def test_what_accepted_means_is_told_for_every_reason() -> None:
    told = rows_below("trust.md", "| reason | said of the best match where")
    assert sorted(told) == sorted(reason.name for reason in Reason)


def test_every_state_is_told() -> None:
    assert rows_below("trust.md", "| `localization` on `/diagnostics`") == list(STATES)


def test_every_reason_of_the_filter_is_told() -> None:
    assert sorted(rows_below("filter.md", "| `reason` |")) == sorted(reason.value for reason in FilterReason)


def test_whatever_can_be_refused_is_told_with_its_count() -> None:
    page = (DOCS / "refused.md").read_text()
    assert [kind for kind in REFUSED if f"`frames_dropped.{kind}`" not in page] == []
