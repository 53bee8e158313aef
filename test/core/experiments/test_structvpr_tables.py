"""StructVPR's cells on toy drives: one stage I a seed, weights of samples, students; and labels drawn afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from vpr_core.data.frames import Frames, write_index
from vpr_core.experiments.cells import cells_of
from vpr_core.experiments.labelled import CLASS_TABLE, LABEL_SIZE, label_drives
from vpr_core.experiments.plans import read_plan
from vpr_core.experiments.sources import DRIVES, Row, TownSource
from vpr_core.experiments.tables import read_rows, rows_of, run_tables
from vpr_core.experiments.town import CONDITIONS, OPPOSITE, Towns, record_frames
from vpr_core.structvpr.slme import class_table
from vpr_core.synthetic.drive import Drive
from vpr_core.training.recipe import as_json

RECIPE = {"architecture": "structvpr", "dim": None, "class_table": CLASS_TABLE, "mining": "pairs", "margin": 0.1,
          "normalize": True, "task_weights": [1.0, 0.0, 0.0], "batch_size": 4, "steps": 1}  # fmt: skip
METHODS = {
    "all": {"method": "structvpr", "sample_weights": {"scheme": "all"}},
    "D4": {"method": "structvpr", "sample_weights": {"scheme": "all", "groups": ["D4"]}},
    "three": {"method": "structvpr", "sample_weights": {}, "teacher": {"label_encoding": "three"}},
    "seg_three": {"recipe": "seg.yaml", "label_encoding": "three"},
}
ROWS = {
    "SEG": "teacher",
    "RGB": "alone",
    "All": "all",
    "D4": "D4",
    "SEG 3": "seg_three",
    "KD 3": "three",
    "other": None,
}


@pytest.fixture
def plan(tmp_path: Path, toy_recipe: Callable[..., Any]) -> Path:
    distillation = {"method": "structvpr", "teacher_modality": "labels", "options": {"side": "student"}}
    files: dict[str, Any] = {
        "seg": as_json(toy_recipe("labels", **RECIPE)),
        "student": as_json(toy_recipe("camera", **RECIPE, distillation=distillation)),
        "methods": METHODS,
        "plan": {
            "title": "toy",
            "figures": ["recall_at_1", "samples_weighed"],
            "columns": {"one": {"title": "seg -> rgb", "town_labels": {
                "teacher": "seg.yaml", "student": "student.yaml", "methods": "methods.yaml"}}},
            "rows": ROWS,
        },
    }  # fmt: skip
    for name, values in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return tmp_path / "plan.yaml"


@pytest.fixture
def source(tmp_path: Path, make_drive: Callable[..., Path]) -> TownSource:
    """Toy drives with labels where those of town 1, to train on, and of town 2, to test in, are expected."""
    towns = Towns.planned(tmp_path / "work" / DRIVES / "labelled", [1], [2])
    for seed, folder in enumerate([*towns.train, *towns.validation, *towns.described]):
        make_drive(folder, range(6) if folder in towns.train else range(20, 24), seed, clouds=False)
        _add_labels(folder)
        (tmp_path / "work" / DRIVES / "frames" / folder.name).mkdir(parents=True)
    return TownSource(tmp_path / "work", [1], [2], labelled=True)


def _add_labels(folder: Path) -> None:
    drive, (width, height) = Frames.load(folder), LABEL_SIZE
    frames = [replace(frame, label=f"{frame.index}.png") for frame in drive.frames]
    for frame in frames:
        place = int(drive.positions_m[frame.index, 0]) // 60
        pattern = np.random.default_rng(place).integers(19, size=(3, 4), dtype=np.uint8)
        cv2.imwrite(str(folder / str(frame.label)), cv2.resize(pattern, (width, height), interpolation=0))
    write_index(folder, frames, {name: value for name, value in drive.card.items() if name != "schema"})


def run(plan: Path, source: TownSource, out: Path) -> dict[str, list[Row]]:
    """Rows by the title of their row."""
    cells = cells_of([read_plan(plan)], "town_labels", [0])
    run_tables(cells, out, source, bar=False)
    return {cell.row.title: rows for cell, rows in rows_of(cells, read_rows(out, source.columns), source).items()}


def test_every_network_is_trained_once_and_its_samples_are_weighed_once(
    plan: Path, source: TownSource, tmp_path: Path
) -> None:
    out = tmp_path / "town.csv"
    found = run(plan, source, out)
    assert set(found) == set(ROWS) - {"-"}
    for rows in found.values():
        assert {row["condition"] for row in rows} == {*CONDITIONS, OPPOSITE}
        assert all(0 <= float(row["recall_at_1"]) <= float(row["recall_at_10"]) <= 1 for row in rows)
    weighed = {title: rows[0]["samples_weighed"] for title, rows in found.items()}
    assert (weighed["SEG"], weighed["RGB"], weighed["SEG 3"], weighed["All"]) == ("", "", "", "1.0")
    assert 0 <= float(weighed["D4"]) < 1 and source.recall(found["All"], "samples_weighed") == 100
    assert len(list(source.folder.glob("weights_*.npz"))) == 3
    checkpoints = {path: path.stat().st_mtime_ns for path in source.folder.glob("*/checkpoint.json")}
    assert len(checkpoints) == 6  # the branch of three groups is a network of its own, and a teacher

    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(line for line in lines if "D4" not in line))
    again = run(plan, source, out)
    assert {path: path.stat().st_mtime_ns for path in source.folder.glob("*/checkpoint.json")} == checkpoints
    assert again == found and len(out.read_text().splitlines()) == len(lines)


def test_labels_are_drawn_beside_frames_that_were_recorded_without(tmp_path: Path) -> None:
    drive = Drive(tmp_path / "bags" / "short", 1, "noon", "loop", 3, 12.0, labels=False, lidar_columns=128)
    record_frames([drive], tmp_path / "frames", workers=1)
    label_drives([drive], tmp_path / "frames", tmp_path / "labelled", workers=1)
    recorded, labelled = (Frames.load(tmp_path / name / "short") for name in ("frames", "labelled"))
    assert labelled.has_labels and labelled.card["labels"] == {"table": CLASS_TABLE} and not recorded.has_labels
    assert labelled.area == recorded.area and not any(frame.cloud for frame in labelled.frames)
    for index in range(len(recorded)):
        assert (labelled.image(index) == recorded.image(index)).all()
        classes = set(np.unique(labelled.label(index)))
        assert labelled.label(index).shape == LABEL_SIZE[::-1] and len(classes) > 3
        assert classes <= set(range(len(class_table(CLASS_TABLE).classes)))
    before = (labelled.folder / "card.json").stat().st_mtime_ns
    label_drives([drive], tmp_path / "frames", tmp_path / "labelled", workers=1)
    assert (labelled.folder / "card.json").stat().st_mtime_ns == before
