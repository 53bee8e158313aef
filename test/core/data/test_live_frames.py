"""Frames made while messages arrive are those that ingest makes of the recording."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vpr_core.data.bag import BagReader
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.data.live_frames import LiveFrames
from vpr_core.data.poses import pose_from_stamped
from vpr_core.data.stamps import header_stamp_ns
from vpr_core.errors import FramesError
from vpr_core.types import Pose

WriteDrive = Callable[..., Path]
START_NS = 1_700_000_000_000_000_000


def play(bag: Path, live: LiveFrames, topics: list[str] | None = None) -> int:
    """Hands over every message of these topics in the order of the recording; the most that ever waited."""
    most = 0
    with BagReader(bag) as reader:
        for raw in reader.raw_messages(topics):
            message = reader.decode(raw)
            if raw.msgtype.endswith("CompressedImage"):
                live.add_image(message)
            elif raw.msgtype.endswith("PointCloud2"):
                live.add_cloud(message)
            else:
                live.add_pose(header_stamp_ns(message), pose_from_stamped(message), message.header.frame_id)
            most = max(most, live.counts["waiting"])
    return most


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name not in ("card.json", "card.png")}


@pytest.mark.parametrize("sensors", ["image and cloud", "cloud alone"])
def test_live_frames_are_those_of_ingest(sensors: str, tmp_path: Path, write_drive: WriteDrive) -> None:
    bag = write_drive(tmp_path / "bag", 40)
    image = {"image_topic": None if sensors == "image and cloud" else "none"}
    expected = ingest(bag, tmp_path / "ingested", keyframe_m=1.5, **image)
    live = LiveFrames(tmp_path / "live", keyframe_m=1.5, has_image=sensors == "image and cloud")
    most = play(bag, live, None if sensors == "image and cloud" else ["/points", "/odom"])
    assert live.counts["frames"] > 10 and most < 12
    found = live.finish()
    assert files(found) == files(expected) and len(files(found)) > 15
    cards = [Frames.load(folder).card for folder in (found, expected)]
    for name in ("counts", "drops", "map_frame", "image_size", "synchronisation_ms", "seconds", "metres", "keyframes"):
        ours, theirs = (card[name]["frames"] if name == "counts" else card[name] for card in cards)
        assert ours == theirs, name
    assert not list(tmp_path.glob(".*"))


def test_live_frames_without_poses_are_chosen_by_time(tmp_path: Path, write_drive: WriteDrive) -> None:
    bag = write_drive(tmp_path / "bag", 12)
    expected = ingest(bag, tmp_path / "ingested", pose_topic="none", keyframe_s=1.0)
    live = LiveFrames(tmp_path / "live", has_pose=False, keyframe_s=1.0)
    play(bag, live, ["/camera", "/points"])
    assert files(live.finish()) == files(expected)


def test_memory_stays_bounded_where_partners_never_come(tmp_path: Path, ros: Any) -> None:
    live = LiveFrames(tmp_path / "live", has_cloud=False)
    for i in range(2000):
        live.add_image(ros.compressed(START_NS + i * 10_000_000, ros.jpeg(0), "jpeg"))
    assert live.counts["waiting"] <= 128
    assert live.counts["drops"]["no two poses around it within 0.5 s"] >= 2000 - 128
    with pytest.raises(FramesError, match="no frame came of it: .* x no two poses"):
        live.finish()
    assert not list(tmp_path.iterdir())


def test_a_clock_that_goes_back_ends_what_waits_and_the_drive_goes_on(tmp_path: Path, ros: Any) -> None:
    live = LiveFrames(tmp_path / "live", has_cloud=False, keyframe_m=0.0)
    for begin_ns, x_m in ((START_NS, 0.0), (START_NS - 3600 * 10**9, 50.0)):
        for i in range(30):
            stamp_ns = begin_ns + i * 100_000_000
            live.add_pose(stamp_ns, Pose((x_m + i, 0.0, 0.0)), "map")
            live.add_image(ros.compressed(stamp_ns, ros.jpeg(i), "jpeg"))
    drive = Frames.load(live.finish())
    assert len(drive) == 60 and drive.card["irregular"] == {"image: clock went back": 1, "pose: clock went back": 1}
    assert [frame.pose.position_m[0] for frame in drive.frames if frame.pose] == [*range(30), *range(50, 80)]


def test_broken_messages_are_counted_and_a_folder_is_not_replaced_unasked(tmp_path: Path, ros: Any) -> None:
    with LiveFrames(tmp_path / "live", has_cloud=False, has_pose=False, keyframe_s=0.0) as live:
        for i, data in enumerate((ros.jpeg(0), ros.jpeg(1)[:300], ros.jpeg(2))):
            live.add_image(ros.compressed(START_NS + i * 10**9, data, "jpeg"))
        live.add_image(ros.compressed(0, ros.jpeg(3), "jpeg"))
        live.finish()
    card = Frames.load(tmp_path / "live").card
    assert card["drops"] == {"image: JPEG was cut off after 300 bytes": 1, "image: header stamp is zero": 1}
    with pytest.raises(FramesError, match="exists already"):
        LiveFrames(tmp_path / "live")
    with pytest.raises(ZeroDivisionError), LiveFrames(tmp_path / "other"):
        _ = 1 / 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["live"]


def test_a_clock_that_goes_back_leaves_no_poses_behind(tmp_path: Path) -> None:
    live = LiveFrames(tmp_path / "live", has_cloud=False)
    kept = []
    for begin_ns in (START_NS, START_NS - 3600 * 10**9):
        for i in range(1000):
            live.add_pose(begin_ns + i * 10_000_000, Pose((0.1 * i, 0.0, 0.0)), "map")
        kept.append(len(live._poses._poses) if live._poses else 0)
    assert 0 < kept[1] <= kept[0] < 400
    live.discard()


def test_a_disk_that_takes_no_more_leaves_the_frames_that_are_whole(tmp_path: Path, ros: Any) -> None:
    rng = np.random.default_rng(0)
    flat, noise = np.full((240, 320, 3), 90, np.uint8), rng.integers(0, 255, (240, 320, 3), np.uint8)
    live = LiveFrames(tmp_path / "live", has_cloud=False, has_pose=False, keyframe_s=0.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))  # of a file; more fails as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            for i in range(8):
                picture = cv2.imencode(".png", noise if i == 5 else flat)[1].tobytes()
                live.add_image(ros.compressed(START_NS + i * 10**9, picture, "png"))
        drive = Frames.load(live.finish(early=True))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(drive) == 5 and len(list((tmp_path / "live" / "images").iterdir())) == 5
