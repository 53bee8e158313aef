"""From a JPEG or a LiDAR cloud to a match, beside the network alone; and search alone for a large map."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from timing import median_ms

from vpr_core.data.bag import BagReader
from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.export import export
from vpr_core.models.sparse import batch_clouds
from vpr_core.preprocess import decode_image, resize_image
from vpr_core.retrieval.index import NumpyIndex, build_index
from vpr_core.retrieval.lidar_bundle import occupied_voxels
from vpr_core.retrieval.mapping import build_map
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.synthetic.drive import CLOUD_TOPIC, record_drive
from vpr_core.training.recipe import Recipe
from vpr_core.training.train import train_encoder

CAMERA = Recipe(steps=0)
# The student of config/distill/town_lidar.yaml.
LIDAR = Recipe(modality="lidar", dim=224, planes=(16, 32, 32), num_top_down=1, max_range_m=60.0, steps=0)


def run(quick: bool) -> list[dict[str, object]]:
    repeat = 30 if quick else 200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bag = record_drive(folder / "bag", town=3, condition="noon", route="loop", seed=1, max_length_m=100.0)
        frames = ingest(bag, folder / "frames", pose_topic="/ground_truth/odom")
        recognition = _camera(folder / "camera", frames, repeat) + _lidar(folder / "lidar", frames, bag, repeat)
    return recognition + _search(repeat, 10_000 if quick else 100_000)


def _camera(folder: Path, frames: Path, repeat: int) -> list[dict[str, object]]:
    recognizer, drive = _recognizer(folder, frames, CAMERA), Frames.load(frames)
    jpeg = (drive.folder / (drive.frames[0].image or "")).read_bytes()
    width, height = recognizer.bundle.input_size
    batch = resize_image(drive.image(0), height, width)[None]
    whole = median_ms(lambda: recognizer.recognize(decode_image(jpeg), 1), repeat)
    network = median_ms(lambda: recognizer.bundle.session.run(None, {"image": batch}), repeat)
    return [
        {"what": "JPEG to match", "ms": whole, "ratio": round(whole / network, 2)},
        {"what": "network alone (ONNX Runtime, 1 thread)", "ms": network, "ratio": 1.0},
    ]


def _lidar(folder: Path, frames: Path, bag: Path, repeat: int) -> list[dict[str, object]]:
    threads = torch.get_num_threads()
    recognizer = _recognizer(folder, frames, LIDAR)
    encoder = recognizer.bundle.encoder
    with BagReader(bag) as reader:
        message = reader.decode(next(reader.raw_messages([CLOUD_TOPIC])))
    cloud = cloud_from_message(message)
    voxels = occupied_voxels(cloud, encoder.voxel_size_m, encoder.max_range_m)

    def network() -> None:
        with torch.inference_mode():
            encoder.model(batch_clouds([voxels]))  # with its kernel maps, which are of this cloud alone

    whole = median_ms(lambda: recognizer.recognize(cloud_from_message(message), 1), repeat)
    alone = median_ms(network, repeat)
    torch.set_num_threads(threads)
    what = f"PointCloud2 to match ({len(cloud)} points, {len(voxels)} voxels)"
    return [
        {"what": what, "ms": whole, "ratio": round(whole / alone, 2)},
        {"what": "network alone (torch, 1 thread)", "ms": alone, "ratio": 1.0},
    ]


def _recognizer(folder: Path, frames: Path, recipe: Recipe) -> PlaceRecognizer:
    """An untrained network in one thread, on a map of the drive itself."""
    bundle = export(train_encoder([frames], folder / "checkpoint", recipe), frames, folder / "bundle")
    build_map(bundle, frames, folder / "map")
    return PlaceRecognizer.load(bundle, folder / "map", threads=1)


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
