"""Whether probabilities mean what they say: the reliability diagram, the expected calibration error, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.evaluation.precision_recall import auroc_of
from vpr_core.evaluation.report import Chart, Section, write_report
from vpr_core.evaluation.svg import ACCENT, BAR, INK, blank, inline_svg, styled
from vpr_core.retrieval.calibrating import Validated
from vpr_core.retrieval.calibration import Calibration
from vpr_core.retrieval.match_model import Threshold
from vpr_core.retrieval.validation import Samples

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The best matches whose probability lies in [low, high), the last with 1 itself."""

    low: float
    high: float
    matches: int
    share: float
    """Of the weight of all matches."""
    probability: float
    """Their weighted mean."""
    right: float
    """Weighted share of them that is right."""


@dataclass(frozen=True)
class Reliability:
    """How probabilities of best matches agree with what was right."""

    bins: tuple[Bin, ...]
    """Those that hold matches, rising."""
    expected_calibration_error: float
    """Mean over the bins, by their share, of how far probability and share right lie apart (Naeini et al., 2015)."""
    auroc: float
    """Of the probability, unweighted, see `PrecisionRecall`; NaN where all are right or all are wrong."""
    matches: int

    def to_json(self) -> dict[str, Any]:
        """The values, None for NaN."""
        return {**asdict(self), "auroc": _or_none(self.auroc)}


def reliability(probability: np.ndarray, right: np.ndarray, weight: np.ndarray | None = None) -> Reliability:
    """Of probabilities [M] of best matches, bool [M] whether they were right, and what each counts [M], all alike."""
    weight = np.ones(len(right)) if weight is None else weight
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = tuple(_bin(index, number == index, probability, right, weight) for index in np.unique(number[weight > 0]))
    error = sum(one.share * abs(one.probability - one.right) for one in bins)
    return Reliability(bins, float(error), auroc_of(probability, right), len(right))


def error_by_chance(probability: np.ndarray, share: float = 0.95, draws: int = 1000) -> float:
    """What the expected calibration error stays below in a `share` of cases where each match is right with just its
    probability [M]: an error up to that may be chance.

    Matches are drawn as independent, which those of one drive are not: of a drive it may be larger.
    """
    rng, number = np.random.default_rng(0), np.minimum((probability * BINS).astype(int), BINS - 1)
    off = (rng.random((draws, len(probability))) < probability) - probability
    errors = sum(np.abs(off[:, number == index].sum(axis=1)) for index in np.unique(number)) / len(probability)
    return float(np.quantile(errors, share))


def _bin(index: int, within: np.ndarray, probability: np.ndarray, right: np.ndarray, weight: np.ndarray) -> Bin:
    mass = weight[within]
    return Bin(
        low=float(index / BINS),
        high=float((index + 1) / BINS),
        matches=int(within.sum()),
        share=float(mass.sum() / weight.sum()),
        probability=float(np.average(probability[within], weights=mass)),
        right=float(np.average(right[within], weights=mass)),
    )


def of_validation(validated: Validated) -> Reliability:
    """Of the frames that a calibration was fitted to, each judged by models that had not seen it."""
    return reliability(validated.probability, validated.right, validated.weight)


def drive_row(name: str, calibration: Calibration, samples: Samples, target: float) -> dict[str, Any]:
    """What a calibration does on a drive: a row of a table. recall is of the frames on the map, as `Samples` has it."""
    features, right = samples.by_light(calibration.light_shift).features[:, 0], samples.right[:, 0]
    return _row(name, calibration.best(features), calibration.accepts(features, target), right, samples)


def checked_row(name: str, calibration: Calibration, samples: Samples, target: float) -> dict[str, Any]:
    """The same of frames whose candidates were checked, for a calibration that knows checks."""
    features = samples.by_light(calibration.light_shift).checked_features
    probability, accepted = calibration.accepts_checked(samples.of_chosen(features), target)
    return _row(name, probability, accepted, samples.right_chosen, samples)


def _row(
    name: str, probability: np.ndarray, accepted: np.ndarray, right: np.ndarray, samples: Samples
) -> dict[str, Any]:
    known, count = int(samples.on_map.sum()), int(accepted.sum())
    found = reliability(probability, right)
    return {
        "drive": name,
        "frames": len(right),
        "on_map": known,
        "accepted": count,
        "wrong": int((accepted & ~right).sum()),
        "precision": float((accepted & right).sum() / count) if count else None,
        "recall": float((accepted & right & samples.on_map).sum() / known) if known else None,
        "auroc": _or_none(found.auroc),
        "ece": None if samples.is_elsewhere.all() else found.expected_calibration_error,
    }


def threshold_rows(thresholds: Sequence[Threshold]) -> list[dict[str, Any]]:
    """A table of what each target precision takes; of a camera also in a light that too few frames were right in."""
    by_light = any(entry.in_unknown_light != entry.probability for entry in thresholds)
    return [
        {
            "target": f"{100 * entry.target:g} %",
            "accepted_from": _told(entry.probability),
            **({"in_unknown_light": _told(entry.in_unknown_light)} if by_light else {}),
            "frames": entry.accepted,
            "wrong": entry.wrong,
            "lower_bound": entry.lower_bound,
        }
        for entry in thresholds
    ]


def _told(probability: float | None) -> str:
    return "not supported" if probability is None else f"{probability:.4f}"


def reliability_chart(title: str, found: Reliability) -> Chart:
    """Share right over probability, a dot a bin and the larger the more matches are in it; the line is the ideal."""
    with styled():
        figure, axes = blank(4.2)
        axes.plot([0, 1], [0, 1], color=BAR, linewidth=1.2)
        shares = np.array([one.share for one in found.bins])
        given, right = ([getattr(one, name) for one in found.bins] for name in ("probability", "right"))
        axes.plot(given, right, color=ACCENT, linewidth=1.2)
        axes.scatter(given, right, s=20 + 300 * shares, color=ACCENT, zorder=3)
        for one in found.bins:
            axes.annotate(str(one.matches), (one.probability, one.right), (6, -10), textcoords="offset points",
                          fontsize=8.0, color=INK)  # fmt: skip
        axes.set(xlim=(0, 1.03), ylim=(-0.03, 1.05), xlabel="probability given", ylabel="share right")
    text = f"Expected calibration error {found.expected_calibration_error:.3f}, AUROC {found.auroc:.3f}"
    rows = [
        {"probability": f"{one.low:.1f} to {one.high:.1f}", "matches": one.matches, "mean": one.probability,
         "right": one.right}
        for one in found.bins
    ]  # fmt: skip
    return Chart(title, inline_svg(figure, f"Reliability of {title}: {text}"), rows, text)


def write_reliability(
    path: Path,
    calibration: Calibration,
    found: Reliability,
    tested: Sequence[dict[str, Any]] = (),
    checked: Reliability | None = None,
) -> Path:
    """The report of a calibration as one HTML file.

    tested: rows of `drive_row` and `checked_row`. checked: of frames whose candidates were checked.
    """
    ece, auroc = f"{found.expected_calibration_error:.3f}", f"{found.auroc:.3f}"
    off_map = f"{100 * calibration.off_map_share:g} %"
    sections = [
        Section(
            "Reliability",
            "Each validation frame was judged by a model fitted to other parts of the drives. A number is of frames; "
            "frames off the map (no place is near, or for a camera none that faces its way) weigh as if the robot were "
            f"off it {off_map} of its time.",
            charts=[reliability_chart("best matches", found)],
        ),
        Section(
            "Thresholds",
            "From which probability a match is accepted for a target precision, the validation frames from there up, "
            "and the lower bound of their precision (95 %), weighted alike. A target is supported where one wrong "
            "match more than was seen would not break it, and no drive by itself speaks against it. The frames are of "
            "every light; in one that too few of them were right in, a camera's match is accepted from "
            "in_unknown_light.",
            rows=threshold_rows(calibration.thresholds),
        ),
    ]
    if checked and calibration.checked:
        sections += [
            Section(
                "Reliability, verified",
                "The same of frames whose candidates were registered with the map's clouds, as the localizer does with "
                "`verify`: the match that registration leads to, or the most similar one.",
                charts=[reliability_chart("verified matches", checked)],
            ),
            Section("Thresholds, verified", rows=threshold_rows(calibration.checked.thresholds)),
        ]
    if tested:
        sections.append(Section("Drives not calibrated on", rows=tested))
    summary = f"Map {calibration.map_hash}, model {calibration.model_hash}: right is within {calibration.radius_m:g} m."
    return write_report(path, "Calibration", summary, sections, [(ece, "expected calibration error"), (auroc, "AUROC")])


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
