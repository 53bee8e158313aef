"""What the figures of a table are of: the drives to train on and those for tests, as their cards say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vpr_core.data.frames import Frames
from vpr_core.evaluation.evaluate import table_text
from vpr_core.experiments.sources import Source


def drives_text(source: Source) -> str:
    """A line for each area and use of the source's drives, and how many there are in all."""
    uses = {"training": source.drives.train, "validation": source.drives.validation, "tests": source.drives.described}
    if absent := [folder for folders in uses.values() for folder in folders if not folder.is_dir()]:
        return f"{absent[0]} is not there: the drives are made by the first training of a table"
    lines = [line for use, folders in uses.items() for line in _lines(use, folders)]
    return table_text(lines, list(lines[0]))


def _lines(use: str, folders: Sequence[Path]) -> list[dict[str, Any]]:
    by_area: dict[str, list[Frames]] = {}
    for folder in folders:
        drive = Frames.load(folder)
        by_area.setdefault(drive.area[0] or drive.map_frame, []).append(drive)
    return [_line(use, area, drives) for area, drives in by_area.items()]


def _line(use: str, area: str, drives: Sequence[Frames]) -> dict[str, Any]:
    seconds = [drive.card.get("seconds") for drive in drives]
    metres = [drive.card.get("metres") for drive in drives]
    sizes = sorted({drive.image_size for drive in drives if drive.has_images})
    return {
        "for": use,
        "where": area,
        "drives": len(drives),
        "frames": sum(map(len, drives)),
        "km": f"{sum(filter(None, metres)) / 1e3:.1f}",
        "minutes": f"{sum(filter(None, seconds)) / 60:.0f}",
        "images": ", ".join(f"{width}x{height}" for width, height in sizes),
        "labels": "yes" if all(drive.has_labels for drive in drives) else "no",
        "of them": ", ".join(_short(drive.session) for drive in drives),
    }


def _short(session: str) -> str:
    """Of town2_query_low_sun low_sun."""
    return session.split("_", 2)[-1]
