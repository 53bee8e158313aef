"""StructVPR Sec. 3.2. Segmentation label map encoding (SLME): a label image to a weighted one-hot map.

A table says to which of six groups each class of a segmentation belongs. The groups and their values are the paper's
(Sec. 4.2); which class belongs to which group is not in its main text, so the tables beside this file are inferred.
Doubtful classes: mountain, hill and rock are other objects, water and terrain are ground, indoor things other objects.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vpr_core.errors import InputError, RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    LabelImage = TypeVar("LabelImage", np.ndarray, Tensor)

__all__ = [
    "ENCODINGS",
    "GROUPS",
    "IGNORED",
    "ClassTable",
    "class_table",
    "num_channels",
    "table_of",
    "weighted_one_hot",
]

GROUPS = ("vegetation", "dynamic objects", "sky", "ground", "buildings", "other objects")
"""In the paper's order (Sec. 4.2), which is the order of the channels."""
IGNORED = 255
"""A pixel without a class, as Cityscapes and ADE20K mark it: no channel has a value there."""
TABLES = ("ade20k_150", "cityscapes_19")

_PAPER = dict(zip(GROUPS, (0.5, 0.5, 1.0, 1.0, 2.0, 2.0), strict=True))
# Sec. 4.4: what was stressed is played down and the other way round; the two in the middle stay.
_INVERSE = dict(zip(GROUPS, (2.0, 2.0, 1.0, 1.0, 0.5, 0.5), strict=True))
_ONES = dict.fromkeys(GROUPS, 1.0)
_SIX = {group: channel for channel, group in enumerate(GROUPS)}
# Sec. 4.4 names the three classes sky & ground, dynamic, static. Inferred: vegetation, buildings and other objects are
# what is static, and a class of three has the value that its members have among six, the static one that of buildings.
_THREE = dict(zip(GROUPS, (2, 1, 0, 0, 2, 2), strict=True))
_THREE_VALUES = dict(zip(GROUPS, (2.0, 0.5, 1.0, 1.0, 2.0, 2.0), strict=True))


@dataclass(frozen=True)
class Encoding:
    """How the groups become channels."""

    values: dict[str, float]
    """By group."""
    channels: dict[str, int] | None
    """By group; None: every class has its own."""


ENCODINGS = {
    "paper": Encoding(_PAPER, _SIX),
    "unweighted": Encoding(_ONES, _SIX),
    "three": Encoding(_THREE_VALUES, _THREE),
    "inverse": Encoding(_INVERSE, _SIX),
    # Inferred: classes that are not clustered into groups have no group's value either.
    "unclustered": Encoding(_ONES, None),
}


@dataclass(frozen=True)
class ClassTable:
    """Classes of a segmentation by their number in a label image, counted from 0."""

    name: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    """One of GROUPS for each class."""


def weighted_one_hot(
    labels: LabelImage, table: str | Path = "ade20k_150", encoding: str = "paper", ignored: int | None = IGNORED
) -> LabelImage:
    """StructVPR Sec. 3.2. Label image [..., H, W] of integers to float32 [..., C, H, W], numpy or torch as it came.

    A pixel has the value of its group (see ENCODINGS) in the channel of its group, and 0 in the others. C is 6, 3 for
    "three", and the number of classes for "unclustered". A pixel whose label is `ignored` has 0 in all channels; with
    None there are none such.
    table: "ade20k_150" (numbers from 0, wall, to 149, flag, as networks give them: one less than in ADE20K's own files,
    where 0 is no class), "cityscapes_19" (training ids), or a CSV file with the columns id, name, group.
    Raises InputError, which names it, for a number that is no class of the table, and for labels of another type;
    RecipeError for an unknown table or encoding.
    """
    rows = _rows(class_table(table), encoding)
    if isinstance(labels, np.ndarray):
        _check_type(labels, np.issubdtype(labels.dtype, np.integer))
        _check_known(np.unique(labels).tolist(), len(rows), table, ignored)
        known = labels if ignored is None else np.where(labels == ignored, np.int64(len(rows)), labels)
        return np.ascontiguousarray(np.moveaxis(np.pad(rows, ((0, 1), (0, 0)))[known], -1, -3))
    return _of_tensor(labels, rows, table, ignored)


def _of_tensor(labels: Tensor, rows: np.ndarray, table: str | Path, ignored: int | None) -> Tensor:
    import torch
    from torch.nn import functional

    _check_type(labels, not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool)
    _check_known(labels.unique().tolist(), len(rows), table, ignored)
    known = labels.long() if ignored is None else labels.long().masked_fill(labels == ignored, len(rows))
    padded = functional.pad(torch.from_numpy(rows), (0, 0, 0, 1)).to(labels.device)
    return padded[known].movedim(-1, -3).contiguous()


def num_channels(table: str | Path = "ade20k_150", encoding: str = "paper") -> int:
    """C of `weighted_one_hot`; raises RecipeError for an unknown table or encoding."""
    return _rows(class_table(table), encoding).shape[1]


def class_table(table: str | Path) -> ClassTable:
    """One of TABLES by name, or of a CSV file with the columns id, name and group, ids from 0 on without a gap.

    Raises RecipeError where there is no such table or the file does not hold one.
    """
    path = Path(__file__).with_name(f"{table}.csv") if table in TABLES else Path(table)
    try:
        return _read(path)
    except FileNotFoundError:
        raise RecipeError(
            f"unknown class table {str(table)!r}: known are {', '.join(TABLES)}, or a CSV file with id, name, group"
        ) from None
    except (OSError, KeyError, ValueError) as error:
        raise RecipeError(f"class table {path} cannot be used ({error}): expected columns id, name, group") from error


def table_of(classes: list[str]) -> str | None:
    """The one of TABLES for a network with these classes: as many, and most of them under the same name; or None."""
    for name in TABLES:
        known = class_table(name).classes
        if len(known) == len(classes):
            same = sum(_plain(one) == _plain(other) for one, other in zip(known, classes, strict=True))
            if 2 * same > len(known):
                return name
    return None


@cache
def _read(path: Path) -> ClassTable:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if [int(row["id"]) for row in rows] != list(range(len(rows))) or not 0 < len(rows) <= IGNORED:
        raise ValueError(f"its ids are not 0, 1, 2, ... up to {IGNORED - 1} at most")
    if unknown := {row["group"] for row in rows} - set(GROUPS):
        raise ValueError(f"group {min(unknown)!r} is not one of {', '.join(GROUPS)}")
    return ClassTable(path.stem, tuple(row["name"] for row in rows), tuple(row["group"] for row in rows))


def _rows(table: ClassTable, encoding: str) -> np.ndarray:
    """float32 [classes, C]: what a pixel of each class becomes."""
    if encoding not in ENCODINGS:
        raise RecipeError(f"unknown label encoding {encoding!r}: known are {', '.join(ENCODINGS)}")
    chosen, values = ENCODINGS[encoding], [ENCODINGS[encoding].values[group] for group in table.groups]
    if chosen.channels is None:
        return np.diag(values).astype(np.float32)
    rows = np.zeros((len(values), max(chosen.channels.values()) + 1), np.float32)
    rows[range(len(values)), [chosen.channels[group] for group in table.groups]] = values
    return rows


def _check_type(labels: np.ndarray | Tensor, fits: bool) -> None:
    if not fits or labels.ndim < 2:
        raise InputError(f"label image is {labels.dtype} {list(labels.shape)}, expected integers [..., H, W]")


def _check_known(found: list[int], count: int, table: str | Path, ignored: int | None) -> None:
    unknown = [label for label in found if not 0 <= label < count and label != ignored]
    if unknown:
        raise InputError(
            f"label image holds class {', '.join(map(str, unknown[:5]))}, which the table {str(table)!r} of {count} "
            f"classes (0 to {count - 1}{'' if ignored is None else f', {ignored} for none'}) does not know: "
            "name the table of the segmentation that made it",
            kind="unknown class",
        )


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", " ")
