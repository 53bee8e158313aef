"""A picture of where several networks look: a row for each frame, a column for each network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from vpr_core.evaluation.salience import Salience

BRIGHTEST = 4.0
"""Times an even look at which colours end; about one pixel in a hundred of a trained network is above it."""
LARGEST_CHANGE = 1.5
"""In even looks, at which the colours of a change end."""
_RANGE_M = 40.0


@dataclass(frozen=True)
class Look:
    """One network on one frame; what it does not take is None."""

    title: str
    salience: Salience
    voxel_size_m: float | None

    def of_image(self, image: np.ndarray | None) -> np.ndarray | None:
        """float32 [H, W] for an image [H, W, 3], 1 an even look; None without either."""
        if image is None or self.salience.image is None:
            return None
        return self.salience.of_pixels(*image.shape[1::-1])

    def of_cloud(self, cloud: np.ndarray | None) -> np.ndarray | None:
        """float32 [N] for a cloud [N, 4], 1 an even look; None without either."""
        if cloud is None or not self.salience.sites or self.voxel_size_m is None:
            return None
        return self.salience.of_points(cloud, self.voxel_size_m)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """The part that two looks at the same pixels or points have in common: 1 where they are alike, 0 where apart."""
    return float(np.minimum(first / first.sum(), second / second.sum()).sum())


def salience_figure(
    frames: Sequence[tuple[str, np.ndarray | None, np.ndarray | None]],
    looks: Sequence[Sequence[Look]],
    change: bool = False,
) -> Figure:
    """The figure.

    frames: name, RGB uint8 [H, W, 3] or None and cloud [N, 4] or None of each row; looks: the networks of each row.
    A network with both sensors has two columns, image and cloud. change: also where the second network looks more than
    the first, for each sensor that both have.
    """
    panels = [_panels(frame, row, change) for frame, row in zip(frames, looks, strict=True)]
    figure = Figure(figsize=(3.2 * len(panels[0]), 2.6 * len(panels) + 0.9), layout="constrained")
    axes = figure.subplots(len(panels), len(panels[0]), squeeze=False)
    for number, (row_axes, row) in enumerate(zip(axes, panels, strict=True)):
        for ax, draw in zip(row_axes, row, strict=True):
            draw(ax)
            if number:  # the networks are the same in every row
                ax.set_title("")
    for ax, (name, _, _) in zip(axes[:, 0], frames, strict=True):
        ax.text(-0.03, 0.5, name, fontsize=8, rotation=90, ha="right", va="center", transform=ax.transAxes)
    _bar(figure, axes, _scale(), "share of the descriptor's squared length, 1 = an even look")
    if change:
        _bar(figure, axes, _change_scale(), "change of that share: red is looked at more, blue less")
    return figure


def _bar(figure: Figure, axes: np.ndarray, scale: ScalarMappable, text: str) -> None:
    bar = figure.colorbar(scale, ax=axes, location="bottom", shrink=0.35, aspect=50)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(text, fontsize=8)


def _scale() -> ScalarMappable:
    return ScalarMappable(Normalize(0, BRIGHTEST), "inferno")


def _change_scale() -> ScalarMappable:
    return ScalarMappable(Normalize(-LARGEST_CHANGE, LARGEST_CHANGE), "RdBu_r")


def _panels(
    frame: tuple[str, np.ndarray | None, np.ndarray | None], row: Sequence[Look], change: bool
) -> list[Callable[[Axes], None]]:
    _, image, cloud = frame
    panels: list[Callable[[Axes], None]] = []
    if image is not None:
        panels.append(partial(_show_image, title="image", image=image))
    for look in row:
        panels += _pair(look.title, (image, look.of_image(image)), (cloud, look.of_cloud(cloud)), _scale())
    return panels + (_changes(image, cloud, row) if change else [])


Seen = tuple[np.ndarray | None, np.ndarray | None]
"""An image or a cloud, and a value for each of its pixels or points; None where there is none."""


def _pair(title: str, image: Seen, cloud: Seen, scale: ScalarMappable) -> list[Callable[[Axes], None]]:
    panels: list[Callable[[Axes], None]] = []
    if image[0] is not None and image[1] is not None:
        panels.append(partial(_show_image, title=title, image=image[0], value=image[1], scale=scale))
    if cloud[0] is not None and cloud[1] is not None:
        panels.append(partial(_show_cloud, title=title, cloud=cloud[0], value=cloud[1], scale=scale))
    return panels


def _changes(image: np.ndarray | None, cloud: np.ndarray | None, row: Sequence[Look]) -> list[Callable[[Axes], None]]:
    """Where the second network looks more, and where less, than the first."""
    before, after = row[:2]
    of_image = change_of(before.of_image(image), after.of_image(image))
    of_cloud = change_of(before.of_cloud(cloud), after.of_cloud(cloud))
    return _pair(f"{after.title} minus {before.title}", (image, of_image), (cloud, of_cloud), _change_scale())


def change_of(before: np.ndarray | None, after: np.ndarray | None) -> np.ndarray | None:
    """Of looks at the same pixels or points, in even looks; None where one of them has none."""
    return None if before is None or after is None else after - before


def _show_image(
    ax: Axes, title: str, image: np.ndarray, value: np.ndarray | None = None, scale: ScalarMappable | None = None
) -> None:
    """The picture; or in grey, under the colours of a value [H, W], the clearer the farther it is from no look."""
    ax.set_title(title, fontsize=8)
    ax.axis("off")
    if value is None:
        ax.imshow(image)
        return
    ax.imshow(image.mean(axis=2), cmap="gray", vmin=-60, vmax=255)
    assert scale is not None
    colours = scale.to_rgba(value)
    strength = np.abs(value) / (scale.norm.vmax or 1.0)
    colours[..., 3] = 0.8 * np.clip(1.5 * strength, 0.0, 1.0)
    ax.imshow(colours)


def _show_cloud(ax: Axes, title: str, cloud: np.ndarray, value: np.ndarray, scale: ScalarMappable) -> None:
    """From above, x ahead is up; the most salient points are drawn last."""
    order = np.argsort(np.abs(value))
    colours = scale.to_rgba(value[order])
    ax.scatter(-cloud[order, 1], cloud[order, 0], c=colours, s=0.8)
    ax.set(aspect="equal", xlim=(-_RANGE_M, _RANGE_M), ylim=(-_RANGE_M, _RANGE_M), facecolor="#3a414a")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, fontsize=8)
    ax.set_xlabel(f"{2 * _RANGE_M:.0f} m, from above", fontsize=7)
