"""Chosen places written as one map, with what lay beside them where it still holds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from vpr_core.errors import MapError, VprError
from vpr_core.files import folder_in_the_making
from vpr_core.retrieval import calibration, observation_model, place_clouds, place_features, place_points
from vpr_core.retrieval.map_editing import Chosen
from vpr_core.retrieval.place_clouds import write_clouds
from vpr_core.retrieval.place_features import load_kind, write_features
from vpr_core.retrieval.place_map import MANIFEST, PlaceMap, stored_hash

FITTED = {
    calibration.FILE: f"probabilities held for the map as it was; make it again with `{calibration.MADE_BY}`",
    place_points.FILE: "points in space belong to the features of one drive's map; make it again with "
    f"`{place_points.MADE_BY}`",
    observation_model.FILE: "the filter was fitted to the map as it was; make it again with `vpr-distill fit-filter`",
}
"""Files that hold for exactly the map that they were fitted to, and what to do without them."""
_REPORT = "reliability.html"  # of the calibration
_NOT_COPIED = (MANIFEST, "descriptors-*.npy", "places-*.csv", place_clouds.FILE, place_features.FILE, *FITTED, _REPORT)


def assembled(chosen: Sequence[Chosen]) -> PlaceMap:
    """The map of the chosen places, one part after the other; its descriptors are in memory."""
    descriptors = np.concatenate([part.stored.place_map.descriptors[part.rows] for part in chosen])
    places = tuple(place for part in chosen for place in part.places)
    return replace(chosen[0].stored.place_map, descriptors=descriptors, places=places, hash="")


def write_map(chosen: Sequence[Chosen], out: str | Path) -> tuple[PlaceMap, list[str]]:
    """Write the chosen places as the map `out`, and say of each file that was not carried over what to do.

    out: the folder of the first part's map, which stays whole until all is on the disk; or one that is not there yet.
    Clouds are carried over from every part that has them made alike, local features where all parts have the same.
    What was fitted to a map does not hold for another. Other files of the first part's folder, such as weights, are
    copied. Raises MapError where `out` is something else, or the map there was changed meanwhile.
    """
    base, target = chosen[0].stored, Path(out).resolve()
    in_place = target == base.folder.resolve()
    if not in_place and target.exists() and (target.is_file() or any(target.iterdir())):
        raise MapError(f"{out} exists already: choose another folder for the edited map")
    with folder_in_the_making(target, MapError, MANIFEST, overwrite=in_place) as partial:
        assembled(chosen).save(partial)
        map_hash = stored_hash(partial)
        told = [*_carry_clouds(chosen, partial, map_hash), *_carry_features(chosen, partial, map_hash)]
        told += _carry_fitted(chosen, partial, map_hash)
        _copy_others(base.folder, partial)
        if in_place and stored_hash(target) != base.place_map.hash:
            raise MapError(f"{out} was changed by something else meanwhile: it is as that left it; edit it again")
    return PlaceMap.load(target), told


def _carry_clouds(chosen: Sequence[Chosen], out: Path, map_hash: str) -> list[str]:
    having = [part.stored.clouds for part in chosen if part.stored.clouds is not None]
    if not having:
        return []
    options, found, without = having[0].options, [], 0
    for part in chosen:
        clouds = part.stored.clouds
        if clouds is not None and clouds.options == options:
            found += [clouds[row] for row in part.rows.tolist()]
        else:
            found += [np.empty((0, 3))] * len(part.rows)
            without += len(part.rows)
    write_clouds(out, map_hash, found, options)
    if not without:
        return []
    return [
        f"{place_clouds.FILE}: {without} of {len(found)} places have no cloud, and are never verified: make the map of "
        f"their drive with `{place_clouds.MADE_BY}` and the same options, and merge that"
    ]


def _carry_features(chosen: Sequence[Chosen], out: Path, map_hash: str) -> list[str]:
    having = [part.stored.features for part in chosen if part.stored.features is not None]
    if not having:
        return []
    kinds = {(one.kind, one.weights_hash, one.size) for one in having}
    if len(having) < len(chosen) or len(kinds) > 1:
        return [
            f"{place_features.FILE}: left out, since not all places have features of one kind and image size: make the "
            f"map of each drive with `{place_features.MADE_BY}`, or all with another NAME, and merge those"
        ]
    first = next(part.stored for part in chosen)
    try:
        kind = load_kind(first.folder, having[0])
    except VprError as error:
        return [f"{place_features.FILE}: left out ({error})"]
    found = [features[row] for part, features in zip(chosen, having, strict=True) for row in part.rows.tolist()]
    assert first.place_map.image_size is not None
    write_features(out, map_hash, kind, first.place_map.image_size, found)
    return []


def _carry_fitted(chosen: Sequence[Chosen], out: Path, map_hash: str) -> list[str]:
    base = chosen[0].stored
    there = [name for name in FITTED if (base.folder / name).is_file()]
    if map_hash != base.place_map.hash:
        return [f"{name}: left out; {FITTED[name]}" for name in there]
    for name in (*there, *([_REPORT] if (base.folder / _REPORT).is_file() else [])):
        shutil.copy2(base.folder / name, out / name)
    return []


def _copy_others(folder: Path, out: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or any(fnmatch(path.name, pattern) for pattern in _NOT_COPIED):
            continue
        if path.is_dir():
            shutil.copytree(path, out / path.name)
        else:
            shutil.copy2(path, out / path.name)
