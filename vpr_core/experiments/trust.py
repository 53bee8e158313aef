"""How far the localizer may be believed, from nothing: towns driven, mapped, calibrated, asked, and held to account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vpr_core.errors import BundleError
from vpr_core.experiments.trust_checks import Check, checks, checks_text, strict_precision
from vpr_core.experiments.trust_drives import TrustPlan, make_drives
from vpr_core.experiments.trust_figures import Row, printed, rows_of, write_rows
from vpr_core.experiments.trust_measure import Workplace, measure
from vpr_core.experiments.trust_report import write_trust_report
from vpr_core.retrieval.bundle import Bundle


@dataclass(frozen=True)
class Trust:
    """What was measured."""

    rows: list[Row]
    checks: list[Check]
    table: Path
    report: Path

    def text(self) -> str:
        """Tables, the figures at 99.9 %, and the checks."""
        strict = "\n".join(strict_precision(self.rows))
        return f"{printed(self.rows)}\n\n{strict}\n\n{checks_text(self.checks)}"


def measure_trust(
    plan: TrustPlan,
    bundles: Sequence[Path],
    work: Path,
    table: Path,
    *,
    verify_every: int = 3,
    workers: int = 1,
    bar: bool = True,
) -> Trust:
    """Draw the plan's drives into `work` where they lack, measure each bundle on them, and write table and report.

    Goes on where it was stopped: drives that are there are not drawn again, and results not made again unless bundle,
    plan or the code that makes them changed. verify_every: of so many LiDAR frames one is verified, which is the slow
    part. Raises BundleError for two bundles of one sensor, and what drives, maps and calibration raise.
    """
    folder = work / plan.name
    loaded = {path: Bundle.load(path) for path in bundles}
    hashes = {bundle.modality: bundle.hash for bundle in loaded.values()}
    if len(hashes) < len(bundles):
        raise BundleError(f"{' and '.join(map(str, bundles))} are of one sensor, expected one bundle of each")
    make_drives(plan, folder, workers=workers, bar=bar)
    places = [
        Workplace(plan, folder, path, bundle.hash, bundle.modality, verify_every) for path, bundle in loaded.items()
    ]
    found = measure(places, workers=workers, bar=bar)
    rows = rows_of(found, plan.name, hashes)
    write_rows(table, rows)
    lines = checks(rows)
    towns = ", ".join(map(str, plan.towns))
    named = ", ".join(f"{path.resolve().name} ({bundle.hash})" for path, bundle in loaded.items())
    summary = f"Towns {towns}, drives {plan.name}, each with its map at noon. Bundles: {named}."
    report = write_trust_report(folder / "trust.html", rows, found, lines, summary)
    return Trust(rows, lines, table, report)
