"""The second pass over a bag: the messages of the chosen keyframes, decoded and written one at a time.

What was done is noted in a journal beside the frames, so that a run that was killed goes on where it stood.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from vpr_core.data.bag import BagReader, RawMessage
from vpr_core.data.frame_writer import FrameWriter
from vpr_core.data.images import decode_label
from vpr_core.data.scan import Progress, tracked
from vpr_core.data.synchronise import Candidate
from vpr_core.data.topics import Topics, accepts
from vpr_core.errors import BagError, InputError
from vpr_core.preprocess import decode_image

_JOURNAL = "journal.jsonl"
_ENTRIES = 8
"""Of a line of it."""


def extract(
    reader: BagReader,
    topics: Topics,
    plan: list[Candidate],
    writer: FrameWriter,
    drops: Counter[str],
    progress: Progress | None,
) -> None:
    """Write the images, clouds and labels of `plan`; what turns out to be broken is counted in `drops`."""
    wanted = _Wanted(topics, plan)
    with _Journal(writer.folder / _JOURNAL) as journal:
        resume_ns = journal.replay(wanted, writer, drops)
        for message in tracked(reader, topics.sensors.values(), "extract", progress, resume_ns):
            if found := wanted.take(reader, message):
                sensor, _, indices = found
                journal.note(message.log_ns, *found, *_write(reader, message, sensor, indices, writer, drops))
    (writer.folder / _JOURNAL).unlink()


def _write(
    reader: BagReader, message: RawMessage, sensor: str, indices: list[int], writer: FrameWriter, drops: Counter[str]
) -> tuple[list[str], str, str]:
    """Files written, what is irregular about them, and why there are none."""
    try:
        return *writer.write(sensor, indices, reader.decode(message)), ""
    except InputError as error:
        reason = f"{message.topic}: {str(error).split(':')[0]}"
    except BagError:
        reason = f"{message.topic}: message cannot be decoded"
    drops[reason] += 1
    return [], "", reason


class _Wanted:
    """The frames that wait for a message, by sensor and header stamp."""

    def __init__(self, topics: Topics, plan: list[Candidate]) -> None:
        self._sensors = {topic: sensor for sensor, topic in topics.sensors.items()}
        self._waiting: dict[str, dict[int, list[int]]] = {sensor: {} for sensor in topics.sensors}
        for index, candidate in enumerate(plan):
            stamps = {"image": candidate.stamp_ns, "cloud": candidate.cloud_ns, "label": candidate.label_ns}
            for sensor, waiting in self._waiting.items():
                if (stamp_ns := stamps[sensor]) is not None:
                    waiting.setdefault(stamp_ns, []).append(index)

    def take(self, reader: BagReader, message: RawMessage) -> tuple[str, int, list[int]] | None:
        """Sensor, stamp and frames of a message that is waited for; from then on it is not."""
        sensor = self._sensors[message.topic]
        if not accepts(sensor, message.msgtype):
            return None
        try:
            stamp_ns = reader.stamp_ns(message)
        except (struct.error, IndexError):
            return None  # counted by the first pass
        indices = self.forget(sensor, stamp_ns)
        return (sensor, stamp_ns, indices) if indices else None

    def forget(self, sensor: str, stamp_ns: int) -> list[int]:
        return self._waiting[sensor].pop(stamp_ns, [])


class _Journal:
    """A line for each message that is done. A line or a file that a kill cut off counts as not done."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _Journal:
        self._path.touch()
        self._file = self._path.open("r+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def note(
        self, log_ns: int, sensor: str, stamp_ns: int, indices: list[int], names: list[str], doubt: str, reason: str
    ) -> None:
        sizes = [(self._path.parent / name).stat().st_size for name in names]
        line = json.dumps([log_ns, sensor, stamp_ns, indices, names, sizes, doubt, reason])
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def replay(self, wanted: _Wanted, writer: FrameWriter, drops: Counter[str]) -> int | None:
        """Take over what an earlier run did; the log time from which on it has to be done, None for all of it."""
        log_ns, good_bytes = None, 0
        for line in self._file:
            entry = _parsed(line)
            if entry is None or not self._holds(*entry):
                break
            log_ns, sensor, stamp_ns, indices, names, _, doubt, reason = entry
            wanted.forget(sensor, stamp_ns)
            writer.written[sensor].update(zip(indices, names, strict=False))
            writer.irregular.update([doubt] if doubt else [])
            drops.update([reason] if reason else [])
            good_bytes += len(line)
        self._file.seek(good_bytes)
        self._file.truncate()
        self._restore_sizes(writer)
        return log_ns

    def _holds(self, *entry: Any) -> bool:
        names, sizes = entry[4:6]
        paths = [self._path.parent / name for name in names]
        return all(path.is_file() and path.stat().st_size == size for path, size in zip(paths, sizes, strict=True))

    def _restore_sizes(self, writer: FrameWriter) -> None:
        for sensor, decode in (("image", decode_image), ("label", decode_label)):
            for name in list(writer.written.get(sensor, {}).values())[:1]:
                picture = decode((self._path.parent / name).read_bytes())
                writer.sizes[sensor] = (picture.shape[1], picture.shape[0])


def _parsed(line: bytes) -> list[Any] | None:
    """What a line says; None where it was cut off, or written by another version of this package."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else []
    except ValueError:
        return None
    return entry if len(entry) == _ENTRIES else None
