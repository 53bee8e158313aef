"""Maps that are read while somebody saves them."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from vpr_core.errors import MapError
from vpr_core.retrieval.place_map import MANIFEST, PlaceMap
from vpr_distill_ros.loading import of_one_moment


def test_a_map_that_is_saved_anew_meanwhile_is_read_once_more(place_map: Path, other_map: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place_map, tmp_path / "map"))
    one, other = PlaceMap.load(place_map), PlaceMap.load(other_map)
    tried = []

    def load() -> PlaceMap:
        tried.append(PlaceMap.load(folder))
        if len(tried) == 1:
            other.save(folder)
            raise MapError("its files are gone")  # as those of the manifest that was read before
        return tried[-1]

    assert of_one_moment(folder, load).hash == other.hash and tried[0].hash == one.hash
    (folder / MANIFEST).unlink()
    with pytest.raises(MapError, match="holds no map.json|map.json"):
        of_one_moment(folder, lambda: PlaceMap.load(folder))


def test_a_map_is_read_whole_however_often_it_is_saved(place_map: Path, other_map: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place_map, tmp_path / "map"))
    maps, done = [PlaceMap.load(place_map), PlaceMap.load(other_map)], threading.Event()

    def save() -> None:
        while not done.is_set():
            for each in maps:
                each.save(folder)

    thread = threading.Thread(target=save)
    thread.start()
    try:
        found = {of_one_moment(folder, lambda: PlaceMap.load(folder)).hash for _ in range(300)}
    finally:
        done.set()
        thread.join()
    assert found == {each.hash for each in maps}
