"""Frames of drives through towns with a label for every pixel, drawn after the drives were recorded without."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
from threadpoolctl import threadpool_limits

from vpr_core.data.frames import Frames, write_index
from vpr_core.errors import FramesError
from vpr_core.files import folder_in_the_making
from vpr_core.parallel import Progress, Task, run_tasks
from vpr_core.synthetic.drive import Drive, labels_at

LABEL_SIZE = (160, 120)
"""Width and height [px]: half of the pictures', as the recipes for the town take both."""
CLASS_TABLE = "cityscapes_19"


def label_drives(drives: Sequence[Drive], frames: Path, labelled: Path, *, workers: int) -> None:
    """Make in `labelled` a frames folder with labels of each drive's in `frames`, where it is not there yet.

    Images stay where they are: the index names them there, so the two folders belong together. Clouds are left out.
    """
    tasks = {
        drive.out.name: Task(_label_drive, (drive, frames / drive.out.name, labelled / drive.out.name))
        for drive in drives
        if not (labelled / drive.out.name).is_dir()
    }
    run_tasks(tasks, workers=workers, unit="frame", description="label", bar=bool(tasks))


def _label_drive(drive: Drive, source: Path, out: Path, progress: Progress) -> None:
    cv2.setNumThreads(1)
    recorded, images = Frames.load(source), Path(os.path.relpath(source, out))
    found = labels_at(replace(drive, image_size=LABEL_SIZE), [frame.stamp_ns for frame in recorded.frames])
    with threadpool_limits(1), folder_in_the_making(out, FramesError, "card.json") as folder:
        (folder / "labels").mkdir()
        frames = []
        for frame, labels in zip(recorded.frames, found, strict=True):
            name = f"labels/{frame.index:06d}.png"
            (folder / name).write_bytes(cv2.imencode(".png", labels)[1].tobytes())
            image = (images / frame.image).as_posix() if frame.image else None
            frames.append(replace(frame, image=image, cloud=None, cloud_stamp_ns=None, label=name))
            progress(len(frames), len(recorded))
        card = {name: value for name, value in recorded.card.items() if name not in ("schema", "picture")}
        write_index(folder, frames, card | {"label_size": list(LABEL_SIZE), "labels": {"table": CLASS_TABLE}})
