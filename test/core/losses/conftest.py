"""Reference numbers of the losses: from $VPR_SHARED/golden, else from the folder `shared` beside the project."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

SHARED = Path(os.environ.get("VPR_SHARED", Path(__file__).resolve().parents[4] / "shared"))
LOSSES = sorted((SHARED / "golden").glob("losses_*.npz"))
PMATH = sorted((SHARED / "golden").glob("pmath_*.npz"))


class Golden:
    """One file of inputs, loss values and student gradients."""

    def __init__(self, path: Path) -> None:
        self.numbers = dict(np.load(path))
        self.student = torch.from_numpy(self.numbers["student"]).requires_grad_()
        self.teacher = torch.from_numpy(self.numbers["teacher"]).requires_grad_()
        self.positives_mask = torch.from_numpy(self.numbers["positives_mask"])
        self.negatives_mask = torch.from_numpy(self.numbers["negatives_mask"])
        self.curvature = float(self.numbers["curvature"])
        self.in_double = self.student.dtype == torch.float64
        # Rows longer than this are clipped to the ball's edge, where float32 has few digits left.
        self.saturates = bool(torch.linalg.vector_norm(self.student, dim=1).max() > 12)

    def check(self, name: str, value: Tensor) -> None:
        """Value and student gradient to 1e-6 in float64; in float32, whose gradients are noisier, the value alone."""
        expected = float(self.numbers[name])
        if not self.in_double:
            relative = 0.1 if self.saturates and ("hyp" in name or "geodesic" in name) else 1e-3
            assert value.item() == pytest.approx(expected, rel=relative, abs=1e-7), name
            return
        assert value.item() == pytest.approx(expected, rel=1e-6, abs=1e-15), name
        (gradient,) = torch.autograd.grad(value, self.student, retain_graph=True, materialize_grads=True)
        expected_gradient = self.numbers[f"{name}__grad_student"]
        error = np.abs(gradient.numpy() - expected_gradient).max()
        assert error <= 1e-6 * np.abs(expected_gradient).max() + 1e-15, name


@pytest.fixture(params=LOSSES or [None], ids=lambda path: path.stem if path else "absent")
def golden(request: pytest.FixtureRequest) -> Golden:
    if request.param is None:
        pytest.skip(f"no reference numbers in {SHARED}/golden")
    return Golden(request.param)


@pytest.fixture(params=PMATH or [None], ids=lambda path: path.stem if path else "absent")
def pmath(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    if request.param is None:
        pytest.skip(f"no reference numbers in {SHARED}/golden")
    return dict(np.load(request.param))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


@pytest.fixture
def make_pair(generator: torch.Generator) -> Callable[..., tuple[Tensor, Tensor]]:
    """make_pair(count, width, scale): Gaussian rows of a student and a teacher, float64 leaves."""

    def make(count: int = 6, width: int = 4, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        rows = (scale * torch.randn(count, width, generator=generator, dtype=torch.float64) for _ in range(2))
        student, teacher = (row.requires_grad_() for row in rows)
        return student, teacher

    return make


@pytest.fixture
def assert_same_loss() -> Callable[[Tensor, Tensor, Tensor], None]:
    """assert_same_loss(ours, expected, student): value and student gradient agree."""

    def compare(ours: Tensor, expected: Tensor, student: Tensor) -> None:
        torch.testing.assert_close(ours, expected)
        gradients = [torch.autograd.grad(loss, student, retain_graph=True)[0] for loss in (ours, expected)]
        # The last summand is for losses that are constant, such as a distance over the mean of itself alone.
        tolerance = 1e-9 * gradients[1].abs().max().item() + 1e-14
        torch.testing.assert_close(*gradients, rtol=1e-7, atol=tolerance)

    return compare
