"""bag_replay as a maker of training frames: of a bag, and of live topics."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float32
from std_srvs.srv import Trigger

from vpr_core.data.frames import Frames
from vpr_core.errors import FramesError
from vpr_distill_ros.bag_replay_node import _DEFAULTS, BagReplay
from vpr_distill_ros.progress import Progress

SHIPPED = Path(__file__).parents[2] / "config" / "nodes" / "bag_replay.yaml"


def parameters(**values: Any) -> list[str]:
    return [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith("card.")}


def test_frames_of_a_bag_are_those_of_the_command_line(
    start: Callable[..., Any], namespace: str, bag: Path, frames: Path, tmp_path: Path
) -> None:
    values = {"mode": "frames", "bag": bag, "frames": tmp_path / "frames", "pose_topic": "/ground_truth/odom"}
    names = ["--ros-args", "-r", f"__ns:={namespace}"]
    process = start("bag_replay", *names, *parameters(**values))
    assert process.ends() == 0, process.output
    assert contents(tmp_path / "frames") == contents(frames) and len(contents(frames)) > 40
    count = len(Frames.load(frames))
    assert f"{tmp_path / 'frames'}: {count} frames, drops: none" in process.output
    again = start("bag_replay", *names, *parameters(**values))
    assert again.ends() == 1 and "exists already" in again.output and len(again.output.strip().splitlines()) == 1
    replaced = start("bag_replay", *names, *parameters(**values, overwrite="true", keyframe_m=20))
    assert replaced.ends() == 0, replaced.output
    assert len(Frames.load(tmp_path / "frames")) < count


def test_progress_is_told_on_a_topic_and_on_diagnostics_at_most_twice_a_second(probe: Any, namespace: str) -> None:
    name = probe.node.get_name()
    shares, told = probe.collect(Float32, f"/{name}/progress"), probe.collect(DiagnosticArray, "/diagnostics")
    progress, began_s = Progress(probe.node, "frames of a bag"), time.monotonic()
    probe.until(lambda: told or progress.tell("scan: 1 of 4", {"done": 1, "total": 4}, 0.25), "a first message")
    for _ in range(60):
        progress.tell("scan: 2 of 4", {"done": 2, "total": 4}, 0.5)
        time.sleep(0.01)
    progress.tell("done", {"done": 4, "total": 4}, 1.0, now=True)
    seconds = time.monotonic() - began_s
    probe.until(lambda: shares and shares[-1].data == 1.0 and told[-1].status[0].message == "done", "the last message")
    (status,) = told[-1].status
    assert {pair.key: pair.value for pair in status.values} == {"done": "4", "total": "4"}
    assert status.name == f"{name}: frames of a bag"
    assert {share.data for share in shares} <= {0.25, 0.5, 1.0} and len(shares) <= 2 + seconds / 0.5


def test_frames_of_live_topics_are_those_of_the_recording(
    start: Callable[..., Any], probe: Any, namespace: str, bag: Path, frames: Path, tmp_path: Path
) -> None:
    topics = {"image": "/camera/image/compressed", "cloud": "/lidar/points", "pose": "/ground_truth/odom"}
    remapped = [word for name, to in (*((topic, what) for what, topic in topics.items()), ("/clock", "clock"))
                for word in ("-r", f"{name}:={namespace}/{to}")]  # fmt: skip
    values = {"mode": "record_frames", "frames": tmp_path / "frames", "session": "frames",
              **{f"{what}_topic": f"{namespace}/{what}" for what in topics}}  # fmt: skip
    names = ["--ros-args", "-r", "__node:=recorder", "-r", f"__ns:={namespace}"]
    recorder = start("bag_replay", *names, *parameters(**values))
    recorder.says("taking frames into")
    replay = start(
        "bag_replay", "--ros-args", *remapped, *parameters(bag=bag, wait_for_subscribers_s=60, subscribers=3)
    )
    assert replay.ends() == 0, replay.output
    answer = probe.call(Trigger, f"{namespace}/recorder/finish")
    assert answer.success and f"frames in {tmp_path / 'frames'}" in answer.message
    assert recorder.ends() == 0, recorder.output
    live, recorded = Frames.load(tmp_path / "frames"), Frames.load(frames)
    rows = {frame.stamp_ns: frame.index for frame in recorded.frames}
    assert len(live) >= 0.9 * len(recorded) and {frame.stamp_ns for frame in live.frames} <= set(rows)
    for index, frame in enumerate(live.frames):
        other = rows[frame.stamp_ns]
        assert frame.pose == recorded.frames[other].pose
        assert np.array_equal(live.image(index), recorded.image(other))
        assert np.array_equal(live.cloud(index), recorded.cloud(other))
    assert (live.map_frame, live.session) == (recorded.map_frame, recorded.session)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "frames", "frames": "out"}, "no bag is given"),
        ({"mode": "frames", "bag": "absent"}, "no frames folder is given"),
        ({"mode": "frames", "bag": "absent", "frames": "out"}, "no bag at absent"),
        ({"mode": "record_frames", "image_topic": "/image"}, "no frames folder is given"),
        ({"mode": "record_frames", "frames": "out"}, "set image_topic or cloud_topic"),
        ({"mode": "record_frames", "frames": "out", "image_topic": "/image", "pose_topic": "tf:map>base_link"},
         "is read from bags only"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_line(
    start: Callable[..., Any], values: dict[str, str], reason: str, tmp_path: Path
) -> None:
    process = start("bag_replay", "--ros-args", *parameters(**values))
    assert process.ends() == 1
    assert process.output.startswith("error: ") and reason in process.output
    assert len(process.output.strip().splitlines()) == 1, process.output


def test_frames_of_topics_on_which_nothing_comes_leave_nothing(
    start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    values = {"mode": "record_frames", "frames": tmp_path / "frames", "image_topic": f"{namespace}/image"}
    process = start("bag_replay", "--ros-args", *parameters(**values))
    process.says("taking frames into")
    assert process.signalled(signal.SIGTERM) == 1
    assert "no frame came of it" in process.output and "Traceback" not in process.output
    assert not list(tmp_path.glob("*frames*"))


def test_a_signal_while_progress_is_told_ends_the_frames_too(
    monkeypatch: pytest.MonkeyPatch, namespace: str, tmp_path: Path
) -> None:
    """It may shut ROS down in the middle of any call; what was taken is written all the same."""
    tell = Progress.tell

    def signal_and_tell(self: Progress, *values: Any) -> None:
        rclpy.shutdown()
        tell(self, *values)

    monkeypatch.setattr(Progress, "tell", signal_and_tell)
    values = {"mode": "record_frames", "frames": tmp_path / "frames", "image_topic": f"{namespace}/image"}
    rclpy.init(args=["--ros-args", *parameters(**values)])
    try:
        with pytest.raises(FramesError, match="no frame came of it"):
            BagReplay().work()
    finally:
        rclpy.try_shutdown()
    assert not list(tmp_path.glob("*frames*"))


def test_the_shipped_file_gives_every_parameter_its_default() -> None:
    from vpr_distill_ros.bag_replay_node import _frames_rows, _replay_rows

    rows = [*_replay_rows(), *_frames_rows()]
    shipped = yaml.safe_load(SHIPPED.read_text())["/**"]["ros__parameters"]
    assert shipped == {name: default for name, default, _ in rows}
    assert all(len(descriptor.description) > 20 and descriptor.read_only for _, _, descriptor in rows)
    assert {name: shipped[name] for name in ("keyframe_m", "keyframe_s", "tolerance_s", "overwrite")} == {
        name: _DEFAULTS[name] for name in ("keyframe_m", "keyframe_s", "tolerance_s", "overwrite")
    }
