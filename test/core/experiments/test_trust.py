"""`vpr-distill trust`: from toy drives to checks, what an interrupt leaves, and the arithmetic of figures and checks."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frame, Frames, write_index
from vpr_core.errors import VprError
from vpr_core.experiments.trust_checks import Check, checks
from vpr_core.experiments.trust_drives import ODOMETRY, QUICK, TrustPlan, neighbours, read_odometry
from vpr_core.experiments.trust_figures import COLUMNS, Row, pooled, reliability_of
from vpr_core.experiments.trust_outcomes import FILTERED, SINGLE, VERIFIED, Outcome
from vpr_core.types import POSE_COLUMNS, Pose

BUNDLE = Path(__file__).parents[3] / "bundles" / "town_camera"
FRAMES, SPACING_M = 60, 2.0


def toy_drive(folder: Path, street: int, seed: int) -> None:
    """A straight drive along a street whose walls are blocks of colour, as `make_drives` would leave it."""
    (folder / "images").mkdir(parents=True)
    walls = np.random.default_rng([5, street]).uniform(0, 255, (8, 12 + FRAMES, 3)).astype(np.uint8)
    rng, frames, odometry = np.random.default_rng([6, street, seed]), [], []
    for index in range(FRAMES):
        name = f"images/{index:06d}.png"
        seen = cv2.resize(walls[:, index : index + 12], (160, 120), interpolation=cv2.INTER_LINEAR)
        noisy = seen * rng.uniform(0.9, 1.0) + rng.normal(0, 8, seen.shape)
        cv2.imwrite(str(folder / name), noisy.clip(0, 255).astype(np.uint8))
        pose = Pose((index * SPACING_M, 200.0 * street, 0.0))
        frames.append(Frame(index, (1 + seed) * 10**13 + index * 500_000_000, name, None, None, pose))
        odometry.append((frames[-1].stamp_ns, *Pose((1.01 * index * SPACING_M, 0.0, 0.0)).cells()))
    card = {"session": folder.name, "bag": "toy", "topics": {}, "map_frame": "map", "image_size": [160, 120]}
    write_index(folder, frames, {**card, "counts": {"frames": len(frames)}, "drops": {}})
    with (folder / ODOMETRY).open("w", newline="") as file:
        csv.writer(file).writerows([("stamp_ns", *POSE_COLUMNS), *odometry])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toy drives in the place of all of the quick plan but one of the town of like houses, which is drawn."""
    folder = tmp_path_factory.mktemp("trust")
    for seed, drive in enumerate(QUICK.drives(Path())):
        if drive.out.name == "identical7_noon":
            continue
        street = drive.town + (100 if drive.route == "offmap" else 0) + (200 if drive.style == "identical" else 0)
        toy_drive(folder / QUICK.name / "frames" / drive.out.name, street, seed)
    return folder


def test_from_drives_to_checks_and_nothing_is_made_twice(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["trust", "--quick", "true", "--bundles", str(BUNDLE), "--work", str(work), "--workers", "2"]
    main(command)
    shown = capsys.readouterr().out
    drawn = work / QUICK.name / "frames" / "identical7_noon"
    assert len(read_odometry(drawn)) == len(Frames.load(drawn)) > 50
    with (work / QUICK.name / "trust.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    noon = {row["mode"]: row for row in rows if (row["town"], row["condition"]) == ("town 7", "noon")}
    assert set(noon) == {SINGLE, FILTERED} and all(row["frames"] == str(FRAMES) for row in noon.values())
    assert float(noon[SINGLE]["recall_at_1"]) > 0.9
    beside = [row for row in rows if row["condition"] == "other towns" and row["mode"] == SINGLE]
    assert [row["town"] for row in beside] == ["town 7", "town 9", "town 11"]
    assert all(row["frames"] == str(2 * FRAMES) and row["on_map"] == "0" for row in beside)
    assert [row["runs"] for row in rows if row["condition"] == "kidnap night"] == ["6"] * 3
    assert "MISSED  lidar   filtered                recall >= 0.9 noon to noon: not measured" in shown
    report = (work / QUICK.name / "trust.html").read_text()
    assert "checks missed" in report and report.count("<svg") >= 4

    results = sorted((work / QUICK.name / "results").rglob("*.json"))
    written = [path.stat().st_mtime_ns for path in results]
    drawn_at = (drawn / ODOMETRY).stat().st_mtime_ns
    main(command)
    assert capsys.readouterr().out == shown
    assert [path.stat().st_mtime_ns for path in results] == written and len(results) == 4
    assert (drawn / ODOMETRY).stat().st_mtime_ns == drawn_at
