"""What several commands have in common."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt
from tqdm import tqdm

from vpr_core.errors import VprError


def add_device(command: ArgumentParser, text: str = "where network and search run") -> None:
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help=text)


def add_verify(command: ArgumentParser, every: int, what: str) -> None:
    """--verify and --verify_every of commands that check candidates. what: that does so, for the help."""
    command.add_argument(
        "--verify", type=bool | None, default=None,
        help=f"whether to check candidates with the map's clouds or points, for {what} that counts what comes of it; "
        "by default where the map has them",
    )  # fmt: skip
    command.add_argument(
        "--verify_every", type=PositiveInt, default=every, help="of so many frames the candidates of one are checked"
    )


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


def named_path(text: str) -> tuple[str, Path]:
    """The name and the path of NAME=PATH, or of PATH alone, whose name is the file's or the folder's."""
    name, separator, path = text.partition("=")
    if separator and name and "/" not in name:
        return name, Path(path)
    at = Path(text)
    return (at.stem if at.suffix in (".npz", ".csv", ".txt") else at.resolve().name), at


def check_output_folder(out: Path) -> None:
    """Before the work begins, not after it: raises VprError where a folder cannot be written to `out`."""
    if out.exists() and not out.is_dir():
        raise VprError(f"--out {out} is a file, expected a folder to write")


def check_output_file(out: Path | None, option: str = "--out") -> None:
    """Before the work begins, not after it: raises VprError where a file cannot be written to `out`."""
    if out is not None and out.is_dir():
        raise VprError(f"{option} {out} is a folder, expected the name of a file to write")
    if out is not None and not out.parent.is_dir():
        raise VprError(f"{option} {out}: there is no folder {out.parent}")
