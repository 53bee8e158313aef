"""Label images of a frames folder by a Hugging Face semantic-segmentation network, beside the frames they belong to.

    labels/000000.png   one class a pixel, as large as the frame's image
    labels/labels.json  which network made them: name, revision, classes, the class table that they mean

`frames.csv` then names the labels, and card.json repeats what labels.json says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vpr_core.data.frames import Frames, write_index
from vpr_core.errors import FramesError, InputError, VprError
from vpr_core.files import folder_in_the_making, sha256_bytes, sha256_json, write_atomic, write_json
from vpr_core.structvpr.slme import IGNORED, class_table, table_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Segmenter", "load_segmenter", "segment"]

CARD = "labels.json"
SCHEMA = 1

Progress = Callable[[str, int], Any]
"""Called with what is being done and its number of frames; returns an object with update(n) and close()."""


@dataclass(frozen=True)
class Segmenter:
    """A network that tells the class of every pixel."""

    name: str
    """On the Hub, or the name of its folder."""
    revision: str
    """Commit on the Hub, or "sha256:" and the start of the hash of the folder's weights and settings."""
    classes: tuple[str, ...]
    label: Callable[[np.ndarray], np.ndarray]
    """RGB uint8 [H, W, 3] to uint8 [H, W]."""


def segment(
    frames: str | Path,
    segmenter: Segmenter,
    *,
    table: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Frames:
    """Write a label image for every frame of the folder and return it as it is then.

    table: the class table of these labels, see `structvpr.slme.class_table`; None finds the one that has the network's
    classes, if there is one. A run that was stopped, by a kill, a full disk or a frame that cannot be read, is taken
    up where it stood by the next one with the same network, and where the labels are there already nothing is done.
    Raises FramesError where the folder has no images, or labels of something else and no `overwrite`; labels that no
    network made are never replaced. RecipeError for an unknown table.
    """
    drive = Frames.load(frames)
    labels, about, size = drive.folder / "labels", _about(segmenter, table), drive.image_size
    work = sha256_json([SCHEMA, about, [frame.image for frame in drive.frames]])[:16]
    if _made_from(labels) != work:
        _check_labels(drive, overwrite)
        with folder_in_the_making(labels, FramesError, CARD, overwrite, work, keeps_errors=True) as folder:
            _label_all(drive, segmenter, folder, progress)
            write_json(folder / CARD, {"schema": SCHEMA, **about, "frames": len(drive), "made_from": work})
    _name_labels(drive, {"label_size": list(size), "labels": about})
    return Frames.load(drive.folder)


def _about(segmenter: Segmenter, table: str | Path | None) -> dict[str, Any]:
    classes = list(segmenter.classes)
    if len(classes) > IGNORED:
        raise VprError(f"{segmenter.name} knows {len(classes)} classes, a label image holds {IGNORED} at most")
    if table is not None and len(known := class_table(table).classes) != len(classes):
        raise VprError(f"{segmenter.name} knows {len(classes)} classes, the class table {str(table)!r} {len(known)}")
    name = table_of(classes) if table is None else class_table(table).name
    return {"model": segmenter.name, "revision": segmenter.revision, "table": name, "classes": classes}


def _made_from(labels: Path) -> str | None:
    try:
        return json.loads((labels / CARD).read_text()).get("made_from")
    except (OSError, ValueError):
        return None


def _check_labels(drive: Frames, overwrite: bool) -> None:
    labels = drive.folder / "labels"
    if not (labels / CARD).is_file() and any(frame.label for frame in drive.frames):
        raise FramesError(
            f"{labels} holds labels that were recorded with the drive: for those of a network ingest its bag again, "
            "elsewhere, with --label_topic none"
        )
    if (labels / CARD).is_file() and not overwrite:
        raise FramesError(f"{labels} was made by another network or of other frames: pass --overwrite to replace it")


def _label_all(drive: Frames, segmenter: Segmenter, folder: Path, progress: Progress | None) -> None:
    bar = progress("segment", len(drive)) if progress else None
    for frame in drive.frames:
        path = folder / f"{frame.index:06d}.png"
        if not path.exists():
            image = drive.image(frame.index)
            write_atomic(path, _png(segmenter.label(image), image.shape[:2]))
        if bar:
            bar.update(1)
    if bar:
        bar.close()


def _png(label: np.ndarray, size: tuple[int, ...]) -> bytes:
    if label.shape != size or label.dtype != np.uint8:
        raise InputError(f"the network's label image is {label.dtype} {list(label.shape)}, expected uint8 {list(size)}")
    return cv2.imencode(".png", label)[1].tobytes()


def _name_labels(drive: Frames, told: dict[str, Any]) -> None:
    """Write frames.csv and card.json anew, each at once: a kill between them leaves a folder that can be read."""
    frames = [replace(frame, label=f"labels/{frame.index:06d}.png") for frame in drive.frames]
    card = {name: value for name, value in drive.card.items() if name != "schema"}
    beside = drive.folder / ".index.partial"
    beside.mkdir(exist_ok=True)
    write_index(beside, frames, card | told)
    for name in ("frames.csv", "card.json"):
        (beside / name).replace(drive.folder / name)
    beside.rmdir()


def load_segmenter(model: str, revision: str | None = None, device: str = "cpu") -> Segmenter:
    """A semantic-segmentation network with an image processor: its name on the Hugging Face Hub, or a folder.

    revision: commit, branch or tag on the Hub. A folder is never looked for on the network, and neither is a commit
    that was fetched before.
    Raises VprError where `transformers` is not installed, the network cannot be loaded, does something else or lacks
    weights, or this machine lacks the device.
    """
    try:
        from huggingface_hub import snapshot_download
        from safetensors import SafetensorError
        from transformers.utils import logging
    except ImportError as error:
        raise VprError(f"`segment` needs the package transformers ({error}): pip install transformers") from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    _check_device(device)
    local = Path(model).is_dir()
    if local:
        _check_folder(Path(model))
    try:
        # Small files first: what cannot be had is told at once, and not after many tries for each file.
        commit = None if local else Path(snapshot_download(model, revision=revision, allow_patterns="*.json")).name
        processor, network = _load(model, commit)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise VprError(
            f"segmentation network {model!r} cannot be loaded ({str(error).strip().splitlines()[0]}): expected the "
            "name of a semantic-segmentation model on the Hugging Face Hub, which needs a network the first time, or "
            "a folder that holds one"
        ) from error
    names = network.config.id2label
    return Segmenter(
        Path(model).resolve().name if local else model,
        commit or _hash_of(Path(model)),
        tuple(names[number].strip() for number in range(len(names))),
        partial(_label, processor, network.to(device).eval()),
    )


def _check_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise VprError("device is cuda, but this torch finds no GPU: install torch with CUDA, or use --device cpu")


def _check_folder(folder: Path) -> None:
    """What a folder lacks, in fewer words than `transformers` has for it, which looks on the Hub in its thoughts."""
    saved = "save_pretrained(FOLDER) of the network and of its image processor write it"
    for names, what in (
        (("config.json",), "network"),
        (("preprocessor_config.json", "processor_config.json"), "image processor"),
    ):
        if not any((folder / name).is_file() for name in names):
            raise VprError(f"the segmentation network's folder {folder} has no {what} ({names[0]}): {saved}")


def _load(model: str, commit: str | None) -> tuple[Any, Any]:
    """Image processor and network, of a commit on the Hub, or of a folder where there is none."""
    from transformers import (
        MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING,
        AutoConfig,
        AutoImageProcessor,
        AutoModelForSemanticSegmentation,
    )

    options = {"revision": commit} if commit else {"local_files_only": True}
    config = AutoConfig.from_pretrained(model, **options)
    made_for = ", ".join(config.architectures or ("no task",))
    if type(config) not in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
        raise VprError(
            f"{model!r} is a {config.model_type} network ({made_for}), which gives no score to every class of every "
            "pixel: expected a model for semantic segmentation, such as SegFormer, UPerNet, BEiT or DPT"
        )
    # Its other processors need torchvision.
    processor = AutoImageProcessor.from_pretrained(model, backend="pil", **options)
    network, loaded = AutoModelForSemanticSegmentation.from_pretrained(model, output_loading_info=True, **options)
    if absent := sorted(loaded["missing_keys"]):
        raise VprError(
            f"segmentation network {model!r} lacks weights, {absent[0]} and {len(absent) - 1} others, and would label "
            f"at random: expected a model that was trained for semantic segmentation, this one is {made_for}"
        )
    if getattr(processor, "do_center_crop", False):
        processor.do_center_crop = False  # what is cropped would have no label
    return processor, network


def _label(processor: Any, network: Any, image: np.ndarray) -> np.ndarray:
    """uint8 [H, W]: the class with the largest score, the scores enlarged to the size of the image."""
    import torch
    from PIL import Image

    given = processor(images=Image.fromarray(image), return_tensors="pt").to(network.device)
    with torch.inference_mode():
        label = _largest(network(**given).logits, image.shape[:2])
    return label.cpu().numpy()


def _largest(scores: Tensor, size: tuple[int, ...]) -> Tensor:
    """uint8 [H, W]: the class with the largest of the scores [1, C, h, w] at that size, the first of equals.

    One class after the other: all at once would take 600 bytes a pixel with 150 classes, and twice the time.
    """
    import torch
    from torch.nn import functional

    best = torch.full(size, -torch.inf, device=scores.device)
    label = torch.zeros(size, dtype=torch.uint8, device=scores.device)
    for number, of_class in enumerate(scores[0].float()):
        plane = functional.interpolate(of_class[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        label.masked_fill_(plane > best, number)
        torch.maximum(best, plane, out=best)
    return label


def _hash_of(folder: Path) -> str:
    """Of all that labels depend on: weights, and how many pixels of which scale the network is given."""
    kinds = (".safetensors", ".bin")
    files = sorted(path for path in folder.iterdir() if path.suffix in kinds or path.name.endswith("config.json"))
    return "sha256:" + sha256_json([sha256_bytes(path.read_bytes()) for path in files])[:16]
