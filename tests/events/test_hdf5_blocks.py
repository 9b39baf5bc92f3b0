"""Direct reading of HDF5 chunks: the same as the library returns, or left to the library."""

import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.events import _hdf5_blocks as hdf5_blocks
from prodconf.events._hdf5_blocks import BlockReader, chunk_places, stored_table
from prodconf.events.tables import open_event_tables

KIND = np.dtype([("a", "<u4"), ("b", "<f8"), ("c", "S7"), ("d", "<i2"), ("e", "<f4")])


def rows_of(n, seed=1):
    rng = np.random.default_rng(seed)
    rows = np.zeros(n, KIND)
    rows["a"], rows["b"], rows["d"] = np.arange(n), rng.normal(size=n), rng.integers(-9, 9, n)
    rows["c"], rows["e"] = rng.integers(0, 10**6, n).astype("S7"), rng.random(n)
    return rows


def write(path, rows, **how):
    with h5py.File(path, "w", **how.pop("file", {})) as file:
        file.create_dataset("rows", data=rows, **how)
    with h5py.File(path) as file:
        places = chunk_places(file["rows"]) if file["rows"].chunks else np.empty((0, 4), dtype=np.int64)
        return stored_table(file["rows"], places)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("n", "chunk"), [(1, 1), (1000, 7), (5000, 1024), (5000, 5000)])
def test_rows_are_those_of_the_library(tmp_path, shuffle, n, chunk):
    rows = rows_of(n)
    table = write(tmp_path / "t.h5", rows, chunks=(chunk,), compression="gzip", shuffle=shuffle)
    assert table is not None
    assert table.shuffled == shuffle
    reader, rng = BlockReader(str(tmp_path / "t.h5"), table), np.random.default_rng(2)
    pieces = [(0, n), (n - 1, n), (0, 1)] + [tuple(np.sort(rng.integers(0, n + 1, 2))) for _ in range(20)]
    for start, stop in [(int(a), int(b)) for a, b in pieces]:
        found = reader.read(start, stop)
        some = rng.integers(0, stop - start, 5) if stop > start else np.zeros(0, dtype=np.int64)
        assert list(found) == list(KIND.names)
        for name in KIND.names:
            np.testing.assert_array_equal(found[name], rows[name][start:stop])
            np.testing.assert_array_equal(found.take(name, some), rows[name][start:stop][some])
    reader.close()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=True, width=32), min_size=1, max_size=40),
    kind=st.sampled_from(["<f4", "<f8"]),
    shuffle=st.booleans(),
    ends=st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(0, 1e6, width=32)),
)
def test_what_leaves_a_range_by_far_is_seen(tmp_path_factory, values, kind, shuffle, ends):
    """Never a false 'no' for what lies 10 % outside or is no number; never a false 'yes' for what lies inside."""
    low = -ends[1] if ends[0] < 0 else min(ends[0], ends[1])
    high = ends[1]
    rows = np.zeros(len(values), [("v", kind)])
    rows["v"] = values
    path = tmp_path_factory.mktemp("range") / "t.h5"
    reader = BlockReader(
        str(path), write(path, rows, chunks=(1 + len(rows) // 2,), compression="gzip", shuffle=shuffle)
    )
    found, stored = reader.read(0, len(rows)).may_leave("v", low, high), rows["v"].astype(np.float64)
    reader.close()
    far = ~np.isfinite(stored) | (stored > 1.1 * high + 1e-30) | (stored < (1.1 * low if low < 0 else 0.9 * low))
    if far.any():
        assert found
    inside = (stored >= low) & (stored <= high) & ~(np.signbit(stored) & (low >= 0))
    if inside.all():
        assert not found


def test_front_to_back_in_pieces_of_any_length(tmp_path):
    rows = rows_of(20_000)
    table = write(tmp_path / "t.h5", rows, chunks=(333,), compression="gzip", shuffle=True)
    for step in (100, 333, 1000, 7000):
        reader = BlockReader(str(tmp_path / "t.h5"), table)
        for start in range(0, len(rows), step):
            stop = min(start + step, len(rows))
            np.testing.assert_array_equal(reader.read(start, stop)["b"], rows["b"][start:stop])
        reader.close()


@pytest.mark.parametrize("step", [100, 333, 1000, 7000])
def test_every_chunk_is_inflated_once_on_the_way_through(tmp_path, monkeypatch, step):
    """Also where pieces end within chunks, and where a chunk holds many pieces."""
    rows, counted = rows_of(20_000), []
    table = write(tmp_path / "t.h5", rows, chunks=(333,), compression="gzip", shuffle=True)
    inflate = hdf5_blocks.inflate
    monkeypatch.setattr(hdf5_blocks, "inflate", lambda stored, size: counted.append(1) or inflate(stored, size))
    reader = BlockReader(str(tmp_path / "t.h5"), table)
    for start in range(0, len(rows), step):
        reader.read(start, min(start + step, len(rows)))
    reader.close()
    assert len(counted) == len(table.places)


def test_damage_in_rows_ahead_is_told_when_they_are_read(tmp_path):
    rows, path = rows_of(5000), tmp_path / "t.h5"
    table = write(path, rows, chunks=(333,), compression="gzip", shuffle=True)
    with open(path, "r+b") as file:
        file.seek(int(table.places[5, 0]) + 20)
        file.write(b"\x00\xff\x00\xff")
    reader = BlockReader(str(path), table)
    np.testing.assert_array_equal(reader.read(0, 1500)["a"], rows["a"][:1500])
    for _ in range(2):
        with pytest.raises(ValueError, match="does not inflate"):
            reader.read(1500, 3000)
    np.testing.assert_array_equal(reader.read(2100, 5000)["a"], rows["a"][2100:])
    reader.close()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"chunks": (100,)},
        {"chunks": (100,), "compression": "lzf"},
        {"chunks": (100,), "compression": "gzip", "fletcher32": True},
        {"chunks": (100,), "compression": "gzip", "fletcher32": True, "shuffle": True},
        {"chunks": (100,), "compression": "gzip", "file": {"userblock_size": 512}},
    ],
    ids=["contiguous", "plain", "lzf", "checksum", "shuffled checksum", "user block"],
)
def test_other_storage_is_left_to_the_library(tmp_path, how):
    assert write(tmp_path / "t.h5", rows_of(1000), **how) is None


def test_rows_never_written_are_left_to_the_library(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("rows", (1000,), KIND, chunks=(100,), compression="gzip")[200:300] = rows_of(100)
        table = file["rows"]
        table.id.write_direct_chunk((0,), np.zeros(100, KIND).tobytes(), filter_mask=1)
    with h5py.File(tmp_path / "t.h5") as file:
        places = chunk_places(file["rows"])
        assert places[:, 0].tolist() == [0, 200]
        assert stored_table(file["rows"], places) is None


def test_chunk_that_was_not_deflated_is_left_to_the_library(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        table = file.create_dataset("rows", data=rows_of(200), chunks=(100,), compression="gzip")
        table.id.write_direct_chunk((0,), rows_of(100).tobytes(), filter_mask=1)
    with h5py.File(tmp_path / "t.h5") as file:
        assert stored_table(file["rows"], chunk_places(file["rows"])) is None


def test_damaged_chunk_is_an_error_in_words(tmp_path):
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("SHOWERS", data=rows_of(1000), chunks=(100,), compression="gzip")
    with h5py.File(path) as file:
        place, size = chunk_places(file["SHOWERS"])[5, 1:3].tolist()
    with open(path, "r+b") as file:
        file.seek(place + size - 6)
        file.write(b"\x00\x01\x02\x03\x04\x05")
    with open_event_tables(path) as tables:
        table = tables.tables["SHOWERS"]
        assert len(table.read(0, 400).integers("a")) == 400
        with pytest.raises(ProdconfError, match=r"table SHOWERS: cannot be read.*does not inflate"):
            table.read(400, 600)


@pytest.mark.parametrize("fast", [True, False])
def test_inflating_is_the_same_with_and_without_libdeflate(monkeypatch, fast):
    if fast and not hdf5_blocks._LIBDEFLATE:
        pytest.skip("deflate 0.9 is not installed")
    monkeypatch.setattr(hdf5_blocks, "_LIBDEFLATE", fast)
    rows = np.random.default_rng(1).integers(0, 9, 5000).astype(np.uint8).tobytes()
    stored = zlib.compress(rows)
    assert hdf5_blocks.inflate(memoryview(stored), 5000) == rows
    spoilt = stored[:700] + bytes([stored[700] ^ 255]) + stored[701:]
    for wrong, size in ((stored, 4999), (stored, 5001), (stored[:-1], 5000), (spoilt, 5000), (b"", 5000)):
        with pytest.raises(ValueError, match=r"a chunk (does not inflate|inflates to)"):
            hdf5_blocks.inflate(wrong, size)
