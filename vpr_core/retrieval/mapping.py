"""From a bundle and a frames folder to a place map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import InputError, MapError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.place_map import Place, PlaceMap

Progress = Callable[[int], object]
"""Called with the number of frames just done."""


def build_map(
    bundle: str | Path, frames: str | Path, out: str | Path, device: str = "cpu", progress: Progress | None = None
) -> PlaceMap:
    """Encode every frame and write the map folder `out`.

    Raises BundleError, FramesError, MapError (no frames), InputError (a frame that the bundle cannot describe).
    """
    loaded, drive = Bundle.load(bundle, device), Frames.load(frames)
    if not len(drive):
        raise MapError(f"{frames} has no frames to make a map of")
    places = tuple(Place(drive.session, frame.stamp_ns, frame.pose) for frame in drive.frames)
    frame_name = drive.map_frame if drive.has_poses else ""
    descriptors = describe(loaded, drive, progress)
    image_size = drive.image_size if loaded.modality == "camera" else None
    PlaceMap(descriptors, places, loaded.hash, frame_name, loaded.modality, image_size).save(out)
    return PlaceMap.load(out, loaded.hash, loaded.modality)


def describe(bundle: Bundle, drive: Frames, progress: Progress | None = None) -> np.ndarray:
    """Unit descriptors float32 [N, D] of a drive's images or clouds, as the bundle's modality is.

    Raises FramesError where the drive has none, InputError where one cannot be described.
    """
    return np.concatenate(list(_batches(bundle, drive, progress)))


def _batches(bundle: Bundle, drive: Frames, progress: Progress | None, size: int = 16) -> Iterator[np.ndarray]:
    observation = drive.image if bundle.modality == "camera" else drive.cloud
    for start in range(0, len(drive), size):
        chosen = range(start, min(start + size, len(drive)))
        try:
            yield bundle.encode([observation(index) for index in chosen])
        except InputError as error:
            raise InputError(f"{drive.folder}, frames {chosen[0]} to {chosen[-1]}: {error}", error.kind) from error
        if progress:
            progress(len(chosen))
