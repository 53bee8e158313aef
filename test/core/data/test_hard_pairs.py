"""From what a localizer answered to pairs that training brings together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vpr_core.cli import main
from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.data.hard_pairs import Answered, HardPairs, pairs_of
from vpr_core.data.ingest import ingest
from vpr_core.errors import BagError, FramesError, RecipeError
from vpr_core.training.checkpoint import load_checkpoint
from vpr_core.types import Pose, Reason

START_NS = 1_700_000_000_000_000_000
MESSAGES = Path(__file__).parents[3] / "vpr_distill_msgs" / "msg"
DEFINITIONS = {f"vpr_distill_msgs/msg/{name}": (MESSAGES / f"{name}.msg").read_text()
               for name in ("PlaceMatch", "PlaceMatchArray")}  # fmt: skip
TYPES = get_typestore(Stores.ROS2_HUMBLE)
for _name, _text in DEFINITIONS.items():
    TYPES.register(get_types_from_msg(_text, _name))
TURNED_RAD = 0.5


def make(kind: str, *values: Any) -> Any:
    return TYPES.types[kind](*values)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory, write_drive: Callable[..., Path]) -> Frames:
    """The map's: an image a metre along x, 100 of them, each half a second after the one before."""
    folder = tmp_path_factory.mktemp("drive")
    return Frames.load(ingest(write_drive(folder / "bag", count=101), folder / "noon", keyframe_m=0.5))


def place(drive: Frames, x_m: float) -> tuple[str, int]:
    return drive.session, drive.frames[round(x_m)].stamp_ns


def answer(drive: Frames, at_m: float, reason: str, *places_m: float) -> Answered:
    return Answered(drive.frames[round(at_m)].stamp_ns, reason, tuple(place(drive, x_m) for x_m in places_m))


def found(drive: Frames, answered: Answered) -> list[tuple[float, int, int]]:
    """The x of each place, whether it is right, and its rank."""
    x_m = {frame.stamp_ns: frame.pose.position_m[0] for frame in drive.frames if frame.pose}
    pairs = pairs_of([answered], drive, [drive])
    assert all(pair.reason == answered.reason for pair in pairs)
    return [(round(x_m[pair.place_stamp_ns]), pair.right, pair.rank) for pair in pairs]


def test_places_before_the_right_one_are_wrong_and_those_between_are_neither(drive: Frames) -> None:
    # 40 m away is no other place, 5 m away is the same; what stands behind the right one was told apart from it.
    assert found(drive, answer(drive, 20, "ambiguous", 90, 60, 95, 25, 99)) == [(90, 0, 1), (95, 0, 3), (20, 1, 0)]


@pytest.mark.parametrize(
    ("reason", "expected"), [("accepted", []), ("below_target", [(20, 1, 2)])], ids=["accepted", "refused"]
)  # fmt: skip
def test_a_right_answer_is_hard_only_where_it_was_refused(
    drive: Frames, reason: str, expected: list[tuple[float, int, int]]
) -> None:
    assert found(drive, answer(drive, 20, reason, 22, 20, 90)) == expected


def test_a_wrong_place_that_was_accepted_is_hard(drive: Frames) -> None:
    assert found(drive, answer(drive, 80, "accepted", 10)) == [(10, 0, 1), (80, 1, 0)]


def test_answers_far_from_any_frame_and_pairs_twice_are_left_out(drive: Frames) -> None:
    late = replace(answer(drive, 20, "ambiguous", 90), stamp_ns=drive.frames[-1].stamp_ns + 10**9)
    twice = answer(drive, 20, "ambiguous", 90)
    assert pairs_of([late], drive, [drive]) == []
    assert len(pairs_of([twice, twice], drive, [drive])) == 2


def test_poses_in_two_frames_are_refused(drive: Frames) -> None:
    odometry = replace(drive, card={**drive.card, "map_frame": "odom"})
    with pytest.raises(FramesError, match="'odom'.*'map'.*anchored"):
        pairs_of([], odometry, [drive])


def write_matches(bag: BagWriter, drive: Frames, answered: Answered) -> None:
    def stamp(stamp_ns: int) -> Any:
        return make("builtin_interfaces/msg/Time", *divmod(stamp_ns, 10**9))

    pose = make("geometry_msgs/msg/Pose", make("geometry_msgs/msg/Point", 0.0, 0.0, 0.0),
                make("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0))  # fmt: skip
    reason, accepted = int(Reason[answered.reason.upper()]), answered.reason == "accepted"
    matches = [
        make("vpr_distill_msgs/msg/PlaceMatch", row, session, stamp(stamp_ns), 0.9 - row / 10, 0.5,
             accepted and not row, reason, True, pose)
        for row, (session, stamp_ns) in enumerate(answered.places)
    ]  # fmt: skip
    header = make("std_msgs/msg/Header", stamp(answered.stamp_ns), "camera_optical")
    message = make("vpr_distill_msgs/msg/PlaceMatchArray", header, "map", "aa", "bb", accepted, 0.1, 2.0, matches)
    kind = message.__msgtype__
    bag.raw("/localizer/matches", kind, bytes(TYPES.serialize_cdr(message, kind)), answered.stamp_ns)


def write_snapshot(path: Path, drive: Frames, ros: Any, first: int, count: int, wrong_m: float) -> Path:
    """Images, drifting odometry, believed poses at both ends, and answers that take each image for the wrong place."""
    T_map_odom = Pose.from_xy_yaw(3.0, -4.0, TURNED_RAD)
    with BagWriter(path, definitions=DEFINITIONS) as bag:
        for step in range(5 * count):
            stamp_ns = START_NS + (5 * first + step) * 100_000_000
            x_m = first + step / 5
            back = np.array([[np.cos(TURNED_RAD), np.sin(TURNED_RAD)], [-np.sin(TURNED_RAD), np.cos(TURNED_RAD)]])
            x, y = back @ (np.array([x_m, 0.0]) - T_map_odom.position_m[:2])
            bag.odometry("/odom", stamp_ns, "odom", "base_link", Pose.from_xy_yaw(x, y, -TURNED_RAD), 2.0)
            if step % 5 == 0:
                bag.image_jpeg("/camera", stamp_ns, "camera_optical", ros.jpeg(first + step // 5))
                write_matches(bag, drive, answer(drive, x_m, "ambiguous", wrong_m, x_m))
            if step in (0, 5, 5 * count - 10, 5 * count - 5) or step == 10 * (count // 4):
                off_m = 0.0 if step != 10 * (count // 4) else 60.0  # one opinion that no other shares
                believed = ros.make("geometry_msgs/msg/PoseWithCovariance", ros.pose(Pose((x_m + off_m, 0.0, 0.0))),
                                    np.zeros(36))  # fmt: skip
                kind = "geometry_msgs/msg/PoseWithCovarianceStamped"
                bag.write("/localizer/pose", ros.make(kind, ros.header(stamp_ns, "map"), believed), stamp_ns)
    return path


@pytest.fixture(scope="module")
def hard(drive: Frames, tmp_path_factory: pytest.TempPathFactory, ros: Any) -> Path:
    """What the command makes of two bags."""
    folder = tmp_path_factory.mktemp("hard")
    write_snapshot(folder / "bags" / "early", drive, ros, 2, 20, 90.0)
    write_snapshot(folder / "bags" / "late", drive, ros, 75, 20, 5.0)
    main(["hard-pairs", "--bags", str(folder / "bags"), "--frames", str(drive.folder), "--out", str(folder / "out"),
          "--pose_topic", "anchored:/localizer/pose+/odom", "--keyframe_m", "0.5"])  # fmt: skip
    return folder / "out"


def test_bags_become_frames_in_the_map_and_pairs(hard: Path) -> None:
    early = Frames.load(hard / "early")
    assert early.map_frame == "map" and early.card["poses"]["anchors"] == 4
    np.testing.assert_allclose(early.positions_m[:, 0], np.arange(2, 2 + len(early)), atol=1e-6)
    assert early.card["drops"]["/localizer/pose: alone in its opinion"] == 1
    pairs = HardPairs.load(hard / "hard_pairs.csv").pairs
    assert {pair.query_session for pair in pairs} == {"early", "late"} and {pair.place_session for pair in pairs} == {
        "noon"
    }
    assert sum(pair.right for pair in pairs) == len(pairs) / 2 == len(early) + len(Frames.load(hard / "late"))
    assert all(pair.distance_m > 50 for pair in pairs if not pair.right)
    height, width = cv2.imread(str(hard / "hard_pairs.jpg")).shape[:2]
    assert height > 1000 and width == 3 * 240


def test_training_brings_them_together_and_says_so(
    hard: Path, drive: Frames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(drive.folder), str(hard / "early"), str(hard / "late")]
    confused = HardPairs.load(hard / "hard_pairs.csv").confused([Frames.load(folder) for folder in folders])
    assert set(confused[len(drive)]) == {90} and len(drive) in confused[90]
    command = ["train", "--frames", *folders, "--hard_pairs", str(hard / "hard_pairs.csv"), "--steps", "2",
               "--batch_size", "8", "--image_height", "48", "--tensorboard", "false"]  # fmt: skip
    main([*command, "--out", str(tmp_path / "hard")])
    card = load_checkpoint(tmp_path / "hard").card["hard_pairs"]
    assert card["wrong"] == card["pairs"] / 2 > 10
    with pytest.raises(SystemExit):
        main([*command[:2], str(drive.folder), *command[5:], "--out", str(tmp_path / "without")])
    assert "the hard pairs are of the drives early, late, noon, and --frames has noon" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "right\nx\n"])
def test_a_file_that_holds_no_pairs_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(RecipeError, match="hard-pairs"):
        HardPairs.load(tmp_path / "pairs.csv")
    with pytest.raises(RecipeError, match="cannot be read"):
        HardPairs.load(tmp_path / "none.csv")


def test_a_type_that_nobody_defined_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="own_msgs/msg/Odd"), BagWriter(tmp_path / "bag") as bag:
        bag.raw("/odd", "own_msgs/msg/Odd", b"\0\1\0\0", 1)


def test_bags_without_answers_and_maps_of_other_drives_are_told(
    drive: Frames, tmp_path: Path, write_drive: Callable[..., Path], ros: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_drive(tmp_path / "bags" / "plain")
    write_snapshot(tmp_path / "bags" / "other", replace(drive, card={**drive.card, "session": "dusk"}), ros, 2, 8, 90.0)
    command = ["hard-pairs", "--bags", str(tmp_path / "bags"), "--frames", str(drive.folder), "--out"]
    with pytest.raises(SystemExit):
        main([*command, str(tmp_path / "out"), "--pose_topic", "/odom"])
    told = capsys.readouterr()
    assert "plain: left out" in told.out and "no topic of a localizer's matches" in told.out
    assert "are of the drives dusk, --frames has noon" in told.out and "none of 2 bags" in told.err
    with pytest.raises(SystemExit):
        main([*command, str(tmp_path / "out"), "--pose_topic", "anchored:/odom"])
    assert "anchored:BELIEVED+ODOMETRY" in capsys.readouterr().out
