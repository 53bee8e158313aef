"""Which match to believe: the right to refuse."""

from __future__ import annotations

from vpr_core.types import Reason


def judge(similarities: list[float], min_similarity: float) -> list[Reason]:
    """A reason for each candidate, given their similarities in falling order.

    Only the most similar place can be accepted, and only from `min_similarity` up.
    """
    best = Reason.ACCEPTED if similarities and similarities[0] >= min_similarity else Reason.BELOW_SIMILARITY
    rest = (Reason.NOT_BEST if value >= min_similarity else Reason.BELOW_SIMILARITY for value in similarities[1:])
    return [best, *rest][: len(similarities)]
