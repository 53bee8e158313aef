"""Published data sets, one a file, found by their file names: `vpr-distill prepare NAME` makes frames folders of each.

To add one, write `NAME.py` here, whose docstring says in its first line what it is and after it how its folders look,
with three names:

    Options                  a frozen dataclass of plain values with the published ones as defaults, where they are
                             known, and an `Args:` docstring; `positive_m`, `negative_m` and `radius_m` are among them,
                             and `sensors` and `max_heading_deg` where they have a sense
    WHERE                    what to download from where, in a sentence or two
    plan(root, options)      looks at the folder `root`, writes nothing and returns a `vpr_core.data.plan.Plan`: the
                             runs to train on and to test on, frame by frame, and what is missing. It raises
                             FramesError with WHERE where the folder has nothing of the data set

Everything after that is common: `vpr_core.data.prepare` writes the runs and goes on where it was stopped, and the
command takes its options from the fields of `Options`. `test/core/data/datasets/test_contract.py` runs over every file
of this folder; it needs a tiny data set of its own form, which the fixture `NAME` of the tests there writes.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from vpr_core.errors import FramesError


def dataset_names() -> list[str]:
    """The names of all data sets."""
    return sorted(name for _, name, _ in pkgutil.iter_modules(__path__))


def dataset(name: str) -> ModuleType:
    """The module of a data set; raises FramesError for a name that none has."""
    if name not in dataset_names():
        raise FramesError(f"there is no data set {name!r}: known are {', '.join(dataset_names())}")
    return importlib.import_module(f"{__name__}.{name}")
