"""A picture of a drive: the way driven, where frames were lost, and what the camera saw.

Drawn with OpenCV: it takes milliseconds, and the same drive gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vpr_core.data.card import PICTURE
from vpr_core.data.frames import Frame
from vpr_core.preprocess import decode_image

_WIDTH, _MAP, _LINE = 1000, 600, 20
_MARGIN = 40
_THUMBNAILS, _THUMBNAIL_HEIGHT = 5, 150
_INK, _GREY, _LOST = (40, 40, 40), (170, 170, 170), (40, 40, 220)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_card(folder: Path, card: dict[str, Any], frames: list[Frame], lost_m: np.ndarray) -> None:
    """Write card.png into a frames folder.

    lost_m: [N, 2+] where the vehicle was when something was dropped, as far as that is known.
    """
    picture = np.full((_MAP + (_THUMBNAIL_HEIGHT + 20 if card["image_size"] else 0), _WIDTH, 3), 255, np.uint8)
    positions_m = np.array([frame.pose.position_m for frame in frames if frame.pose], float).reshape(-1, 3)
    if len(positions_m):
        _draw_way(picture[:_MAP, :_MAP], positions_m[:, :2], lost_m[:, :2])
    _write_lines(picture, _lines(card, len(lost_m)))
    if card["image_size"]:
        _show_images(picture, folder, [frame.image for frame in frames if frame.image])
    (folder / PICTURE).write_bytes(cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())


def _draw_way(picture: np.ndarray, positions_m: np.ndarray, lost_m: np.ndarray) -> None:
    """Frames from blue, the first, over green to yellow, the last; crosses where something was lost."""
    low, high = positions_m.min(axis=0), positions_m.max(axis=0)
    scale = (_MAP - 2 * _MARGIN) / max(float((high - low).max()), 1.0)

    def pixels(points_m: np.ndarray) -> np.ndarray:
        from_middle = (points_m - (low + high) / 2) * scale
        # Far outside, where nothing is drawn, OpenCV's coordinates would overflow.
        limited = np.clip(from_middle * (1, -1) + _MAP / 2, -_MAP, 2 * _MAP)
        return np.rint(limited).astype(int)

    ramp = np.linspace(0, 255, len(positions_m)).astype(np.uint8).reshape(-1, 1)
    colours = cv2.applyColorMap(ramp, cv2.COLORMAP_VIRIDIS).reshape(-1, 3)
    for point, colour in zip(pixels(positions_m), colours, strict=True):
        cv2.circle(picture, tuple(map(int, point)), 3, tuple(map(int, colour)), -1, cv2.LINE_AA)
    for point in pixels(lost_m):
        cv2.drawMarker(picture, tuple(map(int, point)), _LOST, cv2.MARKER_TILTED_CROSS, 9, 1)
    length_m = _round_length(float((high - low).max()) / 4)
    end = (_MARGIN // 2 + round(length_m * scale), _MAP - 12)
    cv2.line(picture, (_MARGIN // 2, _MAP - 12), end, _INK, 2)
    cv2.putText(picture, f"{length_m:g} m", (end[0] + 8, end[1] + 5), _FONT, 0.45, _INK, 1, cv2.LINE_AA)


def _round_length(metres: float) -> float:
    """The next smaller of 1, 2, 5, 10, ... metres."""
    tens = 10.0 ** np.floor(np.log10(max(metres, 1.0)))
    return float(tens * max(step for step in (1, 2, 5) if step * tens <= max(metres, 1.0)))


def _lines(card: dict[str, Any], lost: int) -> list[str]:
    lines = [card["session"], f"{card['counts']['frames']} frames, {card['seconds']} s"]
    lines += [f"{card['metres']} m in {card['map_frame'] or 'a frame without a name'}"] if card["poses"] else []
    lines += [f"{sensor}: {topic}" for sensor, topic in card["topics"].items() if topic]
    lines += [f"{topic} stops after {seconds} s" for topic, seconds in card["ended_early"].items()]
    lines += ["dropped (crosses where the place is known):" if lost else "dropped:"] if card["drops"] else []
    lines += [f"  {count} x {reason}" for reason, count in card["drops"].items()]
    lines += ["irregular:"] if card["irregular"] else []
    return lines + [f"  {count} x {reason}" for reason, count in card["irregular"].items()]


def _write_lines(picture: np.ndarray, lines: list[str]) -> None:
    fits = (_MAP - _MARGIN) // _LINE
    if len(lines) > fits:
        lines = [*lines[: fits - 1], f"and {len(lines) - fits + 1} lines more in card.json"]
    for number, line in enumerate(lines):
        place = (_MAP + 10, _MARGIN + number * _LINE)
        printable = line.encode("ascii", "replace").decode()  # all that the font has
        cv2.putText(picture, printable, place, _FONT, 0.42, _INK, 1, cv2.LINE_AA)


def _show_images(picture: np.ndarray, folder: Path, names: list[str]) -> None:
    """Images from all along the drive, in a row below."""
    left, top = _MARGIN // 2, _MAP + 10
    for index in np.unique(np.linspace(0, len(names) - 1, _THUMBNAILS).round().astype(int)):
        image = decode_image((folder / names[index]).read_bytes())
        height, width = image.shape[:2]
        scale = min(_THUMBNAIL_HEIGHT / height, (_WIDTH - _MARGIN) / _THUMBNAILS / width)
        small = cv2.resize(
            image, (max(int(width * scale), 1), max(int(height * scale), 1)), interpolation=cv2.INTER_AREA
        )
        picture[top : top + small.shape[0], left : left + small.shape[1]] = small[..., ::-1]
        cv2.rectangle(picture, (left, top), (left + small.shape[1] - 1, top + small.shape[0] - 1), _GREY)
        left += (_WIDTH - _MARGIN) // _THUMBNAILS
