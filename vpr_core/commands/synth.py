"""`vpr-distill synth`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter
from jsonargparse.typing import PositiveFloat, PositiveInt
from tqdm import tqdm

from vpr_core.commands.options import file_ending
from vpr_core.errors import VprError

CONDITIONS = {
    "noon": "clear day, sharp shadows",
    "low_sun": "sun low in the sky: glare and long shadows that move",
    "dusk": "sun just set, first lamps and windows lit",
    "night": "street lamps, lit windows, headlights",
    "fog": "day in fog; the LiDAR reaches less far and sees the fog",
    "rain": "wet roads and streaks; the LiDAR loses points",
    "winter": "snow and bare trees",
}
ROUTES = {
    "loop": "the main loop of about 1.2 km, on its right lane",
    "opposite": "the loop the other way round, on its own right lane",
    "lane": "the loop on its left lane",
    "offmap": "streets at least 60 m away from the loop",
    "mixed": "onto the loop, off it and back",
    "block": "twice round one block, to close loops",
}
STYLES = {
    "old_town": "terraces, villas and a centre of old houses",
    "modern": "blocks, rows and offices of today",
    "identical": "one house repeated everywhere, and one church",
}


class _Formatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the lists."""


def define(command: ArgumentParser) -> None:
    """Record drives through a made-up town as ROS 2 bags. The same options give the same bags."""
    command.formatter_class = _Formatter
    command.epilog = f"conditions:\n{_listed(CONDITIONS)}\n\nroutes:\n{_listed(ROUTES)}\n\nstyles:\n{_listed(STYLES)}"
    command.add_argument(
        "--out", type=Path, default=None, help="bag folder to write; of several drives, the folder of their bags"
    )
    command.add_argument(
        "--contact_sheet",
        type=file_ending(".png", ".jpg"),
        default=None,
        help="draw the town under every condition to this file",
    )
    command.add_argument("--town", type=int, default=1, help="number of the town; another number, another town")
    command.add_argument("--style", default="old_town", help="of the town, see below")
    command.add_argument("--condition", nargs="+", default=["noon"], help="one or several, see below (default: noon)")
    command.add_argument("--route", nargs="+", default=["loop"], help="one or several, see below (default: loop)")
    command.add_argument("--seed", type=int, default=0, help="of parked cars, traffic, wander and noise")
    command.add_argument("--max_length_m", type=PositiveFloat, default=None, help="end the drive after so many metres")
    command.add_argument("--camera_hz", type=PositiveFloat, default=2.0, help="pictures and sweeps a second, up to 10")
    command.add_argument(
        "--image_size", type=PositiveInt, nargs=2, default=[320, 240], metavar=("WIDTH", "HEIGHT"), help="in pixels"
    )
    command.add_argument("--lidar_columns", type=PositiveInt, default=1024, help="shots of one turn of the LiDAR")
    command.add_argument("--labels", type=bool, default=True, help="record what each pixel shows")
    command.add_argument(
        "--workers", type=PositiveInt, default=None, help="drives at once; as many as cores by default"
    )
    command.add_argument("--overwrite", action="store_true", help="replace existing bags")


def run(options: dict[str, Any]) -> None:
    conditions, routes = (list(dict.fromkeys(options.pop(name))) for name in ("condition", "route"))
    out, workers, overwrite = (options.pop(name) for name in ("out", "workers", "overwrite"))
    contact_sheet = options.pop("contact_sheet")
    options["image_size"] = tuple(options["image_size"])
    if out is None and contact_sheet is None:
        raise VprError("synth has nothing to do: give --out for a bag, --contact_sheet for a picture of the town")
    if contact_sheet is not None:
        _draw(Path(contact_sheet), options["town"], options["style"])
    if out is None:
        return
    if len(conditions) * len(routes) == 1:
        _record_one(out, condition=conditions[0], route=routes[0], overwrite=overwrite, **options)
        return
    from vpr_core.synthetic.drive import Drive, record_drives

    drives = [
        Drive(out / _name(condition, route, conditions, routes), condition=condition, route=route, **options)
        for route in routes
        for condition in conditions
    ]
    for bag in record_drives(drives, workers=workers or len(os.sched_getaffinity(0)), overwrite=overwrite, bar=True):
        print(bag)


def _draw(path: Path, town: int, style: str) -> None:
    import cv2

    from vpr_core.files import write_atomic
    from vpr_core.synthetic.contact_sheet import contact_sheet
    from vpr_core.synthetic.town import Town

    picture = contact_sheet(Town(town, style=style), 6)
    write_atomic(path, cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
    print(path)


def _record_one(out: Path, **options: Any) -> None:
    from vpr_core.synthetic.drive import record_drive

    with tqdm(desc="synth", unit="frame") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        record_drive(out, progress=progress, **options)
    print(out)


def _name(condition: str, route: str, conditions: list[str], routes: list[str]) -> str:
    """Of a bag among several: what tells it from the others."""
    if len(routes) == 1:
        return condition
    return route if len(conditions) == 1 else f"{route}_{condition}"


def _listed(lines: dict[str, str]) -> str:
    return "\n".join(f"  {name:<10}{text}" for name, text in lines.items())
