"""Charts of reports: recall as bars, precision over recall, and a histogram of latency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vpr_core.evaluation.breakdown import Share
from vpr_core.evaluation.precision_recall import PrecisionRecall
from vpr_core.evaluation.report import Chart
from vpr_core.evaluation.svg import ACCENT, BAR, INK, blank, inline_svg, styled


def share_bars(
    title: str,
    shares: Sequence[Share],
    references: Sequence[float | None] = (),
    text: str = "",
    highlight: str | None = None,
    share_of: str = "Recall@1",
) -> Chart:
    """Recall@1 of groups as horizontal bars from 0 to 1; a reference is a tick across its bar.

    highlight: the one group in colour; None colours all. share_of: what a bar is, where it is another share.
    """
    with styled():
        figure, axes = blank(0.34 * len(shares) + 0.55)
        for row, share in enumerate(shares):
            recall = share.recall
            axes.barh(row, recall or 0.0, height=0.62, color=ACCENT if highlight in (None, share.name) else BAR)
            axes.text(1.02, row, _in_words(recall), va="center", fontsize=9.0)
        for row, reference in enumerate(references):
            if reference is not None:
                axes.plot([reference] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=1.6)
        names = [f"{share.name} ({share.queries})" if share.queries else share.name for share in shares]
        axes.set(xlim=(0, 1.16), ylim=(len(shares) - 0.4, -0.6), xticks=[0, 0.25, 0.5, 0.75, 1.0], xlabel=share_of)
        axes.set_yticks(range(len(shares)), names, color=INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    described = ", ".join(f"{share.name} {_in_words(share.recall)}" for share in shares)
    return Chart(title, inline_svg(figure, f"{title}, {share_of}: {described}"), _share_rows(shares, references), text)


def _in_words(recall: float | None) -> str:
    return "no query" if recall is None else f"{recall:.3f}"


def _share_rows(shares: Sequence[Share], references: Sequence[float | None]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"": share.name, "recall_at_1": share.recall, "right": share.right, "queries": share.queries}
        for share in shares
    ]
    for row, reference in zip(rows, references, strict=False):
        row["reference"] = reference
    return rows


def precision_recall_chart(
    title: str, curve: PrecisionRecall, reference: PrecisionRecall | None, threshold: float | None
) -> Chart:
    """Precision over recall, a reference method's curve in grey, and a ring where the threshold of a bundle lies."""
    point = None if threshold is None else at_threshold(curve, threshold)
    with styled():
        figure, axes = blank(3.2)
        for drawn, color, width in ((reference, BAR, 1.2), (curve, ACCENT, 1.8)):
            if drawn is not None and len(drawn.recall) and not np.isnan(drawn.average_precision):
                recall, precision = np.append(0.0, drawn.recall), np.append(drawn.precision[0], drawn.precision)
                axes.plot(recall, precision, color=color, linewidth=width, drawstyle="steps-pre")
        if point:
            axes.plot(point[1], point[0], "o", color=INK, markersize=7, fillstyle="none", markeredgewidth=1.5)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
    ap = curve.average_precision
    text = curve.absent or f"Average precision {ap:.3f}"
    if reference is not None and not np.isnan(reference.average_precision):
        text += f" (grey: {reference.average_precision:.3f})"
    if point:
        text += f"; ring: accepted from {threshold:.3f}, precision {point[0]:.3f} at recall {point[1]:.3f}"
    svg = inline_svg(figure, f"Precision over recall, {title}: {text}")
    return Chart(title, svg, _curve_rows(curve), text)


def at_threshold(curve: PrecisionRecall, threshold: float) -> tuple[float, float] | None:
    """Precision and recall of what is accepted from a similarity up; None where nothing is, or nothing has a place."""
    accepted = int((curve.threshold >= threshold).sum())
    if not accepted or np.isnan(curve.average_precision):
        return None
    return float(curve.precision[accepted - 1]), float(curve.recall[accepted - 1])


def _curve_rows(curve: PrecisionRecall, count: int = 12) -> list[dict[str, object]]:
    if np.isnan(curve.average_precision):
        return []
    chosen = np.unique(np.linspace(0, len(curve.threshold) - 1, min(count, len(curve.threshold))).round().astype(int))
    return [
        {"accepted from": round(float(curve.threshold[i]), 3), "precision": round(float(curve.precision[i]), 3),
         "recall": round(float(curve.recall[i]), 3)}
        for i in chosen
    ]  # fmt: skip


def latency_chart(title: str, times_ms: np.ndarray, text: str = "") -> Chart:
    """A histogram of times with their median and 95th percentile; what lies beyond the 99th is named in words."""
    median, p95, p99, longest = np.percentile(times_ms, [50, 95, 99, 100])
    counts, edges = np.histogram(times_ms[times_ms <= p99], bins=24, range=(0.0, float(p99)))
    with styled():
        figure, axes = blank(2.4)
        axes.bar(edges[:-1], counts, np.diff(edges) * 0.9, align="edge", color=ACCENT)
        for value, name, align, aside in ((median, "p50", "right", -3), (p95, "p95", "left", 3)):
            axes.axvline(value, color=INK, linewidth=0.9, ymax=1.08, clip_on=False)
            axes.annotate(f"{name} {value:.1f} ms", (value, 1.06), (aside, 0), ("data", "axes fraction"),
                          "offset points", ha=align, va="center", fontsize=9.0)  # fmt: skip
        axes.set(xlim=(0, float(max(p99, p95) * 1.12)), xlabel="milliseconds", ylabel="queries")
    figures = {"queries": len(times_ms), "p50_ms": median, "p95_ms": p95, "p99_ms": p99, "longest_ms": longest}
    rows = [{name: round(float(value), 2) if name != "queries" else value for name, value in figures.items()}]
    beyond = int((times_ms > p99).sum())
    words = f"{beyond} of {len(times_ms)} are longer than is drawn, the longest {longest:.1f} ms. " if beyond else ""
    svg = inline_svg(figure, f"{title}: median {median:.1f} ms, 95 % within {p95:.1f} ms")
    return Chart(title, svg, rows, (words + text).strip())
