"""Images of several cameras put together by their stamps; time is what the test says it is."""

from __future__ import annotations

import pytest

from vpr_core.data.camera_sets import MISSED, SILENT_S, WAIT_S, CameraSets, ImageSet

MS = 1_000_000
START_NS = 1_700_000_000_000 * MS


def sets(cameras: int = 2) -> CameraSets[str]:
    return CameraSets(cameras, 0.05, 0.0)


def shown(given: list[ImageSet[str]]) -> list[dict[int, str]]:
    return [dict(one.images) for one in given]


def feed(into: CameraSets[str], *images: tuple[int, int], now_s: float | None = None) -> list[dict[int, str]]:
    """Images (camera, stamp [ms]) that come at the moment of their stamps, or all at `now_s`."""
    given = []
    for camera, stamp_ms in images:
        moment_s = stamp_ms / 1e3 if now_s is None else now_s
        given += into.add(camera, START_NS + stamp_ms * MS, f"{camera}@{stamp_ms}", moment_s)
    return shown(given)


@pytest.mark.parametrize("order", [((0, 100), (1, 130)), ((1, 130), (0, 100))])
def test_images_of_one_moment_are_a_set_whichever_comes_first(order: tuple[tuple[int, int], ...]) -> None:
    made = sets()
    given = [one for camera, stamp_ms in order
             for one in made.add(camera, START_NS + stamp_ms * MS, f"{camera}@{stamp_ms}", 0.15)]  # fmt: skip
    assert shown(given) == [{0: "0@100", 1: "1@130"}]
    assert given[0].stamp_ns == START_NS + 100 * MS and list(given[0].images) == [0, 1]


def test_what_lies_apart_is_left_out_and_counted_by_camera() -> None:
    made = sets()
    given = feed(made, (0, 0), (1, 51), (0, 200), (1, 251), (0, 400))
    assert given == [{0: "0@0"}, {0: "0@200"}], "a later image of the other camera says that none will come"
    assert made.figures[1].apart == 2 and made.figures[1].missing == 2 and made.figures[0].missing == 0
    assert made.solitude_s(1, 0.4) > made.silence_s(1, 0.4)


def test_the_nearest_of_several_is_taken() -> None:
    made = sets()
    assert feed(made, (1, 60), (1, 95), (1, 130), (0, 100)) == [{0: "0@100", 1: "1@95"}]
    assert feed(made, (0, 200), (1, 200)) == [{0: "0@200", 1: "1@200"}]
    assert made.figures[1].apart == 2 and made.figures[1].images == 4


def test_a_late_camera_is_waited_for_and_a_missing_one_only_so_often() -> None:
    made = sets()
    for number in range(MISSED):
        now_s = float(number)
        assert feed(made, (0, number * 1000)) == [] and made.tick(now_s + WAIT_S - 0.01) == []
        assert shown(made.tick(now_s + WAIT_S + 0.01)) == [{0: f"0@{number * 1000}"}]
    assert feed(made, (0, 9000)) == [{0: "0@9000"}], "it was missing from the last sets"
    assert made.figures[1].missing == MISSED + 1
    feed(made, (1, 9990))
    assert feed(made, (0, 10000)) == [{0: "0@10000", 1: "1@9990"}] and made.figures[1].missing == MISSED + 1
    assert feed(made, (0, 11000)) == [], "it has come again and is waited for"


def test_others_answer_while_the_first_is_silent() -> None:
    made = sets(3)
    feed(made, (0, 0), (1, 0), (2, 0))
    assert feed(made, (1, 500), (2, 510), now_s=0.5) == [] and made.tick(SILENT_S) == []
    assert shown(made.tick(SILENT_S + 0.1)) == [{1: "1@500", 2: "2@510"}]
    assert made.figures[0].missing == 1
    given = [one for number in range(1, MISSED + 2) for one in feed(made, (1, 500 + 300 * number))]
    given += shown(made.flush(10.0))
    assert [one[1] for one in given] == [f"1@{500 + 300 * number}" for number in range(1, MISSED + 2)]
    assert feed(made, (2, 60000), (0, 60000), (1, 60000)) == [{0: "0@60000", 1: "1@60000", 2: "2@60000"}]


def test_no_set_is_given_out_after_a_later_one() -> None:
    made, stamps_ns = sets(3), []
    for tenth in range(60):
        for camera, late_s in ((1, 0.0), (2, 0.38)):  # the first camera is silent, and another late
            stamp_s = tenth / 10 - late_s
            if stamp_s >= 0:
                stamp_ns = START_NS + round(stamp_s * 1000) * MS
                stamps_ns += [one.stamp_ns for one in made.add(camera, stamp_ns, "", tenth / 10)]
    assert len(stamps_ns) > 30 and stamps_ns == sorted(stamps_ns)
    assert made.figures[2].apart > 10, "what came too late is counted"


def test_beside_a_first_camera_that_sends_the_others_do_not_lead() -> None:
    made = sets()
    given = feed(made, *((camera, at) for at in range(0, 2000, 100) for camera in (0, 1) if camera or at % 500 == 0))
    assert given == [{0: f"0@{at}", 1: f"1@{at}"} for at in range(0, 2000, 500)]
    feed(made, (0, 2000))
    assert made.figures[1].apart == made.figures[1].images - 4 and made.figures[1].missing == 0


def test_a_clock_set_back_begins_anew_and_a_late_image_does_not() -> None:
    made = sets()
    assert feed(made, (0, 60000), (1, 60000)) == [{0: "0@60000", 1: "1@60000"}]
    assert feed(made, (0, 60100), (0, 60060), (1, 60100), now_s=60.1) == [{0: "0@60060"}, {0: "0@60100", 1: "1@60100"}]
    feed(made, (1, 60200))
    assert feed(made, (0, 1000), (1, 1000), now_s=60.3) == [{0: "0@1000", 1: "1@1000"}]
    assert made.figures[1].apart == 1, "what waited for an image of the time before"


def test_a_camera_of_another_clock_fills_no_memory() -> None:
    made = sets()
    for number in range(200):
        assert len(made.add(0, START_NS + number * 100 * MS, "first", number / 10)) <= 1
        made.add(1, START_NS + (3_600_000 + number * 100) * MS, "ahead", number / 10)
    assert sum(map(len, made._loose)) < 30 and made.figures[1].apart > 170
