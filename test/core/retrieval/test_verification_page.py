"""docs/verification.md and the code say the same: every option with its default, every verdict."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from vpr_core.retrieval.fit import COUNTS_AGAINST
from vpr_core.retrieval.registration import RegistrationOptions, Verdict
from vpr_core.retrieval.rigid import APART_M, APART_RAD

PAGE = (Path(__file__).parents[3] / "docs" / "verification.md").read_text()


@pytest.mark.parametrize("field", dataclasses.fields(RegistrationOptions), ids=lambda field: field.name)
def test_every_option_stands_there_with_its_default(field: dataclasses.Field[float]) -> None:
    flowing = " ".join(PAGE.split())
    found = re.findall(rf"`{field.name}` (?:\| )?\(?([0-9.]+)", flowing)
    assert found and all(float(value.rstrip(".")) == pytest.approx(field.default, rel=1e-3) for value in found)


def test_every_verdict_stands_there_in_its_order() -> None:
    asked = PAGE.split("## What is asked")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in asked.splitlines() if line.startswith("| ")][1:]
    assert list(dict.fromkeys(rows)) == [verdict.value for verdict in Verdict if verdict is not Verdict.ACCEPTED]


def test_the_numbers_that_are_no_options_are_right() -> None:
    assert f"the overlap less {COUNTS_AGAINST:g} times" in PAGE
    assert f"({APART_M:g} m, {APART_RAD * 57.29578:.0f} degrees)" in PAGE
