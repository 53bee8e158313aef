"""docs/verification.md and the code say the same: every option with its default, every verdict."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from vpr_core.retrieval import registration, resection
from vpr_core.retrieval.fit import COUNTS_AGAINST
from vpr_core.retrieval.registration import RegistrationOptions
from vpr_core.retrieval.resection import LONGEST_PX, ResectionOptions
from vpr_core.retrieval.rigid import APART_M, APART_RAD

PAGE = (Path(__file__).parents[3] / "docs" / "verification.md").read_text()
LIDAR, CAMERA = PAGE.split("\n# With a camera\n")
OPTIONS = [(part, field) for part, kind in ((LIDAR, RegistrationOptions), (CAMERA, ResectionOptions))
           for field in dataclasses.fields(kind)]  # fmt: skip


@pytest.mark.parametrize(("part", "field"), OPTIONS, ids=[field.name for _, field in OPTIONS])
def test_every_option_stands_there_with_its_default(part: str, field: dataclasses.Field[float]) -> None:
    flowing = " ".join(part.split())
    found = re.findall(rf"`{field.name}` (?:\| )?\(?([0-9.]+)", flowing)
    assert found and all(float(value.rstrip(".")) == pytest.approx(field.default, rel=1e-3) for value in found)


@pytest.mark.parametrize(("part", "verdict"), [(LIDAR, registration.Verdict), (CAMERA, resection.Verdict)],
                         ids=["lidar", "camera"])  # fmt: skip
def test_every_verdict_stands_there_in_its_order(part: str, verdict: Any) -> None:
    asked = part.split("## What is asked")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in asked.splitlines() if line.startswith("| ")][1:]
    assert list(dict.fromkeys(rows)) == [one.value for one in verdict if one is not verdict.ACCEPTED]


def test_the_numbers_that_are_no_options_are_right() -> None:
    assert f"the overlap less {COUNTS_AGAINST:g} times" in LIDAR
    for part in (LIDAR, CAMERA):
        assert f"({APART_M:g} m, {APART_RAD * 57.29578:.0f} degrees)" in part
    assert f"whose longer side is\n{LONGEST_PX}." in CAMERA
