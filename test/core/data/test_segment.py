"""Label images by a network: what is written, what is kept, and a kill on the way."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vpr_core.cli import main
from vpr_core.data.frames import Frames, write_index
from vpr_core.data.segment import Segmenter, load_segmenter, segment
from vpr_core.errors import FramesError, RecipeError, VprError
from vpr_core.structvpr.slme import class_table, weighted_one_hot

MakeDrive = Callable[..., Path]
CITYSCAPES = class_table("cityscapes_19").classes


def by_brightness(image: np.ndarray) -> np.ndarray:
    """19 classes, by how bright a pixel is."""
    return (image.mean(axis=2) / 256 * 19).astype(np.uint8)


def unreachable(image: np.ndarray) -> np.ndarray:
    raise AssertionError("a frame was labelled again")


def segmenter(label: Callable[[np.ndarray], np.ndarray] = by_brightness, name: str = "bright") -> Segmenter:
    return Segmenter(name, "r1", CITYSCAPES, label)


@pytest.fixture
def drive(make_drive: MakeDrive, tmp_path: Path) -> Path:
    return make_drive(tmp_path / "drive", range(4), seed=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Bars:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def __call__(self, name: str, total: int) -> Any:
        self.steps.append(f"{name} {total}")
        return self

    def update(self, count: int) -> None:
        self.steps.append(f"+{count}")

    def close(self) -> None:
        self.steps.append("end")


def test_every_frame_gets_its_label_and_the_card_tells_of_whom(drive: Path) -> None:
    before, bars = contents(drive), Bars()
    labelled = segment(drive, segmenter(), progress=bars)
    assert bars.steps == ["segment 8", *["+1"] * 8, "end"]
    assert labelled.has_labels and labelled.card["label_size"] == labelled.card["image_size"] == [64, 48]
    for index in range(len(labelled)):
        np.testing.assert_array_equal(labelled.label(index), by_brightness(labelled.image(index)))
    told = {"model": "bright", "revision": "r1", "table": "cityscapes_19", "classes": list(CITYSCAPES)}
    assert labelled.card["labels"] == told
    card = json.loads((drive / "labels" / "labels.json").read_text())
    assert {name: card[name] for name in told} == told and card["frames"] == 8
    after = contents(drive)
    kept = {name for name in before if name not in ("frames.csv", "card.json")}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert sorted(path.name for path in drive.iterdir()) == sorted(["card.json", "clouds", "frames.csv", "images",
                                                                    "labels"])  # fmt: skip
    assert weighted_one_hot(labelled.label(0), labelled.card["labels"]["table"]).shape == (6, 48, 64)


def test_what_is_there_already_is_not_done_again(drive: Path) -> None:
    unlabelled = {name: (drive / name).read_bytes() for name in ("frames.csv", "card.json")}
    segment(drive, segmenter())
    done = contents(drive)
    segment(drive, segmenter(unreachable))
    assert contents(drive) == done
    # As a kill leaves it between the last label and the index.
    for name, data in unlabelled.items():
        (drive / name).write_bytes(data)
    (drive / ".index.partial").mkdir()
    segment(drive, segmenter(unreachable))
    assert contents(drive) == done


def test_another_network_replaces_labels_only_when_told(drive: Path) -> None:
    segment(drive, segmenter())
    other = segmenter(lambda image: by_brightness(255 - image), "dark")
    with pytest.raises(FramesError, match="made by another network or of other frames: pass --overwrite"):
        segment(drive, other)
    labelled = segment(drive, other, overwrite=True)
    np.testing.assert_array_equal(labelled.label(3), by_brightness(255 - labelled.image(3)))
    assert labelled.card["labels"]["model"] == "dark"


def test_half_of_one_network_s_labels_is_never_completed_by_another(drive: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_IN, str(drive), "5"])
    assert killed.returncode == -signal.SIGKILL and (drive / ".labels.partial" / "000004.png").exists()
    labelled = segment(drive, segmenter(lambda image: by_brightness(255 - image), "dark"))
    for index in range(len(labelled)):
        np.testing.assert_array_equal(labelled.label(index), by_brightness(255 - labelled.image(index)))


def test_an_image_that_was_cut_off_is_named_and_the_labels_before_it_are_kept(drive: Path) -> None:
    frames = Frames.load(drive)
    name = "images/000005.jpg"
    cv2.imwrite(str(drive / name), frames.image(5))
    (drive / name).write_bytes((drive / name).read_bytes()[:-40])
    write_index(drive, [replace(frame, image=name) if frame.index == 5 else frame for frame in frames.frames],
                {key: value for key, value in frames.card.items() if key != "schema"})  # fmt: skip
    before, labelled = contents(drive), []
    with pytest.raises(FramesError, match=f"{drive / name} is damaged .JPEG was cut off after .*vpr-distill ingest"):
        segment(drive, segmenter())
    after = contents(drive)
    assert {file: after[file] for file in before} == before and not Frames.load(drive).has_labels
    assert {file.split("/")[0] for file in after if file not in before} == {".labels.partial"}

    def counted(image: np.ndarray) -> np.ndarray:
        labelled.append(image)
        return by_brightness(image)

    cv2.imwrite(str(drive / name), frames.image(5))
    found = segment(drive, segmenter(counted))
    assert len(labelled) == 3 and sorted(path.name for path in drive.iterdir() if path.name.startswith(".")) == []
    for index in range(len(found)):
        np.testing.assert_array_equal(found.label(index), by_brightness(found.image(index)))


def test_a_full_disk_costs_no_label(drive: Path) -> None:
    def until_full(image: np.ndarray) -> np.ndarray:
        if (drive / ".labels.partial" / "000003.png").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return by_brightness(image)

    with pytest.raises(OSError, match="No space left"):
        segment(drive, segmenter(until_full))
    kept = contents(drive / ".labels.partial")
    assert set(kept) == {".work", *(f"{index:06d}.png" for index in range(4))}
    segment(drive, segmenter())
    assert {name: contents(drive / "labels")[name] for name in kept if name != ".work"}.items() <= kept.items()


def test_recorded_labels_are_never_replaced(drive: Path) -> None:
    frames = segment(drive, segmenter())
    (drive / "labels" / "labels.json").unlink()
    before = contents(drive)
    for overwrite in (False, True):
        with pytest.raises(FramesError, match="recorded with the drive: .* --label_topic none"):
            segment(drive, segmenter(), overwrite=overwrite)
    assert contents(drive) == before and frames.has_labels


def test_a_drive_without_images_is_refused(drive: Path) -> None:
    frames = Frames.load(drive)
    write_index(drive, frames.frames, {**frames.card, "image_size": None})
    with pytest.raises(FramesError, match="has no images"):
        segment(drive, segmenter())


@pytest.mark.parametrize(
    ("classes", "table", "told"),
    [
        (CITYSCAPES, "ade20k_150", "bright knows 19 classes, the class table 'ade20k_150' 150"),
        (CITYSCAPES, "coco", "unknown class table 'coco'"),
        (tuple(map(str, range(256))), None, "knows 256 classes, a label image holds 255 at most"),
    ],
)
def test_classes_that_do_not_fit_are_told_before_the_work(
    classes: tuple[str, ...], table: str | None, told: str, drive: Path
) -> None:
    before = contents(drive)
    with pytest.raises((VprError, RecipeError), match=told):
        segment(drive, Segmenter("bright", "r1", classes, unreachable), table=table)
    assert contents(drive) == before


def test_unknown_classes_have_no_table_unless_one_is_named(drive: Path, tmp_path: Path) -> None:
    named = Segmenter("bright", "r1", tuple(f"LABEL_{number}" for number in range(19)), by_brightness)
    assert segment(drive, named).card["labels"]["table"] is None
    assert segment(drive, named, table="cityscapes_19", overwrite=True).card["labels"]["table"] == "cityscapes_19"


def test_a_label_of_another_size_is_refused_and_leaves_nothing(drive: Path) -> None:
    before = contents(drive)
    with pytest.raises(VprError, match=r"label image is uint8 \[24, 64\], expected uint8 \[48, 64\]"):
        segment(drive, segmenter(lambda image: by_brightness(image)[::2]))
    assert contents(drive) == before


KILLED_IN = """
import os, signal, sys
from vpr_core.data.segment import Segmenter, segment
from vpr_core.structvpr.slme import class_table

left = [int(sys.argv[2])]

def by_brightness(image):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return (image.mean(axis=2) / 256 * 19).astype("uint8")

segment(sys.argv[1], Segmenter("bright", "r1", class_table("cityscapes_19").classes, by_brightness))
"""


@pytest.mark.parametrize("after", [0, 5])
def test_a_killed_run_goes_on(after: int, drive: Path, make_drive: MakeDrive, tmp_path: Path) -> None:
    (tmp_path / "twin").mkdir()
    whole = make_drive(tmp_path / "twin" / "drive", range(4), seed=1)
    segment(whole, segmenter())
    unlabelled = {name: (drive / name).read_bytes() for name in ("frames.csv", "card.json")}
    killed = subprocess.run([sys.executable, "-c", KILLED_IN, str(drive), str(after)])
    assert killed.returncode == -signal.SIGKILL
    assert unlabelled == {name: (drive / name).read_bytes() for name in unlabelled}
    assert not Frames.load(drive).has_labels
    assert len(list((drive / ".labels.partial").glob("*.png"))) == after
    labelled: list[int] = []

    def counting(image: np.ndarray) -> np.ndarray:
        labelled.append(1)
        return by_brightness(image)

    segment(drive, segmenter(counting))
    assert len(labelled) == 8 - after
    assert contents(drive) == contents(whole)


@pytest.fixture(scope="module")
def tiny_segformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SegFormer of the real classes with random weights, in a folder as the Hub has them."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    classes = class_table("ade20k_150").classes
    config = transformers.SegformerConfig(
        id2label=dict(enumerate(classes)), label2id={name: number for number, name in enumerate(classes)},
        hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vpr_core", "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_command_labels_with_a_network_of_a_folder(
    tiny_segformer: Path, drive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from torch.nn import functional
    from transformers import AutoModelForSemanticSegmentation

    arguments = ["segment", "--frames", str(drive), "--model", str(tiny_segformer)]
    main(arguments)
    told = capsys.readouterr()
    assert f"{drive}: 8 label images by tiny (sha256:" in told.out and "class table ade20k_150" in told.out
    assert "segment: 100%" in told.err
    labelled = Frames.load(drive)
    assert labelled.card["labels"]["classes"][149] == "flag"
    model = AutoModelForSemanticSegmentation.from_pretrained(tiny_segformer).eval()
    for index in (0, 5):
        image = cv2.resize(labelled.image(index), (64, 64), interpolation=cv2.INTER_LINEAR)
        unit = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        with torch.no_grad():
            scores = model(torch.from_numpy(unit).float().movedim(-1, 0)[None]).logits
        expected = functional.interpolate(scores, (48, 64), mode="bilinear", align_corners=False)[0].argmax(dim=0)
        # OpenCV and Pillow round an enlarged picture differently, which moves a border by a pixel here and there.
        assert (labelled.label(index) == expected.numpy()).mean() > 0.9
    done = contents(drive)
    main(arguments)
    assert capsys.readouterr().out == told.out and contents(drive) == done


def test_a_network_s_folder_is_told_by_its_weights_and_settings(tiny_segformer: Path, tmp_path: Path) -> None:
    first = load_segmenter(str(tiny_segformer))
    assert first.name == "tiny" and first.classes[2] == "sky" and first.revision.startswith("sha256:")
    other = shutil.copytree(tiny_segformer, tmp_path / "other")
    assert load_segmenter(str(other)).revision == first.revision
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert load_segmenter(str(other)).revision != first.revision
    larger = shutil.copytree(tiny_segformer, tmp_path / "larger")
    settings = json.loads((larger / "preprocessor_config.json").read_text())
    (larger / "preprocessor_config.json").write_text(json.dumps({**settings, "size": {"height": 96, "width": 96}}))
    assert load_segmenter(str(larger)).revision != first.revision


def test_the_largest_score_wins_and_of_equals_the_first() -> None:
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    from vpr_core.data.segment import _largest

    scores = torch.randn(1, 150, 6, 9, generator=torch.Generator().manual_seed(0))
    enlarged = functional.interpolate(scores, (37, 50), mode="bilinear", align_corners=False)[0]
    label = _largest(scores, (37, 50))
    assert label.dtype == torch.uint8 and torch.equal(label.long(), enlarged.argmax(dim=0))
    twice = torch.cat([scores[:, :75], scores[:, :75]], dim=1)
    assert torch.equal(_largest(twice, (37, 50)), _largest(scores[:, :75], (37, 50)))


def test_what_is_no_network_is_told(tiny_segformer: Path, tmp_path: Path) -> None:
    def copied(name: str) -> Path:
        return Path(shutil.copytree(tiny_segformer, tmp_path / name))

    (tmp_path / "empty").mkdir()
    copied("bare").joinpath("preprocessor_config.json").unlink()
    copied("hollow").joinpath("model.safetensors").unlink()
    copied("broken").joinpath("model.safetensors").write_bytes((tiny_segformer / "model.safetensors").read_bytes()[:9])
    copied("garbled").joinpath("config.json").write_text("{")
    copied("classifier").joinpath("config.json").write_text(
        '{"model_type": "vit", "architectures": ["ViTForImageClassification"]}'
    )
    cannot = "segmentation network '{}' cannot be loaded .* or a folder that holds one"
    for name, told in {
        "empty": r"network's folder {} has no network \(config.json\): save_pretrained\(FOLDER\) of",
        "bare": r"network's folder {} has no image processor \(preprocessor_config.json\): save_pretrained",
        "hollow": cannot,
        "broken": cannot,
        "garbled": cannot,
        "classifier": r"'{}' is a vit network \(ViTForImageClassification\), .*: expected a model for semantic",
    }.items():
        with pytest.raises(VprError, match=told.format(tmp_path / name)) as caught:
            load_segmenter(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with pytest.raises(VprError, match="device is cuda, but this torch finds no GPU: .* --device cpu"):
            load_segmenter(str(tiny_segformer), device="cuda")


def test_a_network_that_was_not_trained_to_segment_is_refused(tiny_segformer: Path, tmp_path: Path) -> None:
    """An encoder without its head, which would otherwise begin at random."""
    import transformers

    config = transformers.SegformerConfig.from_pretrained(tiny_segformer)
    folder = Path(shutil.copytree(tiny_segformer, tmp_path / "encoder"))
    transformers.SegformerForImageClassification(config).save_pretrained(folder)
    told = r"lacks weights, decode_head\.\S+ and \d+ others, and would label at random: .* SegformerForImageClass"
    with pytest.raises(VprError, match=told):
        load_segmenter(str(folder))


def test_without_a_network_the_command_ends_in_one_line(
    tiny_segformer: Path, drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Port 9 of this machine: nobody answers there."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    result = run("--frames", drive, "--model", "nobody/nothing")
    (line,) = result.stderr.strip().splitlines()
    assert result.returncode == 1
    assert line.startswith("vpr-distill: error: segmentation network 'nobody/nothing' cannot be loaded (")
    assert "or a folder that holds one" in line
    assert not Frames.load(drive).has_labels


def test_without_transformers_the_command_says_what_to_install(drive: Path) -> None:
    code = "import sys; sys.modules['transformers'] = None; from vpr_core.cli import main; main(sys.argv[1:])"
    result = subprocess.run(
        [sys.executable, "-c", code, "segment", "--frames", str(drive)], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "`segment` needs the package transformers" in result.stderr and "pip install transformers" in result.stderr


def test_the_command_s_help_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    told = run("--help").stdout
    for words in ("--model", "nvidia/segformer-b2-finetuned-ade-512-512", "labels/labels.json", "on where it stood",
                  "save_pretrained(FOLDER)", "dynamic objects"):  # fmt: skip
        assert words in told


def test_frames_are_looked_at_before_a_network_is_fetched(tmp_path: Path) -> None:
    result = run("--frames", tmp_path / "nothing", "--model", "nobody/nothing")
    assert result.returncode == 1 and "does not exist" in result.stderr
