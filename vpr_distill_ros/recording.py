"""The command of rosbag2 that records a drive. Here alone is what differs between the ROS 2 distributions.

Looked up in rosbag2's sources: `ros2 bag record` of Humble (0.15), Jazzy (0.26) and Rolling before and after Kilted
(0.29 and later). All of them know every option used here except for the topics: Humble knows them only as positional
arguments, Jazzy and Kilted know both and advise against these, what comes after Kilted knows only `--topics`.
All of them keep what snapshot mode holds by size, not by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

STORAGE = "mcap"
"""Named, since Humble's default is sqlite3; there it comes with the package rosbag2_storage_mcap."""

MIB = 1024 * 1024
CACHE_MIB = 100
SNAPSHOT_MIB = 1024
SNAPSHOT_SERVICE = "/rosbag2_recorder/snapshot"


@dataclass(frozen=True)
class Recording:
    """What is recorded, and how."""

    topics: Sequence[str]
    out: Path
    """The folder of the bag; it must not be there."""
    storage_config: Path
    qos_overrides: Path
    max_bag_duration_s: int = 0
    """A next file is begun after so long; 0 never. Not used by a snapshot, which is written at once."""
    cache_mib: int = 0
    """Memory for messages not yet written, in a snapshot for all that is kept; 0 is CACHE_MIB or SNAPSHOT_MIB."""
    snapshot: bool = False
    """Keep the newest messages in memory and write them when SNAPSHOT_SERVICE is called."""
    use_sim_time: bool = False


def read_topics(path: str | Path) -> list[str]:
    """The list `topics` of a YAML file. Raises ValueError where it has none or cannot be read."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as a list of topics: {error}") from error
    topics = content.get("topics") if isinstance(content, dict) else None
    if not topics or not all(isinstance(topic, str) for topic in topics):
        raise ValueError(f"{path} lists no topics: expected `topics:` with one name a line, such as - /camera/image")
    return topics


def record_command(recording: Recording, distro: str) -> list[str]:
    """The words of the command. distro: what ROS_DISTRO says."""
    cache_mib = recording.cache_mib or (SNAPSHOT_MIB if recording.snapshot else CACHE_MIB)
    words = ["ros2", "bag", "record", "--storage", STORAGE, "--output", str(recording.out)]
    words += ["--storage-config-file", str(recording.storage_config)]
    words += ["--qos-profile-overrides-path", str(recording.qos_overrides)]
    words += ["--max-cache-size", str(cache_mib * MIB)]
    if recording.snapshot:
        words += ["--snapshot-mode"]
    elif recording.max_bag_duration_s:
        words += ["--max-bag-duration", str(recording.max_bag_duration_s)]
    if recording.use_sim_time:
        words += ["--use-sim-time"]
    return [*words, *([] if distro == "humble" else ["--topics"]), *recording.topics]
