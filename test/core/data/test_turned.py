"""A drive whose LiDAR stands the other way round."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames
from vpr_core.data.turned import turned_cloud
from vpr_core.types import Pose


def test_a_cloud_is_turned_about_the_vehicle_not_about_the_lidar() -> None:
    ahead, left = Pose((2.0, 0.0, 1.0)), Pose((2.0, 0.0, 1.0), (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5)))
    cloud = np.array([[10.0, 3.0, -1.0, 0.7]], np.float32)
    np.testing.assert_allclose(turned_cloud(cloud, ahead), [[-14.0, -3.0, -1.0, 0.7]], atol=1e-5)
    np.testing.assert_allclose(turned_cloud(cloud, left), [[-10.0, 1.0, -1.0, 0.7]], atol=1e-5)
    for mounted in (ahead, left):
        np.testing.assert_allclose(turned_cloud(turned_cloud(cloud, mounted), mounted), cloud, atol=1e-5)
    assert cloud[0, 0] == 10.0


def test_the_command_turns_clouds_and_leaves_all_else(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["turn", "--frames", str(frames), "--out", str(tmp_path / "turned")])
    before, after = Frames.load(frames), Frames.load(tmp_path / "turned")
    assert f"{len(before)} frames, session {before.session}-turned" in capsys.readouterr().out
    assert after.frames == before.frames and after.map_frame == before.map_frame
    np.testing.assert_array_equal(after.image(3), before.image(3))
    np.testing.assert_allclose(after.cloud(3)[:, :2], -before.cloud(3)[:, :2], atol=1e-4)
    np.testing.assert_array_equal(after.cloud(3)[:, 2:], before.cloud(3)[:, 2:])
    with pytest.raises(SystemExit):
        main(["turn", "--frames", str(frames), "--out", str(tmp_path / "turned")])
    assert "exists already" in capsys.readouterr().err


def test_a_drive_without_clouds_is_refused(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = tmp_path / "bare"
    main(["turn", "--frames", str(frames), "--out", str(bare)])
    lines = [line.split(",") for line in (bare / "frames.csv").read_text().splitlines()]
    emptied = [lines[0], *[[*line[:3], "", "", *line[5:]] for line in lines[1:]]]
    (bare / "frames.csv").write_text("".join(",".join(line) + "\n" for line in emptied))
    with pytest.raises(SystemExit):
        main(["turn", "--frames", str(bare), "--out", str(tmp_path / "out")])
    assert "has no clouds" in capsys.readouterr().err and not (tmp_path / "out").exists()
