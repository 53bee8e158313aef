"""How far the localizer may be believed, from nothing: towns driven, mapped, calibrated, asked, and held to account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vpr_core.errors import BundleError
from vpr_core.experiments.trust_checks import Check, checks, checks_text, strict_precision
from vpr_core.experiments.trust_drives import TrustPlan, make_drives
from vpr_core.experiments.trust_figures import Row, printed, rows_of, write_rows
from vpr_core.experiments.trust_measure import measure
from vpr_core.experiments.trust_report import write_trust_report
from vpr_core.experiments.trust_results import Workplace, by_other_code, forget, results_of
from vpr_core.retrieval.bundle import Bundle


@dataclass(frozen=True)
class Trust:
    """What was measured."""

    rows: list[Row]
    checks: list[Check]
    by_other_code: list[str]
    """Results that stem from a run with other code than this."""
    table: Path
    report: Path

    def text(self) -> str:
        """Tables, the figures at 99.9 %, and the checks."""
        strict = "\n".join(strict_precision(self.rows))
        text = f"{printed(self.rows)}\n\n{strict}\n\n{checks_text(self.checks)}"
        if self.by_other_code:
            text += (
                f"\nmeasured before the code was changed: {', '.join(self.by_other_code)}; --again true repeats them"
            )
        return text


def measure_trust(
    plan: TrustPlan,
    bundles: Sequence[Path],
    work: Path,
    table: Path,
    *,
    verify_every: int = 2,
    only_stored: bool = False,
    again: bool = False,
    workers: int = 1,
    bar: bool = True,
) -> Trust:
    """Draw the plan's drives into `work` where they lack, measure each bundle on them, and write table and report.

    Goes on where it was stopped: drives that are there are not drawn again, and results not made again unless bundle
    or plan are others or `again` asks for it. verify_every: of so many frames one is verified, which is the slow part;
    0 verifies none. only_stored: nothing is drawn or measured, and what lacks counts
    as not measured. Raises BundleError for two bundles of one sensor, and what drives, maps and calibration raise.
    """
    folder = work / plan.name
    loaded = {path: Bundle.load(path) for path in bundles}
    hashes = {bundle.modality: bundle.hash for bundle in loaded.values()}
    if len(hashes) < len(bundles):
        raise BundleError(f"{' and '.join(map(str, bundles))} are of one sensor, expected one bundle of each")
    if not only_stored:
        make_drives(plan, folder, workers=workers, bar=bar)
    places = [
        Workplace(plan, folder, path, bundle.hash, bundle.modality, verify_every) for path, bundle in loaded.items()
    ]
    if again:
        forget(places)
    if not only_stored:
        measure(places, workers=workers, bar=bar)
    found = results_of(places)
    rows = rows_of(found, plan.name, hashes)
    write_rows(table, rows)
    lines = checks(rows)
    towns = ", ".join(map(str, plan.towns))
    named = ", ".join(f"{path.resolve().name} ({bundle.hash})" for path, bundle in loaded.items())
    summary = f"Towns {towns}, drives {plan.name}, each with its map at noon. Bundles: {named}."
    report = write_trust_report(folder / "trust.html", rows, found, lines, summary)
    return Trust(rows, lines, by_other_code(places), table, report)
