"""Gradients of losses over more descriptors than a process, or its memory, makes at once.

A loss over a batch needs all its descriptors, but a network needs only the loss's gradient on its own. So the batch
is described, its descriptors gathered, the losses taken of them as if they were parameters, and what these hand back
goes through the network: in one pass, or part by part in a second one (multi-stage backpropagation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from vpr_core.training.processes import Processes

Descriptors = dict[str, Tensor]
"""[N, D] by head."""
Describe = Callable[[int], Descriptors]
"""Describes a part of this process's rows, by its number."""
Objective = Callable[[Descriptors], Tensor]
"""Takes the whole batch, gives the loss."""


def parts_of(total: int, split: int | None, group: Processes) -> list[slice]:
    """This process's rows of a batch of `total` frames in parts of about `split`, in one without.

    All processes have as many parts: where batch normalisation goes over them, they wait for one another in each.
    """
    most, own, fewest = (group.rows(total, rank) for rank in (0, group.rank, group.count - 1))
    wanted = -(-(most.stop - most.start) // split) if split else 1
    bounds = np.linspace(own.start, own.stop, min(wanted, fewest.stop - fewest.start) + 1).round().astype(int)
    return [slice(int(begin), int(end)) for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]


def backpropagate(
    model: nn.Module, describe: Describe, parts: Sequence[slice], objective: Objective, total: int, group: Processes
) -> None:
    """Add the gradient of `objective` over a batch of `total` frames to the network's parameters, in every process.

    parts: this process's rows of the batch, one after the other. With several the network runs twice: without a graph,
    then with one of a part at a time. What it draws at random is the same both times, and its running statistics
    change in the second only. Parameters of the objective itself get their gradients too.
    """
    at_once = len(parts) == 1
    own, states = (describe(0), []) if at_once else _without_graph(model, describe, len(parts), group.device)
    whole = {head: group.gather(rows, total).requires_grad_() for head, rows in own.items()}
    objective(whole).backward()
    gradients = {head: rows.grad for head, rows in whole.items() if rows.grad is not None}
    if at_once:
        _hand_on(own, gradients, parts[0])
    for part, state in enumerate(states):
        with _drawing_again(state, group.device):
            _hand_on(describe(part), gradients, parts[part])
    group.add_up(model.parameters())


def _hand_on(descriptors: Descriptors, gradients: Descriptors, rows: slice) -> None:
    heads = list(gradients)
    torch.autograd.backward([descriptors[head] for head in heads], [gradients[head][rows] for head in heads])


@torch.no_grad()
def _without_graph(
    model: nn.Module, describe: Describe, num_parts: int, device: str
) -> tuple[Descriptors, list[list[Tensor]]]:
    """All of this process's descriptors, and the random state before each part."""
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    found, states = [], []
    for part in range(num_parts):
        states.append(_random_state(device))
        found.append(describe(part))
    for name, buffer in model.named_buffers():
        buffer.copy_(kept[name])
    return {head: torch.cat([rows[head] for rows in found]) for head in found[0]}, states


def _random_state(device: str) -> list[Tensor]:
    of_gpu = [torch.cuda.get_rng_state(device)] if device.startswith("cuda") else []
    return [torch.get_rng_state(), *of_gpu]


@contextmanager
def _drawing_again(state: list[Tensor], device: str) -> Iterator[None]:
    gpus = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=gpus):
        torch.set_rng_state(state[0])
        for of_gpu in state[1:]:
            torch.cuda.set_rng_state(of_gpu, device)
        yield
