"""Figures of loop closures from answers made by hand, and the command on a drive."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import build_parser, main
from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_core.evaluation.loop_closures import evaluate_loops, truth_by_pose
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.loop_closure import LoopAnswer, LoopOptions
from vpr_core.retrieval.records import read_records
from vpr_core.types import Match, Pose, Reason, Recognition

SHIPPED = Path(__file__).parents[3] / "bundles" / "town_camera"
NOBODY = np.empty(0, np.float32)


def answer(
    place_id: int, x_m: float, best: int | None = None, similarity: float = 0.0, reason: Reason = Reason.ACCEPTED,
    agrees: bool = True,
) -> tuple[LoopAnswer, np.ndarray]:  # fmt: skip
    matches = () if best is None else (Match(best, "1", best, None, similarity, reason),)
    old = np.arange(0 if best is None else 3)
    pose = Pose((x_m, 0.0, 0.0))
    return LoopAnswer(place_id, pose, Recognition(place_id, matches, NOBODY), agrees, len(old), 0, 0), old


FOUND = [
    *(answer(number, 100.0 * number) for number in range(3)),
    answer(3, 1.0, best=0, similarity=0.9),
    answer(4, 101.0, best=1, similarity=0.8, reason=Reason.BELOW_SIMILARITY),
    answer(5, 202.0, best=0, similarity=0.85),
    answer(6, 500.0, best=2, similarity=0.7, reason=Reason.BELOW_SIMILARITY),
    answer(7, 205.0, best=2, similarity=0.99, reason=Reason.NOT_VERIFIED, agrees=False),
]


def test_figures_of_answers_made_by_hand() -> None:
    found = evaluate_loops(FOUND, truth_by_pose(FOUND))
    assert [one.first_hit for one in found.judged] == [1, 1, 0, -1, 1]
    assert (found.loops, found.accepted, found.right) == (4, 2, 1)
    assert (found.precision, found.recall) == (0.5, 0.25)
    # From 0.9 up all are right: the one at 0.99 does not agree and is accepted by no threshold.
    assert found.curve.recall_at_100_precision == 0.25 and found.threshold_at_100_precision == pytest.approx(0.9)
    # 0.9 right, 0.85 wrong, 0.8 right, 0.7 wrong, then what nobody would accept.
    assert found.curve.average_precision == pytest.approx(0.25 * (1 + 2 / 3 + 3 / 5))


def test_without_a_loop_there_are_no_shares() -> None:
    found = evaluate_loops(FOUND[:3], truth_by_pose(FOUND[:3]))
    assert not found.judged and math.isnan(found.precision) and math.isnan(found.recall)
    with pytest.raises(FramesError, match="has no pose"):
        blind = LoopAnswer(0, None, Recognition(0, (), NOBODY), True, 0, 0, 0)
        truth_by_pose([(blind, np.arange(0))])


def test_the_command_prints_and_writes_what_it_found(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "loops.jsonl", tmp_path / "loops.svg"
    few = ["--exclude_m", "20", "--exclude_s", "0", "--max_drift", "1", "--memory_mib", "1"]
    main(
        ["loops", "--bundle", str(SHIPPED), "--frames", str(frames), "--out", str(out), "--picture", str(picture), *few]
    )
    told = capsys.readouterr().out
    places = len(Frames.load(frames))
    assert f"{places} places" in told and "0 places with a loop within 10 m" in told and "MiB of 1" in told
    records = list(read_records(out))
    assert [record["place_id"] for record in records] == list(range(places))
    assert {record["model_hash"] for record in records} == {Bundle.load(SHIPPED).hash}
    assert records[0]["searched"] == 0 and records[-1]["searched"] > 0 and records[-1]["has_loop"] is False
    assert json.loads(out.read_text().splitlines()[0])["map_hash"] == ""
    assert "wrong (" in picture.read_text()


def test_the_command_refuses_what_cannot_work(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["loops", "--bundle", str(SHIPPED), "--frames", str(frames)]
    for wrong, said in (
        (["--exclude_m", "0", "--exclude_s", "0"], "exclude_m and exclude_s are both 0"),
        (["--agreement_needed", "7"], "agreement of 7 of the last 5"),
        (["--memory_mib", "0.001"], "give 1 MiB"),
        (["--out", str(tmp_path)], "is a folder"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*given, *wrong])
        assert ended.value.code == 1 and said in capsys.readouterr().err


def test_the_command_has_the_defaults_of_the_node() -> None:
    parsed = vars(build_parser().parse_args(["loops", "--bundle", "b", "--frames", "f"]).loops)
    assert LoopOptions(**{name: parsed[name] for name in LoopOptions.__dataclass_fields__}) == LoopOptions()
