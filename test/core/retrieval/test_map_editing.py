"""Maps edited on the disk: what comes along, what is refused, and that the old map stays whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames, write_index
from vpr_core.errors import FramesError, MapError
from vpr_core.retrieval import map_writing
from vpr_core.retrieval.map_editing import Chosen, described_as, merged, whole, without
from vpr_core.retrieval.map_sessions import Stored, place_bytes, sessions_of
from vpr_core.retrieval.map_writing import write_map
from vpr_core.retrieval.place_clouds import CloudOptions, PlaceClouds, store_clouds
from vpr_core.retrieval.place_features import PlaceFeatures, store_features
from vpr_core.retrieval.place_map import PlaceMap

CLOUDS = CloudOptions(voxel_m=0.5)


@pytest.fixture(scope="module")
def equipped(place_map: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera map with clouds, local features and files that others put there."""
    folder = Path(shutil.copytree(place_map, tmp_path_factory.mktemp("equipped") / "map"))
    store_clouds(folder, frames, CLOUDS)
    store_features(folder, frames, "orb")
    for name in ("calibration.json", "observation.json", "reliability.html", "notes.txt"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def folder(equipped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(equipped, tmp_path / "map"))


@pytest.fixture(scope="module")
def later(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every third frame of the same drive as another drive a day later."""
    drive = Frames.load(frames)
    folder = Path(shutil.copytree(frames, tmp_path_factory.mktemp("later") / "frames"))
    kept = [replace(frame, index=index, stamp_ns=frame.stamp_ns + 86_400 * 10**9, cloud_stamp_ns=None)
            for index, frame in enumerate(drive.frames[::3])]  # fmt: skip
    write_index(folder, kept, {**drive.card, "counts": {**drive.card["counts"], "frames": len(kept)}})
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_drive_added_has_all_that_the_map_has(folder: Path, bundle: Path, later: Path, tmp_path: Path) -> None:
    base = Stored.load(folder)
    added, told = described_as(base, later, bundle, tmp_path / "scratch")
    assert told == []
    edited, told = write_map(merged(base, [added]), folder)
    assert [line.split(":")[0] for line in told] == ["calibration.json", "observation.json"]
    assert "vpr-distill calibrate" in told[0] and "vpr-distill fit-filter" in told[1]
    found = Stored.load(folder)
    first, second = sessions_of(found)
    assert first.name == base.place_map.places[0].session and second.name == f"{first.name}-2"
    assert (first.places, second.places) == (len(base.place_map), len(added.place_map))
    assert second.first_ns - first.first_ns == 86_400 * 10**9 and 60 < first.length_m < 90
    assert edited.hash == found.place_map.hash != base.place_map.hash
    for row in (0, 5, len(base.place_map) - 1, len(base.place_map), len(edited) - 1):
        of, at = (base, row) if row < len(base.place_map) else (added, row - len(base.place_map))
        np.testing.assert_array_equal(edited.descriptors[row], of.place_map.descriptors[at])
        assert edited.places[row].pose == of.place_map.places[at].pose
        assert found.clouds and of.clouds and found.features and of.features
        np.testing.assert_allclose(found.clouds[row], of.clouds[at], atol=0.003)
        np.testing.assert_array_equal(found.features[row].points, of.features[at].points)
        np.testing.assert_array_equal(found.features[row].descriptors, of.features[at].descriptors)
    assert {path.name for path in folder.iterdir() if "-" not in path.name} == {
        "map.json", "clouds.bin", "features.bin", "notes.txt"}  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"map", "scratch"}


def test_a_session_removed_leaves_the_others_as_they_were(
    folder: Path, bundle: Path, later: Path, tmp_path: Path
) -> None:
    base = Stored.load(folder)
    added, _ = described_as(base, later, bundle, tmp_path / "scratch")
    write_map(merged(base, [added]), tmp_path / "both")
    both = Stored.load(tmp_path / "both")
    session = base.place_map.places[0].session
    again, _ = write_map([without(both, [f"{session}-2"])], tmp_path / "again")
    assert again.hash == base.place_map.hash and again.places == base.place_map.places
    with pytest.raises(MapError, match=rf"no session nobody: expected some of {session}, {session}-2"):
        without(both, ["nobody"])
    with pytest.raises(MapError, match="would have no place left"):
        without(both, [session, f"{session}-2"])
    rows, _ = write_map([without(both, [session])], tmp_path / "both")
    assert {place.session for place in rows.places} == {f"{session}-2"} and len(rows) == len(added.place_map)


def test_what_is_in_both_maps_is_taken_once(place_map: Path, tmp_path: Path) -> None:
    base = Stored.load(place_map)
    half = np.arange(len(base.place_map) // 2)
    write_map([Chosen(base, half)], tmp_path / "half")
    chosen = merged(Stored.load(tmp_path / "half"), [base])
    whole_again, _ = write_map(chosen, tmp_path / "again")
    assert whole_again.hash == base.place_map.hash
    with pytest.raises(MapError, match=f"all of its {len(half)} places are in the map already"):
        merged(base, [Stored.load(tmp_path / "half")])


def test_other_models_frames_and_pictures_are_refused(
    place_map: Path, other_map: Path, lidar_map: Path, lidar_bundle: Path, later: Path, bundle: Path, tmp_path: Path
) -> None:
    base = Stored.load(place_map)
    for other, what in ((other_map, "model"), (lidar_map, "model")):
        with pytest.raises(MapError, match=f"has {what} .* one map takes drives of one model, sensor and map frame"):
            merged(base, [Stored.load(other)])
    known = base.place_map
    for changed, words in (
        (replace(known, map_frame="odom"), "has map frame odom, .* has map"),
        (replace(known, image_size=(320, 200)), "another camera or crop"),
    ):
        changed.save(tmp_path / "changed")
        with pytest.raises(MapError, match=words):
            merged(base, [Stored.load(tmp_path / "changed")])
    with pytest.raises(MapError, match="is a camera map, the bundle is a lidar bundle"):
        described_as(base, later, lidar_bundle, tmp_path / "none")
    drive = Frames.load(later)
    elsewhere = shutil.copytree(later, tmp_path / "elsewhere")
    write_index(elsewhere, drive.frames, {**drive.card, "map_frame": "odom"})
    with pytest.raises(MapError, match="has map frame odom"):
        described_as(base, elsewhere, bundle, tmp_path / "none")
    with pytest.raises(FramesError, match="does not exist"):
        described_as(base, tmp_path / "nothing", bundle, tmp_path / "none")


def test_clouds_that_only_one_map_has_are_kept_and_features_are_not(
    folder: Path, place_map: Path, tmp_path: Path
) -> None:
    known = PlaceMap.load(place_map)
    renamed = tuple(replace(place, session="bare", stamp_ns=place.stamp_ns + 1) for place in known.places)
    replace(known, places=renamed).save(tmp_path / "bare")
    edited, told = write_map(merged(Stored.load(folder), [Stored.load(tmp_path / "bare")]), tmp_path / "both")
    count = len(known)
    clouds = PlaceClouds.load(tmp_path / "both", edited.hash)
    assert len(clouds[count - 1]) > 100 and len(clouds[count]) == 0
    assert f"{count} of {2 * count} places have no cloud" in told[0] and "--clouds true" in told[0]
    assert told[1].startswith("features.bin: left out") and "--features" in told[1]
    assert not (tmp_path / "both" / "features.bin").exists()


def test_pruned_places_take_their_files_along(folder: Path, tmp_path: Path) -> None:
    base = Stored.load(folder)
    rows = np.arange(0, len(base.place_map), 4)
    edited, _ = write_map([Chosen(base, rows)], tmp_path / "fewer")
    features = PlaceFeatures.load(tmp_path / "fewer", edited.hash)
    assert base.features is not None and len(features) == len(rows)
    np.testing.assert_array_equal(features[2].descriptors, base.features[8].descriptors)
    sizes = place_bytes(Stored.load(tmp_path / "fewer")).sum()
    on_disk = sum(path.stat().st_size for path in (tmp_path / "fewer").iterdir() if path.name != "notes.txt")
    assert sizes < on_disk < sizes + 8192


def test_an_edit_that_changes_nothing_keeps_what_was_fitted(folder: Path, tmp_path: Path) -> None:
    _, told = write_map([whole(Stored.load(folder))], tmp_path / "same")
    assert told == [] and files_of(tmp_path / "same") == files_of(folder)


def test_a_file_of_the_map_before_is_told_and_left_out(folder: Path, tmp_path: Path) -> None:
    known = PlaceMap.load(folder)
    replace(known, places=tuple(replace(place, session="grown") for place in known.places)).save(folder)
    with (folder / "clouds.bin").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    stored = Stored.load(folder)
    assert stored.clouds is None and stored.features is None
    assert "clouds.bin is damaged" in stored.refused[0] and "features.bin belongs to map" in stored.refused[1]
    write_map([Chosen(stored, np.arange(5))], tmp_path / "fewer")
    assert not {"clouds.bin", "features.bin"} & {path.name for path in (tmp_path / "fewer").iterdir()}


def test_a_failure_leaves_the_map_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(folder)
    base = Stored.load(folder)

    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(map_writing, "write_features", full)
    with pytest.raises(OSError, match="No space left"):
        write_map([Chosen(base, np.arange(5))], folder)
    assert files_of(folder) == before and [path.name for path in folder.parent.iterdir()] == ["map"]


def test_a_map_that_grew_meanwhile_is_not_overwritten(folder: Path) -> None:
    base = Stored.load(folder)
    grown = replace(base.place_map, places=tuple(replace(place, session="x") for place in base.place_map.places))
    grown.save(folder)
    with pytest.raises(MapError, match="was changed by something else meanwhile"):
        write_map([Chosen(base, np.arange(5))], folder)
    assert PlaceMap.load(folder).places == grown.places


def test_another_folder_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(MapError, match="exists already: choose another folder"):
        write_map([whole(Stored.load(folder))], tmp_path / "mine")
    assert json.loads((folder / "map.json").read_text())["schema"] == 1
