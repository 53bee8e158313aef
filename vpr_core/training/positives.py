"""Which frames are drawn as positives of which: all that are near, the most similar view, or the nearest descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vpr_core.data import places
from vpr_core.data.field_of_view import most_similar_views
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError

if TYPE_CHECKING:
    from vpr_core.training.recipe import Recipe

Positives = Literal["distance", "field_of_view", "weak"]


def check_positives(recipe: Recipe) -> None:
    """Raise RecipeError where the keys of positives are unknown or make no sense."""
    if recipe.positives not in get_args(Positives):
        raise RecipeError(f"positives is {recipe.positives!r}, expected one of {', '.join(get_args(Positives))}")
    if recipe.positives != "distance" and recipe.mining == "batch_hard":
        raise RecipeError(
            f"positives {recipe.positives} are frames that are drawn, and mining {recipe.mining} takes any of the "
            "batch: set mining pairs"
        )
    if not (0 < recipe.fov_deg <= 360 and recipe.fov_reach_m > 0 and 0 < recipe.fov_overlap <= 1):
        raise RecipeError(
            f"fov_deg {recipe.fov_deg}, fov_reach_m {recipe.fov_reach_m} and fov_overlap {recipe.fov_overlap} make no "
            "view: expected up to 360 degrees, metres above 0 and a share above 0 up to 1"
        )


def drawn_positives(samples: Samples, recipe: Recipe) -> list[np.ndarray]:
    """For each frame those that may be drawn with it; where the recipe says weak, those of which one is chosen."""
    near = places.positives(samples.positions_m, recipe.positive_m)
    if recipe.positives != "field_of_view":
        return near
    views = np.column_stack([samples.positions_m[:, :2], samples.yaws_rad])
    return most_similar_views(near, views, recipe.fov_deg, recipe.fov_reach_m, recipe.fov_overlap)


def weak_positives(near: list[np.ndarray], descriptors: np.ndarray) -> list[np.ndarray]:
    """NetVLAD's weakly supervised choice: of the frames near each frame the one whose descriptor is nearest.

    near: int64 row numbers for each of [N] frames, its potential positives, of which at least one shows what it shows;
    descriptors [N, D] of unit length. Of equal ones the first is taken; a frame near none has none.
    """
    return [
        found[[int((descriptors[found] @ row).argmax())]] if len(found) else found
        for found, row in zip(near, descriptors, strict=True)
    ]
