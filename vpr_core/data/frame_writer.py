"""Writes the files of keyframes one at a time, and finds at the end which of them became whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_core.data.frames import Frame
from vpr_core.data.images import image_from_message, label_from_message
from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.data.stamps import header_stamp_ns
from vpr_core.data.synchronise import Candidate
from vpr_core.data.usable import Watch
from vpr_core.errors import InputError
from vpr_core.preprocess import check_image

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"


@dataclass
class FrameWriter:
    """The images, clouds and labels of a frames folder under construction."""

    folder: Path
    sensors: tuple[str, ...]
    """Of "image", "cloud", "label": what the drive has."""
    drops: Counter[str]
    irregular: Counter[str]
    """What a node would refuse of that which is written, by sensor and kind."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Width and height [px] of all images and labels, from the first of them on."""
    written: dict[str, dict[int, str]] = field(default_factory=dict)
    """File by index of the frame, for each sensor."""

    def __post_init__(self) -> None:
        for sensor in self.sensors:
            (self.folder / f"{sensor}s").mkdir(exist_ok=True)
            self.written[sensor] = {}
        # A place, or what a network learns from, should be known by more than a bare wall.
        self._watches = {sensor: Watch(patience_s=0.0) for sensor in ("image", "cloud")}

    def write(self, sensor: str, indices: Iterable[int], message: Any) -> tuple[list[str], str]:
        """Write what a message holds for these frames; the files, and what is irregular about it, if anything.

        Raises InputError where it is no use, OSError where it cannot be written.
        """
        suffix, data, doubt = self._encoded(sensor, message)
        names = [f"{sensor}s/{index:06d}{suffix}" for index in indices]
        for index, name in zip(indices, names, strict=True):
            self._write(self.folder / name, data)
            self.written[sensor][index] = name
        self.irregular.update([doubt] if doubt else [])
        return names, doubt

    @staticmethod
    def _write(path: Path, data: bytes | np.ndarray) -> None:
        try:
            if isinstance(data, bytes):
                path.write_bytes(data)
            else:
                np.save(path, data)
        except OSError:
            path.unlink(missing_ok=True)  # a full disk has room again for the index of what is whole
            raise

    def _encoded(self, sensor: str, message: Any) -> tuple[str, bytes | np.ndarray, str]:
        """Ending of the file, what it holds, and what is irregular about it."""
        if sensor == "cloud":
            points = cloud_from_message(message)
            if not len(points):
                raise InputError("point cloud of no points", kind="empty")
            return ".npy", points, self._doubt(sensor, points, message)
        convert: Callable[[Any], np.ndarray] = image_from_message if sensor == "image" else label_from_message
        picture = convert(message)
        if sensor == "image":
            check_image(picture)
        self._check_size(sensor, (picture.shape[1], picture.shape[0]))
        doubt = self._doubt(sensor, picture, message) if sensor == "image" else ""
        data = bytes(message.data) if hasattr(message, "format") else b""
        if data.startswith((_JPEG, _PNG)):
            return (".jpg" if data.startswith(_JPEG) else ".png"), data, doubt
        # A raw image has no file of its own; PNG keeps every pixel.
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if sensor == "image" else picture
        return ".png", cv2.imencode(".png", bgr)[1].tobytes(), doubt

    def _doubt(self, sensor: str, observation: np.ndarray, message: Any) -> str:
        try:
            self._watches[sensor].see(observation, header_stamp_ns(message))
        except InputError as error:
            return f"{sensor}: {error.kind.replace('_', ' ')}"
        return ""

    def _check_size(self, sensor: str, size: tuple[int, int]) -> None:
        first = self.sizes.setdefault(sensor, size)
        if size != first:
            raise InputError(f"{sensor} is {size[0]}x{size[1]}, the drive began with {first[0]}x{first[1]}")

    def frames(self, plan: list[Candidate]) -> list[Frame]:
        """The frames of which everything needed was written; what is left of the others is removed and counted."""
        needed: list[str] = [sensor for sensor in ("image", "cloud") if sensor in self.sensors]
        frames: list[Frame] = []
        for index, candidate in enumerate(plan):
            names = {sensor: by_index.get(index) for sensor, by_index in self.written.items()}
            if missing := [sensor for sensor in needed if names[sensor] is None]:
                self._give_up(names, missing[0], needed)
                continue
            frames.append(
                Frame(len(frames), candidate.stamp_ns, names.get("image"), names.get("cloud"), candidate.cloud_ns,
                      candidate.pose, names.get("label"))
            )  # fmt: skip
        return frames

    def _give_up(self, names: dict[str, str | None], missing: str, needed: list[str]) -> None:
        for sensor, name in names.items():
            if name:
                (self.folder / name).unlink()
                if sensor in needed:
                    self.drops[f"its {missing} was dropped"] += 1
