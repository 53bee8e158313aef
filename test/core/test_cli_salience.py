"""`vpr-distill salience` on toy drives."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from vpr_core.cli import main


def test_the_command_draws_a_row_for_each_frame(
    teacher: Path, toy: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [tmp_path / "looks.png", tmp_path / "change.png"]
    options = ["--frames", str(toy["queries"]), "--count", "2", "--out"]
    main(["salience", "--checkpoints", str(teacher), *options, str(pictures[0])])
    assert capsys.readouterr().out.splitlines() == [str(pictures[0])]
    main(["salience", "--checkpoints", f"before={teacher}", f"after={teacher}", "--change", *options, str(pictures[1])])
    header, line, path = capsys.readouterr().out.splitlines()
    assert header.split() == ["network", "compared_with", "of_image", "of_cloud"]
    assert line.split() == ["before", "after", "1.000", "1.000"] and path == str(pictures[1])
    one, two = (cv2.imread(str(path)) for path in pictures)
    assert one.shape[1] > one.shape[0] and one.std() > 20, "two rows of image, its salience and that of the cloud"
    assert two.shape[1] > 2 * one.shape[1], "twice the networks, and what changed of both sensors"


def test_a_change_needs_two_networks(
    teacher: Path, toy: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, out = str(toy["queries"]), str(tmp_path / "looks.png")
    with pytest.raises(SystemExit):
        main(["salience", "--checkpoints", str(teacher), "--frames", frames, "--change", "--out", out])
    assert "--change compares the first two of --checkpoints, one is given" in capsys.readouterr().err
