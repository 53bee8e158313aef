"""A batch in parts, or over processes, has the gradients that it has at once."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vpr_core.training.backpropagation import backpropagate, parts_of
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.processes import Processes
from vpr_core.training.recipe import Recipe, as_json
from vpr_core.training.train import train_encoder

MakeRecipe = Callable[..., Recipe]

GRADIENTS = '''
"""Losses and gradients of one batch, in float64; the first process writes them."""

import json
import sys
from dataclasses import replace

import torch
from torch import Tensor, nn

from vpr_core.models.factory import build_model
from vpr_core.training.material import Material
from vpr_core.training.objective import Distiller
from vpr_core.training.processes import processes
from vpr_core.training.recipe import Recipe
from vpr_core.training.run import Run
from vpr_core.training.step import Losses, add_gradients
from vpr_core.training.train import model_spec


class Double(nn.Module):
    """A network in float64 whose batch normalisation keeps the statistics that it has, if frozen."""

    def __init__(self, network, frozen):
        super().__init__()
        self.network, self.frozen, self.dim = network.double(), frozen, network.dim

    def forward(self, *arguments):
        return self.network(*(widened(argument) for argument in arguments))

    def train(self, mode=True):
        super().train(mode)
        for norm in norms(self) if self.frozen else ():
            norm.eval()
        return self


def widened(argument):
    return argument.double() if isinstance(argument, Tensor) else argument.with_features(argument.features.double())


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def settle(model, arguments):
    """Statistics as those of a trained network: at first all descriptors are nearly the same."""
    for norm in norms(model):
        norm.momentum = 1.0
    nn.Module.train(model)
    model(*arguments)


def gradients(group, frames, teacher, recipe, frozen=True):
    recipe = Recipe.from_json(recipe)
    material = Material.gather(frames, recipe, (), teacher, None, group)
    material = replace(material, teacher=replace(material.teacher, rows=material.teacher.rows.double()))
    torch.manual_seed(1)
    spec, _ = model_spec(recipe)
    model = Double(build_model(spec["name"], **spec["options"]), frozen)
    settle(model, material.network_input.batch(material.samples, range(12)))
    distiller = Distiller(recipe.distillation, model.dim, material.teacher.dim).double()
    run = Run.begin(model, distiller, recipe, material.sampler())
    indices = next(run.sampler)
    losses, seen = Losses(run, material, indices, diagnose=True), {}

    def objective(descriptors):
        seen.update(descriptors)
        return losses(descriptors)

    add_gradients(run, material, indices, objective)
    parameters = {**dict(model.named_parameters()), **dict(distiller.named_parameters())}
    return {
        "figures": losses.figures,
        "descriptors": {head: rows.detach() for head, rows in seen.items()},
        "of descriptors": {head: rows.grad for head, rows in seen.items()},
        "of parameters": {name: value.grad for name, value in parameters.items() if value.grad is not None},
        "statistics": dict(model.named_buffers()),
    }


if __name__ == "__main__":
    with processes("cpu") as group:
        found = [gradients(group, **case) for case in json.loads(sys.argv[1])]
        if group.is_first:
            torch.save(found, sys.argv[2])
'''

KILLED_AT_STEP_3 = """
import json, os, signal, sys
import torch
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

options = json.loads(sys.argv[1])
recipe = Recipe.from_json(options.pop("recipe"))

def progress(step, total, figures):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

train_encoder(**options, recipe=recipe, progress=progress)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "gradients.py"
    path.write_text(GRADIENTS)
    return path


@pytest.fixture
def alone(script: Path) -> Callable[..., dict[str, Any]]:
    """alone(case): the gradients in this process."""
    gradients = runpy.run_path(str(script))["gradients"]
    return lambda case: gradients(Processes("cpu"), **case)


@pytest.fixture
def make_case(toy: dict[str, Path], teacher: Path, toy_recipe: MakeRecipe) -> Callable[..., dict[str, Any]]:
    def make(modality: str, frozen: bool = True, **options: object) -> dict[str, Any]:
        recipe = as_json(toy_recipe(modality, **{"batch_size": 8, "distillation": {"method": "SC"}, **options}))
        return {"frames": [str(toy["first"])], "teacher": str(teacher), "recipe": recipe, "frozen": frozen}

    return make


def torchrun(count: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local_addr", "127.0.0.1",
               "--nproc_per_node", str(count), *map(str, arguments)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def assert_equal(found: dict[str, Any], expected: dict[str, Any], *names: str) -> None:
    for name in names:
        assert found[name].keys() == expected[name].keys() and len(found[name])
        for key, value in expected[name].items():
            torch.testing.assert_close(
                torch.as_tensor(found[name][key]),
                torch.as_tensor(value),
                rtol=1e-6,
                atol=1e-10,
                msg=lambda text, key=key, name=name: f"{name} {key}: {text}",
            )


NAMES = ("figures", "descriptors", "of descriptors", "of parameters")


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_a_batch_in_parts_has_the_gradients_of_the_batch_at_once(
    modality: str, alone: Callable[..., dict[str, Any]], make_case: Callable[..., dict[str, Any]]
) -> None:
    whole, parts = (alone(make_case(modality, **split)) for split in ({}, {"split_batch": 3}))
    assert_equal(parts, whole, *NAMES, "statistics")
    assert whole["figures"]["gradient_distillation"] > 0 < whole["figures"]["gradient_task"]
    moving = alone(make_case(modality, frozen=False, split_batch=3))
    counted = [count for name, count in moving["statistics"].items() if name.endswith("num_batches_tracked")]
    assert counted and all(count == 1 + 3 for count in counted)  # the parts, each once


def test_what_a_network_draws_is_the_same_in_both_passes() -> None:
    torch.manual_seed(0)
    network, images, group = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)), torch.ones(8, 6), Processes("cpu")
    parts, seen = parts_of(8, 4, group), []

    def describe(part: int) -> dict[str, torch.Tensor]:
        seen.append(network(images[parts[part]]))
        return {"embedding": seen[-1]}

    backpropagate(network, describe, parts, lambda rows: rows["embedding"].square().sum(), 8, group)
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3]) and not torch.equal(seen[0], seen[1])
    whole = torch.cat(seen[2:])
    # What is kept counts twice, and what is dropped is 0 and counts no more.
    torch.testing.assert_close(network[0].bias.grad, (2 * whole * 2).sum(0))


@pytest.mark.parametrize("count", [2, 3])
def test_processes_have_the_gradients_of_one(
    count: int,
    script: Path,
    alone: Callable[..., dict[str, Any]],
    make_case: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    """Losses over all ranks, embeddings' gradients, the network's and the adaptor's; whole and in parts."""
    cases = [make_case("lidar"), make_case("lidar", split_batch=2), make_case("camera", distillation={"method": "S"})]
    done = torchrun(count, script, json.dumps(cases), tmp_path / "found.pt")
    assert done.returncode == 0, done.stderr
    for found, case in zip(torch.load(tmp_path / "found.pt"), cases, strict=True):
        assert_equal(found, alone(case), *NAMES)


def test_a_killed_run_of_two_processes_goes_on(
    toy: dict[str, Path], toy_recipe: MakeRecipe, teacher: Path, tmp_path: Path
) -> None:
    """Only the first process writes and shows; augmentation and looks at validation drives go on as they were."""
    recipe = toy_recipe("lidar", steps=5, batch_size=8, augment=True, validate_every=2,
                        distillation={"method": "SC"})  # fmt: skip
    options = {"frames": [toy["first"]], "validation": [toy["database"], toy["queries"]], "teacher": teacher}
    (tmp_path / "killed.py").write_text(KILLED_AT_STEP_3)
    arguments = {**options, "out": tmp_path / "killed", "save_every": 1, "recipe": as_json(recipe)}
    assert torchrun(2, tmp_path / "killed.py", json.dumps(arguments, default=str)).returncode != 0
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["state.pt"]

    config = tmp_path / "recipe.yaml"
    config.write_text(json.dumps(as_json(recipe)))
    folders = {}
    for name in ("killed", "whole"):
        done = torchrun(2, "-m", "vpr_core", "distill", "--config", config, "--frames", toy["first"], "--teacher",
                        teacher, "--validation", toy["database"], toy["queries"], "--out", tmp_path / name)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [str(tmp_path / name)] and done.stderr.count(" 0/5 ") == 1
        folders[name] = load_checkpoint(tmp_path / name)
    assert folders["killed"].hash == folders["whole"].hash
    assert folders["killed"].card["validation"] == folders["whole"].card["validation"]
    one = load_checkpoint(train_encoder(**options, out=tmp_path / "one", recipe=recipe))
    assert one.model.state_dict().keys() == folders["whole"].model.state_dict().keys()
    assert one.hash != folders["whole"].hash  # batch normalisation and augmentation are each process's own


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("total", [4, 6, 10, 128])
@pytest.mark.parametrize("split", [None, 1, 3, 200])
def test_every_row_is_described_once_and_processes_have_as_many_parts(
    count: int, total: int, split: int | None
) -> None:
    described, sizes = [], []
    for rank in range(count):
        group = Processes("cpu")
        group.rank, group.count = rank, count
        parts = parts_of(total, split, group)
        sizes.append(len(parts))
        described += [row for part in parts for row in range(total)[part]]
        assert all(1 <= part.stop - part.start <= (split or total) + 1 for part in parts)
    assert described == list(range(total)) and len(set(sizes)) == 1
