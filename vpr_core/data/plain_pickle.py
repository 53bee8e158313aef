"""Pickle files of other people, of which nothing is run: plain containers, numbers, text and NumPy arrays only.

A pickle is a program that may call any function of this machine by its name. Here it may call those that put an array
together again, and those that stand in for a class of which only the attributes matter; any other name ends it.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vpr_core.errors import FramesError

_NUMBERS = re.compile(r"[biufSUO]\d+")


def load_plain(path: Path, records: Collection[str] = ()) -> Any:
    """What a pickle file holds.

    records: names of classes, of whatever module, whose objects are read as a SimpleNamespace of their attributes.
    Raises FramesError where the file is absent or damaged, or names anything else that is not plain.
    """
    try:
        with path.open("rb") as file:
            return _Plain(file, path, frozenset(records)).load()
    except FramesError:
        raise
    except FileNotFoundError:
        raise FramesError(f"{path} is missing") from None
    except Exception as error:  # a damaged pickle raises what its bytes happen to ask for
        raise FramesError(f"{path} cannot be read as a pickle ({type(error).__name__}: {error})") from error


class _Plain(pickle.Unpickler):
    def __init__(self, file: Any, path: Path, records: frozenset[str]) -> None:
        super().__init__(file, encoding="latin1")  # as NumPy's arrays were written by Python 2
        self._path, self._records = path, records

    def find_class(self, module: str, name: str) -> Any:
        if name in self._records:
            return SimpleNamespace
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise FramesError(
            f"{self._path} asks for {module}.{name}, and was not read further: a file of this kind needs nothing but "
            "plain containers and arrays, so it is of another kind, or was made to do harm"
        )


class _DType:
    """A dtype as a pickle describes it; NumPy's own would take a description that contradicts itself."""

    def __init__(self, text: Any) -> None:
        if not isinstance(text, str) or not _NUMBERS.fullmatch(text):
            raise ValueError(f"dtype {text!r} is none of plain numbers, text or objects")
        self._text, self._order = text, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {state[1]!r}")
        self._order = state[1]

    def numpy(self) -> np.dtype:
        return np.dtype(self._text if self._text.startswith("O") else self._order + self._text)


class _Array(np.ndarray):
    """An array whose content comes after it."""

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        data = data.encode("latin1") if isinstance(data, str) else data
        if dtype.numpy().hasobject != isinstance(data, list):
            raise ValueError(f"an array of {dtype.numpy()} from {type(data).__name__}")
        super().__setstate__((1, shape, dtype.numpy(), bool(fortran), data))  # type: ignore[arg-type]


def _dtype(text: Any, *_: Any) -> _DType:
    return _DType(text)


def _new_array(*_: Any) -> _Array:
    return _Array.__new__(_Array, (0,), "b")


def _scalar(dtype: _DType, data: Any) -> Any:
    return _from_buffer(data.encode("latin1") if isinstance(data, str) else data, dtype, (), "C")[()]


def _from_buffer(data: Any, dtype: _DType, shape: Any, order: Any, *_: Any) -> np.ndarray:
    if dtype.numpy().hasobject:
        raise ValueError("objects in a buffer")
    return np.frombuffer(data, dtype.numpy()).reshape(shape, order=order)


def _latin1(text: str, encoding: str) -> bytes:
    """How protocols before the third write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _new_array for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "scalar"): _scalar for module in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(module, "_frombuffer"): _from_buffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): None,  # only handed to `_reconstruct`, which has its own
    ("_codecs", "encode"): _latin1,
    **{(module, "set"): set for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _no_bytes for module in ("builtins", "__builtin__")},
    ("collections", "OrderedDict"): dict,
}
