"""A report as one HTML file that needs nothing beside it, for a desk, a phone and paper, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from vpr_core.evaluation.svg import with_own_ids
from vpr_core.files import write_atomic

Rows = Sequence[dict[str, Any]]
"""A table: a column for each key of the first row; None is shown as a dash."""


@dataclass(frozen=True)
class Chart:
    """A drawing, and the figures that it was drawn from."""

    title: str
    svg: str
    """Inline SVG as `svg.inline_svg` makes it, with its description for those who do not see it."""
    rows: Rows = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class View:
    """One picture of a pair."""

    title: str
    picture: str
    """Data URI."""


@dataclass(frozen=True)
class Pair:
    """A query beside its match; where that is wrong, beside the place that was right too."""

    views: Sequence[View]
    caption: str
    right: bool


@dataclass(frozen=True)
class Section:
    """A heading with any of a paragraph, a picture (data URI), charts, a table and pairs under it."""

    title: str
    text: str = ""
    picture: str = ""
    picture_text: str = ""
    """What the picture shows, for those who do not see it."""
    charts: Sequence[Chart] = field(default_factory=list)
    rows: Rows = field(default_factory=list)
    pairs: Sequence[Pair] = field(default_factory=list)
    legend: bool = False
    """Say what the marks of the maps mean."""


def write_report(
    path: Path, title: str, summary: str, sections: Sequence[Section], headline: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write the report; text is escaped. headline: (figure, what it is), shown large at the top."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cells": cells, "with_own_ids": with_own_ids}
    template = environment.from_string(files("vpr_core.evaluation").joinpath("report.html").read_text(encoding="utf-8"))
    html = template.render(title=title, summary=summary, sections=sections, headline=headline)
    write_atomic(path, html.encode())
    return path


def cells(rows: Rows) -> list[tuple[str, bool, list[str]]]:
    """The columns of a table: name, whether it holds numbers, and its cells as text with as many decimals in each.

    Shares, which are at most 1, have three; other numbers up to three, as many as the column needs.
    """
    return [(name.replace("_", " "), *_column([row.get(name) for row in rows])) for name in rows[0]]


def _column(values: Sequence[Any]) -> tuple[bool, list[str]]:
    present = [value for value in values if value is not None]
    if not present or not all(type(value) in (int, float) for value in present):
        return not present, [_text(value) for value in values]
    if all(isinstance(value, int) for value in present):
        return True, ["\u2013" if value is None else str(value) for value in values]
    needed = max(len(f"{value:.3f}".rstrip("0").partition(".")[2]) for value in present)
    decimals = 3 if max(map(abs, present)) <= 1 else needed
    return True, ["\u2013" if value is None else f"{value:.{decimals}f}" for value in values]


def _text(value: Any) -> str:
    if value is None:
        return "\u2013"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
