"""A stored place map as the database of an evaluation: what a robot would find in it, sessions and pruning included."""

from __future__ import annotations

from pathlib import Path

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import MapError
from vpr_core.evaluation.methods import Method
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe
from vpr_core.retrieval.place_map import PlaceMap


def drive_of_map(folder: Path, area: str) -> Frames:
    """The places of a map as the frames of a drive without images and clouds.

    area: of the query drives; a map knows the name of its frame alone. Raises MapError as `PlaceMap.load`, and in a
    map without poses.
    """
    place_map = PlaceMap.load(folder)
    if not place_map.has_poses:
        raise MapError(f"{folder} has no poses: recall needs to know where its places are")
    frames = tuple(Frame(index, place.stamp_ns, None, pose=place.pose) for index, place in enumerate(place_map.places))
    card = {"session": folder.resolve().name, "map_frame": place_map.map_frame, "image_size": None, "area": area}
    return Frames(folder, card, frames)


def map_method(bundle: Bundle, folder: Path) -> Method:
    """The bundle's descriptors of queries against those that the map has; raises MapError as `PlaceMap.load`."""
    known = PlaceMap.load(folder, bundle.hash, bundle.modality).descriptors
    return Method("bundle", lambda drive: describe(bundle, drive), describe_database=lambda _: known)
