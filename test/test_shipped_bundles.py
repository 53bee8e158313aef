"""The bundles that come with the package: small, with a card, and at home in a town that they were not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.evaluation.evaluate import bundle_describer, evaluate
from vpr_core.retrieval.bundle import Bundle
from vpr_core.synthetic.drive import Drive, record_drives

BUNDLES = Path(__file__).parents[1] / "bundles"
UNSEEN_TOWN = 8
FLOOR = 0.85


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Frames]:
    """The same 300 m of a town at noon and at night."""
    folder = tmp_path_factory.mktemp("town")
    drives = [
        Drive(folder / f"bag_{name}", UNSEEN_TOWN, name, "loop", seed, 300.0)
        for seed, name in enumerate(("noon", "night"))
    ]
    record_drives(drives)
    return {
        drive.condition: Frames.load(ingest(drive.out, folder / drive.condition, pose_topic="/ground_truth/odom"))
        for drive in drives
    }


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_small_and_with_a_card(modality: str) -> None:
    folder = BUNDLES / f"town_{modality}"
    bundle = Bundle.load(folder)
    assert bundle.modality == modality and bundle.accept_similarity is not None
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    assert {"drives", "steps", "seconds", "teacher", "validation", "acceptance"} <= set(bundle.card)
    towns = {drive["session"].split("_")[0] for drive in bundle.card["drives"]}
    assert towns and f"town{UNSEEN_TOWN}" not in towns


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_at_night_in_a_town_that_it_never_saw(modality: str, town: dict[str, Frames], figures: list[str]) -> None:
    shipped = bundle_describer(BUNDLES / f"town_{modality}")
    (found,) = evaluate("shipped", shipped, town["noon"], [town["night"]])
    chance = np.mean(np.linalg.norm(town["noon"].positions_m[:, None] - town["night"].positions_m, axis=-1) <= 10.0)
    figures.append(f"shipped {modality} bundle, town {UNSEEN_TOWN} at night on a map at noon: R@1 "
                   f"{found.result.at[1]:.3f} of {found.result.evaluated}, chance {chance:.3f}")  # fmt: skip
    assert found.result.at[1] >= FLOOR > 5 * chance
