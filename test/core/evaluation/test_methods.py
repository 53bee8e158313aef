"""Bundles as methods: which of them have raw descriptors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.evaluation.comparison import Drives, evaluate_method
from vpr_core.evaluation.evaluate import by_method, evaluate
from vpr_core.evaluation.methods import bundle_method, raw
from vpr_core.evaluation.search import has_unit_length, unit
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe


def test_a_lidar_bundle_has_raw_descriptors_and_a_camera_bundle_does_not(
    bundle: Path, lidar_bundle: Path, frames: Path
) -> None:
    drive, lidar, camera = Frames.load(frames), Bundle.load(lidar_bundle), Bundle.load(bundle)
    rows = bundle_method(lidar).describe(drive)
    assert not has_unit_length(rows)
    np.testing.assert_allclose(unit(rows), describe(lidar, drive), atol=1e-6)
    assert raw(camera) is camera and has_unit_length(bundle_method(camera).describe(drive))


def test_so_they_have_a_row_for_each_metric_or_one_for_both(bundle: Path, lidar_bundle: Path, frames: Path) -> None:
    drive = Frames.load(frames)
    drives = Drives(drive, (drive,))
    for folder, expected in ((lidar_bundle, ["bundle, cosine", "bundle, euclidean"]), (bundle, ["bundle"])):
        compared = evaluate_method(bundle_method(Bundle.load(folder)), drives, 10.0, ("cosine", "euclidean"))
        assert list(by_method(compared.evaluations)) == expected
        assert [found.result.at[1] for found in compared.evaluations] == [1.0] * len(expected)


def test_the_metric_of_evaluate_is_in_its_rows(lidar_bundle: Path, frames: Path) -> None:
    drive, rows = Frames.load(frames), bundle_method(Bundle.load(lidar_bundle)).describe(Frames.load(frames))
    found = [evaluate("raw", lambda _: rows, drive, [drive], metric=name)[0] for name in ("cosine", "euclidean")]
    assert [evaluation.row()["metric"] for evaluation in found] == ["cosine", "euclidean"]
    assert found[0].result.best_similarity.min() > 0.999
    np.testing.assert_allclose(found[1].result.best_similarity, 0.0, atol=1e-6)
