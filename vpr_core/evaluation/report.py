"""A report as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from vpr_core.files import write_atomic


@dataclass(frozen=True)
class Section:
    """A heading with any of a paragraph, a picture (data URI), a table and query | match pairs under it."""

    title: str
    text: str = ""
    picture: str = ""
    rows: Sequence[dict[str, Any]] = field(default_factory=list)
    pairs: Sequence[tuple[str, str]] = field(default_factory=list)
    kind: str = ""
    """"right" or "wrong": the colour of the frame around the pairs."""


def write_report(path: Path, title: str, summary: str, sections: Sequence[Section]) -> Path:
    """Write the report; text is escaped."""
    template = Environment(autoescape=True).from_string(
        files("vpr_core.evaluation").joinpath("report.html").read_text(encoding="utf-8")
    )
    html = template.render(title=title, summary=summary, sections=sections)
    write_atomic(path, html.encode())
    return path
