"""Training on recorded drives: a teacher, a student alone, and a student with a teacher's help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vpr_core.models.factory import build_model
from vpr_core.training.aggregation import aggregator_options, begin_at_clusters
from vpr_core.training.checkpoint import save_checkpoint
from vpr_core.training.material import Material
from vpr_core.training.network_input import EMBEDDING, Augmentation
from vpr_core.training.objective import Distiller
from vpr_core.training.processes import processes
from vpr_core.training.recipe import Recipe
from vpr_core.training.run import STATE, Run, read_state
from vpr_core.training.scalars import Scalars
from vpr_core.training.step import take_step
from vpr_core.training.structvpr import ARCHITECTURES, structvpr_spec
from vpr_core.training.weights import start_from

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each step with its number, the number of steps (`Run.num_steps`) and figures to show."""


def train_encoder(
    frames: Sequence[str | Path],
    out: str | Path,
    recipe: Recipe,
    validation: Sequence[str | Path] = (),
    progress: Progress | None = None,
    *,
    teacher: str | Path | None = None,
    cache: str | Path | None = None,
    sample_weights: str | Path | None = None,
    hard_pairs: str | Path | None = None,
    save_every: int = 0,
    save_within_s: float = 60.0,
    diagnose_every: int = 0,
    tensorboard: bool = False,
    weights: str | Path | None = None,
    device: str = "cpu",
) -> Path:
    """Train on the drives in `frames` and write the checkpoint folder `out`.

    Where torchrun started several processes they train together: each describes its share of every batch, and the
    first alone calls `progress`, looks at the validation drives and writes (docs/training.md).
    Drives of one area share a map frame; those of different areas (`Frames.area`) have no place in common.

    validation: a database drive and one or more query drives that training does not see. By them the best of the
        weights that `validate_every` looks at is kept, and the similarity chosen from which a match is accepted.
        Without them the last weights are kept and no threshold is stored.
    teacher: checkpoint folder of the network to learn from, where the recipe has `distillation`; cache: folder for
        its descriptors, see `teacher_descriptors`.
    sample_weights: file of `weigh` on the same drives, how much each sample's distillation counts where the method is
        structvpr or one of DistilVPR's; without it all count alike.
    hard_pairs: file of `hard-pairs` on drives among these: frames that were taken for each other come into one batch.
    save_every: steps between two states written to `out`, from which the same call goes on after a kill; 0: none.
    save_within_s: a state is also written at the end of a step where so much time has passed since the latest [s].
    diagnose_every: steps between two measurements of `gradient_norms` of a student with a teacher; 0: none.
    tensorboard: write all figures to `out`/tensorboard.
    weights: file of a published state dict from which the network starts, see `start_from`.
    device: cpu or cuda (one GPU a process), where the networks run. Weights begin, samples are made and checkpoints
        are written the same on both.
    Raises FramesError or BundleError for a bad folder or bad weights, and RecipeError where the drives cannot train
    anything, `out` holds the state of another run or this machine lacks the device.
    """
    out = Path(out)
    with processes(device) as group:
        material = Material.gather(frames, recipe, validation, teacher, cache, group, sample_weights, hard_pairs)
        torch.manual_seed(recipe.seed)
        spec, first_weights = model_spec(recipe)
        model = build_model(spec["name"], **spec["options"] | ({} if weights else first_weights))
        card = material.card() | {"steps": 0, "final_loss": None, "seconds": 0.0}
        if weights:
            card["weights"] = start_from(Path(weights), model, recipe)
        begin_at_clusters(model, material)
        model = group.prepare(model)
        if recipe.trains:  # an untrained network needs no poses
            run, identity = _begin(model, material), material.identity(card.get("weights", {}).get("sha256"))
            if state := group.from_first(lambda: read_state(out / STATE, identity)):
                run.load(state)
            saved = time.monotonic()
            with Scalars(out, run.step, tensorboard and group.is_first) as scalars:
                for figures in _steps(run, material, diagnose_every):
                    if not group.is_first:
                        continue
                    scalars.add(run.step, figures)
                    late = time.monotonic() - saved >= save_within_s
                    if save_every and (late or run.step % save_every == 0):
                        scalars.flush()
                        run.save(out / STATE, identity)
                        saved = time.monotonic()
                    if progress:
                        progress(run.step, run.num_steps, figures)
            card |= _result(run)
        if material.examiner:
            card |= material.examiner.card(model)
        if group.is_first:
            save_checkpoint(out, model.cpu(), spec, recipe, material.network_input.as_json(), card)
            (out / STATE).unlink(missing_ok=True)
    return out


def model_spec(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """{"name", "options"} of `build_model` for a trained network, and the options that differ before training."""
    if recipe.architecture == "adafusion":
        return _adafusion_spec(recipe), {}
    if recipe.architecture in ARCHITECTURES:
        return structvpr_spec(recipe)
    cloud = {"planes": list(recipe.planes), "layers": list(recipe.layers), "num_top_down": recipe.num_top_down}
    if recipe.modality == "lidar":
        return {"name": "lidar", "options": {"dim": recipe.dim or recipe.planes[-1], **cloud}}, {}
    image = {"backbone": recipe.backbone, "pretrained": False}
    first_weights = {"pretrained": recipe.pretrained}
    if recipe.modality == "camera":
        return {"name": "camera", "options": {"dim": recipe.dim, **image, **aggregator_options(recipe)}}, first_weights
    widths = {"image_dim": recipe.dim, "cloud_dim": recipe.cloud_dim}
    return {"name": "teacher", "options": {**widths, **image, **cloud}}, first_weights


def _adafusion_spec(recipe: Recipe) -> dict[str, Any]:
    if recipe.modality == "camera":
        return {"name": "adafusion_camera", "options": {"dim": recipe.dim, "width": recipe.width_factor}}
    if recipe.modality == "lidar":
        return {"name": "adafusion_lidar", "options": {"dim": recipe.dim}}
    return {"name": "adafusion", "options": {"attention_gradient": recipe.attention_gradient}}


def _begin(model: nn.Module, material: Material) -> Run:
    recipe, distiller = material.recipe, None
    if recipe.distillation and material.teacher:
        distiller = Distiller(recipe.distillation, int(model.dim), material.teacher.dim)  # type: ignore[arg-type]
        distiller = distiller.to(material.group.device)
    return Run.begin(model, distiller, recipe, material.sampler())


def _steps(run: Run, material: Material, diagnose_every: int) -> Iterator[dict[str, float]]:
    """Train to the recipe's end, giving the figures of each step; the best weights are in place at the end."""
    augmentation = _augmentation(run) if run.recipe.augment else None
    while not run.finished:
        started = time.monotonic()
        if run.recipe.positives == "weak" and run.sampler.begins:
            run.sampler.choose(material.weak_positives(run.model))
        diagnose = diagnose_every > 0 and run.step % diagnose_every == 0
        figures = take_step(run, material, augmentation, diagnose)
        if material.examiner and run.is_looked_at:
            recall_at_1 = material.examiner.recall_at_1(run.model)
            run.consider(recall_at_1, EMBEDDING)
            figures |= {f"recall_at_1_{name}": value for name, value in recall_at_1.items()}
        run.seconds += time.monotonic() - started
        yield figures
    if run.best:
        run.model.load_state_dict(run.best.weights)


def _augmentation(run: Run) -> Augmentation:
    from vpr_core.data.augment import image_augmentation

    return Augmentation(image_augmentation(), run.recipe.cloud_augmentation, run.cloud_rng)


def _result(run: Run) -> dict[str, Any]:
    final_loss = round(float(np.mean(run.losses)), 4)
    result: dict[str, Any] = {"steps": run.step, "final_loss": final_loss, "seconds": round(run.seconds, 1)}
    return result | ({"best_step": run.best.step} if run.best else {})
