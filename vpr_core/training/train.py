"""Training on recorded drives: a teacher, a student alone, and a student with a teacher's help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vpr_core.data import places
from vpr_core.data.batching import PairSampler
from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.models.factory import build_model
from vpr_core.training.checkpoint import save_checkpoint
from vpr_core.training.network_input import EMBEDDING, Augmentation, NetworkInput, heads
from vpr_core.training.objective import Distiller, PairMasks, gradient_norms, task_loss
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.run import STATE, Run
from vpr_core.training.scalars import Scalars
from vpr_core.training.teacher import TeacherDescriptors, hash_of_drives, teacher_descriptors
from vpr_core.training.validate import Validation
from vpr_core.training.weights import start_from

DEVICES = ("cpu", "cuda")
Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each step with its number, the number of steps and figures to show."""


def train_encoder(
    frames: Sequence[str | Path],
    out: str | Path,
    recipe: Recipe,
    validation: Sequence[str | Path] = (),
    progress: Progress | None = None,
    *,
    teacher: str | Path | None = None,
    cache: str | Path | None = None,
    save_every: int = 0,
    diagnose_every: int = 0,
    tensorboard: bool = False,
    weights: str | Path | None = None,
    device: str = "cpu",
) -> Path:
    """Train on the drives in `frames` and write the checkpoint folder `out`.

    Drives of one area share a map frame; those of different areas (`Frames.area`) have no place in common.

    validation: a database drive and one or more query drives that training does not see. By them the best of the
        weights that `validate_every` looks at is kept, and the similarity chosen from which a match is accepted.
        Without them the last weights are kept and no threshold is stored.
    teacher: checkpoint folder of the network to learn from, where the recipe has `distillation`; cache: folder for
        its descriptors, see `teacher_descriptors`.
    save_every: steps between two states written to `out`, from which the same call goes on after a kill; 0: none.
    diagnose_every: steps between two measurements of `gradient_norms` of a student with a teacher; 0: none.
    tensorboard: write all figures to `out`/tensorboard.
    weights: file of a published state dict from which the network starts, see `start_from`.
    device: cpu or cuda, where the networks run. Weights begin, samples are made and checkpoints are written the same
        on both.
    Raises FramesError or BundleError for a bad folder or bad weights, and RecipeError where the drives cannot train
    anything, `out` holds the state of another run or this machine lacks the device.
    """
    _check_device(device)
    out = Path(out)
    material = _gather(frames, recipe, validation, teacher, cache, device)
    torch.manual_seed(recipe.seed)
    spec, first_weights = model_spec(recipe)
    model = build_model(spec["name"], **spec["options"] | ({} if weights else first_weights))
    card = _card(material)
    if weights:
        card["weights"] = start_from(Path(weights), model, recipe)
    model = model.to(device)  # before the optimiser, whose state lies where the parameters are
    if recipe.steps:  # an untrained network needs no poses
        run, identity = _begin(model, material), _identity(material, card)
        run.resume(out / STATE, identity)
        with Scalars(out, run.step, tensorboard) as scalars:
            for figures in _steps(run, material, diagnose_every):
                scalars.add(run.step, figures)
                if save_every and run.step % save_every == 0:
                    scalars.flush()
                    run.save(out / STATE, identity)
                if progress:
                    progress(run.step, recipe.steps, figures)
        card |= _result(run)
    if material.examiner:
        card |= material.examiner.card(model)
    save_checkpoint(out, model.cpu(), spec, recipe, material.network_input.as_json(), card)
    (out / STATE).unlink(missing_ok=True)
    return out


def model_spec(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """{"name", "options"} of `build_model` for a trained network, and the options that differ before training."""
    if recipe.architecture == "adafusion":
        return _adafusion_spec(recipe), {}
    cloud = {"planes": list(recipe.planes), "layers": list(recipe.layers), "num_top_down": recipe.num_top_down}
    if recipe.modality == "lidar":
        return {"name": "lidar", "options": {"dim": recipe.dim or recipe.planes[-1], **cloud}}, {}
    image = {"backbone": recipe.backbone, "pretrained": False}
    first_weights = {"pretrained": recipe.pretrained}
    if recipe.modality == "camera":
        return {"name": "camera", "options": {"dim": recipe.dim, **image}}, first_weights
    widths = {"image_dim": recipe.dim, "cloud_dim": recipe.cloud_dim}
    return {"name": "teacher", "options": {**widths, **image, **cloud}}, first_weights


def _adafusion_spec(recipe: Recipe) -> dict[str, Any]:
    if recipe.modality == "camera":
        return {"name": "adafusion_camera", "options": {"dim": recipe.dim, "width": recipe.width_factor}}
    if recipe.modality == "lidar":
        return {"name": "adafusion_lidar", "options": {"dim": recipe.dim}}
    return {"name": "adafusion", "options": {"attention_gradient": recipe.attention_gradient}}


@dataclass(frozen=True)
class _Material:
    """What a run learns from, and what it is looked at with."""

    recipe: Recipe
    drives: list[Frames]
    samples: Samples
    network_input: NetworkInput
    examiner: Validation | None
    teacher: TeacherDescriptors | None
    device: str


def _gather(
    frames: Sequence[str | Path],
    recipe: Recipe,
    validation: Sequence[str | Path],
    teacher: str | Path | None,
    cache: str | Path | None,
    device: str,
) -> _Material:
    if (recipe.distillation is None) != (teacher is None):
        raise RecipeError("a teacher and a recipe with distillation go together: only one of them was given")
    drives = [Frames.load(folder) for folder in frames]
    network_input = NetworkInput.of_recipe(recipe, drives)
    examiner = Validation.load(validation, network_input, drives) if validation else None
    modality = recipe.distillation.teacher_modality if recipe.distillation else None
    descriptors = teacher_descriptors(teacher, drives, cache, device, modality) if teacher else None
    return _Material(recipe, drives, Samples(drives), network_input, examiner, descriptors, device)


def _begin(model: nn.Module, material: _Material) -> Run:
    recipe, distiller = material.recipe, None
    if recipe.distillation and material.teacher:
        distiller = Distiller(recipe.distillation, int(model.dim), material.teacher.dim)  # type: ignore[arg-type]
        distiller = distiller.to(material.device)
    return Run.begin(model, distiller, recipe, _sampler(material.samples, recipe))


def _sampler(samples: Samples, recipe: Recipe) -> PairSampler:
    positives = places.positives(samples.positions_m, recipe.positive_m)
    if sum(len(found) > 0 for found in positives) < 4:
        raise RecipeError(
            f"of {len(positives)} frames fewer than 4 have another within {recipe.positive_m:g} m: "
            "drive the same streets at least twice, or raise positive_m"
        )
    return PairSampler(positives, recipe.batch_size, recipe.seed)


def _steps(run: Run, material: _Material, diagnose_every: int) -> Iterator[dict[str, float]]:
    """Train to the recipe's last step, giving the figures of each; the best weights are in place at the end."""
    recipe = material.recipe
    augmentation = _augmentation(run, recipe) if recipe.augment else None
    while run.step < recipe.steps:
        started = time.monotonic()
        indices = next(run.sampler)
        masks = _masks(material.samples.positions_m[indices], recipe, material.device)
        run.model.train()
        batch = material.network_input.batch(material.samples, indices, augmentation, material.device)
        descriptors = heads(run.model, batch, recipe.normalize)
        loss, figures = task_loss(descriptors, masks, recipe)
        if run.distiller and material.teacher and run.step >= run.distiller.warmup_steps:
            student = descriptors[EMBEDDING]
            taught, terms = run.distiller(student, material.teacher.rows[indices].to(material.device), masks)
            if diagnose_every and run.step % diagnose_every == 0:
                terms |= gradient_norms(loss, taught, student)
            loss, figures = loss + taught, figures | terms
        run.update(loss, figures["loss"])
        if material.examiner and _is_looked_at(run.step, recipe):
            recall_at_1 = material.examiner.recall_at_1(run.model)
            run.consider(recall_at_1, EMBEDDING)
            figures |= {f"recall_at_1_{name}": value for name, value in recall_at_1.items()}
        run.seconds += time.monotonic() - started
        yield figures
    if run.best:
        run.model.load_state_dict(run.best.weights)


def _augmentation(run: Run, recipe: Recipe) -> Augmentation:
    from vpr_core.data.augment import image_augmentation

    return Augmentation(image_augmentation(), recipe.cloud_augmentation, run.cloud_rng)


def _masks(positions_m: np.ndarray, recipe: Recipe, device: str) -> PairMasks:
    positive, negative = places.masks(positions_m, recipe.positive_m, recipe.negative_m)
    return PairMasks(torch.from_numpy(positive).to(device), torch.from_numpy(negative).to(device))


def _is_looked_at(step: int, recipe: Recipe) -> bool:
    return recipe.validate_every > 0 and (step % recipe.validate_every == 0 or step == recipe.steps)


def _identity(material: _Material, card: dict[str, Any]) -> dict[str, Any]:
    """What two starts must have in common to be one run."""
    validation = material.examiner.drives if material.examiner else []
    return {
        **as_json(material.recipe),
        "frames": hash_of_drives(material.drives),
        "validation": hash_of_drives(validation),
        "teacher": material.teacher.teacher if material.teacher else None,
        "weights": card.get("weights", {}).get("sha256"),
    }


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise RecipeError(f"device is {device!r}, expected {' or '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            f"device is cuda, but torch {torch.__version__} finds no GPU: install a torch built with CUDA where there "
            "is one, or train with --device cpu"
        )


def _card(material: _Material) -> dict[str, Any]:
    card: dict[str, Any] = {
        "drives": [
            {"session": drive.session, "frames": len(drive), "bag": drive.card["bag"]} for drive in material.drives
        ],
        "steps": material.recipe.steps,
        "final_loss": None,
        "seconds": 0.0,
    }
    return card | ({"teacher": material.teacher.teacher} if material.teacher else {})


def _result(run: Run) -> dict[str, Any]:
    result: dict[str, Any] = {"final_loss": round(float(np.mean(run.losses)), 4), "seconds": round(run.seconds, 1)}
    return result | ({"best_step": run.best.step} if run.best else {})
