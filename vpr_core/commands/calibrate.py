"""`vpr-distill calibrate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import OpenUnitInterval, PositiveFloat, restricted_number_type
from tqdm import tqdm

from vpr_core.commands.options import add_device, add_verify, check_output_file, file_ending
from vpr_core.errors import FramesError

if TYPE_CHECKING:
    from vpr_core.data.frames import Frames
    from vpr_core.evaluation.reliability import Reliability
    from vpr_core.retrieval.bundle import Bundle
    from vpr_core.retrieval.calibration import Calibration
    from vpr_core.retrieval.match_model import Threshold
    from vpr_core.retrieval.place_map import PlaceMap
    from vpr_core.retrieval.validation import ValidationDrive
    from vpr_core.retrieval.verification import Verifier

Share = restricted_number_type("Share", float, [(">=", 0), ("<", 1)])
REPORT = "reliability.html"


def define(command: ArgumentParser) -> None:
    """Fit the probability that a match is right to validation drives, and store it with the map.

    Writes calibration.json into the map's folder: from then on `query` and the localizer give every match a probability
    and accept by target precision. Take drives that neither the model was trained on nor the map made of, under the
    conditions and in every light that the robot will meet, the other way round too if it comes back along its streets;
    each must have poses in the map's frame. Their frames beyond --radius_m of every place are off the map, and so are a
    camera's where none of these faces its way, and all of --off_map, drives through places that the map does not have;
    without any nothing is known of refusing there. A target of 99 % takes 99 accepted frames on the map without a wrong
    one, 99.9 % takes 999, and no drive by itself may speak against it. A map with clouds (LiDAR) or points of local
    features (camera) is calibrated for `verify` of the localizer too: of every --verify_every-th frame the candidates
    are checked, about 0.3 s a cloud and 0.2 s an image. docs/trust.md explains what comes out.

    vpr-distill calibrate --bundle bundle --map place_map --frames frames/dusk frames/night --off_map frames/elsewhere
    --test frames/rain
    """
    command.add_argument("--bundle", type=Path, required=True, help="folder written by `export`")
    command.add_argument("--map", type=Path, required=True, help="folder written by `map`; its calibration is replaced")
    command.add_argument("--frames", type=Path, nargs="+", required=True, help="frames folders of validation drives")
    command.add_argument(
        "--off_map", type=Path, nargs="+", default=[],
        help="frames folders of drives elsewhere, whatever frame their poses are in",
    )  # fmt: skip
    command.add_argument(
        "--test", type=Path, nargs="+", default=[], help="frames folders not to calibrate on: a row of figures each"
    )
    command.add_argument(
        "--test_off_map", type=Path, nargs="+", default=[], help="the same of drives elsewhere: none must be accepted"
    )
    command.add_argument("--radius_m", type=PositiveFloat, default=10.0, help="a match within this distance is right")
    command.add_argument(
        "--exclusion_m", type=PositiveFloat, default=None,
        help="places within this distance of a candidate are no rivals of it; 1.5 times --radius_m by default",
    )  # fmt: skip
    command.add_argument(
        "--off_map_share", type=Share, default=0.1,
        help="share of its time that the robot is off the map, 0.5 for one with a camera that returns the way it came: "
        "frames there are weighted to it; more is stricter",
    )  # fmt: skip
    command.add_argument(
        "--target", type=OpenUnitInterval, default=0.99, help="precision that the rows of --test are judged by"
    )
    add_verify(command, 2, "a probability")
    command.add_argument(
        "--report", type=file_ending(".html"), default=None, help=f"report to write; {REPORT} in the map by default"
    )
    add_device(command)


def run(options: dict[str, Any]) -> None:
    from vpr_core.evaluation.evaluate import table_text
    from vpr_core.evaluation.reliability import of_validation, write_reliability
    from vpr_core.retrieval.bundle import Bundle
    from vpr_core.retrieval.calibrating import MIN_FRAMES, calibrate
    from vpr_core.retrieval.place_map import PlaceMap
    from vpr_core.retrieval.verifiers import verifier_if_wanted

    report = Path(options["report"] or options["map"] / REPORT)
    bundle = Bundle.load(options["bundle"], options["device"])
    place_map = PlaceMap.load(options["map"], bundle.hash, bundle.modality)
    check_output_file(report, "--report")
    drives = _drives(options["frames"], place_map), _drives(options["off_map"])
    tests = _drives(options["test"], place_map), _drives(options["test_off_map"])
    verifier = verifier_if_wanted(options["verify"], options["map"], bundle.modality, options["device"])
    reader = _Reader(bundle, place_map, verifier, options["verify_every"])
    validation = [*reader.described(drives[0], True), *reader.described(drives[1], False)]
    calibration, validated = calibrate(
        place_map, validation, options["radius_m"], options["exclusion_m"], options["off_map_share"]
    )
    found = of_validation(validated)
    checked = of_validation(validated.checked) if validated.checked else None
    rows = _tested(reader, calibration, tests, options["target"])
    named = {name: [drive.session for drive in of] for name, of in zip(("frames", "off_map"), drives, strict=True)}
    told = {"drives": named, "reliability": found.to_json(), "tested": rows}
    path = calibration.save(options["map"], told | ({"verified": checked.to_json()} if checked else {}))
    off_map = int((~validated.on_map).sum())
    print(f"{path}: {len(validated.right)} validation frames, {off_map} of them off the map")
    _tell(found, calibration.thresholds)
    if checked and calibration.checked:
        print(f"verified, {checked.matches} of these frames:")
        _tell(checked, calibration.checked.thresholds)
    elif reader.verifier:
        print(f"too few frames were checked for `verify`, it takes {MIN_FRAMES} on the map: lower --verify_every")
    if not validated.is_elsewhere.any():
        print("no validation frame is of a place that the map lacks: nothing is known of what happens there; give "
              "--off_map")  # fmt: skip
    if rows:
        print(f"drives not calibrated on, at {100 * options['target']:g} %:")
        print(table_text(rows, tuple(rows[0])))
    print(write_reliability(report, calibration, found, rows, checked))


def _tell(found: Reliability, thresholds: Sequence[Threshold]) -> None:
    from vpr_core.evaluation.evaluate import table_text
    from vpr_core.evaluation.reliability import threshold_rows

    print(
        f"expected calibration error {found.expected_calibration_error:.3f}, AUROC {found.auroc:.3f}, cross-validated"
    )
    rows = threshold_rows(thresholds)
    print(table_text(rows, tuple(rows[0])))


@dataclass(frozen=True)
class _Reader:
    """Makes validation drives of frames folders."""

    bundle: Bundle
    place_map: PlaceMap
    verifier: Verifier | None
    every: int

    def described(self, drives: list[Frames], on_map: bool) -> list[ValidationDrive]:
        return [self._described(drive, on_map) for drive in drives]

    def _described(self, drive: Frames, on_map: bool) -> ValidationDrive:
        from vpr_core.retrieval.checking import check_drive
        from vpr_core.retrieval.mapping import describe_with_light
        from vpr_core.retrieval.validation import ValidationDrive

        with tqdm(total=len(drive), desc=drive.session, unit="frame") as bar:
            descriptors, light = describe_with_light(self.bundle, drive, bar.update)
        checks = None
        if self.verifier:
            with tqdm(total=-(-len(drive) // self.every), desc=f"{drive.session}, verified", unit="frame") as bar:
                similarities = descriptors @ self.place_map.descriptors.T
                checks = check_drive(self.verifier, self.place_map, drive, similarities, self.every, bar.update)
        return ValidationDrive.of(drive, descriptors, on_map, checks, light)


def _drives(folders: list[Path], place_map: PlaceMap | None = None) -> list[Frames]:
    """The drives; with a map, those that must share its frame. Raises FramesError."""
    from vpr_core.data.frames import Frames

    drives = [Frames.load(folder) for folder in folders]
    for drive in drives:
        if not len(drive):
            raise FramesError(f"{drive.folder} has no frames to calibrate on")
        if place_map is not None and (drive.map_frame != place_map.map_frame or drive.area != drives[0].area):
            raise FramesError(
                f"{drive.folder} has poses in {drive.map_frame!r} of {drive.area[0] or 'no named area'}, the map in "
                f"{place_map.map_frame!r}, {drives[0].folder} in {drives[0].area[0] or 'no named area'}: a drive "
                "elsewhere belongs to --off_map or --test_off_map"
            )
    return drives


def _tested(
    reader: _Reader, calibration: Calibration, tests: tuple[list[Frames], list[Frames]], target: float
) -> list[dict[str, Any]]:
    from vpr_core.evaluation.reliability import checked_row, drive_row
    from vpr_core.retrieval.validation import collect

    rows = []
    for drives, on_map in zip(tests, (True, False), strict=True):
        for drive, described in zip(drives, reader.described(drives, on_map), strict=True):
            samples = collect(reader.place_map, [described], calibration.radius_m, calibration.exclusion_m)
            rows.append(drive_row(drive.session, calibration, samples, target))
            if calibration.checked:
                rows.append(checked_row(f"{drive.session}, verified", calibration, samples.checked, target))
    return rows
