"""A teacher's descriptors of the training samples: computed once, without augmentation, and kept in a file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.files import sha256_bytes, sha256_json, write_atomic
from vpr_core.training.checkpoint import Checkpoint, load_checkpoint
from vpr_core.training.distillation import Modality
from vpr_core.training.network_input import EMBEDDING, NetworkInput, check_sensors
from vpr_core.training.validate import describe_samples


@dataclass(frozen=True)
class TeacherDescriptors:
    """What a student is to learn from, sample by sample."""

    teacher: str
    """Hash of the checkpoint."""
    rows: torch.Tensor
    """float32 [N, E], as the teacher's own loss saw them: unit length only where its recipe says so."""

    @property
    def dim(self) -> int:
        return self.rows.shape[1]


def teacher_descriptors(
    checkpoint: str | Path,
    drives: Sequence[Frames],
    cache: str | Path | None = None,
    device: str = "cpu",
    modality: Modality | None = None,
    shown: Callable[[int], object] | None = None,
) -> TeacherDescriptors:
    """Descriptors of all frames of `drives` in their order, by the teacher in eval mode.

    cache: folder of the file that keeps them, the checkpoint's own by default. A file of another teacher, of other
    drives, or one that is damaged is not used, and replaced. device: where the teacher runs. modality: what the teacher
    must be of; None takes any. shown: called with numbers of frames that have been described.
    Raises BundleError for a bad checkpoint and RecipeError where the teacher is of another modality or the drives lack
    a sensor of it.
    """
    loaded = load_checkpoint(checkpoint)
    if modality not in (None, loaded.modality):
        raise RecipeError(
            f"the teacher {checkpoint} is a {loaded.modality} network, distillation.teacher_modality is {modality}: "
            "choose another teacher, or a recipe for this one"
        )
    network_input = NetworkInput.from_json(loaded.modality, loaded.input)
    check_sensors(loaded.modality, drives, network_input.labels)
    drives_hash = hash_of_drives(drives)
    folder = Path(cache) if cache else Path(checkpoint)
    path = folder / f"descriptors-{drives_hash[:12]}.npz"
    rows = _cached(path, loaded.hash, drives_hash)
    if rows is None:
        rows = _describe(loaded, drives, device, shown)
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, rows=rows, teacher=loaded.hash, drives=drives_hash)
        write_atomic(path, buffer.getvalue())
    return TeacherDescriptors(loaded.hash, torch.from_numpy(rows))


def hash_of_drives(drives: Sequence[Frames]) -> str:
    """Of the frames' stamps, poses and files, in the drives' order."""
    names = ("frames.csv", "card.json")
    return sha256_json([[sha256_bytes((drive.folder / name).read_bytes()) for name in names] for drive in drives])


def _describe(
    loaded: Checkpoint, drives: Sequence[Frames], device: str, shown: Callable[[int], object] | None
) -> np.ndarray:
    network_input, model = NetworkInput.from_json(loaded.modality, loaded.input), loaded.model.to(device)
    return describe_samples(model, network_input, Samples(drives), loaded.recipe.normalize, shown)[EMBEDDING]


def _cached(path: Path, teacher: str, drives: str) -> np.ndarray | None:
    try:
        with np.load(path) as stored:
            if str(stored["teacher"]) == teacher and str(stored["drives"]) == drives:
                return stored["rows"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return None
