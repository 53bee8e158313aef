"""`vpr-distill synth`: one drive or several, help that lists what there is, errors that name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr_core.cli import main
from vpr_core.commands import synth
from vpr_core.data.bag import BagReader
from vpr_core.synthetic.conditions import CONDITIONS
from vpr_core.synthetic.routes import ROUTES

SHORT = ["--town", "4", "--max_length_m", "8", "--image_size", "32", "24", "--lidar_columns", "64", "--camera_hz", "4"]


def test_the_help_lists_every_condition_and_route(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(synth.CONDITIONS) == set(CONDITIONS) and set(synth.ROUTES) == set(ROUTES)
    with pytest.raises(SystemExit, match="0"):
        main(["synth", "--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, text in (synth.CONDITIONS | synth.ROUTES).items():
        assert f"  {name:<10}{text}" in lines


def test_several_conditions_and_routes_are_a_bag_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "drives"
    main(["synth", "--out", str(out), *SHORT, "--condition", "fog", "rain", "--route", "loop", "opposite"])
    names = ["loop_fog", "loop_rain", "opposite_fog", "opposite_rain"]
    assert sorted(bag.name for bag in out.iterdir()) == names
    assert capsys.readouterr().out.split() == [str(out / name) for name in names]


def test_one_condition_is_one_bag_with_the_options_asked_for(tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    main(["synth", "--out", str(bag), *SHORT, "--condition", "night", "--labels", "false"])
    with BagReader(bag) as reader:
        assert "/camera/labels/compressed" not in reader.topics
        (info,) = {(m.width, m.height) for m in map(reader.decode, reader.raw_messages(["/camera/camera_info"]))}
        assert info == (32, 24)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--condition", "noon", "plague"], "'plague'; the town knows noon, dusk"),
        (["--route", "loop", "home"], "'home'; the routes of a town are loop, lane"),
        (["--camera_hz", "20"], "at most 10"),
    ],
)
def test_what_there_is_not_is_an_error_that_names_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], expected: str
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["synth", "--out", str(tmp_path / "out"), *wrong])
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
