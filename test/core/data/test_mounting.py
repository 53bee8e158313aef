"""Where sensors are mounted and how the camera projects: from the bag to card.json and to the clouds of a map."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr_core.commands.clouds import cloud_options
from vpr_core.data.bag_writer import BagWriter
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import Options, ingest, work_of
from vpr_core.data.mounting import extrinsics
from vpr_core.data.poses import compose
from vpr_core.errors import BagError, FramesError
from vpr_core.synthetic.camera import Camera
from vpr_core.types import Pose

START_NS = 1_700_000_000_000_000_000
T_base_mast = Pose.from_xy_yaw(0.5, 0.1, math.pi / 2)
T_mast_lidar = Pose((0.2, 0.0, 1.7))
MATRIX = np.array([[50.0, 0.0, 32.0], [0.0, 51.0, 24.0], [0.0, 0.0, 1.0]])
Extra = Callable[[BagWriter], None]


@pytest.fixture
def write(tmp_path: Path, ros: Any) -> Callable[..., Path]:
    """write(*extras, child="base_link") is a bag of images, clouds and odometry along x, and what the extras add."""

    def make(*extras: Extra, child: str = "base_link", image_topic: str = "/camera/image_raw/compressed") -> Path:
        with BagWriter(tmp_path / "bag", overwrite=True) as bag:
            for extra in extras:
                extra(bag)
            for i in range(20):
                stamp = START_NS + i * 100_000_000
                bag.odometry("/odom", stamp, "odom", child, Pose((0.4 * i, 0.0, 0.0)), 4.0)
                if i % 5 == 1:
                    bag.image_jpeg(image_topic, stamp, "camera_optical", ros.jpeg(i))
                    bag.cloud("/points", stamp, "lidar", ros.cloud(i))
        return tmp_path / "bag"

    return make


def static(*links: tuple[str, str, Pose]) -> Extra:
    return lambda bag: bag.transforms("/tf_static", START_NS, links)


def info(topic: str = "/camera/camera_info", frame: str = "camera_optical", **other: Any) -> Extra:
    given = {"size": (64, 48), "matrix": MATRIX} | other
    return lambda bag: bag.camera_info(topic, START_NS, frame, **given)


def card_of(bag: Path, **options: Any) -> dict[str, Any]:
    return Frames.load(ingest(bag, bag.parent / "frames", overwrite=True, keyframe_m=0.0, **options)).card


def test_a_chain_of_static_transforms_is_put_together(write: Callable[..., Path]) -> None:
    chain = static(("base_link", "mast", T_base_mast)), static(("mast", "/lidar", T_mast_lidar))
    card = card_of(write(*chain, info()))
    found, expected = extrinsics(card, "lidar"), compose(T_base_mast, T_mast_lidar)
    assert found is not None and card["calibration"]["base_frame"] == "base_link"
    np.testing.assert_allclose(found.position_m, expected.position_m, atol=1e-12)
    assert found.yaw_rad == pytest.approx(math.pi / 2)
    assert extrinsics(card, "camera") is None and set(card["calibration"]["extrinsics"]) == {"lidar"}
    assert card["irregular"] == {"/tf_static: no transform from base_link to camera_optical: no transform names "
                                 "camera_optical": 1}  # fmt: skip
    assert card["calibration"]["camera"] == {
        "frame_id": "camera_optical", "width": 64, "height": 48, "K": MATRIX.reshape(-1).tolist(), "D": [0.0] * 5,
        "distortion_model": "plumb_bob",
    }  # fmt: skip


def test_the_town_s_card_has_both_sensors(frames: Path) -> None:
    card = Frames.load(frames).card
    width, height = card["image_size"]
    camera, lidar = extrinsics(card, "camera"), extrinsics(card, "lidar")
    assert lidar == Pose((0.0, 0.0, 1.9)) and camera is not None
    np.testing.assert_allclose(camera.position_m, Camera(width, height).T_base_camera[:3, 3])
    assert card["calibration"]["camera"]["K"] == pytest.approx(Camera(width, height).matrix.reshape(-1).tolist())
    assert not any("tf_static" in reason for reason in card["irregular"])


@pytest.mark.parametrize(
    ("extras", "reason"),
    [
        ([("base_link", "lidar", T_mast_lidar), ("mast", "lidar", T_mast_lidar)], "two parents, base_link and mast"),
        ([("mast", "lidar", T_mast_lidar), ("lidar", "mast", T_mast_lidar)], "in a circle, lidar > mast > lidar"),
        ([("mast", "lidar", T_mast_lidar)], "no transform names base_link"),
        ([("mast", "lidar", T_mast_lidar), ("cart", "base_link", T_base_mast)], "lidar < mast and base_link < cart do"),
        ([("base_link", "lidar", Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)))], "rotation is zero"),
        ([("base_link", "lidar", Pose((math.nan, 0.0, 0.0)))], "it is not finite"),
        ([("lidar", "lidar", T_mast_lidar)], "expected the names of two frames"),
    ],
)
def test_transforms_that_say_nothing_certain_are_told_and_not_used(
    extras: list[tuple[str, str, Pose]], reason: str, write: Callable[..., Path]
) -> None:
    card = card_of(write(static(*extras)), image_topic="none")
    assert "calibration" not in card and any(reason in text for text in card["irregular"]), card["irregular"]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (info(size=(128, 96)), "camera_info is of 128x96, the images are 64x48"),
        (info(matrix=np.zeros((3, 3))), "focal length is zero"),
        (info("/rear/camera_info", "rear_optical"), "of rear_optical, the images are of camera_optical"),
    ],
)
def test_intrinsics_of_something_else_are_told_and_not_used(
    extra: Extra, reason: str, write: Callable[..., Path]
) -> None:
    card = card_of(write(extra))
    assert "calibration" not in card and any(reason in text for text in card["irregular"]), card["irregular"]


def test_intrinsics_are_those_beside_the_image_topic_or_those_named(write: Callable[..., Path]) -> None:
    two = info(), info("/rear/camera_info", matrix=2 * MATRIX)
    assert card_of(write(*two))["calibration"]["camera"]["K"][0] == 50.0
    assert card_of(write(*two), camera_info_topic="/rear/camera_info")["calibration"]["camera"]["K"][0] == 100.0
    assert "calibration" not in card_of(write(*two), camera_info_topic="none")
    assert "calibration" not in card_of(write(*two, image_topic="/front"))
    with pytest.raises(BagError, match=r"is nav_msgs/msg/Odometry, expected sensor_msgs/msg/CameraInfo"):
        card_of(write(*two), camera_info_topic="/odom")


def test_poses_of_another_frame_become_those_of_the_base(write: Callable[..., Path]) -> None:
    mounted = static(("base_link", "lidar", Pose.from_xy_yaw(1.0, 0.0, 0.0)))
    bag = write(mounted, child="lidar")
    as_they_are = Frames.load(ingest(bag, bag.parent / "lidar", image_topic="none", keyframe_m=0.0))
    of_the_base = Frames.load(
        ingest(bag, bag.parent / "base", image_topic="none", keyframe_m=0.0, base_frame="base_link")
    )
    np.testing.assert_allclose(of_the_base.positions_m, as_they_are.positions_m - [1.0, 0.0, 0.0], atol=1e-9)
    assert as_they_are.card["calibration"]["extrinsics"]["lidar"] == [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert of_the_base.card["calibration"]["extrinsics"]["lidar"] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    with pytest.raises(BagError, match="--base_frame lidar takes them as they are"):
        card_of(bag, base_frame="cart", image_topic="none")


def test_a_bag_without_transforms_gives_the_card_and_the_hash_that_it_gave(write: Callable[..., Path]) -> None:
    card = card_of(write())
    assert "calibration" not in card and card["irregular"] == {}
    bag = write(static(("base_link", "lidar", T_mast_lidar)))
    assert work_of(bag, Options()) == work_of(bag, Options(base_frame=None))
    assert work_of(bag, Options()) != work_of(bag, Options(base_frame="base_link"))


def test_a_map_s_clouds_are_mounted_as_the_card_has_it_unless_told_otherwise() -> None:
    def mounted(card: dict[str, Any], text: str | None = None) -> Pose:
        named = {"clouds": True, "cloud_voxel_m": 0.4, "lidar_pose": text, "sweep_middle_s": 0.0}
        options = cloud_options(named, card)
        assert options is not None
        return options.T_base_lidar

    card = {"calibration": {"extrinsics": {"lidar": [1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0]}}}
    assert mounted(card) == Pose((1.0, 0.0, 2.0), (0.0, 0.0, 1.0, 0.0))
    assert mounted(card, "0,0,3") == Pose((0.0, 0.0, 3.0))
    assert mounted(card, "0,0,0") == mounted({}) == Pose((0.0, 0.0, 0.0))
    with pytest.raises(FramesError, match=r"has \[1.0\] for where the lidar is, expected 7 numbers"):
        mounted({"calibration": {"extrinsics": {"lidar": [1.0]}}})
