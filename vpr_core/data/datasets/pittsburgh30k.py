"""Pittsburgh30k: Street View of Pittsburgh as NetVLAD divides it, 24 views of each place.

ROOT/datasets/pitts30k_train.mat              and pitts30k_val.mat, pitts30k_test.mat; ROOT/pitts30k_train.mat does as
                                              well: a MATLAB struct dbStruct with the names of the images, dbImageFns
                                              and qImageFns, their positions in UTM, utmDb and utmQ [m], and posDistThr
ROOT/000/000000_pitch1_yaw1.jpg               images of the database, as dbImageFns names them
ROOT/queries_real/000/000000_pitch1_yaw1.jpg  queries, as qImageFns names them

Each set becomes two runs, pitts30k_train_database and pitts30k_train_query, in one folder for training or the test.
Positions are those of the panoramas that the views were cut from; no heading is known, so that every pose looks east.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vpr_core.data.dataset_parts import check_options
from vpr_core.data.netvlad_struct import Struct, read_struct
from vpr_core.data.plan import Item, Missing, Plan, Run
from vpr_core.errors import FramesError
from vpr_core.types import Pose

NAME = "pittsburgh30k"
WHERE = (
    "The images are the Pittsburgh data set (Pitts250k) of Torii et al., Visual Place Recognition with Repetitive "
    "Structures, on request from its authors: its folders 000 to 010 and queries_real. The .mat files are NetVLAD's "
    "data set specifications (netvlad_v100_datasets.tar.gz), on NetVLAD's project page."
)
_SECOND_NS = 1_000_000_000
_QUERIES = "queries_real"


@dataclass(frozen=True)
class Options:
    """What is taken of Pittsburgh30k.

    Args:
        train_runs: sets to train on, of train, val and test.
        test_runs: sets to test on.
        positive_m: training frames this near may show one place [m]: NetVLAD's potential positives, of which training
            with --positives weak takes the one that is nearest by descriptors.
        negative_m: training frames farther apart than this show different places [m].
        radius_m: a match within this distance is right in the test [m].
    """

    train_runs: tuple[str, ...] = ("train",)
    test_runs: tuple[str, ...] = ("val", "test")
    positive_m: float = 10.0
    negative_m: float = 25.0
    radius_m: float = 25.0

    def __post_init__(self) -> None:
        check_options(self)


def plan(root: Path, options: Options) -> Plan:
    """The sets that the options name; raises FramesError where `root` has none, or a .mat file cannot be read."""
    folder = root / "datasets" if (root / "datasets").is_dir() else root
    if not any(folder.glob("pitts30k_*.mat")):
        raise FramesError(f"{root} has no folder of a set such as datasets, with pitts30k_train.mat in it. {WHERE}")
    missing = Missing()
    runs, pairs, notes = [], [], []
    wanted = [("train", name) for name in options.train_runs] + [("test", name) for name in options.test_runs]
    for split, name in wanted:
        path = folder / f"pitts30k_{name}.mat"
        if not path.is_file():
            missing.note(f"no {path.name}", f"{name} ({split})")
            continue
        struct = read_struct(path)
        found = [run for side in ("database", "query") if (run := _run(root, struct, side, split, name, missing))]
        runs += found
        if split == "test" and len(found) == 2:
            pairs.append((found[0].name, found[1].name))
        if struct.radius_m != options.radius_m:
            notes.append(f"{path.name} has a threshold of {struct.radius_m:g} m, radius_m is {options.radius_m:g}")
    return Plan(tuple(runs), missing.found, WHERE, notes, pairs)


def _run(root: Path, struct: Struct, side: str, split: str, name: str, missing: Missing) -> Run | None:
    is_query = side == "query"
    names, positions_m = (struct.queries, struct.queries_m) if is_query else (struct.database, struct.database_m)
    folder = root / _QUERIES if is_query else root
    items: list[Item] = []
    lost: list[str] = []
    for image, (x_m, y_m) in zip(names, positions_m.tolist(), strict=True):
        if (path := folder / image).is_file():
            pose = Pose((x_m, y_m, 0.0))
            items.append(Item(len(items) * _SECOND_NS, pose, image=path, query=is_query or split == "train"))
        else:
            lost.append(image)
    drops = {"no image": len(lost)} if lost else {}
    of = f"pitts30k_{name} {side} ({split})"
    missing.note_drops("frames", drops, f"{of}, such as {folder / lost[0]}," if lost else of, len(names))
    if not items:
        return None
    card = {
        "area": f"{NAME} {name}",
        "map_frame": "utm",
        "stamps": "the number of the frame, a second each",
        "poses": {"source": "utmQ" if is_query else "utmDb", "heading": None},
    }
    return Run(f"pitts30k_{name}_{side}", "train" if split == "train" else "test", tuple(items), drops, card)
