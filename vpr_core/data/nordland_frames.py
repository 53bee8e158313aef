"""Which frames of Nordland's seasons belong together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from vpr_core.data.dataset_parts import images_in
from vpr_core.errors import FramesError

Number = tuple[str, int]
"""A section, empty where there is none, and the number of a frame in it."""


def season_images(folder: Path) -> dict[Number, Path]:
    """The images of a season, in its folder or in sections below it, in the order of sections and numbers.

    Raises FramesError where an image's name has no number, or two have the same.
    """
    sections = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: _number_of(path.name) or 0)
    found: dict[Number, Path] = {}
    for section in sections or [folder]:
        numbered: dict[int, Path] = {}
        for path in images_in(section).values():
            number = _number_of(path.stem)
            if number is None or number in numbered:
                wrong = "has no number" if number is None else f"has the number of {numbered[number].name}"
                raise FramesError(f"{path} {wrong}: expected an image for each frame, named by its number")
            numbered[number] = path
        found |= {(section.name if sections else "", number): numbered[number] for number in sorted(numbered)}
    return found


def common_numbers(seasons: Mapping[str, Mapping[Number, Path]]) -> list[Number]:
    """All numbers that seasons have, in order; raises FramesError where they do not tell which frames belong together.

    A number that one season lacks is one image lost; seasons that are numbered differently do not fit.
    """
    order = {section: place for images in seasons.values() for place, section in enumerate(_sections(images))}
    together = {number for images in seasons.values() for number in images}
    shared = set.intersection(*({*images} for images in seasons.values()))
    if 2 * len(shared) < len(together):
        counted = ", ".join(f"{season} {len(images)}" for season, images in seasons.items())
        raise FramesError(
            f"of {len(together)} frames ({counted}) only {len(shared)} have the same section and number in every "
            "season: expected seasons numbered alike, such as section1/1.png in each"
        )
    return sorted(together, key=lambda number: (order[number[0]], number[1]))


def _sections(images: Mapping[Number, Path]) -> list[str]:
    return list(dict.fromkeys(section for section, _ in images))


def _number_of(name: str) -> int | None:
    """The last number of a name."""
    found = re.findall(r"\d+", name)
    return int(found[-1]) if found else None
