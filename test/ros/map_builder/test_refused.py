"""What makes no place of a map: counted by kind, told on /diagnostics, over with the next good frame."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage

from vpr_core.preprocess import decode_image

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


def noise(level: float, like: bytes) -> bytes:
    """What a camera of that size sends that sees nothing."""
    levels = level + np.random.default_rng(0).normal(0, 5, decode_image(like).shape)
    return cv2.imencode(".jpg", levels.clip(0, 255).astype(np.uint8))[1].tobytes()


@pytest.mark.parametrize(("kind", "level"), [("dark", 12), ("white", 253), ("covered", 90)])
def test_a_picture_of_nothing_makes_no_place(
    mapper: Callable[..., Any], jpegs: list[bytes], kind: str, level: float
) -> None:
    node = mapper(stale_s=1000.0)
    node.visit(1)
    picture, key = noise(level, jpegs[0]), f"frames_dropped.{kind}"
    node.wait(lambda: key in node.values or node.photograph_at(2, picture), f"a picture dropped as {kind}")
    node.status(lambda status, _: status.level == WARN and f"images cannot be used: image is {kind}" in status.message)
    node.visit(3)
    node.status(lambda status, _: status.level == OK and status.message == "mapping, 2 places")
    assert node.save().success and node.mapped_s == [1, 3]
    assert f"image dropped: image is {kind}: " in node.process.output and "Traceback" not in node.process.output


def test_the_picture_of_the_place_before_makes_no_other(mapper: Callable[..., Any], jpegs: list[bytes]) -> None:
    node = mapper(stale_s=1000.0)
    node.visit(1)
    seconds = itertools.count(2)
    frozen = "frames_dropped.frozen"
    node.wait(lambda: frozen in node.values or node.photograph_at(next(seconds), jpegs[1]), "a frozen picture dropped")
    node.status(lambda status, _: status.level == WARN and "image is frozen: " in status.message)
    assert node.places == 1
    node.wait(lambda: node.places == 2 or node.photograph_at(next(seconds), jpegs[2]), "a place of another picture")
    assert node.save().success and len(node.mapped_s) == 2


def test_what_shall_be_mapped_all_the_same_is_left_out_of_a_parameter(
    mapper: Callable[..., Any], jpegs: list[bytes]
) -> None:
    node = mapper(refuse="white frozen")
    picture = noise(12, jpegs[0])
    node.wait(lambda: node.places or node.photograph_at(1, picture), "a place in the dark")
    assert not node.set("refuse", "night").successful


def test_two_cameras_make_no_place(mapper: Callable[..., Any], passer_by: Callable[[], Any]) -> None:
    node = mapper(stale_s=1000.0)
    node.visit(1)
    passer_by().publisher(CompressedImage, node.image_topic, 50)
    words = f"2 publishers send on {node.image_topic}"
    node.process.says(words)
    node.wait(lambda: "frames_dropped.publishers" in node.values or node.photograph_at(2), "an image that is refused")
    node.status(lambda status, _: status.level == WARN and f"images cannot be used: {words}" in status.message)
    assert node.places == 1 and node.set("refuse", "dark").successful
    node.status(lambda status, _: status.level == WARN and f"; {words}" in status.message)
    node.visit(2)
