"""StructVPR between its stages: how much each training sample counts, by what two trained networks make of it.

A sample is a frame and another that shows its place. weights.npz holds

  samples        int64 [S, 2]   frame and its positive, numbered through the drives in their order
  teacher_rank   float64 [S]    of the positive in the frame's list by the teacher, over all other training frames
  student_rank   float64 [S]    the same by the student; infinite for a positive never retrieved
  weights        float64 [S]
  card           text           JSON: scheme, shares of the groups, and what it was made of
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data import places
from vpr_core.data.frames import Frames
from vpr_core.data.samples import Samples
from vpr_core.errors import RecipeError
from vpr_core.files import sha256_bytes, write_atomic
from vpr_core.structvpr.partition import N_T, group_masks, ranks_of_descriptors, samples_of, shares
from vpr_core.structvpr.weighting import sample_weights
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.training.recipe import Recipe
from vpr_core.training.teacher import TeacherDescriptors, hash_of_drives, teacher_descriptors

MADE_BY = "vpr-distill weigh"
ARRAYS = ("samples", "teacher_rank", "student_rank", "weights", "card")

Progress = Callable[[str, int], Any]
"""Called with what is being done and its number of frames; returns an object with update(n) and close()."""


@dataclass(frozen=True)
class SampleWeights:
    """What a weights.npz holds."""

    samples: np.ndarray
    """int64 [S, 2], sorted."""
    weights: np.ndarray
    """float64 [S]."""
    card: dict[str, Any]
    sha256: str

    @cached_property
    def _keys(self) -> np.ndarray:
        return _key(self.samples[:, 0], self.samples[:, 1])

    def of_pairs(self, indices: np.ndarray) -> np.ndarray:
        """float32 [N / 2]: of a batch in which 2i and 2i + 1 show one place, the weight of each pair.

        Raises RecipeError for a pair that was not weighed.
        """
        wanted = _key(indices[::2], indices[1::2])
        rows = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        if len(other := np.flatnonzero(self._keys[rows] != wanted)):
            pair = indices[2 * other[0]], indices[2 * other[0] + 1]
            raise RecipeError(f"frames {pair[0]} and {pair[1]} were not weighed as a sample: run `{MADE_BY}` again")
        return self.weights[rows].astype(np.float32)

    def check(self, drives: Sequence[Frames], recipe: Recipe) -> None:
        """Raise RecipeError where these are not the weights of the recipe's samples on these drives."""
        if self.card["drives"] != hash_of_drives(drives):
            raise RecipeError(
                f"the sample weights were made on other drives or in another order ({', '.join(self.card['sessions'])}"
                f"), training is on {', '.join(drive.session for drive in drives)}: run `{MADE_BY}` on these"
            )
        if recipe.positive_m > self.card["positive_m"]:
            raise RecipeError(
                f"the sample weights are of positives within {self.card['positive_m']:g} m, the recipe takes those "
                f"within {recipe.positive_m:g} m: run `{MADE_BY}` with --positive_m {recipe.positive_m:g}"
            )


def weigh(
    rgb: str | Path,
    segmentation: str | Path,
    frames: Sequence[str | Path],
    out: str | Path,
    *,
    scheme: str = "paper",
    n_t: int = N_T,
    groups: Sequence[str] | None = None,
    positive_m: float | None = None,
    cache: str | Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """StructVPR Secs. 3.4, 3.5. Write the file `out` of sample weights and return its card.

    rgb, segmentation: checkpoints of stage I on the drives in `frames`; others serve as well, for the student's and the
    teacher's ranks are all that is taken of them. scheme, n_t, groups: as `structvpr.weighting.sample_weights` has
    them. positive_m: how near a positive is [m]; None takes it from the recipe of `rgb`. cache: folder for the
    descriptors, which are those that `teacher_descriptors` keeps.
    Raises BundleError for a bad checkpoint, and RecipeError where the drives lack what a network sees, have no two
    frames of one place, or a value is no choice.
    """
    drives = [Frames.load(folder) for folder in frames]
    positive_m = load_checkpoint(rgb).recipe.positive_m if positive_m is None else positive_m
    samples = samples_of(places.positives(Samples(drives).positions_m, positive_m))
    if not len(samples):
        raise RecipeError(f"no frame has another within {positive_m:g} m, so there is no sample: raise positive_m")
    student, teacher = (
        _described(name, checkpoint, drives, cache, device, progress)
        for name, checkpoint in (("student", rgb), ("teacher", segmentation))
    )
    try:
        x, y = (_ranks(branch, samples) for branch in (teacher, student))
        weights = sample_weights(x, y, n_t, scheme, groups)
    except ValueError as error:
        raise RecipeError(f"samples cannot be weighed: {error}") from error
    card = {
        "scheme": scheme,
        "n_t": n_t,
        "groups": list(groups) if groups is not None else None,
        "positive_m": positive_m,
        "samples": len(samples),
        **_shares(x, y, n_t, weights),
        "student": student.teacher,
        "teacher": teacher.teacher,
        "drives": hash_of_drives(drives),
        "sessions": [drive.session for drive in drives],
    }
    _write(Path(out), samples=samples, teacher_rank=x, student_rank=y, weights=weights, card=np.array(json.dumps(card)))
    return card


def load_sample_weights(path: str | Path) -> SampleWeights:
    """Read what `weigh` wrote; raises RecipeError where the file is absent or something else."""
    try:
        data = Path(path).read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            held = {name: stored[name] for name in ARRAYS}
        return SampleWeights(held["samples"], held["weights"], json.loads(str(held["card"])), sha256_bytes(data))
    except FileNotFoundError:
        raise RecipeError(f"{path} does not exist: expected the file that `{MADE_BY}` writes") from None
    except Exception as error:  # numpy and zipfile raise what the damage happens to make of the bytes
        raise RecipeError(f"{path} holds no sample weights ({error}): write it with `{MADE_BY}`") from error


def _key(queries: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """One number of each pair, int64, in the order of the pairs."""
    return queries.astype(np.int64) << 32 | positives.astype(np.int64)


def _described(
    name: str,
    checkpoint: str | Path,
    drives: Sequence[Frames],
    cache: str | Path | None,
    device: str,
    progress: Progress | None,
) -> TeacherDescriptors:
    bar = progress(name, sum(map(len, drives))) if progress else None
    described = teacher_descriptors(checkpoint, drives, cache, device, shown=bar.update if bar else None)
    if bar:
        bar.close()
    return described


def _ranks(branch: TeacherDescriptors, samples: np.ndarray) -> np.ndarray:
    rows = branch.rows.numpy()
    return ranks_of_descriptors(rows, rows, samples, own=np.arange(len(rows)))


def _shares(x: np.ndarray, y: np.ndarray, n_t: int, weights: np.ndarray) -> dict[str, Any]:
    """Of each set of `group_masks` its share of the samples, and its share of all weight."""
    total = max(float(weights.sum()), np.finfo(float).tiny)
    of_weight = {name: float(weights[mask].sum()) / total for name, mask in group_masks(x, y, n_t).items()}
    return {
        "shares": {name: round(share, 4) for name, share in shares(x, y, n_t).items()},
        "weight_shares": {name: round(share, 4) for name, share in of_weight.items()},
        "mean_weight": round(float(weights.mean()), 6),
    }


def _write(path: Path, **arrays: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # one of numpy's stubs
    write_atomic(path, buffer.getvalue())
