"""Images of Oxford RobotCar: as the cameras wrote them, or as MinkLoc++ makes them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vpr_core.data.dataset_parts import scaled_pictures
from vpr_core.data.plan import Conversion, Sensor
from vpr_core.errors import FramesError, InputError
from vpr_core.preprocess import resize_image


def conversions(image: Path, height: int | None) -> dict[Sensor, Conversion]:
    """What a run's images need, to judge by one of them."""
    stored = _as_stored(image)
    if stored is None:
        raise FramesError(f"{image} does not decode: expected a PNG of the camera's or of MinkLoc++'s")
    if stored.ndim != 2:
        return scaled_pictures(image, height)
    return {"image": Conversion(lambda path: demosaiced(path, height), f"demosaiced, height {height}")}


def demosaiced(path: Path, height: int | None) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an image as the camera wrote it, one number a pixel under the filters of a Bayer mosaic.

    The mosaic is GBRG; bilinear, as MinkLoc++ makes it. Raises InputError where the image is none.
    """
    mosaic = _as_stored(path)
    if mosaic is None or mosaic.ndim != 2:
        raise InputError(f"{path} is no Bayer mosaic, as others of its folder are")
    image = cv2.cvtColor(mosaic, cv2.COLOR_BayerGBRG2RGB)
    return image if height is None else resize_image(image, height, round(image.shape[1] * height / image.shape[0]))


def _as_stored(path: Path) -> np.ndarray | None:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
