"""match_recorder as a process: every answer a line, whole whenever it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Header

from vpr_core.errors import InputError
from vpr_core.retrieval.filter import Estimate, FilterReason
from vpr_core.retrieval.records import read_records, recognition_to_record
from vpr_core.retrieval.sequence import estimate_to_record
from vpr_core.types import Match, Pose, Reason, Recognition
from vpr_distill_msgs.msg import FilteredPlace, PlaceMatchArray
from vpr_distill_ros.conversions import filtered_to_message, matches_to_message, pose_with_covariance
from vpr_distill_ros.stamps import ns_to_stamp

START_NS = 1_700_000_000_000_000_000
COUNT = 20


def answer(index: int) -> Recognition:
    pose = Pose((index * 1.5, -2.0, 0.25)) if index % 2 else None
    reasons = (Reason.ACCEPTED, Reason.NOT_BEST) if index % 3 else (Reason.BELOW_SIMILARITY, Reason.BELOW_SIMILARITY)
    matches = tuple(
        Match(index + rank, "noon", 0, pose, 0.5 - 0.25 * rank, reason, 0.75 if index % 2 else None)
        for rank, reason in enumerate(reasons)
    )
    return Recognition(START_NS + index, matches, np.empty(0, np.float32))


def send(probe: Any, topic: str) -> None:
    publisher = probe.publisher(PlaceMatchArray, topic, 100)
    for index in range(COUNT):
        header = Header(stamp=ns_to_stamp(START_NS + index), frame_id="camera_optical")
        publisher.publish(
            matches_to_message(
                answer(index), header, map_frame="map", map_hash="aa", model_hash="bb", processing_ms=index + 0.5
            )
        )


def expected(index: int, received_ns: int) -> dict[str, Any]:
    return recognition_to_record(
        answer(index), map_hash="aa", model_hash="bb", processing_ms=index + 0.5, received_ns=received_ns
    )


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "idle"])
def test_every_answer_is_a_line(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path, end: str
) -> None:
    out, topic = tmp_path / "matches.jsonl", f"{namespace}/matches"
    idle = ["-p", "idle_s:=3.0"] if end == "idle" else []
    recorder = start("match_recorder", "--ros-args", "-p", f"out:={out}", "-p", f"topic:={topic}", *idle)
    send(probe, topic)
    probe.until(lambda: out.read_text().count("\n") == COUNT, "every line")
    assert (recorder.ends() if end == "idle" else recorder.signalled(getattr(signal, end))) == 0
    assert "Traceback" not in recorder.output and f"{COUNT} matches written to {out}" in recorder.output
    records = list(read_records(out))
    received_ns = [record["received_ns"] for record in records]
    assert received_ns == sorted(received_ns) and received_ns[0] > START_NS
    assert records == [expected(index, received_ns[index]) for index in range(COUNT)]


def test_a_record_says_what_was_recognised() -> None:
    record = expected(1, 5)
    assert record["stamp_ns"] == START_NS + 1 and record["accepted"] and record["received_ns"] == 5
    assert record["matches"][0] == {
        "place_id": 1,
        "session": "noon",
        "similarity": 0.5,
        "probability": 0.75,
        "accepted": True,
        "reason": "accepted",
        "position": [1.5, -2.0, 0.25],
    }
    assert [match["reason"] for match in expected(3, 5)["matches"]] == ["below_similarity"] * 2
    unposed = expected(2, 5)["matches"][0]
    assert unposed["position"] is None and unposed["probability"] is None


def test_places_along_the_drive_and_poses_are_lines_of_their_own_files(
    probe: Any, start: Callable[..., Any], namespace: str, tmp_path: Path
) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in ("out", "filtered_out", "pose_out")}
    words = [word for name, path in files.items() for word in ("-p", f"{name}:={path}")]
    recorder = start("match_recorder", "--ros-args", "-p", f"topic:={namespace}/matches", *words)
    place, turned = Pose((1.5, -2.0, 0.25)), Pose((3.0, 4.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    belief = np.array([0.0, 0.75])
    filtered = probe.publisher(FilteredPlace, f"{namespace}/filtered", 100)
    poses = probe.publisher(PoseWithCovarianceStamped, f"{namespace}/pose", 100)
    estimates = [
        Estimate(START_NS + index, belief, 0.25, 1, place, 0.75, 0, 0.0, reason, True)
        for index, reason in enumerate(FilterReason)
    ]
    for estimate in estimates:
        filtered.publish(filtered_to_message(estimate, "map", "aa", "bb"))
        poses.publish(pose_with_covariance(turned, ns_to_stamp(estimate.stamp_ns), "map", 2.0, 0.5))
    written = (files["filtered_out"], files["pose_out"])
    probe.until(lambda: all(path.read_text().count("\n") == len(estimates) for path in written), "every line")
    assert recorder.signalled() == 0 and "Traceback" not in recorder.output and not files["out"].read_text()
    for estimate, record in zip(estimates, read_records(files["filtered_out"]), strict=True):
        assert record["filtered"] == estimate_to_record(estimate) and record["received_ns"] > START_NS
        assert (record["stamp_ns"], record["map_hash"], record["model_hash"]) == (estimate.stamp_ns, "aa", "bb")
    for estimate, record in zip(estimates, read_records(files["pose_out"]), strict=True):
        assert (record["stamp_ns"], record["frame_id"]) == (estimate.stamp_ns, "map")
        assert (record["position"], record["quaternion_xyzw"]) == ([3.0, 4.0, 0.0], [0.0, 0.0, 1.0, 0.0])
        assert record["covariance"] == [*np.diag([4.0, 4.0, 4.0, 0.25, 0.25, 0.25]).reshape(36)]


@pytest.mark.parametrize("line", ['{"stamp_ns": 1, "matches', "[1, 2]", '{"place_id": 3}'])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "matches.jsonl"
    path.write_text('{"stamp_ns": 1, "matches": []}\n' + line + "\n")
    with pytest.raises(InputError, match="line 2"):
        list(read_records(path))


def test_a_full_disk_ends_it_in_one_line(probe: Any, start: Callable[..., Any], namespace: str) -> None:
    topic = f"{namespace}/matches"
    recorder = start("match_recorder", "--ros-args", "-p", "out:=/dev/full", "-p", f"topic:={topic}")
    send(probe, topic)
    assert recorder.ends() == 1
    assert "error: /dev/full cannot be written: No space left on device" in recorder.output
    assert "Traceback" not in recorder.output


def test_what_is_no_topic_is_one_line(start: Callable[..., Any], tmp_path: Path) -> None:
    recorder = start("match_recorder", "--ros-args", "-p", "topic:=a//b", "-p", f"out:={tmp_path / 'matches.jsonl'}")
    assert recorder.ends() == 1 and "error: topic is no name of a topic: " in recorder.output
    assert "Traceback" not in recorder.output


@pytest.mark.parametrize("out", ["", "/dev/null/impossible"])
def test_a_file_that_cannot_be_written_gives_one_line(start: Callable[..., Any], out: str) -> None:
    recorder = start("match_recorder", *(["--ros-args", "-p", f"out:={out}"] if out else []))
    assert recorder.ends() == 1
    assert recorder.output.startswith("error: ") and len(recorder.output.strip().splitlines()) == 1
