"""How much likelier a similarity is at the right place than where the vehicle is off the map."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.errors import MapError
from vpr_core.files import read_manifest, write_json
from vpr_core.retrieval.place_map import MADE_BY, MANIFEST, stored_hash

SCHEMA = 2
FILE = "observation.json"
_RIDGE = 1e-3
_ROUNDS = 30


@dataclass(frozen=True)
class ObservationModel:
    """log p(similarity | right place) / p(similarity | off the map), linear in the similarity and in its standing.

    The standing of a place is how many standard deviations its similarity lies above the mean of all places' for the
    same query: it stays where night or rain lower every similarity alike.
    """

    offset: float
    per_similarity: float
    per_standing: float
    """With `offset`: the log ratio of a right place to any wrong one [nats]."""
    off_map_log_ratio: float = 2.0
    """What the best of the wrong places reaches of that where none is right: somewhere it looks alike [nats]."""
    evidence_m: float = 10.0
    """Travel after which a look is taken as independent of the last [m]; nearer looks count in proportion."""
    max_log_ratio: float = 20.0
    """No single look is believed more than this, nor less than minus this [nats]."""
    checked_log_ratio: float = 0.0
    """Of places where checking the candidates puts the vehicle, to being off the map; 0 where nothing was checked
    [nats]."""
    unchecked_log_ratio: float = 0.0
    """The same of every place where no candidate fits [nats]."""

    def log_ratio(self, similarities: np.ndarray) -> np.ndarray:
        """[..., N] for similarities [..., N] of queries to all places of the map; above 0 speaks for a place."""
        right = self.offset + self.per_similarity * similarities + self.per_standing * standing(similarities)
        return np.clip(right - self.off_map_log_ratio, -self.max_log_ratio, self.max_log_ratio)

    def save(self, place_map: str | Path) -> Path:
        """Write it into the folder of the map that it belongs to; raises MapError where there is no map."""
        map_hash = stored_hash(place_map)
        if not map_hash:
            raise MapError(f"{place_map} holds no {MANIFEST}: expected a map folder, made by `{MADE_BY}`")
        path = Path(place_map) / FILE
        write_json(path, {"schema": SCHEMA, "map_hash": map_hash, **asdict(self)})
        return path

    @classmethod
    def load(cls, place_map: str | Path, map_hash: str) -> ObservationModel:
        """Read the model stored with a map; raises MapError where there is none, or it belongs to another map."""
        folder = Path(place_map)
        manifest = read_manifest(folder, FILE, SCHEMA, MapError, _MADE_BY, ("map_hash", *_KEYS))
        if manifest["map_hash"] != map_hash:
            raise MapError(
                f"{folder / FILE} was fitted for map {manifest['map_hash']}, the map is {map_hash}: fit it again with "
                f"`{_MADE_BY}`"
            )
        return cls(**{key: _number(folder / FILE, manifest, key) for key in _KEYS})


_KEYS = tuple(ObservationModel.__dataclass_fields__)
_MADE_BY = "vpr-distill fit-filter"


def _number(path: Path, manifest: dict[str, Any], key: str) -> float:
    try:
        value = float(manifest[key])
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise MapError(f"{path} has {key} {manifest[key]!r}, expected a number: fit it again with `{_MADE_BY}`")
    return value


def standing(similarities: np.ndarray) -> np.ndarray:
    """Standard deviations above the mean over the last axis [..., N]; 0 where all are alike."""
    centred = similarities - similarities.mean(axis=-1, keepdims=True)
    return centred / np.maximum(similarities.std(axis=-1, keepdims=True), 1e-6)


def fit_observation_model(similarities: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> ObservationModel:
    """Logistic regression of right against wrong pairs of query and place, each kind with the same weight in all.

    similarities: [M, N] of M validation queries to all N places, those off the map too.
    right, wrong: bool [M, N] which pairs show the same place and which do not; a pair may be neither.
    Raises MapError where one of the kinds has no pair.
    """
    if not right.any() or not wrong.any():
        raise MapError(
            f"{int(right.sum())} pairs of a validation frame and a place show the same place and {int(wrong.sum())} "
            "do not, expected some of both: take a validation drive through the map, in the map's frame"
        )
    features = np.stack([similarities, standing(similarities)], axis=-1)
    chosen = np.concatenate([features[right], features[wrong]]).astype(np.float64)
    mean, scale = chosen.mean(axis=0), np.maximum(chosen.std(axis=0), 1e-9)
    labels = np.repeat([1.0, 0.0], [int(right.sum()), int(wrong.sum())])
    weights = np.repeat(0.5 / np.array([right.sum(), wrong.sum()]), [int(right.sum()), int(wrong.sum())])
    intercept, *slopes = _logistic((chosen - mean) / scale, labels, weights)
    per_similarity, per_standing = (float(slope) for slope in np.array(slopes) / scale)
    offset = float(intercept - mean @ [per_similarity, per_standing])
    return ObservationModel(offset, per_similarity, per_standing)


def _logistic(features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Intercept and slopes [1 + F] by Newton's method, the slopes held by a small ridge."""
    design = np.hstack([np.ones((len(features), 1)), features])
    ridge = np.diag([0.0, *[_RIDGE] * features.shape[1]])
    theta = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        probability = 1 / (1 + np.exp(-np.clip(design @ theta, -30, 30)))
        gradient = design.T @ (weights * (labels - probability)) - ridge @ theta
        curvature = (design * (weights * probability * (1 - probability))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature + 1e-9 * np.eye(len(theta)), gradient)
        theta += step
        if np.abs(step).max() < 1e-8:
            break
    return theta
