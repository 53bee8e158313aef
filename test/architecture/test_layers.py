"""Who may import whom: a module imports from lower layers, inside a layer only along the arrows named here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = {
    "types": 0, "errors": 0, "files": 0, "preprocess": 0, "parallel": 0, "geodesy": 0,
    "losses": 1, "structvpr": 1, "models": 1, "data": 1,
    "retrieval": 2, "evaluation": 2,
    "training": 3, "synthetic": 3, "export": 3,
    "experiments": 4, "commands": 5, "cli": 6, "__main__": 7,
}  # fmt: skip
WITHIN = {("evaluation", "retrieval"), ("data", "structvpr"), ("export", "training"), ("files", "errors"),
          ("preprocess", "errors"), ("parallel", "errors")}  # fmt: skip
ROS = {"rclpy", "sensor_msgs", "geometry_msgs", "nav_msgs", "std_msgs", "cv_bridge", "launch", "launch_ros",
       "vpr_distill_msgs", "vpr_distill_ros", "sensor_msgs_py", "ament_index_python"}  # fmt: skip
NODES_MAY_USE = {"retrieval", "data", "types", "errors", "files", "preprocess"}
CORE = sorted((ROOT / "vpr_core").rglob("*.py"))
NODES = sorted((ROOT / "vpr_distill_ros").glob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_of_core(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("vpr_core.")} & set(LAYER)


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_core_imports_lower_layers_and_no_ros(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported(path)} & ROS
    here = path.relative_to(ROOT / "vpr_core").with_suffix("").parts[0]
    if here == "__init__":
        assert not parts_of_core(path)
        return
    for part in parts_of_core(path) - {here}:
        assert LAYER[part] < LAYER[here] or (here, part) in WITHIN, f"{here} must not import {part}"


@pytest.mark.parametrize("path", NODES, ids=lambda path: path.name)
def test_nodes_use_only_what_a_robot_needs(path: Path) -> None:
    assert parts_of_core(path) <= NODES_MAY_USE


def test_what_the_launch_files_share_is_nothing_that_a_node_imports() -> None:
    users = {path.stem for path in NODES if {name.split(".")[0] for name in imported(path)} & {"launch", "launch_ros"}}
    assert users == {"launch_arguments"}
    assert not [path for path in NODES if "vpr_distill_ros.launch_arguments" in imported(path)]


def test_every_part_has_its_layer() -> None:
    parts = {path.relative_to(ROOT / "vpr_core").with_suffix("").parts[0] for path in CORE} - {"__init__"}
    assert parts == set(LAYER)


def test_launch_and_test_are_no_packages() -> None:
    assert not (ROOT / "launch" / "__init__.py").exists()
    assert not (ROOT / "test" / "__init__.py").exists()


def test_a_camera_robot_imports_neither_torch_nor_training() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import vpr_core.retrieval.recognizer, vpr_core.retrieval.query; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'kornia', 'transformers') "
        "or name.startswith(('vpr_core.training', 'vpr_core.losses', 'vpr_core.models'))])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_a_library_that_a_bundle_needs_is_named_where_it_is_missing(bundle: Path, lidar_bundle: Path) -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules[sys.argv[2]] = None; from vpr_core.retrieval.bundle import Bundle; "
    for folder, library in ((bundle, "onnxruntime"), (lidar_bundle, "torch")):
        command = [sys.executable, "-c", code + "Bundle.load(sys.argv[1])", str(folder), library]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert f"BundleError: {folder} is a " in result.stderr and f"bundle, which needs {library}" in result.stderr


LOADED_BY = """
import sys
import numpy as np
from vpr_core.data.frames import Frames
from vpr_core.retrieval.recognizer import PlaceRecognizer
drive = Frames.load(sys.argv[3])
recognizer = PlaceRecognizer.load(sys.argv[1], sys.argv[2], rerank=int(sys.argv[4]))
recognizer.recognize(drive.image(0) if recognizer.modality == "camera" else drive.cloud(0), 1)
print(sorted(name for name in sys.modules if name in ("torch", "onnxruntime", "kornia", "transformers")
      or name in ("vpr_core.training", "vpr_core.losses", "vpr_core.models", "vpr_core.export")))
"""


@pytest.fixture
def feature_map(place_map: Path, frames: Path, tmp_path: Path) -> Path:
    """A map with the local features that are taken where none are named."""
    import shutil

    from vpr_core.retrieval.local_features import DEFAULT
    from vpr_core.retrieval.place_features import store_features

    folder = Path(shutil.copytree(place_map, tmp_path / "map"))
    store_features(folder, frames, DEFAULT)
    return folder


@pytest.mark.parametrize(
    ("bundle_name", "map_name", "rerank", "expected"),
    [
        ("bundle", "place_map", 0, "['onnxruntime']"),
        ("bundle", "feature_map", 100, "['onnxruntime']"),
        ("lidar_bundle", "lidar_map", 0, "['torch', 'vpr_core.models']"),
    ],
)
def test_a_robot_that_recognises_a_place_imports_what_its_sensor_needs(
    request: pytest.FixtureRequest, frames: Path, bundle_name: str, map_name: str, rerank: int, expected: str
) -> None:
    import subprocess
    import sys

    folders = [str(request.getfixturevalue(name)) for name in (bundle_name, map_name)]
    command = [sys.executable, "-c", LOADED_BY, *folders, str(frames), str(rerank)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == expected
