"""What a robot loads: an encoder with everything needed to feed it, and its model card.

bundle/
  bundle.json   schema, modality, input, descriptor width, acceptance threshold, card
  ...           the encoder, as its modality has it: see `camera_bundle` and `lidar_bundle`
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vpr_core.errors import BundleError
from vpr_core.files import commit, read_manifest, require_keys, sha256_json
from vpr_core.retrieval.light import NO_LIGHT

SCHEMA = 1
MANIFEST = "bundle.json"
MADE_BY = "vpr-distill export"
MODALITIES = ("camera", "lidar")
KEYS = ("encoder", "dim", "accept_similarity", "card")
"""What every bundle's manifest has beside its modality."""


@dataclass(frozen=True)
class Bundle(ABC):
    """An encoder ready to run."""

    modality: ClassVar[str]
    """What it looks at: one of MODALITIES."""
    input_keys: ClassVar[tuple[str, ...]]
    """Entries of the manifest which say how the network is made and fed."""
    dim: int
    """Width D of its descriptors."""
    accept_similarity: float | None
    """Similarity from which a match is accepted, chosen on validation drives; None where there were none."""
    hash: str
    """Identity: two bundles with the same hash give the same descriptors."""
    card: dict[str, Any]

    @staticmethod
    def load(folder: str | Path, device: str = "cpu", threads: int = 0) -> Bundle:
        """Read a bundle folder of either modality; `threads` 0 lets the library that runs it choose.

        Raises BundleError where the folder is absent or damaged, or this machine cannot run it on `device`.
        """
        folder = Path(folder)
        manifest = read_manifest(folder, MANIFEST, SCHEMA, BundleError, MADE_BY, ("modality",))
        modality = manifest["modality"]
        if modality not in MODALITIES:
            raise BundleError(f"{folder} is a {modality} bundle, this version runs {' and '.join(MODALITIES)}")
        try:
            kind = _kind(modality)
        except ImportError as error:
            raise BundleError(
                f"{folder} is a {modality} bundle, which needs {error.name}: install it ({error})"
            ) from error
        require_keys(folder / MANIFEST, manifest, (*KEYS, *kind.input_keys), BundleError, MADE_BY)
        return kind.read(folder, manifest, device, threads)

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, manifest: dict[str, Any], device: str, threads: int) -> Bundle:
        """The bundle of a folder whose manifest was read; raises BundleError as `load` does."""

    @abstractmethod
    def encode(self, observations: Sequence[np.ndarray]) -> np.ndarray:
        """Images or clouds, as the modality is, to unit descriptors float32 [B, D]; raises InputError."""

    def light_of(self, observation: np.ndarray) -> tuple[float, ...]:
        """The light in which an image that `encode` takes was taken, see `light`; empty of a cloud."""
        return NO_LIGHT


def _kind(modality: str) -> type[Bundle]:
    """Imported here, since each brings a library that a robot with the other sensor need not have."""
    if modality == "lidar":
        from vpr_core.retrieval.lidar_bundle import LidarBundle

        return LidarBundle
    from vpr_core.retrieval.camera_bundle import CameraBundle

    return CameraBundle


def write_bundle(
    folder: Path,
    modality: str,
    encoder: tuple[str, bytes],
    *,
    input: dict[str, Any],
    dim: int,
    accept_similarity: float | None,
    card: dict[str, Any],
) -> Path:
    """Write a bundle; an older one stays whole until everything is on the disk.

    encoder: plain name and content of its file, e.g. ("weights.pt", ...); the manifest names it under "encoder".
    input: further entries of the manifest, which say how the network is made and fed.
    """
    name, data = encoder

    def manifest(stored: dict[str, str]) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "modality": modality,
            "encoder": stored[name],
            **input,
            "dim": dim,
            "accept_similarity": accept_similarity,
            "card": card,
        }

    commit(folder, MANIFEST, {name: data}, manifest)
    return folder


def identity(manifest: dict[str, Any], *keys: str) -> str:
    """The hash of a bundle, from the entries of its manifest that its descriptors depend on."""
    return sha256_json([manifest[key] for key in ("modality", "encoder", *keys, "dim")])[:16]
