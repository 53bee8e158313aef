"""Recognising places in a recorded drive, with the answers that the live node would give."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vpr_core.data.bag import BagReader
from vpr_core.data.images import image_from_message
from vpr_core.data.ingest import IMAGE_TYPES, NONE, choose_topics
from vpr_core.errors import BagError, InputError
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.records import recognition_to_record

Progress = Callable[[str, int], Any]


def query_bag(
    recognizer: PlaceRecognizer,
    bag: str | Path,
    image_topic: str | None = None,
    drops: Counter[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[dict[str, Any]]:
    """A record (see `records`) for every image message of a bag.

    Messages that hold no usable image are left out and counted in `drops` by reason. Raises BagError.
    """
    drops = Counter() if drops is None else drops
    with BagReader(bag) as reader:
        topic = choose_topics(reader, image_topic, NONE, NONE).image or ""
        reader.require(topic, IMAGE_TYPES)
        bar = progress("query", reader.count([topic])) if progress else None
        for message in reader.raw_messages([topic]):
            if bar:
                bar.update(1)
            try:
                decoded = reader.decode(message)
                started = time.perf_counter()
                stamp = decoded.header.stamp
                recognition = recognizer.recognize(
                    image_from_message(decoded), int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
                )
            except (InputError, BagError) as error:
                drops[str(error)] += 1
                continue
            yield recognition_to_record(
                recognition,
                map_hash=recognizer.map_hash,
                model_hash=recognizer.model_hash,
                processing_ms=round((time.perf_counter() - started) * 1e3, 3),
            )
        if bar:
            bar.close()
