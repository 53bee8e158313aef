"""Nordland's seasons: frames that belong together, the tolerance in frames, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.data.datasets import nordland
from vpr_core.data.frames import Frames
from vpr_core.data.plan import counts
from vpr_core.data.prepare import write_plan
from vpr_core.errors import FramesError
from vpr_core.evaluation.evaluate import evaluate
from vpr_core.evaluation.truth import true_places

Tiny = dict[str, tuple[Path, Any]]


def test_the_tolerance_is_in_frames_and_ends_at_a_section(tiny: Tiny, tmp_path: Path) -> None:
    root, options = tiny["nordland"]
    plan = nordland.plan(root, options)
    folders = write_plan(plan, tmp_path / "out", "x", {})
    summer, winter = (Frames.load(folders[f"test/{season}"]) for season in ("summer", "winter"))
    assert summer.positions_m[:, 0].tolist() == [*range(6), *range(1006, 1012)]
    truth = true_places(summer, winter, options.radius_m)
    assert [found.tolist() for found in truth[:3]] == [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    assert truth[5].tolist() == [3, 4, 5] and truth[6].tolist() == [6, 7, 8], "sections have no frame in common"
    wide = nordland.plan(root, replace(options, tolerance_frames=10))
    assert wide.runs[0].positions_m.tolist() == plan.runs[0].positions_m.tolist()
    assert true_places(summer, winter, 10.0)[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_recall_honours_the_tolerance(tiny: Tiny, tmp_path: Path) -> None:
    """A method that is always two frames off is right within two frames and wrong within one."""
    root, options = tiny["nordland"]
    folders = write_plan(nordland.plan(root, options), tmp_path / "out", "x", {})
    summer, winter = (Frames.load(folders[f"test/{season}"]) for season in ("summer", "winter"))

    def describe(drive: Frames) -> np.ndarray:
        shift = 2 if drive.session == "winter" else 0
        return np.roll(np.eye(len(drive), dtype=np.float32), shift, axis=1)

    near = evaluate("shifted", describe, summer, [winter], options.radius_m)[0].result
    nearer = evaluate("shifted", describe, summer, [winter], 1.0)[0].result
    assert near.at[1] == pytest.approx(8 / 12), "all but the last two of each section"
    assert nearer.at[1] == 0.0


def test_seasons_are_pairs_and_training_lies_elsewhere(tiny: Tiny) -> None:
    root, options = tiny["nordland"]
    plan = nordland.plan(root, options)
    assert not plan.missing and plan.pairs is None
    found = counts(plan, options.positive_m, options.radius_m)
    assert found["test"]["pairs"] == 2 and found["test"]["evaluated"] == 24 and found["train"]["with_positive"] == 24
    assert plan.of("train")[0].area != plan.of("test")[0].area
    every = nordland.plan(root, replace(options, every=3)).of("test")[0]
    assert every.positions_m[:, 0].tolist() == [0.0, 3.0, 1006.0, 1009.0]


def test_frames_may_lie_in_the_season_s_folder(tiny: Tiny, tmp_path: Path) -> None:
    for season in ("summer", "winter"):
        folder = tmp_path / "test" / f"{season}_images_test"
        folder.parent.mkdir(exist_ok=True)
        folder.symlink_to(tiny["nordland"][0] / "test" / f"{season}_images_test" / "section1")
    options = nordland.Options(train_runs=(), test_runs=("summer", "winter"), test_frames=6)
    plan = nordland.plan(tmp_path, options)
    assert not plan.missing and [len(run.items) for run in plan.runs] == [6, 6]


def test_numbers_are_in_order_and_a_lost_image_moves_no_other(
    make_nordland: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_nordland(tmp_path)
    for number in range(6, 12):
        section = root / "test" / "summer_images_test" / "section2"
        (section / f"{number - 6}.png").rename(section / f"image-{number:05}.png")
        section = root / "test" / "winter_images_test" / "section2"
        (section / f"{number - 6}.png").rename(section / f"image-{number:05}.png")
    (root / "test" / "winter_images_test" / "section1" / "2.png").unlink()
    options = nordland.Options(train_runs=(), test_runs=("summer", "winter"), test_frames=12)
    plan = nordland.plan(root, options)
    summer, winter = plan.runs
    assert [item.image.name for item in summer.items if item.image][5:8] == [
        "5.png",
        "image-00006.png",
        "image-00007.png",
    ]
    assert winter.positions_m[:4, 0].tolist() == [0.0, 1.0, 3.0, 4.0] and winter.drops == {"no image": 1}
    assert plan.missing == {"frames with no image": ["winter (test) 1 of 12"]}


def test_what_is_missing_is_said(make_nordland: Callable[..., Path], tmp_path: Path) -> None:
    root = make_nordland(tmp_path, ("summer",))
    (root / "test" / "fall_images_test").mkdir()
    plan = nordland.plan(root, nordland.Options(train_runs=("summer",), test_runs=("summer", "fall", "winter")))
    assert plan.missing == {
        "no images": ["fall (test)"],
        "no folder": ["winter (test)"],
        "3450 frames": ["the seasons of the test have 12"],
    }


def test_frames_that_do_not_fit_are_refused(make_nordland: Callable[..., Path], tmp_path: Path) -> None:
    root = make_nordland(tmp_path)
    options = nordland.Options(train_runs=(), test_runs=("summer", "winter"))
    section = root / "test" / "winter_images_test" / "section1"
    (section / "3.png").rename(section / "three.png")
    with pytest.raises(FramesError, match="three.png has no number"):
        nordland.plan(root, options)
    (section / "three.png").rename(section / "frame-0004.png")
    with pytest.raises(FramesError, match="has the number of"):
        nordland.plan(root, options)
    (section / "frame-0004.png").unlink()
    for number in (5, 4, 2, 1, 0):
        (section / f"{number}.png").rename(section / f"{number + 100}.png")
    with pytest.raises(
        FramesError, match="of 17 frames .summer 12, winter 11. only 6 have the same section and number"
    ):
        nordland.plan(root, options)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"tolerance_frames": -1}, "tolerance_frames is -1, expected 0"), ({"every": 0}, "every is 0, expected 1"),
     ({"negative_frames": 1}, "negative_frames is 1, expected 2 or more")],
)  # fmt: skip
def test_options_that_make_no_sense(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(FramesError, match=match):
        nordland.Options(**wrong)
