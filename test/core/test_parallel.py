"""Tasks in processes: their order, what a failure does to the others, and a process that is killed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from vpr_core.errors import BagError, VprError
from vpr_core.parallel import Task, run_tasks

TASKS = """
import os
import signal
import time

from vpr_core.errors import BagError


def write(path, needs, progress):
    for step in range(3):
        progress(step + 1, 3)
    path.write_text(needs.read_text() + "+" if needs else "first")


def fail(progress):
    progress(1, 2)
    raise BagError("no room")


def go_on_for_long(path, progress):
    for step in range(600):
        progress(step, 600)
        time.sleep(0.1)
    path.touch()


def tell_pid_and_stay(path, _):
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").rename(path)
    time.sleep(600)


def be_killed(_):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tasks(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What the processes run, in a module that they can import too."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "tasks_of_a_test.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module("tasks_of_a_test")


def test_a_task_has_what_it_comes_after(tasks: ModuleType, tmp_path: Path) -> None:
    """The one that needs another stands first, and there are workers enough to begin it at once."""
    first, second, third = (tmp_path / name for name in "abc")
    done: list[str] = []
    planned = {
        "third": Task(tasks.write, (third, second), ("second",)),
        "second": Task(tasks.write, (second, first), ("first",)),
        "first": Task(tasks.write, (first, None)),
    }
    run_tasks(planned, workers=3, unit="step", finished=done.append)
    assert done == ["first", "second", "third"] and third.read_text() == "first++"


def test_a_task_that_fails_stops_the_others(tasks: ModuleType, tmp_path: Path) -> None:
    planned = {"long": Task(tasks.go_on_for_long, (tmp_path / "end",)), "bad": Task(tasks.fail, ()),
             "never": Task(tasks.write, (tmp_path / "never", None), ("bad",))}  # fmt: skip
    with pytest.raises(BagError, match="no room"):
        run_tasks(planned, workers=2, unit="step")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_is_an_error_that_says_so(tasks: ModuleType) -> None:
    with pytest.raises(VprError, match="was killed"):
        run_tasks({"a": Task(tasks.be_killed, ())}, workers=1, unit="step")


def test_waiting_for_what_is_not_there_is_refused(tasks: ModuleType) -> None:
    with pytest.raises(ValueError, match="will ever be finished"):
        run_tasks({"a": Task(tasks.fail, (), ("b",))}, workers=1, unit="step")


def test_no_process_is_left_when_the_parent_is_killed(tasks: ModuleType, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom vpr_core.parallel import Task, run_tasks\nimport tasks_of_a_test\n"
        "if __name__ == '__main__':\n"
        "    task = Task(tasks_of_a_test.tell_pid_and_stay, (Path(sys.argv[1]),))\n"
        "    run_tasks({'a': task}, workers=1, unit='step')\n"
    )
    (tmp_path / "script.py").write_text(script)
    told = tmp_path / "pid"
    folders = [str(Path(__file__).parents[2]), str(Path(tasks.__file__ or "").parent)]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(told)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
    )
    while not told.exists() and process.poll() is None:
        time.sleep(0.05)
    worker = int(told.read_text())
    process.kill()
    process.wait()
    limit_s = time.monotonic() + 60.0
    while _runs(worker) and time.monotonic() < limit_s:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
