"""A bundle and the simple method of its sensor, which says how hard the drives are."""

from __future__ import annotations

from vpr_core.evaluation.evaluate import Describe, Retrieve, thumbnail_describer
from vpr_core.evaluation.recall import nearest
from vpr_core.evaluation.scan_context import MAX_RANGE_M, retrieve_scan_contexts, scan_context_describer
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe


def bundle_and_baseline(bundle: Bundle) -> dict[str, tuple[Describe, Retrieve]]:
    """Methods by name: the bundle, and a grey thumbnail for a camera or Scan Context, with its range, for a LiDAR."""
    methods: dict[str, tuple[Describe, Retrieve]] = {"bundle": (lambda drive: describe(bundle, drive), nearest)}
    if bundle.modality == "camera":
        return methods | {"thumbnail": (thumbnail_describer(), nearest)}
    return methods | {"scan_context": (scan_context_describer(_range_m(bundle)), retrieve_scan_contexts)}


def _range_m(bundle: Bundle) -> float:
    from vpr_core.retrieval.lidar_bundle import LidarBundle  # brings torch, which a camera bundle does without

    limit_m = bundle.encoder.max_range_m if isinstance(bundle, LidarBundle) else None
    return limit_m or MAX_RANGE_M
