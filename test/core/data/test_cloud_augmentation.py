"""Changed clouds stay clouds of the same place: amounts are kept, batches turn together."""

from __future__ import annotations

import numpy as np
import pytest

from vpr_core.data.cloud_augmentation import CloudAugmentation, augment_clouds
from vpr_core.data.pointcloud import within_range

NOTHING = CloudAugmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def clouds(count: int = 3, points: int = 500) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.uniform(-20, 20, (points, 4)).astype(np.float32) for _ in range(count)]


def changed(seed: int = 0, **amounts: float) -> list[np.ndarray]:
    amount = CloudAugmentation(**{**vars(NOTHING), **amounts})
    return augment_clouds(clouds(), amount, np.random.default_rng(seed))


def test_without_any_amount_nothing_changes_and_the_input_never_does() -> None:
    for before, after in zip(clouds(), changed(), strict=True):
        np.testing.assert_array_equal(before, after)
    given = clouds()
    result = augment_clouds(given, CloudAugmentation(), np.random.default_rng(0))
    for before, after, untouched in zip(given, result, clouds(), strict=True):
        np.testing.assert_array_equal(before, untouched)
        assert after.dtype == np.float32 and after.shape[1] == 4 and 0 < len(after) <= 500


def test_jitter_is_clipped() -> None:
    noise = np.concatenate(changed(jitter_m=0.5, jitter_clip_m=0.2)) - np.concatenate(clouds())
    assert np.abs(noise[:, :3]).max() == pytest.approx(0.2, abs=1e-5) and noise[:, :3].std() > 0.1
    assert not noise[:, 3].any()


def test_removal_takes_up_to_its_share() -> None:
    left = [len(cloud) for seed in range(20) for cloud in changed(seed, removed=0.5)]
    assert min(left) < 350 and max(left) > 450 and min(left) > 200


def test_translation_moves_each_cloud_by_itself() -> None:
    shifts = [after - before for before, after in zip(clouds(), changed(translation_m=1.0), strict=True)]
    for shift in shifts:
        np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-5)
    assert not np.allclose(shifts[0][0], shifts[1][0])


def test_a_block_is_an_upright_box() -> None:
    whole = clouds()[0]
    kept = changed(block=1.0)[0]
    gone = whole[~(whole[:, None] == kept[None]).all(-1).any(1)]
    assert 0 < len(gone) < 0.4 * len(whole)
    low, high = gone[:, :2].min(0), gone[:, :2].max(0)
    assert not ((kept[:, :2] >= low) & (kept[:, :2] <= high)).all(1).any()
    assert gone[:, 2].max() - gone[:, 2].min() > 20


def test_the_batch_is_turned_and_mirrored_together() -> None:
    for seed in range(20):
        turned = changed(seed, rotation_deg=30.0, flip_x=0.3, flip_y=0.3)
        turns = [np.linalg.lstsq(b[:, :2], a[:, :2], rcond=None)[0] for b, a in zip(clouds(), turned, strict=True)]
        np.testing.assert_allclose(turns[0], turns[1], atol=1e-4)
        np.testing.assert_allclose(turns[0] @ turns[0].T, np.eye(2), atol=1e-4)
        np.testing.assert_array_equal(turned[0][:, 2:], clouds()[0][:, 2:])
    signs = {round(float(np.linalg.det(_turn(seed)))) for seed in range(20)}
    assert signs == {1, -1}
    flipped = changed(flip_x=1.0)[0]
    np.testing.assert_allclose(flipped[:, :2], clouds()[0][:, :2] * [-1, 1])


def _turn(seed: int) -> np.ndarray:
    after = changed(seed, flip_x=0.3, flip_y=0.3)[0]
    return np.linalg.lstsq(clouds()[0][:, :2], after[:, :2], rcond=None)[0]


def test_range_is_to_the_sensor() -> None:
    points = np.array([[3, 4, 0, 1], [3, 4, 1, 1], [0, 0, -5, 1], [np.nan, 0, 0, 1]], dtype=np.float32)
    assert within_range(points, 5.0)[:, 2].tolist() == [0, -5]
    assert within_range(points, None) is points
