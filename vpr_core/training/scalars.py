"""Figures of a run as TensorBoard files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = "tensorboard"


class Scalars:
    """Writes scalars under `folder`/tensorboard; a run that starts at step 0 removes those of an older one."""

    def __init__(self, folder: Path, first_step: int, enabled: bool = True) -> None:
        self._writer: Any = None
        if not enabled:
            return
        from torch.utils.tensorboard import SummaryWriter

        if first_step == 0:
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
        # Steps after the stored state are run again: what a killed run wrote of them is purged.
        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=first_step + 1 if first_step else None)

    def __enter__(self) -> Scalars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    def flush(self) -> None:
        """Put on the disk what was added; TensorBoard keeps the latest figures for a while."""
        if self._writer:
            self._writer.flush()

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        if self._writer:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)
