"""From a JPEG to a match, beside the network alone; and search alone for a large map."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from timing import median_ms

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.export import export
from vpr_core.preprocess import decode_image, resize_image
from vpr_core.retrieval.index import NumpyIndex, build_index
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.synthetic.drive import record_drive
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder


def run(quick: bool) -> list[dict[str, object]]:
    repeat = 30 if quick else 200
    with tempfile.TemporaryDirectory() as name:
        return _recognition(Path(name), repeat) + _search(repeat, 10_000 if quick else 100_000)


def _recognition(folder: Path, repeat: int) -> list[dict[str, object]]:
    bag = record_drive(folder / "bag", town=3, condition="noon", route="loop", seed=1, max_length_m=100.0)
    frames = ingest(bag, folder / "frames", pose_topic="/ground_truth/odom")
    train_encoder([frames], folder / "checkpoint", Recipe(steps=0))
    bundle = export(folder / "checkpoint", frames, folder / "bundle")
    build_map(bundle, frames, folder / "map")
    recognizer = PlaceRecognizer.load(bundle, folder / "map", threads=1)
    drive = Frames.load(frames)
    jpeg = (drive.folder / (drive.frames[0].image or "")).read_bytes()
    width, height = recognizer.bundle.input_size
    batch = resize_image(drive.image(0), height, width)[None]
    whole = median_ms(lambda: recognizer.recognize(decode_image(jpeg), 1), repeat)
    network = median_ms(lambda: recognizer.bundle.session.run(None, {"image": batch}), repeat)
    return [
        {"what": "JPEG to match", "ms": whole, "ratio": round(whole / network, 2)},
        {"what": "network alone (ONNX Runtime, 1 thread)", "ms": network, "ratio": 1.0},
    ]


def _search(repeat: int, places: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(places, 256)).astype(np.float32)
    query = descriptors[:1]
    index, plain = build_index(descriptors), NumpyIndex(descriptors)
    ours = median_ms(lambda: index.search(query, 5), repeat)
    numpy = median_ms(lambda: plain.search(query, 5), max(repeat // 4, 5))
    return [
        {"what": f"search {places} x 256, faiss where installed", "ms": ours, "ratio": round(ours / numpy, 2)},
        {"what": f"search {places} x 256, numpy", "ms": numpy, "ratio": 1.0},
    ]
