"""From a bundle and a frames folder to a place map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import MapError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.place_map import Place, PlaceMap

Progress = Callable[[int], object]
"""Called with the number of frames just done."""


def build_map(
    bundle: str | Path, frames: str | Path, out: str | Path, device: str = "cpu", progress: Progress | None = None
) -> PlaceMap:
    """Encode every frame and write the map folder `out`; raises BundleError, FramesError, MapError (no frames)."""
    loaded, drive = Bundle.load(bundle, device), Frames.load(frames)
    if not len(drive):
        raise MapError(f"{frames} has no frames to make a map of")
    places = tuple(Place(drive.session, frame.stamp_ns, frame.pose) for frame in drive.frames)
    frame_name = drive.map_frame if drive.has_poses else ""
    descriptors = describe(loaded, drive, progress)
    PlaceMap(descriptors, places, loaded.hash, frame_name, drive.image_size).save(out)
    return PlaceMap.load(out, loaded.hash)


def describe(bundle: Bundle, drive: Frames, progress: Progress | None = None) -> np.ndarray:
    """Unit descriptors float32 [N, D] of a drive's images."""
    return np.concatenate(list(_batches(bundle, drive, progress)))


def _batches(bundle: Bundle, drive: Frames, progress: Progress | None, size: int = 16) -> Iterator[np.ndarray]:
    for start in range(0, len(drive), size):
        images = [drive.image(index) for index in range(start, min(start + size, len(drive)))]
        yield bundle.encode(images)
        if progress:
            progress(len(images))
