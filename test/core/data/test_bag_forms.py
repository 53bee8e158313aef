"""One drive in every form that bags come in gives the same frames, byte for byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.convert import convert
from rosbags.highlevel import AnyReader

from vpr_core.data.frames import Frames
from vpr_core.data.ingest import ingest
from vpr_core.errors import BagError

WriteDrive = Callable[..., Path]
OF_THE_BAG = ("bag", "made_from")
"""What a card says of the bag as a file; everything else in it is of the drive."""


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory, write_drive: WriteDrive) -> Path:
    return write_drive(tmp_path_factory.mktemp("forms") / "drive", 8, labels=True)


@pytest.fixture(scope="module")
def expected(drive: Path) -> dict[str, bytes]:
    return contents(ingest(drive, drive.parent / "expected", session="s", keyframe_m=1.0))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a frames folder; of the card what does not depend on how the bag lies on disk."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    card = {name: value for name, value in json.loads(files["card.json"]).items() if name not in OF_THE_BAG}
    return files | {"card.json": json.dumps(card).encode()}


def rewritten(drive: Path, out: Path, storage: str, compress: str | None = None, mode: str = "file") -> Path:
    convert([drive], out, storage, 8, compress, mode, None, None, [], [], [], [])
    return out


def as_mcap(drive: Path, out: Path, compression: CompressionType, chunked: bool = True) -> Path:
    """A bare .mcap with chunks of a few messages."""
    with AnyReader([drive]) as reader, out.open("wb") as file:
        writer = McapWriter(file, chunk_size=8000, compression=compression, use_chunking=chunked)
        writer.start("ros2", "test")
        channels = {}
        for connection in reader.connections:
            schema = writer.register_schema(connection.msgtype, "ros2msg", connection.msgdef.data.encode())
            channels[connection.topic] = writer.register_channel(connection.topic, "cdr", schema)
        for connection, log_ns, data in reader.messages():
            writer.add_message(channels[connection.topic], log_ns, bytes(data), log_ns)
        writer.finish()
    return out


def bare(folder: Path, suffix: str) -> Path:
    (file,) = folder.glob(f"*{suffix}")
    return Path(shutil.copy(file, folder.with_suffix(suffix)))


def split(write_drive: WriteDrive, out: Path) -> Path:
    """A rosbag2 folder of two files: the first five images in one, the others in the next."""
    parts = [write_drive(out / name, count, first, labels=True) for name, count, first in (("0", 5, 0), ("1", 3, 5))]
    cards = [yaml.safe_load((part / "metadata.yaml").read_text())["rosbag2_bagfile_information"] for part in parts]
    whole, files = cards[0], [card["files"][0] for card in cards]
    whole["relative_file_paths"], whole["files"] = [], []
    for number, part in enumerate(parts):
        (file,) = part.glob("*.mcap")
        file.rename(out / f"drive_{number}.mcap")
        whole["relative_file_paths"].append(f"drive_{number}.mcap")
        whole["files"] += [{**files[number], "path": f"drive_{number}.mcap"}]
    whole["message_count"] += cards[1]["message_count"]
    begin, end = whole["starting_time"]["nanoseconds_since_epoch"], cards[1]["starting_time"]["nanoseconds_since_epoch"]
    whole["duration"]["nanoseconds"] = end + cards[1]["duration"]["nanoseconds"] - begin
    counts = {
        topic["topic_metadata"]["name"]: topic["message_count"] for topic in cards[1]["topics_with_message_count"]
    }
    for topic in whole["topics_with_message_count"]:
        topic["message_count"] += counts[topic["topic_metadata"]["name"]]
    (out / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": whole}))
    return out


FORMS: dict[str, Callable[[Path, Path, WriteDrive], Path]] = {
    "mcap": lambda drive, out, _: as_mcap(drive, out / "a.mcap", CompressionType.NONE),
    "mcap without chunks": lambda drive, out, _: as_mcap(drive, out / "a.mcap", CompressionType.NONE, chunked=False),
    "mcap zstd": lambda drive, out, _: as_mcap(drive, out / "a.mcap", CompressionType.ZSTD),
    "mcap lz4": lambda drive, out, _: as_mcap(drive, out / "a.mcap", CompressionType.LZ4),
    "bare mcap": lambda drive, out, _: bare(rewritten(drive, out / "a", "mcap"), ".mcap"),
    "db3": lambda drive, out, _: rewritten(drive, out / "a", "sqlite3"),
    "bare db3": lambda drive, out, _: bare(rewritten(drive, out / "a", "sqlite3"), ".db3"),
    "db3, file zstd": lambda drive, out, _: rewritten(drive, out / "a", "sqlite3", "zstd", "file"),
    "db3, message zstd": lambda drive, out, _: rewritten(drive, out / "a", "sqlite3", "zstd", "message"),
    "mcap, file zstd": lambda drive, out, _: rewritten(drive, out / "a", "mcap", "zstd", "file"),
    "mcap, message zstd": lambda drive, out, _: rewritten(drive, out / "a", "mcap", "zstd", "message"),
    "split": lambda _drive, out, write_drive: split(write_drive, out / "a"),
    "ros 1": lambda drive, out, _: rewritten(drive, out / "a.bag", ""),
    "ros 1 bz2": lambda drive, out, _: rewritten(drive, out / "a.bag", "", "bz2"),
    "ros 1 lz4": lambda drive, out, _: rewritten(drive, out / "a.bag", "", "lz4"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_frames(
    form: str, drive: Path, expected: dict[str, bytes], write_drive: WriteDrive, tmp_path: Path
) -> None:
    bag = FORMS[form](drive, tmp_path, write_drive)
    found = contents(ingest(bag, tmp_path / "frames", session="s", keyframe_m=1.0))
    assert found.keys() == expected.keys() and len(found) >= 2 + 3 * 8
    for name, data in expected.items():
        assert found[name] == data, name


def test_a_chunk_compression_that_nobody_knows_is_named(drive: Path, tmp_path: Path) -> None:
    bag = as_mcap(drive, tmp_path / "a.mcap", CompressionType.LZ4)
    bag.write_bytes(bag.read_bytes().replace(b"\x03\x00\x00\x00lz4", b"\x03\x00\x00\x00xyz"))
    with pytest.raises(BagError, match="Unsupported chunk compression 'xyz'"):
        ingest(bag, tmp_path / "frames")
    assert not list(tmp_path.glob(".*"))


def test_labels_come_without_loss(expected: dict[str, bytes], drive: Path, ros: object) -> None:
    frames = Frames.load(drive.parent / "expected")
    assert frames.has_labels and frames.card["label_size"] == [64, 48]
    np.testing.assert_array_equal(frames.label(5), ros.label(5))  # type: ignore[attr-defined]
