"""Record a drive as a bag of compressed MCAP: ros2 launch vpr_distill_ros record.launch.py drive:=teacher

With snapshot:=true nothing is written until it is asked for, for instance after a match that was wrong:

    ros2 service call /rosbag2_recorder/snapshot rosbag2_interfaces/srv/Snapshot

then the newest messages, cache_mib of them, are added to the bag. /tf_static is sent once: when the memory has gone
round, a snapshot lacks it, so take poses from odometry there.
"""

import os
from datetime import datetime
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction

from vpr_distill_ros.launch_arguments import flag, share, text, whole_number
from vpr_distill_ros.recording import CACHE_MIB, SNAPSHOT_MIB, Recording, read_topics, record_command

CONFIG = share(__file__) / "config" / "record"
ARGUMENTS = {
    "drive": ("teacher", "what is recorded: teacher (camera, LiDAR, poses), camera or lidar (that sensor and poses); "
              "each is the list of topics config/record/<drive>_drive.yaml"),
    "topics_file": ("", "a list of topics of your own (YAML, like config/record/teacher_drive.yaml) [that of drive]"),
    "out": (".", "folder in which the bag's folder is made"),
    "name": ("", "name of the bag's folder [<drive>_<date>-<time>]"),
    "max_bag_duration_s": ("300", "begin a next file of the bag after so long [s]; 0: one file"),
    "snapshot": ("false", "keep the newest messages in memory, write them when /rosbag2_recorder/snapshot is called"),
    "cache_mib": ("0", f"memory for messages [MiB]; 0: {CACHE_MIB}, which is to hold about a second, with snapshot "
                  f"{SNAPSHOT_MIB}, which is what a snapshot holds: at 30 MiB/s the last 34 s"),
    "storage_config": (str(CONFIG / "mcap_zstd.yaml"), "how MCAP is written (YAML)"),
    "qos_overrides": (str(CONFIG / "qos_overrides.yaml"), "quality of service by which topics are subscribed (YAML)"),
    "use_sim_time": ("false", "stamp messages by /clock"),
}  # fmt: skip


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_record)])


def _record(context: LaunchContext) -> list[ExecuteProcess]:
    drive = text(context, "drive")
    drives = sorted(path.name.removesuffix("_drive.yaml") for path in CONFIG.glob("*_drive.yaml"))
    if drive not in drives:
        raise ValueError(f"drive:={drive} is not understood: expected one of {', '.join(drives)}")
    topics_file = text(context, "topics_file") or CONFIG / f"{drive}_drive.yaml"
    folder = Path(text(context, "out")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    recording = Recording(
        topics=read_topics(topics_file),
        out=folder / (text(context, "name") or f"{drive}_{datetime.now():%Y_%m_%d-%H_%M_%S}"),
        storage_config=Path(text(context, "storage_config")),
        qos_overrides=Path(text(context, "qos_overrides")),
        max_bag_duration_s=whole_number(context, "max_bag_duration_s"),
        cache_mib=whole_number(context, "cache_mib"),
        snapshot=flag(context, "snapshot"),
        use_sim_time=flag(context, "use_sim_time"),
    )
    command = record_command(recording, os.environ.get("ROS_DISTRO", ""))
    # What is in memory has to reach the disk and the bag its index; by default launch kills after 10 s.
    patience = {"sigterm_timeout": "60", "sigkill_timeout": "30"}
    return [ExecuteProcess(cmd=command, name="record", output="screen", **patience)]
