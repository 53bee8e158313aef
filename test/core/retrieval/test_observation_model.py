"""The observation model: what the regression finds, and what is stored beside a map."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.errors import MapError
from vpr_core.retrieval.check import Check
from vpr_core.retrieval.filter import PlaceFilter
from vpr_core.retrieval.filter_fit import CHOICES, fit_checks, fit_filter
from vpr_core.retrieval.observation_model import ObservationModel, fit_observation_model, standing
from vpr_core.retrieval.place_clouds import CloudOptions, store_clouds
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.types import Pose

MODEL = ObservationModel(offset=-30.0, per_similarity=25.0, per_standing=2.0)


def made_up(rng: np.random.Generator, queries: int = 400, places: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of Gaussian right and wrong pairs, whose log ratio is 40 s - 24 whatever the standing."""
    right = np.eye(places, dtype=bool)[rng.integers(0, places, queries)]
    return np.where(right, rng.normal(0.7, 0.0707, right.shape), rng.normal(0.5, 0.0707, right.shape)), right


def test_the_ratio_of_two_gaussians_is_found() -> None:
    similarities, right = made_up(np.random.default_rng(0))
    model = replace(fit_observation_model(similarities, right, ~right), off_map_log_ratio=0.0)
    for wanted in (0.5, 0.6, 0.7):
        query = np.append(wanted, np.random.default_rng(1).normal(0.503, 0.075, 4000))
        assert model.log_ratio(query)[0] == pytest.approx(40 * wanted - 24, abs=1.0)


def test_pairs_of_either_kind_weigh_the_same_however_many_they_are() -> None:
    similarities, right = made_up(np.random.default_rng(0))
    few = ~right & (np.random.default_rng(2).random(right.shape) < 0.1)
    full, thin = (fit_observation_model(similarities, right, wrong) for wrong in (~right, few))
    probe = np.linspace(0.4, 0.8, 60)
    np.testing.assert_allclose(full.log_ratio(probe), thin.log_ratio(probe), atol=1.0)


def test_the_standing_does_not_feel_what_lowers_all_alike() -> None:
    row = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(standing(row), standing(0.2 * row - 3.0))
    assert not standing(np.full(9, 0.4)).any() and standing(np.stack([row, 2 * row])).shape == (2, 50)


def test_one_look_is_not_believed_without_end() -> None:
    ratio = replace(MODEL, max_log_ratio=3.0).log_ratio(np.array([-5.0, 5.0, 1.3]))
    assert ratio[0] == -3.0 and ratio[1] == 3.0


@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_a_drive_elsewhere_teaches_nothing(kind: str) -> None:
    none, some = np.zeros((3, 4), bool), np.ones((3, 4), bool)
    with pytest.raises(MapError, match="expected some of both: take a validation drive through the map"):
        fit_observation_model(np.zeros((3, 4)), none if kind == "right" else some, none if kind == "wrong" else some)


def test_it_is_kept_with_its_map(place_map: Path, tmp_path: Path) -> None:
    known = PlaceMap.load(place_map)
    known.save(tmp_path / "map")
    assert MODEL.save(tmp_path / "map").parent == tmp_path / "map"
    assert ObservationModel.load(tmp_path / "map", known.hash) == MODEL
    assert PlaceMap.load(tmp_path / "map").hash == known.hash, "the map is the same with it"


def test_another_map_s_and_a_damaged_one_are_refused(place_map: Path, tmp_path: Path) -> None:
    known = PlaceMap.load(place_map)
    known.save(tmp_path / "map")
    with pytest.raises(MapError, match="expected a folder with observation.json"):
        ObservationModel.load(tmp_path / "map", known.hash)
    path = MODEL.save(tmp_path / "map")
    with pytest.raises(MapError, match=f"was fitted for map {known.hash}, the map is another"):
        ObservationModel.load(tmp_path / "map", "another")
    stored = json.loads(path.read_text())
    for value in ("much", None, math.inf):
        path.write_text(json.dumps({**stored, "per_standing": value}))
        with pytest.raises(MapError, match="has per_standing .*, expected a number"):
            ObservationModel.load(tmp_path / "map", known.hash)
    path.write_text(json.dumps({key: value for key, value in stored.items() if key != "offset"}))
    with pytest.raises(MapError, match="lacks offset"):
        ObservationModel.load(tmp_path / "map", known.hash)
    with pytest.raises(MapError, match="holds no map.json"):
        MODEL.save(tmp_path)


def test_a_validation_drive_makes_a_filter_that_keeps_its_target() -> None:
    """Descriptors of points on a street and on another, with the noise of another day."""
    rng = np.random.default_rng(3)
    poses = [Pose.from_xy_yaw(x, y, 0.0) for y in (0.0, 500.0) for x in np.arange(0.0, 240.0, 3.0)]
    waves, shifts = rng.normal(0, 0.15, (48, 2)), rng.uniform(0, 6, 48)

    def described(at: list[Pose], noise: float) -> np.ndarray:
        xy = np.array([pose.position_m[:2] for pose in at])
        rows = np.cos(xy @ waves.T + shifts) + rng.normal(0, noise, (len(at), 48))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    places = tuple(Place("drive", index + 1, pose) for index, pose in enumerate(poses[:80]))
    mapped = PlaceMap(described(poses[:80], 0.3), places, "model", "map", "camera", None)
    stamps = [(index + 1) * 500_000_000 for index in range(80)]
    tried: list[int] = []
    similar = described(poses[:80], 0.6) @ mapped.descriptors.T
    model = fit_filter(mapped, similar, poses[:80], stamps, progress=tried.append)
    assert sum(tried) == len(CHOICES) and (model.off_map_log_ratio, model.evidence_m) in CHOICES
    accepted = {}
    for name, way in (("on", poses[:80]), ("off", poses[80:])):
        followed = PlaceFilter(mapped, model)
        similar = described(way, 0.6) @ mapped.descriptors.T
        step = Pose((3.0, 0.0, 0.0))
        estimates = [followed.update(row, step, stamp) for row, stamp in zip(similar, stamps, strict=True)]
        accepted[name] = [(index, found.pose.position_m[0]) for index, found in enumerate(estimates) if found.accepted]
    assert len(accepted["on"]) > 50 and all(abs(3.0 * index - x_m) <= 10.0 for index, x_m in accepted["on"])
    assert not accepted["off"]


def test_what_checks_tell_is_counted_with_one_more_of_each_kind() -> None:
    here, far = Pose.from_xy_yaw(0.0, 0.0, 0.0), Pose.from_xy_yaw(50.0, 0.0, 0.0)
    checks = [Check(here, 1.0)] * 40 + [Check(far, 1.0)] * 2 + [Check(None)] * 5 + [None] * 90
    hidden = [Check(far, 0.5)] + [Check(None)] * 44 + [Check(None, rivals=frozenset({3}))] * 2 + [None] * 90
    model = fit_checks(MODEL, checks, hidden, [here] * len(checks))
    assert model.checked_log_ratio == pytest.approx(np.log((41 / 50) / (2 / 50)))
    assert model.unchecked_log_ratio == pytest.approx(np.log((6 / 50) / (45 / 50)))
    assert replace(model, checked_log_ratio=0.0, unchecked_log_ratio=0.0) == MODEL


def test_a_drive_with_clouds_says_what_checks_are_worth(
    lidar_bundle: Path, lidar_map: Path, frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The map's own drive: where its street is not hidden, its own cloud fits."""
    folder = Path(shutil.copytree(lidar_map, tmp_path / "map"))
    store_clouds(folder, frames, CloudOptions(T_base_lidar=Pose((0.0, 0.0, 1.9)), sweep_middle_s=0.05))
    command = ["fit-filter", "--bundle", str(lidar_bundle), "--map", str(folder), "--frames", str(frames)]
    main([*command, "--verify", "false"])
    assert "where a check leads" not in capsys.readouterr().out
    plain = ObservationModel.load(folder, PlaceMap.load(folder).hash)
    main([*command, "--verify_every", "2"])
    assert "where a check leads: " in capsys.readouterr().out
    model = ObservationModel.load(folder, PlaceMap.load(folder).hash)
    assert model.checked_log_ratio > 1.0 > 0.0 > model.unchecked_log_ratio
    assert plain == replace(model, checked_log_ratio=0.0, unchecked_log_ratio=0.0)
