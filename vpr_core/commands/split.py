"""`vpr-distill split`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat


def define(command: ArgumentParser) -> None:
    """Divide drives by place into training, validation and test frames, without a place on two sides.

    It writes OUT/train/NAME, OUT/validation/NAME and OUT/test/NAME for every drive, which are frames folders that the
    other commands take (images and clouds are linked, not copied), and OUT/split.json and OUT/split.png that tell
    where was cut. The same options give the same split.
    """
    command.add_argument("--frames", type=Path, nargs="+", required=True, help="frames folders, with poses")
    command.add_argument("--out", type=Path, required=True, help="folder to write")
    command.add_argument("--test_share", type=ClosedUnitInterval, default=0.2, help="of the frames, for the test")
    command.add_argument("--validation_share", type=ClosedUnitInterval, default=0.1, help="of them, for validation")
    command.add_argument(
        "--buffer_m",
        type=NonNegativeFloat,
        default=30.0,
        help="frames nearer than this to a part that is kept out are left out",
    )
    command.add_argument("--seed", type=int, default=0, help="another seed, other parts")
    command.add_argument("--overwrite", action="store_true", help="replace an existing split")


def run(options: dict[str, Any]) -> None:
    from vpr_core.data.split import split_frames

    report = split_frames(options.pop("frames"), **options)
    for name, counts in report["frames"].items():
        print(f"{name}: {', '.join(f'{count} {split}' for split, count in counts.items())}")
    kept, total = (sum(counts[name] for counts in report["frames"].values()) for name in ("train", "left out"))
    if kept < total:
        print(f"fewer frames to train on than left out: the drives are short for --buffer_m {options['buffer_m']:g}")
    print(f"{options['out']}: cut along {len(report['areas'])} area(s), see split.png")
