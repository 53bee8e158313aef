"""Scan Context by hand-made clouds: what it holds, and what a rotation, a hidden part or no point does to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.evaluation.evaluate import evaluate
from vpr_core.evaluation.methods import baseline
from vpr_core.evaluation.scan_context import (
    SECTORS,
    retrieve_scan_contexts,
    scan_context,
    scan_context_describer,
    scan_context_similarity,
)
from vpr_core.retrieval.bundle import Bundle

SECTOR_RAD = 2 * np.pi / SECTORS


def scene(seed: int, points: int = 3000) -> np.ndarray:
    """Points of a few walls around the sensor, each in the middle of a sector: float32 [N, 4]."""
    rng = np.random.default_rng(seed)
    sector = rng.integers(0, SECTORS, points)
    walls_m, heights_m = rng.uniform(5, 60, SECTORS), rng.uniform(-1, 8, SECTORS)
    radius_m = walls_m[sector] + rng.uniform(0, 6, points)
    angle = (sector + rng.uniform(0.2, 0.8, points)) * SECTOR_RAD
    z_m = heights_m[sector] * rng.random(points)
    return np.stack([radius_m * np.cos(angle), radius_m * np.sin(angle), z_m, z_m * 0], axis=1).astype(np.float32)


def rotated(cloud: np.ndarray, angle_rad: float) -> np.ndarray:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    turned = cloud.copy()
    turned[:, :2] = cloud[:, :2] @ np.array([[c, s], [-s, c]], np.float32)
    return turned


def contexts(*clouds: np.ndarray) -> np.ndarray:
    return np.stack([scan_context(cloud) for cloud in clouds])


def test_a_bin_holds_its_highest_point_above_the_ground() -> None:
    points = [[4.1, 0.1, 3.0], [6.0, 0.1, 1.0], [0.1, 50.0, -1.5], [-1.0, -79.9, 5.0], [0.0, 80.1, 9.0]]
    context = scan_context(np.array(points, np.float32), max_range_m=80.0, ground_z_m=-2.0)
    assert context.shape == (20, 60) and context.dtype == np.float32
    held = {(int(ring), int(sector)): float(context[ring, sector]) for ring, sector in np.argwhere(context)}
    assert held == {(1, 0): 5.0, (12, 14): 0.5, (19, 44): 7.0}
    lowest = scan_context(np.array(points, np.float32), max_range_m=80.0, ground_z_m=None)
    assert (lowest[1, 0], lowest[12, 14], lowest[19, 44]) == (4.5, 0.0, 6.5)


@pytest.mark.parametrize("sectors", [1, 17, 59])
def test_a_rotation_by_whole_sectors_is_the_same_place(sectors: int) -> None:
    here = scene(0)
    there = rotated(here, sectors * SECTOR_RAD)
    np.testing.assert_allclose(scan_context(there), np.roll(scan_context(here), sectors, axis=1), atol=1e-5)
    assert scan_context_similarity(contexts(here), contexts(there))[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_other_scenes_are_farther() -> None:
    clouds = [scene(seed) for seed in range(6)]
    similarity = scan_context_similarity(contexts(*clouds), contexts(*(rotated(c, 0.3) for c in clouds)))
    own = np.diag(similarity)
    others = similarity[~np.eye(6, dtype=bool)]
    assert others.max() < own.min() - 0.2


def test_against_the_paper_s_sum_by_loops() -> None:
    rng = np.random.default_rng(1)
    database, queries = (rng.normal(size=(count, 4, 6)).astype(np.float32) for count in (3, 2))
    database[0, :, 2:4] = queries[1, :, 5] = 0
    expected = np.zeros((2, 3))
    for m, query in enumerate(queries):
        for n, place in enumerate(database):
            for shift in range(6):
                cosines = []
                for j in range(6):
                    a, b = query[:, (j - shift) % 6], place[:, j]
                    if a.any() and b.any():
                        cosines.append(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
                expected[m, n] = max(expected[m, n], np.mean(cosines))
    np.testing.assert_allclose(scan_context_similarity(database, queries), expected, atol=1e-6)


def test_sectors_without_a_point_count_for_neither() -> None:
    """Half of the view hidden is the same place still."""
    cloud = scene(2)
    hidden = cloud[cloud[:, 1] > 0]
    assert len(hidden) < 0.6 * len(cloud)
    assert scan_context_similarity(contexts(cloud), contexts(hidden))[0, 0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "cloud",
    [np.empty((0, 4)), np.full((5, 4), np.nan), np.full((5, 3), 1e30), np.array([[100.0, 0, 0, 0]])],
    ids=["empty", "NaN", "far", "out of range"],
)
def test_a_cloud_without_a_point_is_like_nothing(cloud: np.ndarray) -> None:
    blind = contexts(cloud.astype(np.float32), cloud.astype(np.float32))
    assert not blind.any()
    similarity = scan_context_similarity(blind, np.concatenate([blind, contexts(scene(3))]))
    assert similarity.shape == (3, 2) and not similarity.any()


def test_the_first_25_places_come_in_falling_order() -> None:
    database = contexts(*(scene(seed, 400) for seed in range(30)))
    similarity, rows = retrieve_scan_contexts(database, database[:4])
    assert similarity.shape == rows.shape == (4, 25) and rows[:, 0].tolist() == [0, 1, 2, 3]
    assert (np.diff(similarity, axis=1) <= 0).all()
    whole = scan_context_similarity(database, database[:4])
    np.testing.assert_array_equal(similarity, -np.sort(-whole, axis=1)[:, :25])


def test_a_drive_finds_itself(frames: Path) -> None:
    drive = Frames.load(frames)
    (found,) = evaluate("scan_context", scan_context_describer(), drive, [drive], retrieve=retrieve_scan_contexts)
    assert found.result.at[1] == 1.0 and found.result.best.tolist() == list(range(len(drive)))


def test_the_baseline_is_of_the_bundle_s_sensor(bundle: Path, lidar_bundle: Path, frames: Path) -> None:
    assert baseline(Bundle.load(bundle)).name == "thumbnail"
    method = baseline(Bundle.load(lidar_bundle))
    assert (method.name, list(method.retrieve)) == ("scan_context", ["own"])
    drive = Frames.load(frames)
    expected = [scan_context(drive.cloud(index), max_range_m=60.0) for index in range(len(drive))]
    np.testing.assert_array_equal(method.describe(drive), expected)  # 60 m is this bundle's range
