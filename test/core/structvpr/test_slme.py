"""Label maps: every class in its channel, with its value."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr_core.errors import InputError, RecipeError
from vpr_core.structvpr.slme import (
    ENCODINGS,
    GROUPS,
    IGNORED,
    TABLES,
    class_table,
    num_channels,
    table_of,
    weighted_one_hot,
)
from vpr_core.synthetic.surface import Label

PAPER = dict(zip(GROUPS, (0.5, 0.5, 1, 1, 2, 2), strict=True))
INVERSE = dict(zip(GROUPS, (2, 2, 1, 1, 0.5, 0.5), strict=True))


def every_class(table: str) -> np.ndarray:
    """Label image [2, classes], all classes twice."""
    count = len(class_table(table).classes)
    return np.stack([np.arange(count), np.arange(count)[::-1]]).astype(np.uint8)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_pixel_has_its_value_in_its_channel_and_nothing_else(table: str, encoding: str) -> None:
    """A naive loop over the pixels."""
    labels, groups = every_class(table), class_table(table).groups
    encoded = weighted_one_hot(labels, table, encoding)
    assert encoded.dtype == np.float32 and encoded.shape == (num_channels(table, encoding), *labels.shape)
    three = {"sky": (0, 1.0), "ground": (0, 1.0), "dynamic objects": (1, 0.5)}
    for row, column in np.ndindex(*labels.shape):
        label = int(labels[row, column])
        group = groups[label]
        channel, value = {
            "paper": (GROUPS.index(group), PAPER[group]),
            "unweighted": (GROUPS.index(group), 1.0),
            "inverse": (GROUPS.index(group), INVERSE[group]),
            "three": three.get(group, (2, 2.0)),
            "unclustered": (label, 1.0),
        }[encoding]
        expected = np.zeros(len(encoded), np.float32)
        expected[channel] = value
        assert encoded[:, row, column].tolist() == expected.tolist(), (label, group)


def test_channels_are_the_paper_s() -> None:
    assert [num_channels("ade20k_150", name) for name in ENCODINGS] == [6, 6, 3, 6, 150]
    assert [num_channels("cityscapes_19", name) for name in ENCODINGS] == [6, 6, 3, 6, 19]


def test_tables_hold_the_classes_of_their_data_sets() -> None:
    ade, cityscapes = class_table("ade20k_150"), class_table("cityscapes_19")
    counts = Counter(ade.groups)
    assert [counts[group] for group in GROUPS] == [6, 17, 1, 16, 28, 82]
    counts = Counter(cityscapes.groups)
    assert [counts[group] for group in GROUPS] == [1, 8, 1, 3, 3, 3]
    named = {name: ade.groups[number] for number, name in enumerate(ade.classes)}
    assert (ade.classes[0], ade.classes[149], len(named)) == ("wall", "flag", 150)
    assert [named[name] for name in ("tree", "car", "sky", "water", "house", "mountain")] == list(GROUPS)
    assert [name.replace(" ", "_").upper() for name in cityscapes.classes] == [label.name for label in Label][:-1]


@pytest.mark.parametrize("table", TABLES)
def test_sums_over_the_channels_are_the_values_of_the_groups(table: str) -> None:
    labels = every_class(table)
    counts = Counter(class_table(table).groups)
    for encoding, values in (("paper", PAPER), ("unweighted", dict.fromkeys(GROUPS, 1)), ("inverse", INVERSE)):
        sums = weighted_one_hot(labels, table, encoding).sum(axis=(1, 2))
        assert sums.tolist() == [2 * counts[group] * values[group] for group in GROUPS]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_pixel_sums_to_the_value_of_its_group_and_an_ignored_one_to_nothing(encoding: str, table: str) -> None:
    count, groups = len(class_table(table).classes), class_table(table).groups
    labels = np.random.default_rng(1).choice([*range(count), IGNORED], (60, 80)).astype(np.uint8)
    values = {
        "paper": PAPER,
        "inverse": INVERSE,
        "three": dict(zip(GROUPS, (2, 0.5, 1, 1, 2, 2), strict=True)),
    }.get(encoding, dict.fromkeys(GROUPS, 1))
    expected = np.array([*(values[group] for group in groups), *[np.nan] * (IGNORED - count), 0])[labels]
    encoded = weighted_one_hot(labels, table, encoding)
    np.testing.assert_array_equal(encoded.sum(axis=0), expected)
    assert ((encoded > 0).sum(axis=0) == (labels != IGNORED)).all() and (encoded >= 0).all()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("as_torch", [False, True])
def test_the_first_number_beyond_a_table_raises_and_is_named(as_torch: bool, encoding: str, table: str) -> None:
    count = len(class_table(table).classes)
    labels = np.full((4, 5), count - 1, np.uint8)
    assert np.asarray(weighted_one_hot(torch.from_numpy(labels) if as_torch else labels, table, encoding)).any()
    labels[2, 3] = count
    with pytest.raises(InputError, match=rf"class {count}, which the table '{table}' of {count} classes") as raised:
        weighted_one_hot(torch.from_numpy(labels) if as_torch else labels, table, encoding)
    assert raised.value.kind == "unknown class"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_torch_and_numpy_agree_for_batches_too(encoding: str) -> None:
    labels = np.random.default_rng(0).choice([*range(19), 255], (3, 5, 7)).astype(np.uint8)
    encoded = weighted_one_hot(labels, "cityscapes_19", encoding)
    assert encoded.shape == (3, num_channels("cityscapes_19", encoding), 5, 7) and encoded.flags.c_contiguous
    for dtype in (torch.uint8, torch.int64):
        tensor = weighted_one_hot(torch.from_numpy(labels).to(dtype), "cityscapes_19", encoding)
        assert tensor.dtype == torch.float32 and tensor.is_contiguous()
        np.testing.assert_array_equal(tensor.numpy(), encoded)
    for one, image in zip(encoded, labels, strict=True):
        np.testing.assert_array_equal(weighted_one_hot(image, "cityscapes_19", encoding), one)


@pytest.mark.parametrize("as_torch", [False, True])
def test_an_ignored_pixel_is_zero_and_an_unknown_one_is_named(as_torch: bool) -> None:
    def encode(values: list[list[int]], **options: object) -> np.ndarray:
        labels = np.array(values, np.int64)
        given = torch.from_numpy(labels) if as_torch else labels
        return np.asarray(weighted_one_hot(given, "cityscapes_19", **options))  # type: ignore[arg-type]

    assert encode([[10, 255]]).sum(axis=0).tolist() == [[1.0, 0.0]]
    assert encode([[10, 0]], ignored=0).sum(axis=0).tolist() == [[1.0, 0.0]]
    assert encode([[10, -1]], ignored=-1).sum(axis=0).tolist() == [[1.0, 0.0]]
    with pytest.raises(InputError, match=r"class 19, 40, which the table 'cityscapes_19' of 19 classes") as raised:
        encode([[40, 3], [19, 255]])
    assert raised.value.kind == "unknown class"
    with pytest.raises(InputError, match="class 255, which"):
        encode([[255]], ignored=None)
    with pytest.raises(InputError, match="class -1, which"):
        encode([[-1]])


@pytest.mark.parametrize("labels", [np.zeros((2, 2)), np.zeros(3, np.uint8), torch.zeros(2, 2), torch.ones(2, 2) > 0])
def test_what_is_no_label_image_is_refused(labels: np.ndarray | torch.Tensor) -> None:
    with pytest.raises(InputError, match="expected integers"):
        weighted_one_hot(labels)  # type: ignore[type-var]


def test_a_table_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("id,name,group\n0,street,ground\n1,hedge,vegetation\n")
    encoded = weighted_one_hot(np.array([[1, 0]]), path)
    assert encoded[:, 0].T.tolist() == [[0.5, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    assert class_table(path).name == "mine"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,name,group\n1,street,ground\n", "ids are not 0, 1, 2"),
        ("id,name,group\n0,street,street\n", "group 'street' is not one of vegetation"),
        ("id,name\n0,street\n", "expected columns id, name, group"),
        ("", "ids are not 0, 1, 2"),
    ],
)
def test_a_table_that_is_none_says_why(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(RecipeError, match=told):
        class_table(tmp_path / "bad.csv")


def test_unknown_names_are_told() -> None:
    with pytest.raises(RecipeError, match="unknown class table 'coco': known are ade20k_150, cityscapes_19"):
        class_table("coco")
    with pytest.raises(RecipeError, match="unknown label encoding 'seven': known are paper"):
        num_channels("cityscapes_19", "seven")


def test_a_network_s_classes_find_their_table() -> None:
    classes = list(class_table("ade20k_150").classes)
    assert table_of([name.title() + " " for name in classes]) == "ade20k_150"
    assert table_of(classes[::-1]) is None
    assert table_of([f"LABEL_{number}" for number in range(19)]) is None
    assert table_of(classes[:7]) is None
