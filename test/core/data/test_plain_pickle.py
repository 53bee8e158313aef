"""Pickles of other people: what they hold is read, what they ask for is not done."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vpr_core.data.plain_pickle import load_plain
from vpr_core.errors import FramesError


class TrainingTuple:
    """As MinkLoc++ has it, in a module of its own."""

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


class Harm:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def written(folder: Path, value: object, protocol: int = pickle.HIGHEST_PROTOCOL) -> Path:
    path = folder / f"value{protocol}.pickle"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_containers_arrays_and_records_are_read(protocol: int, tmp_path: Path) -> None:
    arrays = {
        "long": np.arange(5),
        "big-endian": np.arange(3, dtype=">i4"),
        "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "objects": np.array([5735712.5, np.float64(620084.25)], dtype=object),
        "text": np.array(["a", "bc"]),
        "yes and no": np.array([True, False]),
        "empty": np.empty((0, 2), np.float32),
    }
    plain = {"set": {1, 2}, "bytes": b"\x00\xff", "ordered": OrderedDict(a=1), "nested": [(1, None), {"x": 1.5}]}
    record = TrainingTuple(id=3, number=np.float64(2.5), count=np.int64(7), **arrays)
    found = load_plain(written(tmp_path, {0: record, "plain": plain}, protocol), ["TrainingTuple"])
    assert isinstance(found[0], SimpleNamespace) and found["plain"] == plain
    assert (found[0].id, found[0].number, found[0].count) == (3, 2.5, 7)
    for name, array in arrays.items():
        read = np.asarray(getattr(found[0], name))
        assert read.dtype.newbyteorder("=") == array.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(read, array)


def test_a_pickle_that_runs_a_command_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = written(tmp_path, {0: {"query": Harm(f"touch {mark}")}})
    with pytest.raises(FramesError, match=r"asks for (posix|nt)\.system, and was not read further.*made to do harm"):
        load_plain(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "it would have"


@pytest.mark.parametrize(
    "asked_for",
    ["builtins eval", "builtins getattr", "os system", "numpy load", "numpy.core.multiarray fromfile",
     "copyreg _reconstructor", "vpr_core.data.plain_pickle load_plain"],
)  # fmt: skip
def test_no_other_name_is_looked_up(asked_for: str, tmp_path: Path) -> None:
    module, name = asked_for.split()
    path = tmp_path / "x.pickle"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(FramesError, match=f"asks for {module}.{name}"):
        load_plain(path)


def test_a_record_is_of_a_name_that_was_allowed(tmp_path: Path) -> None:
    path = written(tmp_path, TrainingTuple(id=1))
    with pytest.raises(FramesError, match=r"asks for .*\.TrainingTuple"):
        load_plain(path)
    assert load_plain(path, ["TrainingTuple"]) == SimpleNamespace(id=1)


def test_arrays_cannot_point_into_memory(tmp_path: Path) -> None:
    """Bytes taken for objects would be addresses."""

    def array(dtype: bytes, state: bytes) -> bytes:
        head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        kind = b"(K\x01K\x01\x85cnumpy\ndtype\nU" + bytes([len(dtype)]) + dtype + b"\x89\x88\x87R"
        order = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb"
        return head + kind + order + b"\x89" + state + b"tb."

    address = b"U\x08" + struct.pack("<Q", 0x4141414141414141)
    for dtype, state in ((b"O8", address), (b"V8", address), (b"i8", b"]K\x01a"), (b"i8", b"U\x02ab")):
        path = tmp_path / "x.pickle"
        path.write_bytes(array(dtype, state))
        with pytest.raises(FramesError, match="cannot be read as a pickle"):
            load_plain(path)
    path.write_bytes(array(b"i8", address))
    assert load_plain(path)[0] == 0x4141414141414141


def test_what_is_no_pickle_is_named(tmp_path: Path) -> None:
    with pytest.raises(FramesError, match="none.pickle is missing"):
        load_plain(tmp_path / "none.pickle")
    for data in (b"", b"no pickle", pickle.dumps({1: np.arange(100)})[:-30]):
        (tmp_path / "x.pickle").write_bytes(data)
        with pytest.raises(FramesError, match="cannot be read as a pickle"):
            load_plain(tmp_path / "x.pickle")
