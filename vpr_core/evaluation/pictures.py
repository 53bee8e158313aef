"""Pictures of queries and the places they were matched to: what the camera saw, or the cloud from above."""

from __future__ import annotations

import base64
from collections.abc import Callable

import cv2
import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.evaluation.breakdown import nearest_places
from vpr_core.evaluation.evaluate import Evaluation
from vpr_core.evaluation.report import Pair, View

WIDTH_PX = 240
BIRDS_EYE_M = 40.0
"""Half of the side of a picture from above."""
HEIGHTS_M = (-2.0, 8.0)
"""Of points relative to the sensor: from the darkest to the brightest."""
APART_M = 15.0
"""Queries closer than this show the same mistake."""
Show = Callable[[Frames, int], str]
"""The picture of a frame as a data URI."""


def camera_view(drive: Frames, index: int) -> str:
    """The camera's image of a frame, as a JPEG of WIDTH_PX."""
    image = drive.image(index)
    height = round(WIDTH_PX * image.shape[0] / image.shape[1])
    small = cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    return _data_uri(small, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 82])


def lidar_view(drive: Frames, index: int) -> str:
    """The cloud of a frame from above, as a PNG."""
    return _data_uri(birds_eye(drive.cloud(index)), ".png", [])


SHOW: dict[str, Show] = {"camera": camera_view, "lidar": lidar_view}
"""By modality."""


def birds_eye(cloud: np.ndarray) -> np.ndarray:
    """RGB uint8 [WIDTH_PX, WIDTH_PX, 3] of a cloud [N, 3 or more] from above, x up and y to the left, as wide as
    twice BIRDS_EYE_M; brighter is higher, and the sensor is the white mark in the middle.
    """
    near = cloud[(np.abs(cloud[:, :2]) < BIRDS_EYE_M).all(axis=1)]
    rows, columns = ((BIRDS_EYE_M - near[:, :2]) * WIDTH_PX / (2 * BIRDS_EYE_M)).astype(int).T
    low, high = HEIGHTS_M
    shade = 60 + 195 * np.clip((near[:, 2] - low) / (high - low), 0.0, 1.0)
    highest = np.zeros((WIDTH_PX, WIDTH_PX), np.uint8)
    inside = (rows < WIDTH_PX) & (columns < WIDTH_PX)
    np.maximum.at(highest, (rows[inside], columns[inside]), shade[inside].astype(np.uint8))
    thick = cv2.dilate(highest, np.ones((2, 2), np.uint8))  # a point of one pixel would vanish on a small screen
    picture = cv2.cvtColor(cv2.applyColorMap(thick, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    picture[thick == 0] = (16, 20, 24)
    middle = WIDTH_PX // 2
    mark = np.array([[middle, middle - 6], [middle - 4, middle + 5], [middle + 4, middle + 5]], np.int32)
    return cv2.fillPoly(picture, [mark], (255, 255, 255))


def right_pairs(evaluation: Evaluation, show: Show, count: int) -> list[Pair]:
    """Queries with the right best match, evenly chosen over the drive."""
    chosen = np.flatnonzero(evaluation.result.first_hit == 1)
    count = min(count, len(chosen))
    middle = ((np.arange(count) + 0.5) * len(chosen) / max(count, 1)).astype(int)
    return [_pair(evaluation, show, int(query)) for query in chosen[middle]]


def wrong_pairs(evaluation: Evaluation, show: Show, count: int) -> list[Pair]:
    """Queries with a place in the map and a wrong best match: the most similar ones, at least APART_M apart.

    Without scores they are the first of the drive.
    """
    first_hit, similarity = evaluation.result.first_hit, evaluation.result.best_similarity
    wrong = np.flatnonzero((first_hit == 0) | (first_hit > 1))
    positions_m = evaluation.queries.positions_m[:, :2]
    chosen: list[int] = []
    for query in wrong[np.argsort(-similarity[wrong], kind="stable")]:
        if len(chosen) < count and (np.linalg.norm(positions_m[chosen] - positions_m[query], axis=1) >= APART_M).all():
            chosen.append(int(query))
    return [_pair(evaluation, show, query) for query in chosen]


def _pair(evaluation: Evaluation, show: Show, query: int) -> Pair:
    result, queries, database = evaluation.result, evaluation.queries, evaluation.database
    best, right = int(result.best[query]), bool(result.first_hit[query] == 1)
    away_m = float(np.linalg.norm(queries.positions_m[query, :2] - database.positions_m[best, :2]))
    views = [View(f"Query {query}", show(queries, query)), View(f"Match {best}", show(database, best))]
    similarity = result.best_similarity[query]
    score = "" if np.isnan(similarity) else f"similarity {similarity:.3f}, "
    caption = f"{queries.session}: {score}{away_m:.2f} m away"
    if not right:
        distances_m, rows = nearest_places(evaluation)
        nearest = int(rows[query])
        rank = int(result.first_hit[query])
        views.append(View(f"True {nearest}", show(database, nearest)))
        caption += f"; nearest place {distances_m[query]:.2f} m away, " + (
            f"a right one came at rank {rank}" if rank else "no right one was retrieved"
        )
    return Pair(views, caption + ".", right)


def _data_uri(picture: np.ndarray, suffix: str, options: list[int]) -> str:
    data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)[1].tobytes()
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
