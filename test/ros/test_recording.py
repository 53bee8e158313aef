"""record.launch.py: the command that it runs, and the files that it hands to rosbag2."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
import yaml
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from vpr_distill_ros.recording import MIB, Recording, read_topics, record_command

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "record"
DRIVES = ("teacher", "camera", "lidar")
DISTROS = ("humble", "jazzy", "kilted", "")
SENSORS = {"/camera/image/compressed", "/camera/camera_info", "/lidar/points", "/odom", "/gnss/fix"}
# Fields of mcap::McapWriterOptions, as the README of rosbag2_storage_mcap lists them.
WRITER_FIELDS = {"noChunkCRC", "noChunking", "noMessageIndex", "noSummary", "chunkSize", "compression",
                 "compressionLevel", "forceCompression"}  # fmt: skip


def recording(**changes: object) -> Recording:
    given = {"topics": ["/a", "/b"], "out": Path("drive"), "storage_config": CONFIG / "mcap_zstd.yaml",
             "qos_overrides": CONFIG / "qos_overrides.yaml", **changes}  # fmt: skip
    return Recording(**given)  # type: ignore[arg-type]


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


@pytest.mark.parametrize("distro", DISTROS)
def test_topics_stand_last_as_each_distribution_takes_them(distro: str) -> None:
    words = record_command(recording(), distro)
    assert words[:3] == ["ros2", "bag", "record"] and words[-2:] == ["/a", "/b"]
    assert (words[-3] == "--topics") == (distro != "humble")
    assert option(words, "--storage") == "mcap" and option(words, "--output") == "drive"
    assert not [word for word in words if word.startswith("--compression")]


def test_a_snapshot_keeps_a_size_and_is_not_split() -> None:
    drive = record_command(recording(max_bag_duration_s=60), "jazzy")
    assert option(drive, "--max-bag-duration") == "60" and option(drive, "--max-cache-size") == str(100 * MIB)
    assert "--snapshot-mode" not in drive and "--use-sim-time" not in drive
    kept = record_command(recording(max_bag_duration_s=60, snapshot=True, use_sim_time=True), "jazzy")
    assert {"--snapshot-mode", "--use-sim-time"} <= set(kept) and "--max-bag-duration" not in kept
    assert option(kept, "--max-cache-size") == str(1024 * MIB)
    assert option(record_command(recording(snapshot=True, cache_mib=7), "jazzy"), "--max-cache-size") == str(7 * MIB)


@pytest.mark.parametrize("snapshot", [False, True], ids=["drive", "snapshot"])
def test_rosbag2_understands_the_command(snapshot: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    verb = pytest.importorskip("ros2bag.verb.record", reason="rosbag2 is absent")
    import os

    words = record_command(recording(snapshot=snapshot, max_bag_duration_s=60), os.environ.get("ROS_DISTRO", ""))
    monkeypatch.setattr("sys.argv", words)  # the options of a storage plug-in are looked up there
    parser = argparse.ArgumentParser()
    verb.RecordVerb.add_arguments(verb.RecordVerb.__new__(verb.RecordVerb), parser, "ros2")
    given = parser.parse_args(words[3:])
    assert given.topics == ["/a", "/b"] and given.storage == "mcap" and given.snapshot_mode is snapshot
    assert given.max_bag_duration == (0 if snapshot else 60)


@pytest.mark.parametrize("drive", DRIVES)
def test_a_drive_lists_its_sensor_and_what_tells_poses(drive: str) -> None:
    topics = read_topics(CONFIG / f"{drive}_drive.yaml")
    assert len(set(topics)) == len(topics) and all(re.fullmatch(r"(/\w+)+", topic) for topic in topics)
    assert ("/camera/image/compressed" in topics, "/lidar/points" in topics) == (drive != "lidar", drive != "camera")
    assert {"/odom", "/tf", "/tf_static", "/gnss/fix"} <= set(topics)


def test_a_file_without_topics_is_refused(tmp_path: Path) -> None:
    for content in ("", "topics: []", "- /a", "topics: [1]"):
        (tmp_path / "mine.yaml").write_text(content)
        with pytest.raises(ValueError, match=r"mine\.yaml lists no topics: expected"):
            read_topics(tmp_path / "mine.yaml")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("topics: [")
    for name in ("mine.yaml", "absent.yaml"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a list of topics"):
            read_topics(tmp_path / name)


def test_sensors_are_taken_by_best_effort_and_static_transforms_late() -> None:
    overrides = yaml.safe_load((CONFIG / "qos_overrides.yaml").read_text())
    assert set(overrides) <= set(read_topics(CONFIG / "teacher_drive.yaml"))
    profiles = {
        topic: QoSProfile(
            history=HistoryPolicy.get_from_short_key(given["history"]),
            depth=given["depth"],
            reliability=ReliabilityPolicy.get_from_short_key(given["reliability"]),
            durability=DurabilityPolicy.get_from_short_key(given["durability"]),
        )
        for topic, given in overrides.items()
    }
    static = profiles.pop("/tf_static")
    assert (static.durability, static.reliability) == (DurabilityPolicy.TRANSIENT_LOCAL, ReliabilityPolicy.RELIABLE)
    best_effort = {name for name, qos in profiles.items() if qos.reliability == ReliabilityPolicy.BEST_EFFORT}
    assert best_effort == SENSORS and all(qos.depth >= 50 for qos in profiles.values())


def test_chunks_are_compressed_by_the_storage() -> None:
    storage = yaml.safe_load((CONFIG / "mcap_zstd.yaml").read_text())
    assert set(storage) <= WRITER_FIELDS and storage["compression"] == "Zstd"
    assert storage["chunkSize"] == 4 * MIB and not (storage["noMessageIndex"] or storage["noSummary"])
