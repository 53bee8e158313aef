"""Local features and the geometry that two pictures share."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest

from vpr_core.errors import VprError
from vpr_core.retrieval.local_features import LONGEST_PX, MAX_POINTS, OPENCV, LocalFeatures, load_features, reduced
from vpr_core.retrieval.verify import mutual_nearest, rerank, verify

WIDTH, HEIGHT = 320, 240


def street(seed: int) -> np.ndarray:
    """A picture with corners at many places: rectangles of any colour on one another."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for _ in range(120):
        x, y = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
        wide, high = (int(value) for value in rng.integers(5, 45, 2))
        cv2.rectangle(image, (x, y), (x + wide, y + high), [int(value) for value in rng.integers(0, 255, 3)], -1)
    return image


def from_aside(image: np.ndarray) -> np.ndarray:
    """The picture as a plane that is seen from another point of view, a little darker."""
    corners = np.float32([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]])
    moved = corners + np.float32([[12, 6], [-5, 10], [-14, -4], [4, -9]])
    warped = cv2.warpPerspective(image, cv2.getPerspectiveTransform(corners, moved), (WIDTH, HEIGHT))
    return (warped * 0.8).astype(np.uint8)


def given(descriptors: np.ndarray, are_bits: bool, points: np.ndarray | None = None) -> LocalFeatures:
    """Features with these descriptors, in an image of WIDTH x HEIGHT."""
    count = len(descriptors)
    points = np.random.default_rng(5).uniform(0, 200, (count, 2)) if points is None else points
    return LocalFeatures((WIDTH, HEIGHT), points.astype(np.float32), np.ones(count, np.float32), descriptors, are_bits)


@pytest.mark.parametrize("name", OPENCV)
def test_the_same_place_from_aside_shares_more_than_any_other(name: str) -> None:
    kind = load_features(name)
    query = kind.of(from_aside(street(0)))
    shared = [verify(query, kind.of(street(seed))) for seed in range(6)]
    assert shared[0] > 2 * max(shared[1:]) and shared[0] > 20
    order, inliers = rerank(query, [kind.of(street(seed)) for seed in (3, 4, 0, 5)])
    assert order[0] == 2 and inliers.tolist() == [shared[3], shared[4], shared[0], shared[5]]


@pytest.mark.parametrize("name", OPENCV)
def test_the_same_pictures_give_the_same_number_every_time(name: str) -> None:
    kind = load_features(name)
    numbers = {verify(kind.of(from_aside(street(0))), kind.of(street(0))) for _ in range(5)}
    others = {verify(kind.of(street(1)), kind.of(street(2))) for _ in range(5)}
    assert len(numbers) == len(others) == 1


@pytest.mark.parametrize("name", OPENCV)
def test_features_are_the_surest_ones_inside_the_picture(name: str) -> None:
    found = load_features(name).of(street(3))
    assert 50 < len(found) <= MAX_POINTS and found.size == (WIDTH, HEIGHT)
    assert found.points.dtype == np.float32 and found.descriptors.dtype == np.uint8
    assert (np.diff(found.scores) <= 0).all()
    assert (found.points >= 0).all() and (found.points < [WIDTH, HEIGHT]).all()
    assert found.are_bits == (name != "sift")


@pytest.mark.parametrize("name", OPENCV)
def test_a_picture_that_shows_nothing_has_no_features_and_shares_nothing(name: str) -> None:
    kind = load_features(name)
    nothing, something = kind.of(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)), kind.of(street(0))
    assert len(nothing) == 0 and nothing.descriptors.shape[1] == something.descriptors.shape[1]
    assert nothing.are_bits == something.are_bits
    for pair in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert verify(*pair) == 0
    assert rerank(nothing, [something, nothing])[0].tolist() == [0, 1]


@pytest.mark.parametrize("are_bits", [True, False])
def test_nearest_descriptors_are_those_of_a_naive_loop(are_bits: bool) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (count, 16)).astype(np.uint8) for count in (40, 31))

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        if are_bits:
            return float(np.unpackbits(a ^ b).sum())
        return float(np.linalg.norm(a.astype(float) - b.astype(float)))

    table = np.array([[distance(a, b) for b in second] for a in first])
    mutual = [(i, j) for i, j in itertools.product(range(40), range(31))
              if table[i].argmin() == j and table[:, j].argmin() == i]  # fmt: skip
    pairs = (given(first, are_bits), given(second, are_bits))
    assert [tuple(pair) for pair in mutual_nearest(*pairs).tolist()] == mutual and len(mutual) > 3
    clear = [(i, j) for i, j in mutual if table[i, j] < 0.9 * np.partition(table[i], 1)[1]]
    assert [tuple(pair) for pair in mutual_nearest(*pairs, ratio=0.9).tolist()] == clear
    assert len(clear) < len(mutual)


def test_fewer_than_four_matches_are_no_inliers() -> None:
    descriptors = np.eye(4, 8, dtype=np.uint8) * 200
    square = np.float32([[10, 10], [200, 10], [200, 200], [10, 200]])
    four = given(descriptors, False, square)
    three = given(descriptors[:3], False, square[:3])
    assert [verify(four, four), verify(three, four), verify(three, three)] == [4, 0, 0]


def test_the_threshold_is_24_px_in_an_image_of_640_and_in_proportion_in_others() -> None:
    rng = np.random.default_rng(1)
    descriptors = rng.integers(0, 256, (60, 32)).astype(np.uint8)
    points = rng.uniform([0, 0], [640, 480], (60, 2)).astype(np.float32)
    shifted = points.copy()
    shifted[:20] += np.float32([16, 0])  # of which half is an inlier within 24 px, and not within 6

    def inliers(share: float) -> int:
        size = (round(640 * share), round(480 * share))
        pair = [dataclasses.replace(given(descriptors, True, where * share), size=size) for where in (points, shifted)]
        return verify(*pair)

    assert inliers(1.0) == inliers(0.5) == inliers(0.25) == 60
    pair = [dataclasses.replace(given(descriptors, True, where), size=(160, 120)) for where in (points, shifted)]
    assert 40 <= verify(*pair) < 60


def test_equally_many_inliers_keep_the_order_of_the_retrieval() -> None:
    kind = load_features("orb")
    same, blank = kind.of(street(0)), kind.of(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    order, inliers = rerank(same, [blank, same, blank, same])
    assert order.tolist() == [1, 3, 0, 2] and inliers[1] == inliers[3] > 4
    assert rerank(same, [])[0].tolist() == []


def test_large_pictures_are_reduced_and_small_ones_stay() -> None:
    assert (
        reduced((1280, 960)) == (640, 480) and reduced((320, 240)) == (320, 240) and reduced((240, 1280)) == (120, 640)
    )
    kind = load_features("orb")
    large = cv2.resize(street(0), (1600, 1200))
    assert kind.of(large).size == (LONGEST_PX, 480)
    assert kind.of(large, (WIDTH, HEIGHT)).size == (WIDTH, HEIGHT)
    assert verify(kind.of(large, (WIDTH, HEIGHT)), kind.of(street(0))) > 50


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("surf", "features 'surf' are not known: expected one of sift, akaze, orb, kornia_sift, disk=FILE, superpoint"),
        ("orb=x", "expected orb"),
        ("disk", "expected disk=FILE"),
        ("lightglue", "expected lightglue=FOLDER"),
        ("disk=absent.pt", "there is no absent.pt"),
    ],
)
def test_names_that_are_not_known_are_refused(spec: str, words: str) -> None:
    with pytest.raises(VprError, match=words):
        load_features(spec)
