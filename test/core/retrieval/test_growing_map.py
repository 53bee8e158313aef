"""Maps that grow by places, and the poses that they grow along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.errors import InputError, MapError
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.camera_bundle import CameraBundle
from vpr_core.retrieval.growing_map import GrowingMap
from vpr_core.retrieval.live_poses import LivePoses
from vpr_core.retrieval.place_map import PlaceMap
from vpr_core.types import Pose

SECOND_NS = 10**9
START_NS = 1_700_000_000 * SECOND_NS


def track_of(*points: tuple[float, float], max_jump_m: float = 10.0) -> LivePoses:
    """A track from (second, x) on."""
    track = LivePoses(max_jump_m)
    for second, x_m in points:
        track.add(START_NS + round(second * SECOND_NS), Pose((x_m, 0.0, 0.0)))
    return track


def x_at(track: LivePoses, second: float) -> float | None:
    pose = track.at(START_NS + round(second * SECOND_NS))
    return None if isinstance(pose, str) else pose.position_m[0]


def test_poses_are_interpolated_in_whatever_order_they_came() -> None:
    track = track_of((0.0, 0.0), (0.4, 4.0), (0.2, 1.0))
    assert x_at(track, 0.3) == pytest.approx(2.5) and x_at(track, 0.1) == pytest.approx(0.5)
    assert x_at(track, 0.5) is None and x_at(track, -0.1) is None
    assert track.newest_ns == START_NS + 400_000_000


def test_poses_far_apart_in_time_are_not_interpolated() -> None:
    track = track_of((0.0, 0.0), (0.6, 4.0))
    assert x_at(track, 0.3) is None and not track.lost


@pytest.mark.parametrize(
    ("second", "pose", "kind"),
    [
        (-1_700_000_000.0, Pose((0.0, 0.0, 0.0)), "stamp"),
        (1.0, Pose((float("inf"), 0.0, 0.0)), "pose"),
        (1.0, Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)), "pose"),
        (0.0, Pose((0.0, 0.0, 0.0)), "repeated"),
        (0.1, Pose((17.0, 0.0, 0.0)), "jump"),
    ],
)
def test_what_is_not_believed_is_named(second: float, pose: Pose, kind: str) -> None:
    track = track_of((0.0, 0.0))
    with pytest.raises(InputError) as raised:
        track.add(START_NS + round(second * SECOND_NS), pose)
    assert raised.value.kind == kind
    assert x_at(track, 0.0) == 0.0 and x_at(track, 0.05) is None


def test_a_jump_is_measured_against_what_a_vehicle_can_drive() -> None:
    assert not track_of((0.0, 0.0), (0.1, 14.9)).lost
    assert not track_of((0.0, 0.0), (10.0, 500.0)).lost
    with pytest.raises(InputError, match=r"from \(0.0, 0.0, 0.0\) to \(1000.0, 0.0, 0.0\), 1000.0 m in 10.00 s"):
        track_of((0.0, 0.0), (10.0, 1000.0))


def test_after_a_jump_only_coming_back_soon_or_a_restart_is_believed() -> None:
    track = track_of((0.0, 0.0), (0.1, 0.1))
    for second in (0.2, 0.3, 30.0):
        with pytest.raises(InputError):
            track.add(START_NS + round(second * SECOND_NS), Pose((1000.0, 0.0, 0.0)))
    assert track.lost
    track.add(START_NS + round(0.4 * SECOND_NS), Pose((0.4, 0.0, 0.0)))
    assert not track.lost and x_at(track, 0.25) == pytest.approx(0.25)
    with pytest.raises(InputError):
        track.add(START_NS + round(0.5 * SECOND_NS), Pose((1000.0, 0.0, 0.0)))
    track.restart()
    track.add(START_NS + round(0.6 * SECOND_NS), Pose((1000.1, 0.0, 0.0)))
    assert not track.lost and x_at(track, 0.55) is None


def test_no_pose_is_known_across_a_step_that_no_vehicle_makes() -> None:
    track = track_of((0.0, 0.0), (0.1, 1.0), (0.2, 7.0), (0.3, 8.0))
    assert not track.lost
    assert x_at(track, 0.15) is None and "jump" in str(track.at(START_NS + 150_000_000))
    assert x_at(track, 0.05) == pytest.approx(0.5) and x_at(track, 0.25) == pytest.approx(7.5)


def test_a_clock_that_goes_back_begins_another_time_but_not_another_place() -> None:
    track = track_of((100.0, 0.0), (0.0, 5.0))
    assert track.times_clock_went_back == 1 and not track.lost
    assert x_at(track, 100.0) is None and x_at(track, 0.0) == 5.0
    with pytest.raises(InputError, match="jumped"):
        track_of((100.0, 0.0), (0.0, 50.0))


def test_only_the_last_seconds_are_kept() -> None:
    track = track_of(*((0.5 * step, 0.0) for step in range(100)))
    assert x_at(track, 30.0) is None and x_at(track, 45.0) == 0.0


def test_a_map_grown_place_by_place_is_that_of_the_drive(
    bundle: Path, frames: Path, place_map: Path, tmp_path: Path
) -> None:
    drive, offline = Frames.load(frames), PlaceMap.load(place_map)
    growing = GrowingMap(Bundle.load(bundle), tmp_path / "map", drive.session)
    growing.set_frame(drive.map_frame)
    assert growing.save() is None and not (tmp_path / "map").exists()
    for index, frame in enumerate(drive.frames):
        assert frame.pose and growing.add(drive.image(index), frame.stamp_ns, frame.pose)
        assert not growing.add(drive.image(index), frame.stamp_ns, frame.pose), "too near"
        if index == 2:
            assert growing.save() == tmp_path / "map" and growing.unsaved == 0
    assert growing.unsaved == len(drive) - 3 and growing.save() and growing.save() is None
    live = PlaceMap.load(tmp_path / "map", offline.model_hash, "camera")
    assert live.places == offline.places and (live.map_frame, live.image_size) == ("map", offline.image_size)
    assert np.abs(live.descriptors - offline.descriptors).max() < 1e-5


def test_an_image_of_another_shape_is_refused_by_a_map_that_is_continued(bundle: Path, place_map: Path) -> None:
    growing = GrowingMap(Bundle.load(bundle), place_map, "later")
    with pytest.raises(InputError, match="another camera or crop"):
        growing.add(np.zeros((64, 64, 3), np.uint8), 1, Pose((0.0, 0.0, 0.0)))
    assert growing.unsaved == 0 and growing.wants(Pose((0.0, 0.0, 0.0)))


def test_a_place_in_work_when_a_session_begins_is_in_neither(bundle: Path, frames: Path, tmp_path: Path) -> None:
    class Interrupted(CameraBundle):
        def encode(self, observations: Sequence[np.ndarray]) -> np.ndarray:
            if growing.session == "first":
                growing.begin_session("second")
            return super().encode(observations)

    loaded, drive = Bundle.load(bundle), Frames.load(frames)
    interrupted = Interrupted(*(getattr(loaded, field.name) for field in fields(CameraBundle)))
    growing = GrowingMap(interrupted, tmp_path / "map", "first")
    pose = drive.frames[0].pose
    assert pose and not growing.add(drive.image(0), 1, pose) and not len(growing)
    assert growing.add(drive.image(0), 2, pose)
    assert [(place.session, place.stamp_ns) for place in growing.places] == [("second", 2)]


def test_frames_of_poses_do_not_mix(bundle: Path, place_map: Path, tmp_path: Path) -> None:
    with pytest.raises(MapError, match="has its poses in map, the odometry is in odom"):
        GrowingMap(Bundle.load(bundle), place_map, "later").set_frame("odom")
    fresh = GrowingMap(Bundle.load(bundle), tmp_path / "map", "later")
    with pytest.raises(MapError, match="names no frame"):
        fresh.set_frame("")
    fresh.set_frame("odom")
    with pytest.raises(MapError, match="has its poses in odom, the odometry is in map"):
        fresh.set_frame("map")


def test_a_map_without_poses_is_not_continued(bundle: Path, place_map: Path, tmp_path: Path) -> None:
    known = PlaceMap.load(place_map)
    unposed = tuple(replace(place, pose=None) for place in known.places)
    replace(known, places=unposed, map_frame="").save(tmp_path / "map")
    with pytest.raises(MapError, match="has no poses in a named frame"):
        GrowingMap(Bundle.load(bundle), tmp_path / "map", "later")
