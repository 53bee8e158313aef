"""How a recipe names a camera network's aggregator, and where NetVLAD's clusters begin: in the training images."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from vpr_core.errors import RecipeError
from vpr_core.models.aggregators import NetVLAD
from vpr_core.models.encoder import Aggregator, ImageEncoder

if TYPE_CHECKING:
    from vpr_core.training.material import Material
    from vpr_core.training.recipe import Recipe

# The paper's authors cluster 50,000 features of 500 images; a fifth of that is still 150 for each of 64 clusters.
_IMAGES = 200
_FEATURES_OF_AN_IMAGE = 50
_BATCH = 16


def check_aggregator(recipe: Recipe) -> None:
    """Raise RecipeError where the aggregator is unknown or does not fit the other keys."""
    if recipe.aggregator not in get_args(Aggregator):
        raise RecipeError(f"aggregator is {recipe.aggregator!r}, expected one of {', '.join(get_args(Aggregator))}")
    if recipe.aggregator != "gem" and (recipe.architecture, recipe.modality) != ("minkloc", "camera"):
        raise RecipeError(
            f"aggregator {recipe.aggregator} is for architecture minkloc and modality camera, the recipe has "
            f"{recipe.architecture} and {recipe.modality}"
        )
    if recipe.clusters < 2:
        raise RecipeError(f"clusters is {recipe.clusters}, expected 2 or more")


def aggregator_options(recipe: Recipe) -> dict[str, Any]:
    """Those of `build_image_encoder`; none for GeM, with which a network has the hash that it always had."""
    if recipe.aggregator == "gem":
        return {}
    return {"aggregator": recipe.aggregator} | ({"clusters": recipe.clusters} if recipe.aggregator == "netvlad" else {})


def begin_at_clusters(model: nn.Module, material: Material) -> None:
    """Start a network's NetVLAD, where it has one, from local features that it makes of training images as it is.

    The network is on the CPU still. Raises RecipeError where the drives have fewer features than there are clusters.
    """
    if not isinstance(model, ImageEncoder) or not isinstance(model.pooling, NetVLAD):
        return
    vlad = model.pooling

    def begun() -> dict[str, Tensor]:
        vlad.start_from(_local_features(model, material), material.recipe.seed)
        return vlad.state_dict()

    vlad.load_state_dict(material.group.from_first(begun))


@torch.no_grad()
def _local_features(model: ImageEncoder, material: Material) -> Tensor:
    """float32 [N, C] of places drawn from frames drawn from all drives."""
    recipe, samples = material.recipe, material.samples
    rng = np.random.default_rng([recipe.seed, 2])
    rows = rng.permutation(len(samples))[:_IMAGES]
    # Normalised as the first steps will have it. A copy, since that moves the running means.
    copied = deepcopy(model).to(material.group.device).train(recipe.trains)
    found = []
    for chosen in np.array_split(rows, -(-len(rows) // _BATCH)):
        images = material.network_input.batch(samples, chosen, device=material.group.device)
        places = copied.local_features(*images).flatten(2).movedim(1, 2).cpu()  # type: ignore[arg-type]  # images
        found += [features[rng.permutation(len(features))[:_FEATURES_OF_AN_IMAGE]] for features in places]
    features = torch.cat(found)
    if len(features) < recipe.clusters:
        raise RecipeError(
            f"{recipe.clusters} clusters cannot begin at {len(features)} local features, which {len(rows)} training "
            "frames have: give more frames, a larger image_height or fewer clusters"
        )
    return features
