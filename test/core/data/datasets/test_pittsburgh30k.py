"""Pittsburgh30k by NetVLAD's .mat files: what is read of them, and what is wrong with some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from vpr_core.data.datasets import pittsburgh30k
from vpr_core.data.frames import Frames
from vpr_core.data.netvlad_struct import read_struct
from vpr_core.data.plan import counts
from vpr_core.data.prepare import write_plan
from vpr_core.errors import FramesError

Tiny = dict[str, tuple[Path, Any]]


def test_a_set_is_a_database_and_its_queries(tiny: Tiny, tmp_path: Path) -> None:
    root, options = tiny["pittsburgh30k"]
    plan = pittsburgh30k.plan(root, options)
    assert not plan.missing and not plan.notes
    assert [(run.split, run.name, len(run.items), int(run.queries.sum())) for run in plan.runs] == [
        ("train", "pitts30k_train_database", 6, 6), ("train", "pitts30k_train_query", 4, 4),
        ("test", "pitts30k_val_database", 6, 0), ("test", "pitts30k_val_query", 4, 4),
        ("test", "pitts30k_test_database", 6, 0), ("test", "pitts30k_test_query", 4, 4),
    ]  # fmt: skip
    found = counts(plan, options.positive_m, options.radius_m)
    assert found["test"]["pairs"] == 2 and (found["test"]["evaluated"], found["test"]["skipped"]) == (6, 2)
    assert found["train"]["with_positive"] == 9, "all but the query 500 m away"
    folders = write_plan(plan, tmp_path / "out", "x", {})
    database = Frames.load(folders["test/pitts30k_val_database"])
    queries = Frames.load(folders["test/pitts30k_val_query"])
    assert database.frames[1].image == "images/001000_pitch1_yaw2.jpg"
    assert (queries.folder / "images").resolve() == root / "queries_real" / "001"
    assert queries.positions_m[1].tolist() == [584031.0, 4477000.0, 0.0] and queries.area == database.area


def test_images_of_many_folders_are_behind_one_link(make_pittsburgh: Callable[..., Path], tmp_path: Path) -> None:
    root = make_pittsburgh(tmp_path / "root")
    whole = [read_struct(root / "datasets" / f"pitts30k_{name}.mat") for name in ("train", "val")]
    names = [name for struct in whole for name in struct.database]
    struct = {
        "dbImageFns": np.array(names, dtype=object), "utmDb": np.zeros((2, 12)), "posDistThr": 25.0,
        "qImageFns": np.array(whole[0].queries, dtype=object), "utmQ": np.zeros((2, 4)),
    }  # fmt: skip
    savemat(root / "datasets" / "pitts30k_test.mat", {"dbStruct": struct})
    plan = pittsburgh30k.plan(root, pittsburgh30k.Options(train_runs=(), test_runs=("test",)))
    drive = Frames.load(write_plan(plan, tmp_path / "out", "x", {})["test/pitts30k_test_database"])
    assert [frame.image for frame in drive.frames] == [f"images/{name}" for name in names]
    assert (drive.folder / "images").resolve() == root and drive.image(11).shape == (48, 64, 3)


def test_structs_may_lie_in_the_root(make_pittsburgh: Callable[..., Path], tmp_path: Path) -> None:
    root = make_pittsburgh(tmp_path, ("train",))
    (root / "datasets" / "pitts30k_train.mat").rename(root / "pitts30k_train.mat")
    (root / "datasets").rmdir()
    assert len(pittsburgh30k.plan(root, pittsburgh30k.Options(test_runs=())).runs) == 2


def test_what_is_missing_is_said_file_by_file(make_pittsburgh: Callable[..., Path], tmp_path: Path) -> None:
    root = make_pittsburgh(tmp_path, ("train", "val"))
    lost = root / "queries_real" / "001" / "001002_pitch2_yaw3.jpg"
    lost.unlink()
    plan = pittsburgh30k.plan(root, pittsburgh30k.Options())
    assert plan.missing == {
        "frames with no image": [f"pitts30k_val query (test), such as {lost}, 1 of 4"],
        "no pitts30k_test.mat": ["test (test)"],
    }
    assert plan.runs[-1].drops == {"no image": 1} and len(plan.runs[-1].items) == 3


def test_a_threshold_of_another_radius_is_told(tiny: Tiny) -> None:
    plan = pittsburgh30k.plan(tiny["pittsburgh30k"][0], pittsburgh30k.Options(test_runs=("val",), radius_m=10.0))
    assert "pitts30k_val.mat has a threshold of 25 m, radius_m is 10" in plan.notes


def test_one_image_is_a_list_too(tmp_path: Path) -> None:
    one = {"dbImageFns": "a.jpg", "utmDb": [[1.0], [2.0]], "qImageFns": "q.jpg", "utmQ": [[3.0], [4.0]]}
    savemat(tmp_path / "one.mat", {"dbStruct": {**one, "posDistThr": 25.0}})
    struct = read_struct(tmp_path / "one.mat")
    assert (struct.database, struct.database_m.tolist(), struct.queries) == (["a.jpg"], [[1.0, 2.0]], ["q.jpg"])


def test_damaged_structs_are_named(make_pittsburgh: Callable[..., Path], tmp_path: Path) -> None:
    path = make_pittsburgh(tmp_path / "root", ("val",)) / "datasets" / "pitts30k_val.mat"
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], whole[:40], b"", b"no MATLAB file at all, but long enough" * 9):
        path.write_bytes(damage)
        with pytest.raises(FramesError, match="pitts30k_val.mat cannot be read as a MATLAB file|has no struct"):
            read_struct(path)
    good = {
        "dbImageFns": np.array(["a.jpg", "b.jpg"], dtype=object), "utmDb": np.zeros((2, 2)), "numImages": 2.0,
        "qImageFns": np.array(["q.jpg", "r.jpg"], dtype=object), "utmQ": np.zeros((2, 2)), "posDistThr": 25.0,
    }  # fmt: skip
    for change, match in (
        ({"utmDb": np.zeros((2, 3))}, "dbImageFns has 2 names, utmDb 3 positions, and numImages says 2"),
        ({"numImages": 5.0}, "and numImages says 5: expected as many of each"),
        ({"utmQ": np.full((2, 2), np.nan)}, "utmQ has a position that is not finite"),
        ({"utmQ": "west"}, "utmQ is no array"),
        ({"posDistThr": "far"}, "posDistThr is no number"),
    ):
        savemat(path, {"dbStruct": {**good, **change}})
        with pytest.raises(FramesError, match=match):
            read_struct(path)
    savemat(path, {"dbStruct": {name: value for name, value in good.items() if name != "utmQ"}})
    with pytest.raises(FramesError, match="dbStruct has no utmQ; it has dbImageFns"):
        read_struct(path)
    savemat(path, {"other": np.zeros(3)})
    with pytest.raises(FramesError, match="has no struct dbStruct"):
        read_struct(path)
