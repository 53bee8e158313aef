"""Writing that survives a kill, a full disk and damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vpr_core.errors import MapError, VprError
from vpr_core.files import commit, folder_in_the_making, read_checked, read_manifest

WRITER = """
import sys
from pathlib import Path
from vpr_core.files import commit
generation = int(sys.argv[2])
while True:
    generation += 1
    data = str(generation).encode() * 200_000
    commit(Path(sys.argv[1]), "manifest.json", {"data.bin": data},
           lambda stored: {"schema": 1, "data": stored["data.bin"], "generation": generation})
"""


def load(folder: Path) -> tuple[int, bytes]:
    manifest = read_manifest(folder, "manifest.json", 1, MapError, "test")
    return manifest["generation"], read_checked(folder, manifest["data"], MapError, "test")


def write(folder: Path, generation: int) -> None:
    data = str(generation).encode() * 200_000
    commit(folder, "manifest.json", {"data.bin": data},
           lambda stored: {"schema": 1, "data": stored["data.bin"], "generation": generation})  # fmt: skip


def test_a_kill_at_any_moment_leaves_one_whole_state(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(folder, 0)
    for round_number in range(8):
        generation, _ = load(folder)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(generation)])
        deadline = time.monotonic() + 30
        while load_generation(folder) == generation and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.003 * round_number)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        after, data = load(folder)
        assert after > generation
        assert data == str(after).encode() * 200_000


def load_generation(folder: Path) -> int:
    return int(read_manifest(folder, "manifest.json", 1, MapError, "test")["generation"])


def test_a_full_disk_leaves_the_old_state(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(folder, 7)
    code = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); import test_files; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); test_files.write(Path(sys.argv[1]), 8)"
    )
    here = str(Path(__file__).parent)
    result = subprocess.run([sys.executable, "-c", code, str(folder), here], capture_output=True, text=True)
    assert result.returncode != 0 and "File too large" in result.stderr
    assert load(folder) == (7, b"7" * 200_000)
    assert len(os.listdir(folder)) == 2


def test_old_files_are_removed_after_the_manifest_changed(tmp_path: Path) -> None:
    for generation in (1, 2, 2):
        write(tmp_path, generation)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bin", ".json"]
    assert load(tmp_path)[0] == 2


def test_a_folder_in_the_making_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with pytest.raises(RuntimeError), folder_in_the_making(target, MapError, "whole") as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with folder_in_the_making(target, MapError, "whole") as folder:
        (folder / "whole").touch()
    assert [path.name for path in target.iterdir()] == ["whole"]
    with pytest.raises(MapError, match="exists already"), folder_in_the_making(target, MapError, "whole"):
        pass
    with pytest.raises(MapError, match="without thesis in it"), folder_in_the_making(target, MapError, "thesis", True):
        pass
    with folder_in_the_making(target, MapError, "whole", overwrite=True) as folder:
        (folder / "other").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["target"] and (target / "other").exists()


def test_a_kill_between_the_two_renames_is_undone(tmp_path: Path) -> None:
    old = tmp_path / ".target.old"
    old.mkdir()
    (old / "whole").write_text("the only copy")
    with pytest.raises(MapError, match="exists already"), folder_in_the_making(tmp_path / "target", MapError, "whole"):
        pass
    assert (tmp_path / "target" / "whole").read_text() == "the only copy"


def test_a_folder_holds_one_kind_of_thing(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(VprError, match="holds card.json .frames"):
        write(tmp_path, 1)
