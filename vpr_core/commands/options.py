"""What several commands have in common."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.errors import VprError


def add_device(command: ArgumentParser, text: str = "where network and search run") -> None:
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help=text)


def progress_bar(name: str, total: int) -> tqdm:
    """A bar with an estimate of the time left, on stderr."""
    return tqdm(total=total, desc=name, unit="msg")


def file_ending(*endings: str) -> Callable[[str], Path]:
    """A type of option: the path of a file with one of these endings, such as ".png"."""

    def path(text: str) -> Path:
        if Path(text).suffix not in endings:
            raise ArgumentTypeError(f"{text} is expected to end in {' or '.join(endings)}")
        return Path(text)

    return path


def check_output_folder(out: Path) -> None:
    """Before the work begins, not after it: raises VprError where a folder cannot be written to `out`."""
    if out.exists() and not out.is_dir():
        raise VprError(f"--out {out} is a file, expected a folder to write")


def check_output_file(out: Path | None) -> None:
    """Before the work begins, not after it: raises VprError where a file cannot be written to `out`."""
    if out is not None and out.is_dir():
        raise VprError(f"--out {out} is a folder, expected the name of a file to write")
    if out is not None and not out.parent.is_dir():
        raise VprError(f"--out {out}: there is no folder {out.parent}")
