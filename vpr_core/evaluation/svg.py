"""Inline SVG that takes the page's colours and type."""

from __future__ import annotations

import html
import io
import re
from contextlib import AbstractContextManager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = {
    "#1b1f24": "ink", "#5b6570": "muted", "#dfe3e8": "rule", "#b4bdc7": "bar",
    "#0b6e99": "accent", "#1a7f4b": "right", "#c2362b": "wrong", "#9a6a00": "off", "#ffffff": "paper",
}  # fmt: skip
"""Colours that charts are drawn in; in the page they become the variables of these names, light or dark."""
INK, MUTED, RULE, BAR, ACCENT, RIGHT, WRONG, OFF, PAPER = COLORS
WIDTH_IN = 5.0
"""360 points: on a phone a point is a pixel, and text of 10 points stays readable."""
STYLE: Any = {
    "svg.fonttype": "none", "font.size": 10.0, "axes.labelsize": 10.0, "xtick.labelsize": 9.0, "ytick.labelsize": 9.0,
    "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "xtick.major.size": 3.0, "ytick.major.size": 3.0,
}  # fmt: skip


def inline_svg(figure: Figure, description: str) -> str:
    """The figure as an SVG element that fills its container, the same bytes for the same figure."""
    buffer = io.StringIO()
    with styled():
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[\w.]+_\d+"', "<g", svg)  # the same in every figure, and nothing refers to them
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg role="img" aria-label="{html.escape(description)}" \1 '
                 'xmlns:xlink="http://www.w3.org/1999/xlink">', svg, count=1)  # fmt: skip
    for color, name in COLORS.items():
        svg = svg.replace(color, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", svg)


def styled() -> AbstractContextManager[None]:
    """In it, matplotlib draws in the charts' style, with the same ids for the same drawing."""
    return rc_context({**STYLE, "svg.hashsalt": "chart"})


def with_own_ids(svg: str, prefix: str) -> str:
    """The SVG with ids that no other one on the page has."""
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)


def blank(height_in: float) -> tuple[Figure, Axes]:
    """A figure of WIDTH_IN with one pair of axes."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()
