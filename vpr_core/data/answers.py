"""What a localizer answered along a drive, from the topic ~/matches of a bag."""

from __future__ import annotations

from collections.abc import Iterator

from vpr_core.data.bag import BagReader
from vpr_core.data.hard_pairs import Answered
from vpr_core.data.stamps import header_stamp_ns
from vpr_core.errors import BagError
from vpr_core.types import Reason

MATCHES_TYPE = "vpr_distill_msgs/msg/PlaceMatchArray"


def matches_topic(reader: BagReader, given: str | None = None) -> str:
    """The topic of matches that was named, or the bag's only one; raises BagError where that is not clear."""
    if given is not None:
        reader.require(given, [MATCHES_TYPE])
        return given
    found = sorted(topic for topic, types in reader.types.items() if MATCHES_TYPE in types)
    if len(found) != 1:
        raise BagError(
            f"{reader.path} has {'several topics' if found else 'no topic'} of a localizer's matches "
            f"({', '.join(found) or 'none of ' + MATCHES_TYPE}): record ~/matches with the sensor, or choose one with "
            "--matches_topic"
        )
    return found[0]


def answers_in(reader: BagReader, topic: str) -> Iterator[Answered]:
    """Each answer in the order of the bag; one without a match or with a reason that is not known is passed over."""
    for raw in reader.raw_messages([topic]):
        message = reader.decode(raw)
        if not len(message.matches) or message.matches[0].reason not in set(Reason):
            continue
        reason = Reason.ACCEPTED if message.accepted else Reason(message.matches[0].reason)
        places = tuple((match.session, _ns(match.place_stamp)) for match in message.matches)
        yield Answered(header_stamp_ns(message), reason.name.lower(), places)


def _ns(stamp: object) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)  # type: ignore[attr-defined]
