"""Drives of several areas side by side: none has a place in common with another's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpr_core.data import places
from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.files import write_json


def renamed(folder: Path, **names: str) -> Frames:
    write_json(folder / "card.json", json.loads((folder / "card.json").read_text()) | names)
    return Frames.load(folder)


def test_drives_of_two_areas_have_no_place_in_common(make_drive: Callable[..., Path], tmp_path: Path) -> None:
    first, second, third, fourth = (make_drive(tmp_path / name, range(3), seed) for seed, name in enumerate("abcd"))
    drives = [
        renamed(first, area="town 1"),
        renamed(second, area="town 1"),
        renamed(third, area="town 2"),
        renamed(fourth, map_frame="utm"),
    ]
    positions_m = Samples(drives).positions_m
    positives = places.positives(positions_m, 10.0)
    area = np.repeat([0, 0, 1, 2], len(drives[0]))
    for index, found in enumerate(positives):
        assert len(found) and (area[found] == area[index]).all()
    assert any((found < 6).any() and (found >= 6).any() for found in positives)  # the two drives of town 1
    _, negative = places.masks(positions_m, 10.0, 50.0)
    assert negative[area[:, None] != area].all()


def test_an_area_alone_keeps_its_positions(make_drive: Callable[..., Path], tmp_path: Path) -> None:
    drive = Frames.load(make_drive(tmp_path / "a", range(3), 1))
    assert np.array_equal(Samples([drive]).positions_m, drive.positions_m)
