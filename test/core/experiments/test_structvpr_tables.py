"""StructVPR's cells on toy drives: one stage I a seed, weights of samples, students; and labels drawn afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from vpr_core.data.frames import Frames, write_index
from vpr_core.errors import RecipeError
from vpr_core.experiments.cells import cells_of
from vpr_core.experiments.cost import cost_text
from vpr_core.experiments.data_sets import drives_text
from vpr_core.experiments.labelled import CLASS_TABLE, LABEL_SIZE, label_drives
from vpr_core.experiments.plans import read_plan
from vpr_core.experiments.sources import DRIVES, Row, TownSource
from vpr_core.experiments.structvpr_figures import rank_edges
from vpr_core.experiments.structvpr_pictures import NAMES, evaluations, first_ranks, write_pictures
from vpr_core.experiments.tables import read_rows, rows_of, run_tables
from vpr_core.experiments.town import CONDITIONS, OPPOSITE, Towns, record_frames
from vpr_core.structvpr.slme import class_table
from vpr_core.synthetic.drive import Drive
from vpr_core.training.recipe import as_json

RECIPE = {"architecture": "structvpr", "dim": None, "class_table": CLASS_TABLE, "mining": "pairs", "margin": 0.1,
          "normalize": True, "task_weights": [1.0, 0.0, 0.0], "batch_size": 4, "steps": 1}  # fmt: skip
METHODS = {
    "all": {"method": "structvpr", "sample_weights": {"scheme": "all"}},
    "paper": {"method": "structvpr", "sample_weights": {"scheme": "paper"}},
    "D4": {"method": "structvpr", "sample_weights": {"scheme": "all", "groups": ["D4"]}},
    "three": {"method": "structvpr", "sample_weights": {}, "teacher": {"label_encoding": "three"}},
    "seg_three": {"recipe": "seg.yaml", "label_encoding": "three"},
}
ROWS = {
    "SEG": "teacher",
    "RGB": "alone",
    "All": "all",
    "D4": "D4",
    "SEG: 3": "seg_three",
    "KD: 3": "three",
    "KD: 6": "paper",
    "-": None,
}
PLAN = {
    "title": "toy",
    "figures": ["recall_at_1", "samples_weighed"],
    "columns": {
        "one": {
            "title": "seg -> rgb",
            "town_labels": {"teacher": "seg.yaml", "student": "student.yaml", "methods": "methods.yaml"},
        }
    },
    "rows": ROWS,
}


@dataclass(frozen=True)
class Trained:
    """What a first run left."""

    plan: Path
    source: TownSource
    out: Path
    found: dict[str, list[Row]]
    """Rows by the title of their row."""


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_drive: Callable[..., Path], toy_recipe: Callable[..., Any]
) -> Trained:
    folder = tmp_path_factory.mktemp("tables")
    distillation = {"method": "structvpr", "teacher_modality": "labels", "options": {"side": "student"}}
    files = {
        "seg": as_json(toy_recipe("labels", **RECIPE)),
        "student": as_json(toy_recipe("camera", **RECIPE, distillation=distillation)),
        "methods": METHODS,
        "plan": PLAN,
    }
    for name, values in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    source = _toy_source(folder / "work", make_drive)
    return Trained(
        folder / "plan.yaml", source, folder / "town.csv", run(folder / "plan.yaml", source, folder / "town.csv")
    )


def _toy_source(work: Path, make_drive: Callable[..., Path]) -> TownSource:
    """Toy drives with labels where those of town 1, to train on, and of town 2, to test in, are expected."""
    towns = Towns.planned(work / DRIVES / "labelled", [1], [2])
    for seed, folder in enumerate([*towns.train, *towns.validation, *towns.described]):
        make_drive(folder, range(6) if folder in towns.train else range(20, 24), seed, clouds=False)
        _add_labels(folder)
        (work / DRIVES / "frames" / folder.name).mkdir(parents=True)
    return TownSource(work, [1], [2], labelled=True)


def _add_labels(folder: Path) -> None:
    drive, (width, height) = Frames.load(folder), LABEL_SIZE
    frames = [replace(frame, label=f"{frame.index}.png") for frame in drive.frames]
    for frame in frames:
        place = int(drive.positions_m[frame.index, 0]) // 60
        pattern = np.random.default_rng(place).integers(19, size=(3, 4), dtype=np.uint8)
        cv2.imwrite(str(folder / str(frame.label)), cv2.resize(pattern, (width, height), interpolation=0))
    write_index(folder, frames, {name: value for name, value in drive.card.items() if name != "schema"})


def run(plan: Path, source: TownSource, out: Path) -> dict[str, list[Row]]:
    cells = cells_of([read_plan(plan)], "town_labels", [0])
    run_tables(cells, out, source, bar=False)
    return {cell.row.title: rows for cell, rows in rows_of(cells, read_rows(out, source.columns), source).items()}


def test_every_network_is_trained_once_and_its_samples_are_weighed_once(trained: Trained) -> None:
    source, found = trained.source, trained.found
    assert set(found) == set(ROWS) - {"-"}
    for rows in found.values():
        assert {row["condition"] for row in rows} == {*CONDITIONS, OPPOSITE}
        assert all(0 <= float(row["recall_at_1"]) <= float(row["recall_at_10"]) <= 1 for row in rows)
    weighed = {title: rows[0]["samples_weighed"] for title, rows in found.items()}
    assert (weighed["SEG"], weighed["RGB"], weighed["SEG: 3"], weighed["All"]) == ("", "", "", "1.0")
    assert 0 <= float(weighed["D4"]) < 1 and source.recall(found["All"], "samples_weighed") == 100
    assert len(list(source.folder.glob("weights_*.npz"))) == 4
    checkpoints = {path: path.stat().st_mtime_ns for path in source.folder.glob("*/checkpoint.json")}
    assert len(checkpoints) == 7  # the branch of three groups is a network of its own, and a teacher

    lines = trained.out.read_text().splitlines(keepends=True)
    trained.out.write_text("".join(line for line in lines if "D4" not in line))
    again = run(trained.plan, source, trained.out)
    assert {path: path.stat().st_mtime_ns for path in source.folder.glob("*/checkpoint.json")} == checkpoints
    assert again == found and len(trained.out.read_text().splitlines()) == len(lines)


def test_drives_and_costs_are_described(trained: Trained) -> None:
    plan = read_plan(trained.plan)
    cells = cells_of([plan], "town_labels", [0])
    text = cost_text(plan, cells, trained.source.drives.described[0])
    lines = {line.split("  ")[0]: line.split()[-7:] for line in text.splitlines()}
    assert lines["SEG"][:3] == ["1,195,880", "480", "1920"] and lines["RGB"][1] == "448"
    assert lines["RGB"] == lines["All"] and all(float(time_ms) > 0 for time_ms in lines["SEG"][3:4])
    assert "is not there" in cost_text(plan, cells, trained.source.work / "none")
    drives = drives_text(trained.source).splitlines()
    assert [line.split()[:1] for line in drives] == [["for"], ["training"], ["validation"], ["tests"]]
    assert drives[3].split()[2:4] == ["9", "72"] and drives[3].endswith("map, noon, dusk, night, fog, rain, winter, "
                                                                       "low_sun, opposite")  # fmt: skip


def test_pictures_are_drawn_of_what_was_trained(trained: Trained, tmp_path: Path) -> None:
    plan = replace(read_plan(trained.plan), path=Path("structvpr_figure6.yaml"))
    cells = cells_of([plan], "town_labels", [0])
    rows = rows_of(cells, read_rows(trained.out, trained.source.columns), trained.source)
    written = write_pictures(tmp_path / "pictures", rows, trained.source)
    assert [path.name for path in written] == list(NAMES)
    assert all(f"{name}: " in written[0].read_text() for name in ("D1", "D2", "D3", "D4"))
    assert min(cv2.imread(str(written[1])).shape[:2]) > 200
    assert "the segmentation branch alone" in written[2].read_text()
    student = next(cell.network for cell in cells if cell.row.method == "paper")
    for found in evaluations(student, trained.source):
        hits = found.result.first_hit
        assert first_ranks(found, trained.source.folder / student.name).tolist() == hits[hits > 0].tolist()
    with pytest.raises(RecipeError, match="nothing to draw"):
        write_pictures(tmp_path, {cell: [] for cell in rows}, replace(trained.source, train_towns=[3]))
    with pytest.raises(RecipeError, match="town with labels"):
        write_pictures(tmp_path, rows, replace(trained.source, labelled=False))


def test_ranks_are_binned_one_by_one_up_to_n_t() -> None:
    edges = rank_edges(500, 10)
    assert edges[:11].tolist() == list(range(1, 12)) and np.isinf(edges[-1])
    assert (np.diff(edges[10:-1]) > 0).all() and np.digitize([10, 11, np.inf], edges).tolist() == [10, 11, len(edges)]


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
