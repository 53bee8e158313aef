"""The processes that train one network: one alone, or those that torchrun started, on any number of GPUs and machines.

Every process knows the whole batch and describes its own rows of it. The losses are those of all rows, so a run's
gradients do not depend on how many processes it has.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vpr_core.errors import RecipeError

T = TypeVar("T")
DEVICES = ("cpu", "cuda")
_LAUNCHED = "TORCHELASTIC_RUN_ID"
"""A variable that torchrun sets."""
_TIMEOUT = timedelta(hours=6)
"""The others wait so long while the first describes a teacher's samples or looks at the validation drives."""


class Processes:
    """A process that trains by itself."""

    rank = 0
    count = 1

    def __init__(self, device: str) -> None:
        self.device = device

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reads states, looks at validation drives, writes and shows."""
        return self.rank == 0

    def rows(self, total: int, rank: int | None = None) -> slice:
        """Of a batch of `total` frames those that this process describes, or that of `rank`; sizes differ by one."""
        rank = self.rank if rank is None else rank
        each, more = divmod(total, self.count)
        begin = rank * each + min(rank, more)
        return slice(begin, begin + each + (rank < more))

    def prepare(self, model: nn.Module) -> nn.Module:
        """The network on its device, before the optimiser, whose state lies where the parameters are."""
        return model.to(self.device)

    def gather(self, own: Tensor, total: int) -> Tensor:
        """The rows [n, D] of every process as [total, D], without a gradient."""
        return own.detach()

    def add_up(self, parameters: Iterable[nn.Parameter], weight: float = 1.0) -> None:
        """Replace the gradients by their sum over the processes, times `weight`."""

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, the only one to call it."""
        return make()

    def draw_afresh(self, seed: int, step: int, clouds: np.random.Generator) -> None:
        """Give this process its own random numbers for a step, where there are several; one alone goes on with its."""


class _Torchrun(Processes):
    """One of several processes, connected by Lightning Fabric."""

    def __init__(self, device: str) -> None:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy

        world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if device == "cuda" and torch.cuda.device_count() < local:
            raise RecipeError(
                f"torchrun started {local} processes on a machine of {torch.cuda.device_count()} GPUs: give it as many "
                "as --nproc_per_node, or train with --device cpu"
            )
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        self._fabric = Fabric(
            accelerator=device, devices=local, num_nodes=world // local, strategy=DDPStrategy(timeout=_TIMEOUT)
        )
        self._fabric.launch()
        self.rank, self.count = self._fabric.global_rank, self._fabric.world_size
        super().__init__(str(self._fabric.device))

    def prepare(self, model: nn.Module) -> nn.Module:
        if self.device.startswith("cuda"):  # torch has no batch normalisation over processes on the CPU
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return super().prepare(model)

    def gather(self, own: Tensor, total: int) -> Tensor:
        # A collective takes equal shapes; the first process has the most rows.
        padding = self.rows(total, rank=0).stop - len(own)
        every = self._fabric.all_gather(functional.pad(own.detach(), (0, 0, 0, padding)))
        sizes = [len(range(total)[self.rows(total, rank)]) for rank in range(self.count)]
        return torch.cat([rows[:size] for rows, size in zip(every, sizes, strict=True)])

    def add_up(self, parameters: Iterable[nn.Parameter], weight: float = 1.0) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        flat = weight * torch.cat([gradient.flatten() for gradient in gradients])
        self._fabric.all_reduce(flat, reduce_op="sum")
        for gradient, summed in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def from_first(self, make: Callable[[], T]) -> T:
        return self._fabric.broadcast(make() if self.is_first else None)  # type: ignore[return-value]

    def draw_afresh(self, seed: int, step: int, clouds: np.random.Generator) -> None:
        # Made of the step alone, so a stored state need not hold them, and may go on with more or fewer processes.
        torch.manual_seed(int(np.random.SeedSequence([seed, step, self.rank]).generate_state(1)[0]))
        clouds.bit_generator.state = np.random.default_rng([seed, 1, step, self.rank]).bit_generator.state

    def close(self) -> None:
        self._fabric.barrier()
        torch.distributed.destroy_process_group()


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """This process, connected with the others where torchrun started several; they end the block together.

    device: cpu, or cuda for one GPU a process. Raises RecipeError where this machine lacks it.
    """
    _check_device(device)
    if _LAUNCHED not in os.environ or os.environ["WORLD_SIZE"] == "1":
        yield Processes(device)
        return
    joined = _Torchrun(device)
    yield joined
    joined.close()  # after an error the others would be waited for in vain; torchrun ends them


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started, before they are connected."""
    return _LAUNCHED not in os.environ or os.environ["RANK"] == "0"


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise RecipeError(f"device is {device!r}, expected {' or '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise RecipeError(
            f"device is cuda, but torch {torch.__version__} finds no GPU: install a torch built with CUDA where there "
            "is one, or train with --device cpu"
        )
