"""Recognising places in a recorded drive, with the answers that the live node would give."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from vpr_core.data.bag import BagReader
from vpr_core.data.camera_sets import WITHIN_S, CameraSets, ImageSet
from vpr_core.data.images import image_from_message
from vpr_core.data.pointcloud import cloud_from_message
from vpr_core.data.poses import Track
from vpr_core.data.scan import scan
from vpr_core.data.stamps import header_stamp_ns
from vpr_core.data.topics import CLOUD_TYPES, IMAGE_TYPES, NONE, Topics, choose_topics
from vpr_core.data.usable import KINDS, Watch
from vpr_core.errors import BagError, InputError
from vpr_core.retrieval.recognizer import PlaceRecognizer
from vpr_core.retrieval.records import recognition_to_record, verification_to_record
from vpr_core.retrieval.several_cameras import Cameras
from vpr_core.retrieval.verification import Verification, Verifier
from vpr_core.types import Recognition

Progress = Callable[[str, int], Any]
Follow = Callable[[Recognition, Verification[Any] | None], dict[str, Any]]
"""Takes each answer, and what checking its candidates gave, and gives what its record holds under `filtered`."""


def query_bag(
    recognizer: PlaceRecognizer,
    bag: str | Path,
    topic: str | None = None,
    drops: Counter[str] | None = None,
    progress: Progress | None = None,
    follow: Follow | None = None,
    refuse: Collection[str] = KINDS,
    verifier: Verifier | None = None,
) -> Iterator[dict[str, Any]]:
    """A record (see `records`) for every image or cloud of a bag, as the recognizer's modality is.

    topic: None finds it by its type; it must then be the only one. Messages that cannot be used are left out and
    counted in `drops` by reason; so are those not worth a query, of the kinds in `refuse`. follow: such as
    `sequence.follower` makes. verifier: checks candidates, with the sensor where the map's was. Raises BagError.
    """
    drops, watch = Counter() if drops is None else drops, Watch()
    with BagReader(bag) as reader:
        topics = _topics(reader, recognizer.modality, topic, NONE)
        topic = topics.image or topics.cloud or ""
        to_array = image_from_message if recognizer.modality == "camera" else cloud_from_message
        bar = progress("query", reader.count([topic])) if progress else None
        for message in reader.raw_messages([topic]):
            if bar:
                bar.update(1)
            try:
                decoded = reader.decode(message)
                started = time.perf_counter()
                observation, stamp_ns = to_array(decoded), header_stamp_ns(decoded)
                watch.see(observation, stamp_ns, refuse)
                recognition, verification = recognizer.recognize_checked(
                    observation, stamp_ns, verifier, always=follow is not None
                )
            except (InputError, BagError) as error:
                drops[_reason(error)] += 1
                continue
            record = recognition_to_record(
                recognition,
                map_hash=recognizer.map_hash,
                model_hash=recognizer.model_hash,
                processing_ms=round((time.perf_counter() - started) * 1e3, 3),
            )
            if verification is not None:
                record["verified"] = verification_to_record(verification, recognizer.map_frame)
            if follow:
                record["filtered"] = follow(recognition, verification)
            yield record
        if bar:
            bar.close()


def query_cameras(
    recognizer: PlaceRecognizer,
    bag: str | Path,
    topics: Sequence[str],
    drops: Counter[str] | None = None,
    progress: Progress | None = None,
    within_s: float = WITHIN_S,
    refuse: Collection[str] = KINDS,
) -> Iterator[dict[str, Any]]:
    """A record for the images of every moment, of cameras whose first is mounted as the map's was.

    As `query_bag`, with the topic under `camera` of every match whose camera sees the most of the place. The live
    node's sets are made of images as they arrive, these of the times at which they were recorded. Raises BagError, and
    InputError where one camera alone can be used.
    """
    _check_cameras(recognizer, topics)
    drops, cameras = Counter() if drops is None else drops, Cameras(topics, image_from_message)
    with BagReader(bag) as reader:
        for topic in topics:
            _topics(reader, "camera", topic, NONE)
        for taken in _sets(reader, topics, within_s, drops, progress):
            started = time.perf_counter()
            try:
                seen = cameras.recognize(recognizer, taken, refuse=refuse)
            except InputError:  # each image of it is counted among the cameras' refused ones
                continue
            record = recognition_to_record(
                seen.recognition,
                map_hash=recognizer.map_hash,
                model_hash=recognizer.model_hash,
                processing_ms=round((time.perf_counter() - started) * 1e3, 3),
            )
            for match, camera in zip(record["matches"], seen.cameras, strict=True):
                match["camera"] = topics[camera]
            yield record
    for (camera, kind), times in cameras.refused.items():
        drops[f"{topics[camera]}: image is {kind}"] += times


def _check_cameras(recognizer: PlaceRecognizer, topics: Sequence[str]) -> None:
    if recognizer.modality != "camera":
        raise InputError(f"the bundle is a {recognizer.modality} bundle, which has one topic: expected a camera bundle")
    if recognizer.reranker:
        raise InputError("re-ranking compares one picture with the map's: give rerank 0 with several image topics")
    if len(set(topics)) < len(topics):
        raise InputError(f"the image topics are {', '.join(topics)}: name each once")


def _sets(
    reader: BagReader, topics: Sequence[str], within_s: float, drops: Counter[str], progress: Progress | None
) -> Iterator[ImageSet[Any]]:
    """The images of several topics put together, as a node does that gets them when they were recorded."""
    sets: CameraSets[Any] | None = None
    bar = progress("query", reader.count(topics)) if progress else None
    now_s = 0.0
    for message in reader.raw_messages(topics):
        if bar:
            bar.update(1)
        now_s = message.log_ns / 1e9
        sets = sets or CameraSets(len(topics), within_s, now_s)
        yield from sets.tick(now_s)
        try:
            decoded = reader.decode(message)
        except BagError as error:
            drops[str(error)] += 1
            continue
        yield from sets.add(topics.index(message.topic), header_stamp_ns(decoded), decoded, now_s)
    if bar:
        bar.close()
    if sets is not None:
        yield from sets.flush(now_s)
        for topic, figures in zip(topics, sets.figures, strict=True):
            if figures.apart:
                drops[f"{topic}: no image of {topics[0]} within {within_s:g} s"] += figures.apart


def _reason(error: InputError | BagError) -> str:
    """Of what is not worth a query without its figures, which every image has its own of."""
    return str(error).split(":")[0] if isinstance(error, InputError) and error.kind in KINDS else str(error)


def odometry_of(
    bag: str | Path,
    modality: str,
    topic: str | None = None,
    pose_topic: str | None = None,
    progress: Progress | None = None,
) -> Track:
    """The bag's odometry by time: T_odom_base of `pose_topic`, a topic or "tf:PARENT>CHILD"; None finds the only one.

    modality, topic: the sensor that is asked about. Raises BagError where there is no odometry, or no telling which.
    """
    with BagReader(bag) as reader:
        pose = _topics(reader, modality, topic, pose_topic).pose
        if pose is None:
            raise BagError(f"{reader.path} has no odometry, along which a filter could follow the vehicle")
        track = scan(reader, Topics(None, None, pose), progress).track
    assert track
    return track


def _topics(reader: BagReader, modality: str, given: str | None, pose: str | None) -> Topics:
    types = IMAGE_TYPES if modality == "camera" else CLOUD_TYPES
    if given is None and not set(types) & set(reader.topics.values()):
        raise BagError(f"{reader.path} has no topic of {' or '.join(types)}, which a {modality} bundle needs")
    image, cloud = (given, NONE) if modality == "camera" else (NONE, given)
    return choose_topics(reader, image, cloud, pose)
