"""A localizer process, and everything that it publishes and offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped

from vpr_distill_msgs.msg import PlaceMatchArray

ACCEPT_ALL = -0.99


@pytest.fixture
def robot(start_robot: Callable[..., Any], bundle: Path, place_map: Path) -> Callable[..., Any]:
    """robot(**parameters) starts a localizer in the test's namespace; bundle and map are given unless overridden."""

    def make(*arguments: str, **parameters: Any) -> Any:
        values = {"bundle": bundle, "map": place_map, "min_similarity": ACCEPT_ALL, **parameters}
        node = start_robot("localizer", *arguments, **values)
        node.matches = node.probe.collect(PlaceMatchArray, f"{node.name}/matches")
        node.poses = node.probe.collect(PoseWithCovarianceStamped, f"{node.name}/pose")
        node.candidates = node.probe.collect(PoseArray, f"{node.name}/candidates")
        return node

    return make


@pytest.fixture
def lidar_robot(robot: Callable[..., Any], namespace: str, lidar_bundle: Path, lidar_map: Path) -> Callable[..., Any]:
    """Like `robot`, with a LiDAR model."""

    def make(*arguments: str, **parameters: Any) -> Any:
        given = {"modality": "lidar", "bundle": lidar_bundle, "map": lidar_map, "cloud_topic": f"{namespace}/points"}
        return robot(*arguments, **given | parameters)

    return make
