"""Methods of place recognition as tables compare them, among them a bundle and the simple one of its sensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vpr_core.evaluation.evaluate import Describe, thumbnail_describer
from vpr_core.evaluation.scan_context import MAX_RANGE_M, retrieve_scan_contexts, scan_context_describer
from vpr_core.evaluation.search import SEARCH, Retrieve
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe


@dataclass(frozen=True)
class Method:
    """A name in tables, descriptors, and ways to compare them."""

    name: str
    describe: Describe
    retrieve: Mapping[str, Retrieve] = field(default_factory=lambda: SEARCH)
    """By metric."""
    describe_database: Describe | None = None
    """Where it is another one than that of queries."""
    is_read: bool = False
    """Descriptors come from a file, which takes no time."""


def bundle_method(bundle: Bundle) -> Method:
    """A bundle; its descriptors are the raw ones where those can be had."""
    loaded = raw(bundle)
    return Method("bundle", lambda drive: describe(loaded, drive))


def raw(bundle: Bundle) -> Bundle:
    """The bundle without the normalisation of its descriptors; one for a camera has it in its graph and keeps it."""
    if bundle.modality == "camera":
        return bundle
    from vpr_core.retrieval.lidar_bundle import LidarBundle  # brings torch, which a camera bundle does without

    assert isinstance(bundle, LidarBundle)
    return replace(bundle, encoder=replace(bundle.encoder, normalize=False))


def baseline(bundle: Bundle) -> Method:
    """The simple method of a bundle's sensor, which says how hard the drives are.

    A grey thumbnail for a camera; Scan Context, with the bundle's range, for a LiDAR.
    """
    if bundle.modality == "camera":
        return Method("thumbnail", thumbnail_describer())
    return Method("scan_context", scan_context_describer(_range_m(bundle)), {"own": retrieve_scan_contexts})


def _range_m(bundle: Bundle) -> float:
    from vpr_core.retrieval.lidar_bundle import LidarBundle

    limit_m = bundle.encoder.max_range_m if isinstance(bundle, LidarBundle) else None
    return limit_m or MAX_RANGE_M
