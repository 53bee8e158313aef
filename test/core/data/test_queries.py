"""Which frames are asked for: the column `query` of frames.csv, written, read, split and honoured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import COLUMNS, Frame, Frames, raw_cloud, write_index
from vpr_core.errors import FramesError
from vpr_core.types import Pose


def drive(folder: Path, queries: list[bool]) -> Path:
    folder.mkdir()
    frames = [Frame(i, i, None, pose=Pose((float(i), 0.0, 0.0)), query=query) for i, query in enumerate(queries)]
    card = {"session": folder.name, "bag": "b", "map_frame": "map", "image_size": None}
    write_index(folder, frames, {**card, "counts": {"frames": len(frames)}, "drops": {}})
    return folder


def test_a_drive_that_is_all_queries_has_no_column(tmp_path: Path) -> None:
    folder = drive(tmp_path / "a", [True, True])
    assert (folder / "frames.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    loaded = Frames.load(folder)
    assert loaded.queries.tolist() == [True, True] and loaded.queries.dtype == bool
    assert loaded.asked.frames == loaded.frames


def test_queries_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = drive(tmp_path / "a", [False, True, False, True])
    assert (folder / "frames.csv").read_text().splitlines()[0] == ",".join((*COLUMNS, "query"))
    loaded = Frames.load(folder)
    assert loaded.queries.tolist() == [False, True, False, True]
    assert [frame.index for frame in loaded.asked.frames] == [1, 3] and loaded.asked.queries.all()
    np.testing.assert_array_equal(loaded.asked.positions_m[:, 0], [1, 3])
    assert len(loaded) == 4, "the drive itself stays whole"


def test_another_word_is_refused(tmp_path: Path) -> None:
    folder = drive(tmp_path / "a", [False, True])
    index = folder / "frames.csv"
    index.write_text(index.read_text().replace(",0\n", ",no\n", 1))
    with pytest.raises(FramesError, match="query is 'no', expected 0 or 1"):
        Frames.load(folder)


def test_clouds_of_plain_numbers_are_read_by_their_layout(tmp_path: Path) -> None:
    points = np.arange(12.0).reshape(2, 6)
    path = tmp_path / "x.bin"
    for dtype, columns in (("<f4", 6), ("<f8", 3), (">f4", 4)):
        points.ravel()[: 2 * columns].astype(dtype).tofile(path)
        cloud = raw_cloud(path, {"dtype": dtype, "columns": columns})
        expected = points.ravel()[: 2 * columns].reshape(2, columns)
        np.testing.assert_array_equal(cloud[:, : min(columns, 4)], expected[:, :4])
        assert cloud.shape == (2, 4) and cloud.dtype == np.float32 and (columns > 3 or not cloud[:, 3].any())
    path.write_bytes(b"")
    with pytest.raises(FramesError, match="has 0 bytes, expected points of 3 float64 numbers"):
        raw_cloud(path, {"dtype": "<f8", "columns": 3})
    with pytest.raises(FramesError, match="no cloud_layout"):
        raw_cloud(path, None)
