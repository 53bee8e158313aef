"""`vpr-distill segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from vpr_core.commands.options import add_device

DEFAULT_MODEL = "nvidia/segformer-b2-finetuned-ade-512-512"
"""Xie et al., "SegFormer", NeurIPS 2021. Inferred: StructVPR's main text says of its segmentation only that it has 150
classes, which ADE20K has, and that results hold for several networks."""


def define(command: ArgumentParser) -> None:
    """Label every pixel of a drive's frames with a segmentation network. StructVPR learns the scene's structure so.

    It writes labels/000000.png ... into each frames folder, one class a pixel, and labels/labels.json that tells the
    network, its revision and its classes. A run that was stopped, by a kill or by a frame that cannot be read, goes
    on where it stood when it is started again.
    Drives whose bag has a label topic need no network: `ingest` takes that one.

    The network is one with a score for every class of every pixel (SegFormer, UPerNet, BEiT, DPT, MobileViT, ...) and
    an image processor. What it calls its classes tells their table; for other classes than ADE20K's and Cityscapes'
    write a CSV file with a line for each: id from 0 on, name, and group, one of vegetation, dynamic objects, sky,
    ground, buildings, other objects. Without a network, save one elsewhere into a folder, network and image processor
    by their save_pretrained(FOLDER), and name that folder.
    """
    command.add_argument("--frames", type=Path, nargs="+", required=True, help="frames folders to label, in place")
    command.add_argument(
        "--model",
        type=str,
        default=DEFAULT_MODEL,
        help="semantic-segmentation model on the Hugging Face Hub, or a folder that holds one",
    )
    command.add_argument("--revision", type=str, default=None, help="commit, branch or tag of a model on the Hub")
    command.add_argument(
        "--table",
        type=str,
        default=None,
        help="class table of the labels: ade20k_150, cityscapes_19 or a CSV file with columns id, name, group; "
        "by default the one with the network's classes",
    )
    command.add_argument("--overwrite", action="store_true", help="replace the labels of another network")
    add_device(command, "where the network runs")


def run(options: dict[str, Any]) -> None:
    from tqdm import tqdm

    from vpr_core.data.frames import Frames
    from vpr_core.data.segment import load_segmenter, segment

    folders = options["frames"]
    for folder in folders:
        Frames.load(folder)  # before a network is fetched for nothing
    segmenter = load_segmenter(options["model"], options["revision"], options["device"])
    for folder in folders:
        drive = segment(
            folder,
            segmenter,
            table=options["table"],
            overwrite=options["overwrite"],
            progress=lambda name, total: tqdm(total=total, desc=name, unit="frame"),
        )
        labels = drive.card["labels"]
        print(f"{folder}: {len(drive)} label images by {labels['model']} ({labels['revision']}), "
              f"class table {labels['table'] or _unknown(labels['classes'])}")  # fmt: skip


def _unknown(classes: list[str]) -> str:
    return f"unknown for its {len(classes)} classes ({', '.join(classes[:3])}, ...): name one with --table"
