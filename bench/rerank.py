"""Re-ranking the first 100 places by local features: recall before and after, time of a query, memory of a place."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.evaluation.comparison import Drives, evaluate_method
from vpr_core.evaluation.methods import bundle_method
from vpr_core.evaluation.reranking import ReRanking
from vpr_core.export import export
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.local_features import OPENCV, load_features
from vpr_core.synthetic.drive import Drive, record_drives
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

CANDIDATES = 100
QUERIES_M = 100.0
SHOWN = ("features", "queries", "recall_at_1", "recall_at_1_reranked", "recall_at_5", "recall_at_5_reranked",
         "recall_at_10", "recall_at_10_reranked", "features_ms", "rerank_ms", "features_kib")  # fmt: skip


def run(quick: bool) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as name:
        database, *queries = _drives(Path(name), 100.0 if quick else 450.0)
        # A network with ImageNet weights that was not trained further, so that there is something to mend.
        checkpoint = train_encoder([database.folder], Path(name) / "checkpoint", Recipe(steps=0))
        bundle = Bundle.load(export(checkpoint, database.folder, Path(name) / "bundle"), threads=1)
        drives = Drives(database, tuple(queries))
        compared = evaluate_method(bundle_method(bundle), drives)
        rows = []
        for features in OPENCV:
            reranking = ReRanking(load_features(features), CANDIDATES)
            for evaluation in compared.evaluations:
                row = reranking(evaluation, drives, compared.rows).row()
                rows.append({"compared": min(CANDIDATES, len(database)), **{column: row[column] for column in SHOWN}})
    return rows


def _drives(folder: Path, length_m: float) -> list[Frames]:
    """The map's drive at noon, and shorter ones over the same streets at noon and at night."""
    planned = [
        Drive(folder / name, 3, condition, "loop", seed, long_m)
        for name, condition, seed, long_m in (
            ("map", "noon", 1, length_m),
            ("noon", "noon", 2, QUERIES_M),
            ("night", "night", 3, QUERIES_M),
        )
    ]
    record_drives(planned)
    frames = [
        ingest(drive.out, folder / "frames" / drive.out.name, pose_topic="/ground_truth/odom") for drive in planned
    ]
    return [Frames.load(one) for one in frames]
