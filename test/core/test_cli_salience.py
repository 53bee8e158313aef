"""`vpr-distill salience` on toy drives."""

from __future__ import annotations

from pathlib import Path

import cv2

from vpr_core.cli import main


def test_the_command_draws_a_row_for_each_frame(teacher: Path, toy: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "looks.png"
    main(
        ["salience", "--checkpoints", str(teacher), "--frames", str(toy["queries"]), "--count", "2", "--out", str(out)]
    )
    picture = cv2.imread(str(out))
    height, width = picture.shape[:2]
    assert width > height and picture.std() > 20, "two rows of image, its salience and that of the cloud"
