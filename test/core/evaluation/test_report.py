"""Reports: what a page holds, that it needs nothing beside it, and what its charts and pictures show."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_core.data.frames import Frames
from vpr_core.evaluation.breakdown import Share
from vpr_core.evaluation.cards import bundle_rows, drive_rows
from vpr_core.evaluation.charts import at_threshold, latency_chart, precision_recall_chart, share_bars
from vpr_core.evaluation.evaluate import Evaluation, evaluate
from vpr_core.evaluation.evaluation_report import write_evaluation_report
from vpr_core.evaluation.latency import TimedBundle
from vpr_core.evaluation.maps import match_map
from vpr_core.evaluation.methods import baseline
from vpr_core.evaluation.pictures import BIRDS_EYE_M, WIDTH_PX, birds_eye, camera_view, right_pairs, wrong_pairs
from vpr_core.evaluation.precision_recall import precision_recall
from vpr_core.evaluation.report import Section, cells, write_report
from vpr_core.evaluation.sections import drawn, titles
from vpr_core.retrieval.bundle import Bundle
from vpr_core.retrieval.mapping import describe

MakeDrive = Callable[..., Frames]
Angles = Callable[..., Callable[[Frames], np.ndarray]]
PLACES = [0.0, 100.0, 200.0, 300.0]


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def check(self) -> None:
        """Nothing is fetched, links lead somewhere, ids are used once, and every picture is described."""
        ids = Counter(attributes["id"] for _, attributes in self.tags if "id" in attributes)
        used = [value for _, attributes in self.tags for name, value in attributes.items()
                if name in ("href", "src", "xlink:href")]  # fmt: skip
        assert used and all(value.startswith(("data:image/", "#")) for value in used)
        assert {value[1:] for value in used if value.startswith("#")} <= set(ids)
        assert set(ids.values()) == {1}
        assert all(image["alt"] for image in self.all("img"))
        assert all(svg["role"] == "img" and svg["aria-label"] for svg in self.all("svg"))
        assert not self.all("script") and not self.all("link")


@pytest.fixture
def found(make_drive: MakeDrive, angles: Angles) -> Evaluation:
    """Right at 0 m; wrong at 100 and at 200 m, the second surer of it; 5000 m is off the map."""
    method = angles({"map": [0, 30, 60, 90], "drive": [1, 4, 91, 0]})
    return evaluate("angles", method, make_drive("map", PLACES), [make_drive("drive", [0, 100, 200, 5000])])[0]


def test_text_is_escaped_and_columns_have_one_number_of_decimals(tmp_path: Path) -> None:
    rows = [{"a_share": 0.5, "ms": 12.25, "n": 3, "name": "<b>"}, {"a_share": None, "ms": 3.0, "n": 10, "name": None}]
    chart = latency_chart("Times", np.linspace(1.0, 20.0, 50))
    sections = [Section("Loss < 1 & falling", rows=rows, charts=[chart, chart]), Section("Again", charts=[chart])]
    page = Page(write_report(tmp_path / "page.html", "<script>", "x < y", sections, [("0.5", "<i>")]))
    page.check()
    assert "<script>" in page.text and "Loss < 1 & falling" in page.text and not page.all("i") and not page.all("b")
    dash = "\u2013"
    assert cells(rows) == [
        ("a share", True, ["0.500", dash]), ("ms", True, ["12.25", "3.00"]), ("n", True, ["3", "10"]),
        ("name", False, ["<b>", dash]),
    ]  # fmt: skip


def test_charts_take_the_page_s_colours_and_repeat(found: Evaluation) -> None:
    curve = precision_recall(found.result.best_similarity, found.result.first_hit)
    times_ms = np.linspace(1.0, 20.0, 50)
    for draw in (
        lambda: share_bars("Bars", [Share("noon", 3, 4), Share("fog", 0, 0)], [0.5, None]),
        lambda: match_map(found, "Map"),
        lambda: precision_recall_chart("Curve", curve, curve, 0.5),
        lambda: latency_chart("Times", times_ms),
    ):
        chart = draw()
        assert chart == draw()
        assert "var(--" in chart.svg and not re.search(r"(fill|stroke): ?#(?!000000)", chart.svg)
        assert chart.rows and chart.title in chart.svg


def test_bars_say_what_they_show() -> None:
    chart = share_bars("By drive", [Share("noon", 3, 4), Share("fog", 0, 0)], [0.5, None])
    assert 'aria-label="By drive, Recall@1: noon 0.750, fog no query"' in chart.svg
    assert chart.rows[0] == {"": "noon", "recall_at_1": 0.75, "right": 3, "queries": 4, "reference": 0.5}
    assert chart.rows[1]["recall_at_1"] is None and "no query" in chart.svg


def test_the_map_s_table_lists_the_wrong_ones_surest_first(found: Evaluation) -> None:
    chart = match_map(found, "drive")
    assert chart.text == "1 right, 2 wrong, 1 without a place in the map"
    rows = [(row["wrong query"], row["taken for place"], row["metres away"], row["first right rank"])
            for row in chart.rows]  # fmt: skip
    assert rows == [(2, 3, 100.0, 2), (1, 0, 100.0, 2)]
    assert chart.svg.count("var(--wrong)") >= 4 and "var(--off)" in chart.svg and "var(--right)" in chart.svg


def test_precision_where_a_bundle_accepts() -> None:
    """Three accepted from 0.8 up: two right, one without a place; four queries have one."""
    curve = precision_recall(np.array([0.9, 0.85, 0.8, 0.7, 0.6]), np.array([1, -1, 1, 1, 0]))
    assert at_threshold(curve, 0.8) == pytest.approx((2 / 3, 0.5))
    assert at_threshold(curve, 0.95) is None
    off_map = precision_recall(np.array([0.9]), np.array([-1]))
    assert at_threshold(off_map, 0.5) is None
    chart = precision_recall_chart("fog", off_map, None, 0.5)
    assert chart.text == "no query has a place in the map" and not chart.rows


def test_latency_names_what_it_does_not_draw() -> None:
    chart = latency_chart("Times", np.append(np.full(199, 4.0), 900.0))
    assert "1 of 200 are longer than is drawn, the longest 900.0 ms" in chart.text
    assert (chart.rows[0]["p50_ms"], chart.rows[0]["longest_ms"]) == (4.0, 900.0)


def test_drives_are_called_by_what_tells_them_apart(make_drive: MakeDrive, angles: Angles) -> None:
    names = ["town2_query_noon", "town2_query_night"]
    drives = [make_drive(name, PLACES) for name in names]
    method = angles({name: [0, 30, 60, 90] for name in ("map", *names)})
    known = make_drive("map", PLACES)
    assert titles(evaluate("angles", method, known, drives)) == ["noon", "night"]
    assert titles(evaluate("angles", method, known, drives[:1])) == ["town2_query_noon"]
    pairs = [evaluate("angles", method, drives[i], [drives[1 - i]])[0] for i in (0, 1)]
    assert titles(pairs) == ["night on noon", "noon on night"]


def test_of_many_drives_the_worst_are_drawn(make_drive: MakeDrive, angles: Angles) -> None:
    drives = [make_drive(f"q{i}", PLACES if i else [9000.0] * 4) for i in range(10)]
    answers = {f"q{i}": [0, 30, 60, 90] if i < 8 else [0, 90, 60, 90] for i in range(10)}
    found = evaluate("angles", angles({"map": [0, 30, 60, 90], **answers}), make_drive("map", PLACES), drives)
    names = [name for _, name in drawn(found)]
    assert names[:2] == ["q8", "q9"] and len(names) == 8 and "q0" not in names  # q0 is off the map


def test_a_cloud_from_above() -> None:
    """Ahead is up and left is left; brighter is higher; what lies outside is not drawn."""
    ahead, left, far = [20.0, 0.0, 0.0], [0.0, 20.0, 7.0], [BIRDS_EYE_M + 1, 0.0, 0.0]
    picture = birds_eye(np.array([ahead, left, far, [np.nan, 0, 0]], np.float32))
    middle, quarter = WIDTH_PX // 2, WIDTH_PX // 4
    assert picture[quarter, middle].sum() > picture[0, 0].sum() < picture[middle, quarter].sum()
    brightness = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    assert brightness[middle, quarter] > brightness[quarter, middle] > brightness[0, 0]
    lit = (picture != picture[0, 0]).any(axis=2)
    lit[middle - 10 : middle + 10, middle - 10 : middle + 10] = False  # the sensor's mark
    assert lit.sum() == 8  # two points of two by two pixels


def test_pairs_show_the_surest_mistakes_apart_and_the_true_place(frames: Path, angles: Angles) -> None:
    """All queries of a drive are taken for its first place."""
    drive = Frames.load(frames)
    count = len(drive)
    turned = np.append(0.0, np.linspace(90.0, 60.0, count - 1))
    described = iter([angles({drive.session: turned})(drive), angles({drive.session: np.linspace(0, 1, count)})(drive)])
    (found,) = evaluate("angles", lambda _: next(described), drive, [drive])
    wrong = wrong_pairs(found, camera_view, 3)
    titles_of_first = [view.title for view in wrong[0].views]
    query = int(titles_of_first[0].split()[1])
    first_wrong = int(np.flatnonzero(found.result.first_hit != 1)[0])
    assert titles_of_first == [f"Query {first_wrong}", "Match 0", f"True {first_wrong}"] and query == first_wrong
    asked = [int(pair.views[0].title.split()[1]) for pair in wrong]
    steps_m = np.linalg.norm(np.diff(drive.positions_m[asked], axis=0), axis=1)
    assert len(asked) == 3 and (steps_m >= 15.0).all() and "nearest place 0.00 m away" in wrong[0].caption
    (right,) = right_pairs(found, camera_view, 1)
    assert right.right and len(right.views) == 2 and right.views[0].picture.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("name", ["bundle", "lidar_bundle"])
def test_the_report_on_a_bundle(request: pytest.FixtureRequest, frames: Path, tmp_path: Path, name: str) -> None:
    folder, drive = request.getfixturevalue(name), Frames.load(frames)
    bundle = Bundle.load(folder)
    timed, simple = TimedBundle(bundle), baseline(bundle)
    (metric, retrieve), *_ = simple.retrieve.items()
    found = [
        *evaluate("bundle", timed.describe, drive, [drive], retrieve=timed.retrieve),
        *evaluate(simple.name, simple.describe, drive, [drive], retrieve=retrieve, metric=metric),
    ]
    path = write_evaluation_report(tmp_path / "report.html", found, timed, folder)
    page = Page(path)
    page.check()
    for words in ("Map and matches", "Right matches", "average precision", "PR AUC", "AUROC",
                  "Recall by drive, direction and distance",
                  "Latency", "p50", "Drives", drive.session, bundle.hash, simple.name.replace("_", " "),
                  f"{len(drive)} {'images' if name == 'bundle' else 'clouds'} of one query drive"):  # fmt: skip
        assert words in page.text, words
    assert path.stat().st_size < 1e6


def test_timed_answers_are_those_of_the_bundle(bundle: Path, frames: Path) -> None:
    loaded, drive = Bundle.load(bundle), Frames.load(frames)
    timed = TimedBundle(loaded)
    descriptors = timed.describe(drive)
    np.testing.assert_allclose(descriptors, describe(loaded, drive), atol=1e-5)
    similarities, rows = timed.retrieve(descriptors, descriptors)
    assert rows[:, 0].tolist() == list(range(len(drive))) and similarities.shape == rows.shape
    times_ms = timed.query_ms([drive])
    assert times_ms.shape == (len(drive),) and (times_ms > timed.search_ms).all()
    assert "core" in timed.conditions and "device cpu" in timed.conditions


def test_cards_of_drives_and_models(bundle: Path, lidar_bundle: Path, frames: Path, make_drive: MakeDrive) -> None:
    drive = Frames.load(frames)
    dropped = Frames(drive.folder, {**drive.card, "drops": {"/lidar/points: late": 2}}, drive.frames)
    rows = drive_rows([drive, dropped, make_drive("bare", [0.0])])
    assert (rows[0]["frames"], rows[0]["image"], rows[0]["dropped"]) == (len(drive), "320x240", "none")
    assert rows[1]["dropped"] == "2 x /lidar/points: late" and rows[2]["metres"] is None
    for folder, words in ((bundle, "input size"), (lidar_bundle, "voxel size m")):
        entries = {row["entry"]: row["value"] for row in bundle_rows(folder, Bundle.load(folder))}
        (encoder,) = (path for path in folder.iterdir() if path.name != "bundle.json")
        stored = int(entries["parameters"].replace(",", "")) * 4
        assert 0.5 * encoder.stat().st_size < stored <= encoder.stat().st_size
        assert words in entries and entries["hash"] == Bundle.load(folder).hash
