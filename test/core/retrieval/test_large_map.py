"""A map whose descriptors stay in their file."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from vpr_core.errors import MapError
from vpr_core.retrieval.index import NumpyIndex
from vpr_core.retrieval.place_map import Place, PlaceMap

COUNT, WIDTH = 4000, 4096
MIB = 2**20


@pytest.fixture(scope="module")
def large_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """62 MiB of descriptors, of few places."""
    rows = np.random.default_rng(0).normal(size=(COUNT, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    places = tuple(Place("drive", stamp_ns, None) for stamp_ns in range(COUNT))
    return PlaceMap(rows, places, "model", "", "camera", None).save(tmp_path_factory.mktemp("large") / "map")


def test_neither_loading_nor_searching_copies_it(large_map: Path) -> None:
    tracemalloc.start()
    known = PlaceMap.load(large_map)
    query = np.array(known.descriptors[1234:1235])
    _, rows = NumpyIndex(known.descriptors).search(query, 5)
    of_all = known.descriptors @ query[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows[0, 0] == 1234 and of_all.argmax() == 1234
    assert known.descriptors.nbytes > 60 * MIB and peak < 12 * MIB


OWN_MEMORY = """
import sys
from pathlib import Path
import numpy as np
from vpr_core.retrieval.index import FaissIndex, build_index
from vpr_core.retrieval.place_map import PlaceMap

def own_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

small = np.eye(8, dtype=np.float32)
build_index(small).search(small, 2)
before = own_kib()
known = PlaceMap.load(sys.argv[1])
index = build_index(known.descriptors)
assert isinstance(index, FaissIndex)
assert index.search(np.array(known.descriptors[7:8]), 5)[1][0, 0] == 7
print(own_kib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_faiss_copies_nothing_either(large_map: Path) -> None:
    pytest.importorskip("faiss")
    result = subprocess.run([sys.executable, "-c", OWN_MEMORY, str(large_map)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 20 * 1024


def test_a_loaded_map_cannot_be_written_through(large_map: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        PlaceMap.load(large_map).descriptors[0, 0] = 1.0


def test_a_map_replaced_on_the_disk_stays_what_was_loaded(tmp_path: Path) -> None:
    eye = np.eye(4, dtype=np.float32)
    places = tuple(Place("drive", stamp_ns, None) for stamp_ns in range(4))
    PlaceMap(eye, places, "model", "", "camera", None).save(tmp_path / "map")
    known = PlaceMap.load(tmp_path / "map")
    PlaceMap(eye[::-1].copy(), places, "model", "", "camera", None).save(tmp_path / "map")
    np.testing.assert_array_equal(known.descriptors, eye)
    np.testing.assert_array_equal(PlaceMap.load(tmp_path / "map").descriptors, eye[::-1])
    known.save(tmp_path / "map")
    np.testing.assert_array_equal(PlaceMap.load(tmp_path / "map").descriptors, eye)


def test_every_byte_is_checked_when_it_is_loaded(large_map: Path, tmp_path: Path) -> None:
    (file,) = large_map.glob("descriptors-*.npy")
    whole = file.read_bytes()
    for at in (10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(MapError, match="damaged"):
            PlaceMap.load(large_map)
    file.write_bytes(whole)
    assert len(PlaceMap.load(large_map)) == COUNT
