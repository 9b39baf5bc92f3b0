"""Reduced event files: every generation read, the newest written, unsound ones refused."""

from __future__ import annotations

import gzip
import json
import shutil
import zlib

import h5py
import numpy as np
import pytest
from astropy.table import QTable

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.events import _crash_guard as file_trials
from prodconf.events import tables as event_tables
from prodconf.events._shower_join import EventIds, join_rows, pack
from prodconf.events.reduced import (
    FileInfo,
    ReducedEventWriter,
    iterate,
    read_overview,
    telescope_numbers,
)
from prodconf.events.report import inspect_file
from prodconf.events.sub_arrays import SubArray, TelescopeBook, mask_of, texts_of
from prodconf.events.triggered import triggered_blocks

TELESCOPES = [f"MSTN-{number:02d}" for number in range(1, 71)]  # more than one word of bits
KEYS = ("file_id", "shower_id", "event_id")


def info(file_id=0, **changed):
    """A simulation file."""
    known = {"run_number": 10 + file_id, "particle_id": 1, "spectral_index": -2.0, "energy_min": 0.03}
    known |= {"energy_max": 100.0, "viewcone_min": 0.0, "viewcone_max": 10.0, "core_scatter_min": 0.0}
    known |= {"core_scatter_max": 2000.0, "zenith": 20.0, "azimuth": 180.0, "nsb_level": 0.24}
    return FileInfo(f"run{file_id}.simtel.zst", file_id, **(known | changed))


def events(rng, n_files=2, n_showers=150, n_uses=4):
    """Columns of a production and which rows triggered."""
    file_id, shower, use = (a.ravel() for a in np.indices((n_files, n_showers, n_uses)))
    shower = shower + 1
    per_shower = rng.uniform(0, 1, (3, n_files, n_showers, 1)) * np.ones(n_uses)
    energy, azimuth, altitude = (values.ravel() for values in per_shower)
    columns = {"file_id": file_id, "shower_id": shower, "event_id": 100 * shower + use}
    columns |= {"energy": 0.03 * 3000**energy, "azimuth": 170 + 20 * azimuth, "altitude": 65 + 10 * altitude}
    columns |= {"x_core": rng.uniform(-900, 900, len(use)), "y_core": rng.uniform(-900, 900, len(use))}
    columns["area_weight"] = rng.uniform(0.5, 2, len(use))
    kept = np.flatnonzero(rng.random(len(use)) < 0.15)
    bits = [sorted(rng.choice(len(TELESCOPES), rng.integers(1, 9), replace=False).tolist()) for _ in kept]
    return columns, kept, bits


def write(path, columns, kept, bits, *, order=None, trigger_order=None, infos=None):
    """Write a production, in pieces."""
    order = np.arange(len(columns["energy"])) if order is None else order
    trigger_order = np.arange(len(kept)) if trigger_order is None else trigger_order
    masks = np.array([mask_of(b, 2) for b in bits], dtype=np.uint64).reshape(-1, 2)[trigger_order]
    rows = kept[trigger_order]
    with ReducedEventWriter(path, telescopes=TELESCOPES) as writer:
        for one in infos or [info(k) for k in np.unique(columns["file_id"]).tolist()]:
            writer.add_file(one)
        for piece in np.array_split(order, 5):
            writer.add_showers(**{name: values[piece] for name, values in columns.items()})
        for piece in np.array_split(np.arange(len(rows)), 3):
            key = {name: columns[name][rows[piece]] for name in KEYS}
            writer.add_triggers(**key, array_altitude=70.0, array_azimuth=-180.0, masks=masks[piece])
    return path


def gathered(files, chunk):
    """All events of an iteration side by side, masks as sets of names."""
    chunks = list(iterate(files, chunk=chunk))
    names = ("energy", "core_distance", "angular_distance", "x_core", "y_core", "weight", "file_id", "shower_key")
    columns = {name: np.concatenate([getattr(c, name) for c in chunks]) for name in names}
    sets = [
        {name for bit, name in enumerate(c.telescopes) if mask[bit // 64] >> np.uint64(bit % 64) & np.uint64(1)}
        for c in chunks
        for mask in c.masks
    ]
    return columns, sets, chunks[-1].telescopes, sum(c.n_showers for c in chunks)


def expected(columns, kept):
    """Distance and angle (deg) by vectors, independent of the closed forms of the package."""

    def unit(azimuth, altitude):
        a, h = np.radians(azimuth), np.radians(altitude)
        return np.stack([np.cos(h) * np.cos(a), -np.cos(h) * np.sin(a), np.sin(h)], axis=-1)

    axis = unit(columns["azimuth"][kept], columns["altitude"][kept])
    core = np.stack([columns["x_core"][kept], columns["y_core"][kept], np.zeros(len(kept))], axis=-1)
    pointing = unit(np.full(len(kept), 180.0), np.full(len(kept), 70.0))
    sine = np.linalg.norm(np.cross(axis, pointing), axis=-1)
    return np.linalg.norm(np.cross(core, axis), axis=-1), np.arctan2(sine, (axis * pointing).sum(axis=-1))


@pytest.fixture
def production(tmp_path, request):
    """A written production: path, columns, kept, bits."""
    columns, kept, bits = events(np.random.default_rng(3))
    return write(tmp_path / "events.hdf5", columns, kept, bits), columns, kept, bits


# --- round trips -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chunk", [262_144, 50, 7, pytest.param(1, marks=pytest.mark.long)])
def test_round_trip(production, chunk):
    path, columns, kept, bits = production
    read, sets, _, n_rows = gathered(path, chunk)
    distance, angle = expected(columns, kept)
    np.testing.assert_array_equal(read["energy"], columns["energy"][kept])
    np.testing.assert_array_equal(read["x_core"], columns["x_core"][kept])
    np.testing.assert_array_equal(read["weight"], columns["area_weight"][kept])
    np.testing.assert_array_equal(read["file_id"], columns["file_id"][kept])
    np.testing.assert_allclose(read["core_distance"], distance, rtol=0, atol=1e-9)
    np.testing.assert_allclose(read["angular_distance"], angle, rtol=0, atol=1e-12)
    assert sets == [{TELESCOPES[b] for b in one} for one in bits]
    assert n_rows == len(columns["energy"])
    showers = {(f, s) for f, s in zip(columns["file_id"][kept], columns["shower_id"][kept], strict=True)}
    assert len(np.unique(read["shower_key"])) == len(showers)


@pytest.mark.parametrize("shuffled", ["showers", "triggers", "both"])
@pytest.mark.parametrize("chunk", [100_000, 64, 13])
def test_any_order_of_rows(tmp_path, shuffled, chunk):
    rng = np.random.default_rng(4)
    columns, kept, bits = events(rng)
    order = rng.permutation(len(columns["energy"])) if shuffled != "triggers" else None
    trigger_order = rng.permutation(len(kept)) if shuffled != "showers" else None
    path = write(tmp_path / "a.hdf5", columns, kept, bits, order=order, trigger_order=trigger_order)
    read, sets, telescopes, _ = gathered(path, chunk)
    rank = np.argsort(order)[kept] if order is not None else kept
    here = np.argsort(rank)
    np.testing.assert_array_equal(read["x_core"], columns["x_core"][kept][here])
    assert sets == [{TELESCOPES[b] for b in bits[k]} for k in here]
    assert telescopes == next(iterate(path)).telescopes
    assert inspect_file(path, chunk=chunk).n_showers == 300


def test_showers_out_of_order_late(tmp_path):
    columns, kept, bits = events(np.random.default_rng(5))
    n = len(columns["energy"])
    order = np.r_[np.arange(n - 300), np.arange(n - 1, n - 301, -1)]
    path = write(tmp_path / "a.hdf5", columns, kept, bits, order=order)
    whole, *_ = gathered(path, 10**6)
    pieces, *_ = gathered(path, 50)
    np.testing.assert_array_equal(whole["x_core"], pieces["x_core"])


def as_fits(source, target):
    """The same tables as FITS extensions."""
    from astropy.io import fits

    hdus = [fits.PrimaryHDU()]
    with h5py.File(source) as file:
        for name in [n for n in file if file[n].dtype.names]:
            table = QTable(file[name][:])
            for column in table.colnames:
                if f"{column}_unit" in file[name].attrs:
                    table[column].unit = file[name].attrs[f"{column}_unit"]
            hdus.append(fits.BinTableHDU(table, name=name))
    fits.HDUList(hdus).writeto(target)
    return target


@pytest.mark.parametrize("name", ["events.fits", "events.fits.gz"])
def test_fits_is_the_same(production, tmp_path, name):
    path, *_ = production
    other = as_fits(path, tmp_path / name)
    for chunk in (10**6, 37):
        one, sets, *_ = gathered(path, chunk)
        two, other_sets, *_ = gathered(other, chunk)
        assert sets == other_sets
        for column, values in one.items():
            np.testing.assert_array_equal(values, two[column])
    report = inspect_file(other)
    assert (report.container, report.generation) == ("FITS", "v0.35-0.36")
    assert report.file_infos == inspect_file(path).file_infos


def test_indexed_tables_join_separately(tmp_path):
    """SHOWERS_1 may use the same numbers as SHOWERS."""
    rng = np.random.default_rng(6)
    parts = [events(rng), events(rng)]
    paths = [write(tmp_path / f"{k}.hdf5", *part) for k, part in enumerate(parts)]
    merged = tmp_path / "merged.hdf5"
    for keep_plain in (True, False):
        with h5py.File(merged, "w") as target:
            for k, path in enumerate(paths):
                with h5py.File(path) as source:
                    for name in ("SHOWERS", "TRIGGERS", "FILE_INFO"):
                        source.copy(name, target, f"{name}_{k}" if k or not keep_plain else name)
        read, *_ = gathered(merged, 40)
        np.testing.assert_array_equal(read["x_core"], np.concatenate([c["x_core"][k] for c, k, _ in parts]))
        assert sorted(set(read["file_id"].tolist())) == [0, 1, 2, 3]
        assert len(read_overview(merged).infos) == 4


def test_many_files_keep_bits_and_numbers(tmp_path):
    rng = np.random.default_rng(7)
    parts = [events(rng, n_files=1) for _ in range(3)]
    for k, part in enumerate(parts):
        write(tmp_path / f"{k}.hdf5", *part)
    read, sets, telescopes, _ = gathered([str(tmp_path / "*.hdf5")], 100)
    assert sets == [{TELESCOPES[b] for b in one} for _, _, bits in parts for one in bits]
    np.testing.assert_array_equal(read["file_id"], np.repeat([0, 1, 2], [len(p[1]) for p in parts]))
    assert set(telescopes) <= set(TELESCOPES)


def test_layout_written_is_the_newest(production, shared_data):
    """Names, types, units and records as in the sample of v0.36."""
    path, *_ = production
    with h5py.File(path) as ours, h5py.File(shared_data / "reduced_events/gamma_diffuse_za20deg_v0.36.hdf5") as theirs:
        assert set(ours) == set(theirs)
        assert dict(ours.attrs) == dict(theirs.attrs)
        for name in ("SHOWERS", "TRIGGERS", "FILE_INFO"):
            assert ours[name].dtype.names == theirs[name].dtype.names
            assert dict(ours[name].attrs) == dict(theirs[name].attrs)
            assert ours[name].maxshape == (None,)
            numbers = [n for n in ours[name].dtype.names if ours[name].dtype[n].kind != "S"]
            assert [ours[name].dtype[n] for n in numbers] == [theirs[name].dtype[n] for n in numbers]
        for name in ("METADATA", "SIMULATION_METADATA"):
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].attrs["format"] == "json"
        assert len(json.loads(ours["SIMULATION_METADATA"][0])["inputs"]["files"]) == 2


def test_texts_widen_and_masks_return():
    rng = np.random.default_rng(8)
    masks = rng.integers(1, 2**63, (50, 2), dtype=np.uint64) & mask_of(range(70), 2)
    book = TelescopeBook()
    book.bits(TELESCOPES)
    np.testing.assert_array_equal(book.from_texts(texts_of(masks, TELESCOPES)), masks)


def test_join_against_dictionary():
    rng = np.random.default_rng(9)
    for high in (4, 2**32):  # the second does not fit into 64 bits and goes by ranks
        values = np.unique(rng.integers(0, high, (60, 3)), axis=0)
        rows = values[rng.permutation(len(values))]
        wanted = np.concatenate([rows[::3], rng.integers(0, high, (40, 3))])
        known = {tuple(row): k for k, row in enumerate(rows.tolist())}
        found = join_rows(*pack(EventIds(*rows.T), EventIds(*wanted.T)))
        assert found.tolist() == [known.get(tuple(row), -1) for row in wanted.tolist()]


# --- real samples ----------------------------------------------------------------------------------------------------
ENERGY = [8.50, 8.50, 8.50, 8.50, 0.1316, 0.0762, 0.0759]
DISTANCE = [591, 799, 136, 462, 223, 52, 842]
ANGLE = [1.71, 1.71, 1.71, 1.71, 1.93, 3.93, 3.60]


@pytest.mark.parametrize("chunk", [262_144, 333, 19])
@pytest.mark.parametrize("generation", ["v0.16", "v0.17"])
def test_seven_triggers(shared_data, generation, chunk):
    path = shared_data / f"reduced_events/run202_proton_za20deg_{generation}.hdf5"
    chunks = list(iterate(path, chunk=chunk))
    energy = np.concatenate([c.energy for c in chunks])
    angle = np.degrees(np.concatenate([c.angular_distance for c in chunks]))
    assert (np.abs(energy - ENERGY) <= [0.005] * 4 + [5e-5] * 3).all()
    np.testing.assert_allclose(angle, ANGLE, atol=0.005)
    assert np.concatenate([c.file_id for c in chunks]).tolist() == [0] * 6 + [1]
    book = chunks[-1].telescopes
    count = np.concatenate([np.bitwise_count(c.masks).sum(axis=1) for c in chunks])
    assert count.tolist() == [3, 2, 19, 8, 2, 2, 2]
    assert set(book) == {str(number) for number in range(1, 20)}
    if generation == "v0.17":
        np.testing.assert_allclose(np.concatenate([c.core_distance for c in chunks]), DISTANCE, atol=1)
    else:
        with pytest.raises(ProdconfError, match="showers are re-used"):
            _ = chunks[0].core_distance
        with pytest.raises(ProdconfError, match="showers are re-used"):
            _ = chunks[0].x_core


@pytest.mark.parametrize(
    ("name", "generation", "n_showers", "n_uses", "n_triggers"),
    [
        ("run202_proton_za20deg_v0.16", "v0.14-0.16", 200, 4000, 7),
        ("run202_proton_za20deg_v0.17", "v0.17-0.18", 200, 4000, 7),
        ("proton_za20deg_v0.32", "v0.17-0.18", 100, 2000, 8),
        ("gamma_diffuse_za20deg_v0.34", "v0.34", 5, 100, 13),
        ("gamma_diffuse_za20deg_v0.36", "v0.35-0.36", 15, 300, 103),
    ],
)
def test_inspect_samples(shared_data, name, generation, n_showers, n_uses, n_triggers):
    report = inspect_file(shared_data / f"reduced_events/{name}.hdf5")
    assert (report.generation, report.n_showers, report.n_uses, report.n_triggers) == (
        generation,
        n_showers,
        n_uses,
        n_triggers,
    )
    assert report.file_infos[0].zenith == pytest.approx(20, abs=1e-3)
    assert report.ranges["triggered angle [deg]"][1] < 10.1  # the thrown cone
    radius = report.file_infos[0].core_scatter_max or 2000.0
    assert report.ranges["simulated core distance [m]"][1] <= radius * (1 + 1e-6)  # CSCAT is in the shower plane
    text = report.to_text()
    assert f"layout      {generation}" in text
    assert report.telescopes[0] in text
    assert all(lack in text for lack in report.lacks)


def test_trigger_histograms_are_recognised(shared_data):
    path = shared_data / "reduced_events/gamma_diffuse_za20deg_v0.36.trigger_histograms.hdf5"
    for call in (inspect_file, lambda p: list(iterate(p))):
        with pytest.raises(ProdconfError, match="holds trigger histograms, not events"):
            call(path)


# --- v0.14-0.16 ------------------------------------------------------------------------------------------------------
def write_old(path, showers, triggered, names=("a",), weights=None):
    """The layout of v0.14-0.16: shower numbers of all rows, numbers of the triggers."""
    rng = np.random.default_rng(11)
    rows = np.zeros(
        len(showers),
        dtype=[("shower_id", "i4")]
        + [
            (n, "f4")
            for n in ("simulated_energy", "x_core", "y_core", "area_weight", "shower_azimuth", "shower_altitude")
        ],
    )
    rows["shower_id"], rows["area_weight"] = showers, 1 if weights is None else weights
    rows["simulated_energy"] = 1 + np.cumsum(np.diff(showers, prepend=0) != 0)  # 2, 3, 4, ... by shower
    rows["x_core"], rows["y_core"] = rng.uniform(-500, 500, (2, len(showers)))
    rows["shower_altitude"] = np.radians(70)
    trigger = np.zeros(
        len(triggered),
        dtype=[
            ("triggered_id", "i4"),
            ("array_altitudes", "f4"),
            ("array_azimuths", "f4"),
            ("telescope_list_index", "i4"),
        ],
    )
    trigger["triggered_id"], trigger["telescope_list_index"] = triggered, np.arange(len(triggered))
    trigger["array_altitudes"] = np.radians(71)
    with h5py.File(path, "w") as file:
        group = file.create_group("data")
        group["reduced_data"], group["triggered_data"] = rows, trigger
        group["file_names"] = np.array([(n.encode(),) for n in names], dtype=[("file_names", "S256")])
        lists = group.create_dataset("trigger_telescope_list_list", (len(triggered),), h5py.vlen_dtype(np.int16))
        for k in range(len(triggered)):
            lists[k] = [1, 2 + k]
    return path, rows


@pytest.mark.parametrize("chunk", [1000, 3, 1])
def test_old_file_without_reuse_has_distances(tmp_path, chunk):
    path, rows = write_old(tmp_path / "a.h5", np.arange(1, 21), [2, 7, 19])
    read, sets, *_ = gathered(path, chunk)
    np.testing.assert_array_equal(read["x_core"], rows["x_core"][[1, 6, 18]])
    np.testing.assert_allclose(np.degrees(read["angular_distance"]), 1, rtol=1e-5)
    assert sets == [{"1", "2"}, {"1", "3"}, {"1", "4"}]


@pytest.mark.parametrize("triggered", [[2, 3, 7, 9], [2, 3, 1, 3]])
def test_old_merged_file_by_offset_and_by_fall(tmp_path, triggered):
    """Three showers of two uses in two files: numbers moved by the first row (6), or starting again."""
    path, rows = write_old(tmp_path / "a.h5", np.tile(np.repeat([1, 2, 3], 2), 2), triggered, names="ab")
    chunks = list(iterate(path, chunk=5))
    assert np.concatenate([c.file_id for c in chunks]).tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(np.concatenate([c.energy for c in chunks]), rows["simulated_energy"][[2, 4, 6, 10]])


@pytest.mark.parametrize(
    ("showers", "triggered", "names", "message"),
    [
        ([1, 2, 3, 1, 2, 3], [1, 2], "ab", "cannot be told"),
        ([1, 2, 3, 1, 2, 3], [1, 2], "a", "cannot be told"),
        ([1, 2, 3], [1, 2], "ab", "names 2 files"),
        ([1, 2, 3], [7], "a", "no shower of that number"),
        ([1, 2, 3], [2, 2], "a", "triggered twice"),
        ([1, 1, 2, 1, 1, 2], [2, 1, 2, 1], "ab", "starts again 2 times"),
    ],
)
def test_old_file_ambiguity_is_refused(tmp_path, showers, triggered, names, message):
    path, _ = write_old(tmp_path / "a.h5", np.array(showers), triggered, names=names)
    with pytest.raises(ProdconfError, match=message):
        list(iterate(path))


# --- unsound files ---------------------------------------------------------------------------------------------------
def spoil(table, column, value, row=None):
    """Change one value, by default of a row that triggered."""

    def change(file):
        rows, trigger = file[table][:], file["TRIGGERS"][5]
        place = np.argmax(np.logical_and.reduce([rows[n] == trigger[n] for n in KEYS])) if row is None else row
        rows[column][place] = value
        file[table][:] = rows

    return change


def retype(table, column, kind=None):
    """Drop a column, or change its type."""

    def change(file):
        old, attrs = file[table][:], dict(file[table].attrs)
        names = [n for n in old.dtype.names if kind or n != column]
        new = np.zeros(len(old), dtype=[(n, kind if n == column else old.dtype[n]) for n in names])
        for name in set(names) - {column}:
            new[name] = old[name]
        del file[table]
        file[table] = new
        file[table].attrs.update(attrs)

    return change


BAD = [
    (
        spoil("SHOWERS", "simulated_energy", np.nan),
        "SHOWERS: column simulated_energy: must be finite, got nan in row [1-9]",
    ),
    (spoil("SHOWERS", "simulated_energy", 0.0), "SHOWERS: column simulated_energy: must be positive"),
    (spoil("SHOWERS", "x_core", np.inf), "SHOWERS: column x_core: must be finite"),
    (spoil("SHOWERS", "shower_altitude", 90.5), r"SHOWERS: column shower_altitude: must lie in \[-90, 90\]"),
    (spoil("SHOWERS", "shower_azimuth", np.nan), "SHOWERS: column shower_azimuth: must be finite"),
    (spoil("SHOWERS", "area_weight", -1.0), "SHOWERS: column area_weight: must not be negative"),
    (spoil("SHOWERS", "file_id", 9), "SHOWERS: column file_id: 9 is not in FILE_INFO"),
    (spoil("TRIGGERS", "array_altitude", 100.0), "TRIGGERS: column array_altitude"),
    (spoil("TRIGGERS", "array_azimuth", np.nan), "TRIGGERS: column array_azimuth: must be finite"),
    (spoil("TRIGGERS", "telescope_list", b"LSTN-01,,LSTN-02"), "TRIGGERS: column telescope_list"),
    (spoil("TRIGGERS", "telescope_list", b"\xff"), "TRIGGERS: column telescope_list"),
    (spoil("TRIGGERS", "event_id", 1), "TRIGGERS: row 5 .* has no row in SHOWERS"),
    (spoil("FILE_INFO", "file_id", 0, row=1), "FILE_INFO: column file_id: must name each file once"),
    (retype("SHOWERS", "x_core"), "SHOWERS: column x_core: is absent"),
    (retype("SHOWERS", "event_id"), "SHOWERS: column event_id: is absent"),
    (retype("SHOWERS", "event_id", "f8"), "SHOWERS: column event_id: must hold whole numbers"),
    (retype("SHOWERS", "simulated_energy", "S4"), "SHOWERS: column simulated_energy: must hold numbers"),
    (retype("TRIGGERS", "telescope_list"), "TRIGGERS: column telescope_list: is absent"),
    (retype("TRIGGERS", "telescope_list", "f8"), "TRIGGERS: column telescope_list: must hold texts"),
    (lambda file: file["SHOWERS"].attrs.pop("shower_altitude_unit"), "SHOWERS: column shower_altitude: has no unit"),
    (lambda file: file["SHOWERS"].attrs.modify("simulated_energy_unit", "m"), "column simulated_energy: its unit"),
    (lambda file: file["TRIGGERS"].attrs.modify("array_azimuth_unit", "TeV"), "column array_azimuth: its unit"),
    (lambda file: file.attrs.modify("simtools_write_status", "incomplete"), "not written to its end"),
    (lambda file: file.pop("SHOWERS"), "table SHOWERS is absent"),
    (lambda file: file.pop("FILE_INFO"), "table FILE_INFO is absent"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_unsound_values_are_named(production, change, message):
    path, *_ = production
    with h5py.File(path, "r+") as file:
        change(file)
    for call in (inspect_file, lambda p: list(iterate(p, chunk=100))):
        with pytest.raises(ProdconfError, match=message) as error:
            call(path)
        assert path.name in str(error.value)


QUIET = [
    ("simulated_energy", np.nan, True),
    ("simulated_energy", 0.0, True),
    ("simulated_energy", -1.0, True),
    ("x_core", np.inf, True),
    ("y_core", -np.inf, True),
    ("shower_azimuth", np.nan, True),
    ("shower_altitude", 97.0, True),
    ("shower_altitude", -97.0, True),
    ("shower_altitude", 90.5, False),
    ("area_weight", -1.0, True),
]


@pytest.mark.parametrize(("column", "value", "seen"), QUIET)
def test_values_of_rows_that_did_not_trigger(production, column, value, seen):
    """The report sees all of them, the reader what the first two bytes tell."""
    path, columns, kept, _ = production
    quiet = int(np.setdiff1d(np.arange(len(columns["energy"])), kept)[-1])
    spoiler = spoil("SHOWERS", column, value, row=quiet)
    with h5py.File(path, "r+") as file:
        spoiler(file)
    for call in [inspect_file] + ([lambda p: list(iterate(p, chunk=100))] if seen else []):
        with pytest.raises(ProdconfError, match=f"SHOWERS: column {column}: must .* in row {quiet}"):
            call(path)
    if not seen:
        assert sum(len(chunk.energy) for chunk in iterate(path)) == len(kept)


@pytest.mark.parametrize("chunk", [10**6, 17, 1])
@pytest.mark.parametrize("distance", [1, 40])
def test_duplicates_are_refused(tmp_path, chunk, distance):
    columns, kept, bits = events(np.random.default_rng(12), n_showers=20)
    n = len(columns["energy"])
    twice = np.sort(np.r_[np.arange(n), kept[3]]) if distance == 1 else np.r_[np.arange(n), kept[3]]
    path = write(tmp_path / "a.hdf5", columns, kept, bits, order=twice)
    with pytest.raises(ProdconfError, match="has more than one row in SHOWERS"):
        list(iterate(path, chunk=chunk))
    path = write(tmp_path / "b.hdf5", columns, kept, bits, trigger_order=np.sort(np.r_[np.arange(len(kept)), 3]))
    with pytest.raises(ProdconfError, match="is listed more than once"):
        list(iterate(path, chunk=chunk))


def test_without_triggers(production):
    path, columns, *_ = production
    with h5py.File(path, "r+") as file:
        del file["TRIGGERS"]
    chunks = list(iterate(path, chunk=500))
    assert sum(len(c.energy) for c in chunks) == 0
    assert sum(c.n_showers for c in chunks) == len(columns["energy"])
    report = inspect_file(path)
    assert report.n_triggers == 0
    assert any("TRIGGERS" in lack for lack in report.lacks)


def test_files_that_are_none(tmp_path):
    for content in (b"", b"hello", b"\x89HDF\r\n\x1a\n", gzip.compress(b"hello"), b"SIMPLE  =  T"):
        path = tmp_path / "x.hdf5"
        path.write_bytes(content)
        with pytest.raises(ProdconfError, match=r"x\.hdf5"):
            list(iterate(path))
    with pytest.raises(ProdconfError):
        inspect_file(tmp_path / "missing.hdf5")
    with pytest.raises(ProdconfError, match="chunk must be a whole number"):
        list(iterate(tmp_path / "x.hdf5", chunk=0))


# --- damage, byte by byte --------------------------------------------------------------------------------------------
def damaged(content, rng):
    """Truncate, blank a piece, or change some bytes, half of them where the structure is."""
    kind = rng.random()
    if kind < 0.15:
        return content[: rng.integers(1, len(content))]
    array = np.frombuffer(content, dtype=np.uint8).copy()
    zeros = np.convolve(array == 0, np.ones(16), mode="same")
    structure = np.flatnonzero((zeros >= 4) & (zeros < 16)) if rng.random() < 0.6 else np.arange(len(array))
    where = rng.choice(structure, rng.integers(1, 31))
    if kind < 0.3:
        array[where[0] : where[0] + rng.integers(1, 600)] = rng.choice([0, 255])
    array[where] ^= rng.integers(1, 256, len(where), dtype=np.uint8)
    return array.tobytes()


def outcomes(source, folder, *, n, seed):
    """Sentences about those damaged copies of a file that are refused."""
    content, rng = source.read_bytes(), np.random.default_rng(seed)
    paths = [folder / f"broken{number}_{source.name}" for number in range(n)]
    for path in paths:
        path.write_bytes(damaged(content, rng))
    known = event_tables.unsound(paths)
    sentences = []
    for path in paths:
        try:
            if str(path) in known:
                raise ProdconfError(known[str(path)])
            inspect_file(path)
        except ProdconfError as error:
            sentences.append(str(error))
    assert all("broken" in sentence for sentence in sentences)
    return sentences


def as_older(source, target, *, status):
    """The tables without what v0.35 added: the layout of v0.34, or with `status` None of v0.17-0.33."""
    new = {"run_number", "spectral_index", "telescope_list_common_id"}
    with h5py.File(source) as old, h5py.File(target, "w") as file:
        for name in ("SHOWERS", "TRIGGERS", "FILE_INFO"):
            kept = [column for column in old[name].dtype.names if column not in new]
            file.create_dataset(
                name, data=old[name][:][kept], chunks=(2,) if name == "FILE_INFO" else (64,), compression="gzip"
            )
            file[name].attrs.update(old[name].attrs)
        if status:
            file.attrs["simtools_write_status"] = status
    return target


QUARTER = pytest.mark.parametrize("share", [0.25, pytest.param(1.0, marks=pytest.mark.long)], ids=["quarter", "all"])


@QUARTER
@pytest.mark.parametrize("layout", ["newest", "v0.34", "v0.17", "v0.16", "fits", "gz"])
def test_damage_of_written_files(production, tmp_path, monkeypatch, layout, share):
    """Only success or a ProdconfError, whatever is broken."""
    monkeypatch.setattr(event_tables, "_SECONDS", 2.0)
    path, *_ = production
    if layout == "v0.16":
        path, _ = write_old(tmp_path / "old.h5", np.arange(1, 21), [2, 7, 19])
    elif layout in ("fits", "gz"):
        path = as_fits(path, tmp_path / ("a.fits" if layout == "fits" else "a.fits.gz"))
    elif layout != "newest":
        path = as_older(path, tmp_path / "older.h5", status="complete" if layout == "v0.34" else None)
    assert inspect_file(path).n_showers
    sentences = outcomes(path, tmp_path, n=round(60 * share), seed=13)
    assert len(sentences) > 5 * share


SAMPLES = [
    "gamma_diffuse_za20deg_v0.34",
    "gamma_diffuse_za20deg_v0.36",
    "gamma_diffuse_za20deg_v0.36.trigger_histograms",
    "proton_za20deg_v0.32",
    "run202_proton_za20deg_v0.16",
    "run202_proton_za20deg_v0.17",
]


@QUARTER
@pytest.mark.parametrize("name", SAMPLES)
def test_damage_of_samples(shared_data, tmp_path, monkeypatch, name, share):
    """The same of every real file."""
    monkeypatch.setattr(event_tables, "_SECONDS", 2.0)
    sentences = outcomes(shared_data / f"reduced_events/{name}.hdf5", tmp_path, n=round(40 * share), seed=14)
    assert len(sentences) > 5 * share


def test_every_sample_is_damaged_somewhere(shared_data):
    """The list above is complete."""
    assert {path.name for path in (shared_data / "reduced_events").iterdir()} == {f"{name}.hdf5" for name in SAMPLES}


@pytest.mark.parametrize("how", ["os.abort()", "time.sleep(60)", "sys.exit(1)"])
def test_file_that_kills_is_named(production, tmp_path, monkeypatch, how):
    """Crash, endless loop and giving up of the second process, in the second of three files."""
    paths = [shutil.copy(production[0], tmp_path / f"{letter}.hdf5") for letter in "abc"]
    start = (
        "import json, os, sys, time\nprint('done', flush=True)\nfor path in json.load(sys.stdin):\n"
        f"    if path.endswith('b.hdf5'): {how}\n    print('done', flush=True)"
    )
    monkeypatch.setattr(file_trials, "_can_fork", lambda: False)
    monkeypatch.setattr(file_trials, "_START", start)
    monkeypatch.setattr(event_tables, "_SECONDS", 0.5)
    assert list(event_tables.unsound(paths)) == [str(paths[1])]
    with pytest.raises(ProdconfError, match=r"b\.hdf5: is damaged"):
        list(iterate(paths))
    assert len(list(iterate([paths[0], paths[2]]))) == 2


def test_second_process_is_spared(production, monkeypatch):
    """A file that passed is tried again only when it changed; a process that cannot start is told."""
    path, *_ = production
    inspect_file(path)
    monkeypatch.setattr(file_trials, "_can_fork", lambda: False)
    monkeypatch.setattr(file_trials, "_START", "raise SystemExit(1)")
    inspect_file(path)
    with h5py.File(path, "r+") as file:
        file["SHOWERS"].resize(file["SHOWERS"].shape[0] + 1, axis=0)
    with pytest.raises(ProdconfError, match="does not start a second process"):
        inspect_file(path)


def change_chunk(file, *, deflated):
    """Store a chunk that is shorter than its rows: the library would read beyond it."""
    short = b"short"
    file["SHOWERS"].id.write_direct_chunk((0,), zlib.compress(short) if deflated else short, 0 if deflated else 2)


@pytest.mark.parametrize("deflated", [True, False])
def test_short_chunks_are_refused(production, deflated):
    path, *_ = production
    with h5py.File(path, "r+") as file:
        change_chunk(file, deflated=deflated)
    with pytest.raises(ProdconfError, match=r"table SHOWERS: .*\(a chunk (inflates to less|is shorter) than its"):
        inspect_file(path)


def test_incompressible_chunks_are_read(tmp_path):
    """A chunk whose deflation was skipped, because it would have grown, is sound."""
    columns, kept, bits = events(np.random.default_rng(16))
    path = write(tmp_path / "a.hdf5", columns, kept, bits)
    with h5py.File(path, "r+") as file:
        rows, attributes = file["TRIGGERS"][:], dict(file["TRIGGERS"].attrs)
        del file["TRIGGERS"]
        table = file.create_dataset("TRIGGERS", data=rows, chunks=(len(rows),), compression="gzip")
        table.attrs.update(attributes)
        table.id.write_direct_chunk((0,), rows.tobytes(), 1)
    assert inspect_file(path).n_triggers == len(kept)


# --- the writer ------------------------------------------------------------------------------------------------------
def test_writer_is_atomic_and_refuses(tmp_path):
    columns, kept, bits = events(np.random.default_rng(14))
    path = write(tmp_path / "a.hdf5", columns, kept, bits)
    before = path.read_bytes()
    with pytest.raises(ProdconfError, match="exists"):
        write(path, columns, kept, bits)

    def interrupted():
        with ReducedEventWriter(path, telescopes=["A"], overwrite=True) as writer:
            writer.add_file(info())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hdf5"]


def attempt(path, *, one=None, showers=None, triggers=None):
    """Write one file of an array of one telescope."""
    with ReducedEventWriter(path, telescopes=["A"]) as writer:
        writer.add_file(one or info())
        if showers:
            writer.add_showers(**showers)
        if triggers:
            writer.add_triggers(**triggers)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"energy": [1.0, -1.0]}, "energy must be positive"),
        ({"x_core": [1.0, np.nan]}, "x_core must be finite"),
        ({"altitude": 91.0}, "altitude must lie"),
        ({"event_id": [-1, 2]}, "event_id must be integers"),
        ({"event_id": [0.5, 2]}, "event_id must be integers"),
        ({"file_id": 3}, "file_id must be announced"),
        ({"y_core": [1.0, 2.0, 3.0]}, "of one length"),
    ],
)
def test_writer_refuses_showers(tmp_path, changed, message):
    good = {"file_id": 0, "shower_id": 1, "event_id": [100, 101], "energy": 1.0, "x_core": 0.0, "y_core": 0.0}
    good |= {"azimuth": 0.0, "altitude": 70.0}
    with pytest.raises(ProdconfError, match=message):
        attempt(tmp_path / "a.h5", showers=good | changed)
    assert not list(tmp_path.iterdir())


def test_writer_refuses_the_rest(tmp_path):
    for names in ("A", [], ["A", "A"], ["A,B"], ["é"]):
        with pytest.raises(ProdconfError, match="telescopes must be"):
            ReducedEventWriter(tmp_path / "a.h5", telescopes=names)
    key = {"file_id": 0, "shower_id": 1, "event_id": 100, "array_altitude": 70.0, "array_azimuth": 0.0}
    for mask in ([[0]], [[2]], [[1, 1]]):
        with pytest.raises(ProdconfError, match="mask"):
            attempt(tmp_path / "a.h5", triggers=key | {"masks": np.array(mask, dtype=np.uint64)})
    with pytest.raises(ProdconfError, match="nothing to write"):
        attempt(tmp_path / "a.h5")
    with pytest.raises(ProdconfError, match="spectral_index"):
        attempt(tmp_path / "a.h5", one=info(spectral_index=None))


def test_memory_is_set_by_the_chunk(tmp_path):
    """A file four times as long needs the same memory."""
    import tracemalloc

    peaks = []
    for n_showers in (4_000, 16_000):
        columns, kept, bits = events(np.random.default_rng(15), n_files=1, n_showers=n_showers, n_uses=5)
        path = write(tmp_path / f"{n_showers}.hdf5", columns, kept[: n_showers // 4], bits[: n_showers // 4])
        del columns
        tracemalloc.start()
        for _ in iterate(path, chunk=400):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_copy_of_a_sample_under_another_name(shared_data, tmp_path):
    """The container is told by its content."""
    path = tmp_path / "events.dat"
    shutil.copy(shared_data / "reduced_events/gamma_diffuse_za20deg_v0.34.hdf5", path)
    assert inspect_file(path).n_triggers == 13


# ---------------------------------------------------------------- triggers that list no telescope


def with_empty_lists(path, rows):
    """Write 8 triggers of two telescopes, some of which list none."""
    number = np.arange(8)
    with ReducedEventWriter(path, telescopes=("LSTN-01", "LSTN-02")) as writer:
        writer.add_file(FileInfo("run1", 0, 1, 1, -2.0, 0.03, 3.0, 0.0, 4.0, 0.0, 900.0, 20.0, 0.0, 0.24))
        key = {"file_id": 0, "shower_id": number, "event_id": number}
        writer.add_showers(**key, energy=0.1, x_core=1.0, y_core=2.0, azimuth=0.0, altitude=70.0)
        writer.add_triggers(**key, array_azimuth=0.0, array_altitude=70.0, masks=np.full((8, 1), 3, dtype=np.uint64))
    with h5py.File(path, "r+") as file:
        stored = file["TRIGGERS"][:]
        for column in ("telescope_list", "telescope_list_common_id"):
            stored[column][rows] = b""
        file["TRIGGERS"][:] = stored
    return path


@pytest.mark.parametrize("chunk", [3, 100])
@pytest.mark.parametrize("rows", [[0], [2, 7], list(range(8))])
def test_a_trigger_without_telescopes_counts_for_no_sub_array(tmp_path, rows, chunk):
    path = with_empty_lists(tmp_path / "a.hdf5", rows)
    words = rf"table TRIGGERS: {len(rows)} of 8 triggers list no telescope \(the first is row {rows[0]}\)"
    with pytest.warns(ProdconfWarning, match=words) as told:
        chunks = list(iterate(path, chunk=chunk))
    assert len(told) == 1
    selected = [SubArray("all").selector(one.telescopes)(one.masks) for one in chunks]
    assert np.flatnonzero(~np.concatenate(selected)).tolist() == rows


def test_a_file_with_such_triggers_is_not_kept(tmp_path):
    path = with_empty_lists(tmp_path / "a.hdf5", [1])
    for _ in range(2):
        with pytest.warns(ProdconfWarning, match="row 1"):
            assert sum(len(one.energy) for one in triggered_blocks(path, cache=tmp_path / "cache")) == 8
    assert telescope_numbers(path) == {"1": "LSTN-01", "2": "LSTN-02"}


def test_lists_of_numbers_may_be_empty():
    book = TelescopeBook()
    lists = [np.array([7, 8]), np.array([], dtype=np.int64), np.array([8])]
    assert book.from_lists(lists).ravel().tolist() == [3, 0, 2]
    assert book.from_lists(lists[1:2]).tolist() == [[0]]


def test_the_real_file_with_empty_lists_is_read(shared_data):
    path = shared_data / "cases" / "empty_trigger_list" / "mixed.hdf5"
    if not path.is_file():
        pytest.skip("the sample cases are not here")
    with h5py.File(path) as file:
        listed = file["TRIGGERS"]["telescope_list"] != b""
    with pytest.warns(ProdconfWarning, match=rf"{(~listed).sum()} of {len(listed)} triggers list no telescope"):
        chunks = list(iterate(path))
    assert sum(np.count_nonzero(one.masks.any(axis=1)) for one in chunks) == listed.sum()
