"""Where `vpr-distill trust` keeps what it measured: a file of results for each town and sensor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import vpr_core
from vpr_core.experiments.trust_drives import TrustPlan, TrustTown
from vpr_core.experiments.trust_outcomes import Outcome
from vpr_core.experiments.trust_runs import Church, Cut
from vpr_core.files import sha256_bytes, sha256_json, write_json

FITTED = "fitted.json"
"""In a map's folder: the key of what its filter was fitted by."""


@dataclass(frozen=True)
class Results:
    """Of one town and one sensor."""

    outcomes: list[Outcome]
    cuts: list[Cut]
    churches: list[Church]
    code: str = ""
    """`code_hash` of the sources that made them."""

    def to_json(self) -> dict[str, Any]:
        return {
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "code": code_hash(),
            "cuts": [asdict(cut) for cut in self.cuts],
            "churches": [asdict(church) for church in self.churches],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Results:
        return cls(
            [Outcome.from_json(value) for value in values["outcomes"]],
            [Cut(**value) for value in values["cuts"]],
            [Church(**value) for value in values["churches"]],
            values["code"],
        )


@dataclass(frozen=True)
class Workplace:
    """What all tasks of one bundle have in common."""

    plan: TrustPlan
    folder: Path
    """Of the plan's drives."""
    bundle: Path
    bundle_hash: str
    sensor: str
    verify_every: int
    """Of so many frames the candidates of one are checked; 0 verifies nothing."""

    @property
    def key(self) -> str:
        """Names what results are of: bundle and plan."""
        return sha256_json([self.bundle_hash, asdict(self.plan)])[:16]

    @property
    def frames(self) -> Path:
        return self.folder / "frames"

    def map(self, name: str) -> Path:
        return self.folder / "maps" / self.bundle_hash / name.replace(" ", "_")

    def results(self, name: str) -> Path:
        return self.folder / "results" / self.bundle_hash / f"{name.replace(' ', '_')}.json"

    def verified_name(self, town: TrustTown) -> str:
        """Of the results of a town whose frames were verified."""
        return f"{town.name} verified {self.verify_every}"

    def stored(self, name: str) -> Results | None:
        """Results that were made with this key; None where there are none."""
        try:
            values = json.loads(self.results(name).read_text())
            return Results.from_json(values) if values["key"] == self.key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, name: str, results: Results) -> None:
        path = self.results(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"key": self.key, **results.to_json()})

    @property
    def towns(self) -> list[TrustTown]:
        """All that are measured, that of like houses last."""
        return [*(self.plan.town(self.frames, number) for number in self.plan.towns), self.plan.identical(self.frames)]


def code_hash() -> str:
    """Of the sources that maps, calibrations, filters and this measurement are made by, kept with each result."""
    root = Path(vpr_core.__file__).parent
    sources = sorted([*root.glob("retrieval/*.py"), *root.glob("experiments/trust_*.py")])
    report = {"trust_figures.py", "trust_checks.py", "trust_report.py"}
    of_each = [[path.name, sha256_bytes(path.read_bytes())] for path in sources if path.name not in report]
    return sha256_json(of_each)[:12]


def results_of(workplaces: Sequence[Workplace]) -> dict[tuple[str, str], Results]:
    """By sensor and town, of what was measured."""
    found: dict[tuple[str, str], Results] = {}
    for place in workplaces:
        for town in place.towns:
            parts = [place.stored(name) for name in (town.name, place.verified_name(town))]
            if present := [part for part in parts if part]:
                found[place.sensor, town.name] = Results(
                    [one for part in present for one in part.outcomes],
                    [one for part in present for one in part.cuts],
                    [one for part in present for one in part.churches],
                )
    return found


def forget(workplaces: Sequence[Workplace]) -> None:
    """Remove results, and what filters were fitted by, so that all is measured again."""
    for place in workplaces:
        for town in place.towns:
            place.results(town.name).unlink(missing_ok=True)
            place.results(place.verified_name(town)).unlink(missing_ok=True)
            (place.map(town.name) / FITTED).unlink(missing_ok=True)


def by_other_code(workplaces: Sequence[Workplace]) -> list[str]:
    """Results that the code as it is now did not make, "lidar town 7"."""
    code, found = code_hash(), []
    for place in workplaces:
        for name in [name for town in place.towns for name in (town.name, place.verified_name(town))]:
            results = place.stored(name)
            if results and results.code != code:
                found.append(f"{place.sensor} {name}")
    return found
