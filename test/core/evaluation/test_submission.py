"""The challenge's file: what it looks like, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from vpr_core.data.frames import Frame, Frames
from vpr_core.errors import FramesError, VprError
from vpr_core.evaluation.comparison import Drives
from vpr_core.evaluation.methods import Method
from vpr_core.evaluation.submission import ranked_by, ranked_in, write_submission

Angles = Callable[..., Callable[[Frames], np.ndarray]]


def keyed(name: str, images: Sequence[str | None], queries: Sequence[bool] | None = None) -> Frames:
    """A drive without poses whose frames have images of these names."""
    asked = queries or [True] * len(images)
    frames = [Frame(i, i, image, query=asks) for i, (image, asks) in enumerate(zip(images, asked, strict=True))]
    return Frames(Path(name), {"session": name, "map_frame": "", "image_size": [4, 3]}, tuple(frames))


@pytest.fixture
def database() -> Frames:
    return keyed("map", ["images/a.jpg", "images/miami/b.jpg", "images/c.jpg"], [False] * 3)


def test_a_line_is_a_query_and_its_places(database: Frames, angles: Angles, tmp_path: Path) -> None:
    first, second = keyed("one", ["images/q0.jpg", "images/q1.jpg"], [False, True]), keyed("two", ["images/q2.jpg"])
    drives, described = Drives(database, (first, second)), []
    method = Method("angles", angles({"map": [0, 40, 80], "one": [0, 50], "two": [1]}))
    lists = ranked_by(method, drives, progress=described.append)
    written = write_submission(tmp_path / "lists.csv", drives, lists)
    assert written.read_text() == "q1 b c a\nq2 a b c\n"
    assert described == [3, 2, 1]


def test_lists_of_another_method_are_written_as_they_are(database: Frames, tmp_path: Path) -> None:
    drives = Drives(database, (keyed("one", ["images/q.jpg"]),))
    lists = ranked_in(lambda *_: (np.full((1, 2), np.nan), np.array([[2, 0]])), drives)
    assert write_submission(tmp_path / "lists.txt", drives, lists).read_text() == "q c a\n"


def test_what_cannot_be_submitted(database: Frames, angles: Angles, tmp_path: Path) -> None:
    rows = [np.array([[0]])]
    for other, match in (
        (keyed("one", [None]), "frame 0 of one has no image"),
        (keyed("one", ["images/q.jpg", "images/athens/q.jpg"]), "1 images have the name of another, first q"),
    ):
        with pytest.raises(FramesError, match=match):
            write_submission(tmp_path / "no.csv", Drives(database, (other,)), rows)
    assert not (tmp_path / "no.csv").exists()
    with pytest.raises(VprError, match="give --database and --queries in place of --runs"):
        ranked_by(Method("angles", angles({})), Drives(None, (database,)))
