"""From a bundle and a frames folder to a place map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.data.turned import turned_cloud
from vpr_core.errors import InputError, MapError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.other_way import turned_place
from vpr_core.retrieval.place_map import Place, PlaceMap
from vpr_core.types import Pose

Progress = Callable[[int], object]
"""Called with the number of frames just done."""
Change = Callable[[np.ndarray], np.ndarray]


def build_map(
    bundle: str | Path,
    frames: str | Path,
    out: str | Path,
    device: str = "cpu",
    progress: Progress | None = None,
    other_way_from: Pose | None = None,
) -> PlaceMap:
    """Encode every frame and write the map folder `out`.

    other_way_from: T_base_lidar, to add every place of a LiDAR's drive once more as it is seen the other way, behind
    the others; see `other_way`.
    Raises BundleError, FramesError, MapError (no frames), InputError (a frame that the bundle cannot describe, and the
    other way of a camera).
    """
    loaded, drive = Bundle.load(bundle, device), Frames.load(frames)
    if not len(drive):
        raise MapError(f"{frames} has no frames to make a map of")
    if other_way_from is not None and loaded.modality != "lidar":
        raise InputError("a camera does not see places from behind: drive the street the other way, and add that drive")
    places = tuple(Place(drive.session, frame.stamp_ns, frame.pose) for frame in drive.frames)
    frame_name = drive.map_frame if drive.has_poses else ""
    descriptors = describe(loaded, drive, progress)
    if other_way_from is not None:
        turned = describe(loaded, drive, progress, partial(turned_cloud, T_base_lidar=other_way_from))
        places, descriptors = (*places, *map(turned_place, places)), np.concatenate([descriptors, turned])
    image_size = drive.image_size if loaded.modality == "camera" else None
    PlaceMap(descriptors, places, loaded.hash, frame_name, loaded.modality, image_size).save(out)
    return PlaceMap.load(out, loaded.hash, loaded.modality)


def describe(
    bundle: Bundle, drive: Frames, progress: Progress | None = None, change: Change | None = None
) -> np.ndarray:
    """Unit descriptors float32 [N, D] of a drive's images or clouds, as the bundle's modality is.

    change: what is done to each image or cloud before. Raises FramesError where the drive has none, InputError where
    one cannot be described.
    """
    observation = drive.image if bundle.modality == "camera" else drive.cloud
    seen = (lambda index: change(observation(index))) if change else observation
    return np.concatenate(list(_batches(bundle, drive, seen, progress)))


def describe_with_light(
    bundle: Bundle, drive: Frames, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What `describe` gives, and float64 [N, L] the light of the images, see `light`; L is 0 for a LiDAR."""
    found: list[tuple[float, ...]] = []

    def noted(observation: np.ndarray) -> np.ndarray:
        found.append(bundle.light_of(observation))
        return observation

    return describe(bundle, drive, progress, noted), np.array(found, np.float64)


def _batches(
    bundle: Bundle,
    drive: Frames,
    seen: Callable[[int], np.ndarray],
    progress: Progress | None,
    size: int = 16,
) -> Iterator[np.ndarray]:
    for start in range(0, len(drive), size):
        chosen = range(start, min(start + size, len(drive)))
        try:
            yield bundle.encode([seen(index) for index in chosen])
        except InputError as error:
            raise InputError(f"{drive.folder}, frames {chosen[0]} to {chosen[-1]}: {error}", error.kind) from error
        if progress:
            progress(len(chosen))
