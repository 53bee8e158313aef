"""From a bag to a frames folder: images, clouds, labels and poses that belong together, by header stamp.

The bag is read twice. The first pass looks only at header stamps (and decodes the poses, which are small), so that
keyframes can be chosen over the whole drive; the second decodes just the messages that were chosen, one at a time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.bag import BagReader, bag_fingerprint
from vpr_core.data.card import Recording, counted, make_card
from vpr_core.data.card_picture import draw_card
from vpr_core.data.extract import extract
from vpr_core.data.frame_writer import FrameWriter
from vpr_core.data.frames import SCHEMA, Frame, write_index
from vpr_core.data.mounting import Mounting, fitting
from vpr_core.data.poses import MAX_SPEED_MPS
from vpr_core.data.scan import Progress, Scan, scan
from vpr_core.data.synchronise import Candidate, KeyframeChooser, Partners, plan_frames
from vpr_core.data.topics import Topics, choose_topics
from vpr_core.errors import FramesError
from vpr_core.files import folder_in_the_making, sha256_json
from vpr_core.geodesy import GeoPoint
from vpr_core.types import Pose


@dataclass(frozen=True)
class Options:
    """How frames are made of a drive; see `ingest`."""

    image_topic: str | None = None
    cloud_topic: str | None = None
    pose_topic: str | None = None
    label_topic: str | None = None
    keyframe_m: float = 2.0
    keyframe_s: float = 1.0
    tolerance_s: float = 0.1
    max_speed_mps: float = MAX_SPEED_MPS
    gnss_origin: GeoPoint | None = None
    session: str | None = None
    area: str | None = None
    base_frame: str | None = None
    camera_info_topic: str | None = None


# Folders made before there were these have a hash without them.
_SINCE = ("base_frame", "camera_info_topic")


def ingest(
    bag: str | Path,
    out: str | Path,
    *,
    image_topic: str | None = None,
    cloud_topic: str | None = None,
    pose_topic: str | None = None,
    label_topic: str | None = None,
    keyframe_m: float = 2.0,
    keyframe_s: float = 1.0,
    tolerance_s: float = 0.1,
    max_speed_mps: float = MAX_SPEED_MPS,
    gnss_origin: GeoPoint | None = None,
    session: str | None = None,
    area: str | None = None,
    base_frame: str | None = None,
    camera_info_topic: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the frames folder `out` from `bag` and return its path.

    A topic left None is found by its type (labels also by their name) and must then be the only one; "none" leaves
    that sensor out. `pose_topic` is odometry, a pose topic, NavSatFix, "tf:PARENT>CHILD" or
    "anchored:BELIEVED+ODOMETRY". Keyframes are `keyframe_m` metres of travel apart, or `keyframe_s` seconds where
    there are no poses. Cloud and label are those nearest to the image, within `tolerance_s`; a pose is interpolated
    between the two around the image, which may be up to 0.5 s apart (1.5 s with GNSS) and not farther than a vehicle
    of `max_speed_mps` gets in between.
    `gnss_origin` is where GNSS poses are counted from, the first fix by default.
    What does not fit is dropped, counted by reason, and stands in card.json.
    `area` names what drives with one map frame share; it is needed only where different towns call theirs the same.
    `base_frame` is the vehicle's frame, whose poses the frames get; by default the one whose poses come (odometry's
    child_frame_id, the CHILD of a chain). /tf_static then tells where the sensors are mounted, and
    `camera_info_topic`, by default the one beside the image topic, how the camera projects; card.json keeps both.

    A run that was killed is taken up where it stood by the next one with the same arguments.

    Raises BagError (unreadable bag, missing or ambiguous topic) and FramesError (`out` exists; nothing could be used).
    """
    bag, out = Path(bag), Path(out)
    options = Options(image_topic, cloud_topic, pose_topic, label_topic, keyframe_m, keyframe_s, tolerance_s,
                      max_speed_mps, gnss_origin, session or out.name, area, base_frame, camera_info_topic)  # fmt: skip
    with BagReader(bag) as reader:
        work = work_of(bag, options)
        topics = choose_topics(reader, image_topic, cloud_topic, pose_topic, label_topic)
        with folder_in_the_making(out, FramesError, "card.json", overwrite, work) as folder:
            found = scan(reader, topics, progress, max_speed_mps, gnss_origin)
            calibration = _calibrate(reader, topics, found, options)
            lost_ns: list[int] = []
            plan = _plan(found, topics, options, lost_ns)
            writer = FrameWriter(folder, tuple(topics.sensors), found.drops, found.irregular)
            extract(reader, topics, plan, writer, found.drops, progress)
            frames = writer.frames(plan)
            if not frames:
                raise FramesError(f"{bag} gave no frame: {_drop_text(found.drops)}")
            calibration = fitting(calibration, writer.sizes.get("image"), found.irregular)
            recording = _recording(bag, options, topics, found, writer, work, calibration)
            card = make_card(recording, frames)
            draw_card(folder, card, frames, _lost_m(found, plan, frames, lost_ns))
            write_index(folder, frames, card)
    return out


def work_of(bag: Path, options: Options) -> str:
    """Hash of what decides over the frames: the bag and the options."""
    given = {name: value for name, value in asdict(options).items() if name not in _SINCE or value is not None}
    return sha256_json([SCHEMA, bag_fingerprint(bag), bag.name, given])[:16]


def _calibrate(reader: BagReader, topics: Topics, found: Scan, options: Options) -> dict[str, Any]:
    """What is known of the sensors; where another frame's poses came than are wanted, `found` gets those."""
    mounting = Mounting(reader, found.irregular)
    base_frame = (options.base_frame or found.base_frame).lstrip("/")
    if found.track is not None and found.base_frame not in ("", base_frame):
        found.track = mounting.moved(found.track, found.base_frame, base_frame)
    return mounting.card(topics, base_frame, options.camera_info_topic)


def _plan(found: Scan, topics: Topics, options: Options, lost_ns: list[int]) -> list[Candidate]:
    leads_ns = found.stamps_ns["image" if topics.image else "cloud"]
    partners = Partners(
        round(options.tolerance_s * 1e9),
        topics.image is not None,
        found.stamps_ns.get("cloud"),
        found.stamps_ns.get("label"),
        found.track,
    )
    chooser = KeyframeChooser(options.keyframe_m, options.keyframe_s)
    return list(plan_frames(leads_ns, partners, chooser, found.drops, lost_ns))


def _lost_m(found: Scan, plan: list[Candidate], frames: list[Frame], lost_ns: list[int]) -> np.ndarray:
    """[N, 3] where something was dropped, as far as there is a pose."""
    kept_ns = {frame.stamp_ns for frame in frames}
    broken = [candidate.pose for candidate in plan if candidate.stamp_ns not in kept_ns]
    lost = [found.track.at(stamp_ns) for stamp_ns in lost_ns] if found.track else []
    return np.array([pose.position_m for pose in [*lost, *broken] if isinstance(pose, Pose)]).reshape(-1, 3)


def _recording(
    bag: Path,
    options: Options,
    topics: Topics,
    found: Scan,
    writer: FrameWriter,
    work: str,
    calibration: dict[str, Any],
) -> Recording:
    return Recording(
        session=options.session or "",
        bag=bag.name,
        area=options.area,
        topics={"image": topics.image, "cloud": topics.cloud, "pose": topics.pose, "label": topics.label},
        map_frame=found.map_frame,
        keyframes={"metres": options.keyframe_m} if topics.pose else {"seconds": options.keyframe_s},
        drops=found.drops,
        irregular=found.irregular,
        messages=dict(sorted(found.messages.items())),
        sizes=writer.sizes,
        poses=found.poses,
        jumps_ns=found.track.jumps_ns if found.track else np.empty(0, np.int64),
        begin_ns=found.begin_ns,
        ends_ns=found.ends_ns,
        work=work,
        calibration=calibration,
    )


def _drop_text(drops: Counter[str]) -> str:
    return counted(dict(drops.most_common())) or "its topics hold no messages"
