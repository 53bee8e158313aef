"""Everything that changes while a network is trained, stored so that a killed run goes on as if nothing had been."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Adam

from vpr_core.data.batching import PairSampler
from vpr_core.errors import RecipeError
from vpr_core.files import write_atomic
from vpr_core.training.objective import Distiller, Violations
from vpr_core.training.recipe import Recipe, differences

STATE = "state.pt"
SCHEMA = 2
_LATEST = 10
_PROGRESS = ("step", "epoch", "violations", "losses", "seconds")


@dataclass
class Best:
    """The weights that did best on the validation drives so far."""

    step: int
    recall_at_1: dict[str, float]
    """By head."""
    weights: dict[str, Tensor]


@dataclass
class Run:
    """A network in training, its step and its random state."""

    recipe: Recipe
    model: nn.Module
    distiller: Distiller | None
    optimiser: Adam
    scaler: GradScaler
    """Keeps gradients of precision 16-mixed within its range; with every other one it does nothing."""
    sampler: PairSampler
    cloud_rng: np.random.Generator
    step: int = 0
    epoch: int = 0
    """How many have been finished."""
    violations: Violations = field(default_factory=dict)
    """Of this epoch."""
    losses: list[float] = field(default_factory=list)
    """Of the latest steps."""
    seconds: float = 0.0
    best: Best | None = None

    @classmethod
    def begin(cls, model: nn.Module, distiller: Distiller | None, recipe: Recipe, sampler: PairSampler) -> Run:
        optimiser = Adam(parameter_groups(model, distiller, recipe), weight_decay=recipe.weight_decay)
        scaler = GradScaler(next(model.parameters()).device.type, enabled=recipe.precision == "16-mixed")
        cloud_rng = np.random.default_rng([recipe.seed, 1])
        return cls(recipe, model, distiller, optimiser, scaler, sampler, cloud_rng)

    @property
    def finished(self) -> bool:
        return (self.step if self.recipe.epochs is None else self.epoch) >= self.recipe.length

    @property
    def num_steps(self) -> int:
        """Of the whole run; where the recipe counts epochs an estimate until the last of them."""
        if self.recipe.epochs is None:
            return self.recipe.steps
        return self.step + self.sampler.left + max(self.recipe.epochs - self.epoch - 1, 0) * self.sampler.epoch_length

    @property
    def is_looked_at(self) -> bool:
        """Whether the validation drives are to be looked at after this step."""
        every = self.recipe.validate_every
        if not every or self.finished:
            return every > 0
        if self.recipe.epochs is None:
            return self.step % every == 0
        return self.sampler.at_end and self.epoch % every == 0

    def update(self, shown: float, violations: Violations) -> None:
        """One optimiser step down the gradients in place; `shown` is kept among the latest losses."""
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        self.step += 1
        self.losses = [*self.losses, shown][-_LATEST:]
        self.violations = {head: _sum(counts, self.violations.get(head)) for head, counts in violations.items()}
        if self.recipe.epochs is None:
            self._decay(self.step)
        if self.sampler.at_end:
            self._end_epoch()

    def _end_epoch(self) -> None:
        recipe, self.epoch = self.recipe, self.epoch + 1
        if recipe.epochs is not None:
            self._decay(self.epoch)
        share = max(violated / max(triplets, 1) for violated, triplets in self.violations.values())
        if recipe.batch_limit and share < recipe.batch_grows_below:
            self.sampler.batch_size = min(int(self.sampler.batch_size * recipe.batch_growth), recipe.batch_limit)
        self.violations = {}

    def _decay(self, done: int) -> None:
        if done == self.recipe.decays_after:
            for group in self.optimiser.param_groups:
                group["lr"] *= 0.1

    def consider(self, recall_at_1: dict[str, float], head: str) -> None:
        """Keep these weights if none did better on that head; of equals the later ones."""
        if self.best is None or recall_at_1[head] >= self.best.recall_at_1[head]:
            weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best = Best(self.step, recall_at_1, weights)

    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write the file in one atomic step. identity: what a later start must agree on to go on from here."""
        state = {
            "identity": json.dumps(identity | {"state": SCHEMA}),
            "model": self.model.state_dict(),
            "distiller": self.distiller.state_dict() if self.distiller else {},
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "sampler": self.sampler.state_dict(),
            "cloud_random": json.dumps(self.cloud_rng.bit_generator.state),
            "torch_random": torch.get_rng_state(),
            "progress": {name: getattr(self, name) for name in _PROGRESS},
            "best": vars(self.best) if self.best else None,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `read_state` gave."""
        self.model.load_state_dict(state["model"])
        if self.distiller:
            self.distiller.load_state_dict(state["distiller"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.sampler.load_state_dict(state["sampler"])
        self.cloud_rng.bit_generator.state = json.loads(state["cloud_random"])
        torch.set_rng_state(state["torch_random"])
        for name in _PROGRESS:
            setattr(self, name, state["progress"][name])
        self.best = Best(**state["best"]) if state["best"] else None


def read_state(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What `Run.save` wrote, None where there is nothing; raises RecipeError for another run's, or a damaged file."""
    if not path.exists():
        return None
    state = _read(path)
    if changed := differences(json.loads(state["identity"]), identity | {"state": SCHEMA}):
        raise RecipeError(
            f"{path} is of a run that was not finished, with another recipe ({'; '.join(changed)}): start it again "
            "with that recipe, choose another folder, or remove the file"
        )
    return state


def parameter_groups(model: nn.Module, distiller: Distiller | None, recipe: Recipe) -> list[dict[str, Any]]:
    """Each branch with its own learning rate; what a distillation loss learns goes with the student's."""
    extra = list(distiller.parameters()) if distiller else []
    if recipe.modality == "lidar":
        return [{"params": [*model.parameters(), *extra], "lr": recipe.cloud_learning_rate}]
    if recipe.modality != "fused":
        return [{"params": [*model.parameters(), *extra], "lr": recipe.learning_rate}]
    clouds: list[nn.Parameter] = model.cloud_parameters()  # type: ignore[operator]  # every fused network has it
    of_clouds = {id(parameter) for parameter in clouds}
    images = [parameter for parameter in model.parameters() if id(parameter) not in of_clouds]
    return [{"params": clouds, "lr": recipe.cloud_learning_rate}, {"params": images, "lr": recipe.learning_rate}]


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise what the damage happens to make of the bytes
        raise RecipeError(
            f"{path} cannot be read ({type(error).__name__}): remove it to start from the first step"
        ) from error


def _sum(counts: tuple[int, int], before: tuple[int, int] | None) -> tuple[int, int]:
    return (counts[0] + before[0], counts[1] + before[1]) if before else counts
