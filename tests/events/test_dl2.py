"""DL2 files: what was written comes back, what is wrong is named, what is real is normalised."""

import gzip
import pickle
import shutil
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import angular_separation
from astropy.io import fits
from astropy.table import Table

from prodconf.core.errors import FileError, ProdconfError, ProdconfWarning
from prodconf.events.dl2 import DL2File, DL2Header, inspect_dl2, looks_like_dl2, write_dl2
from prodconf.sky.shower_frame import offset_direction

HEADER = DL2Header(5000, 10, 1000.0, 10.0, 0.1, 10.0, -2.0, zenith=20.0, azimuth=180.0)
EDGES = np.logspace(-1, 1, 21)
THROWN = 1e7 * (1 / EDGES[:-1] - 1 / EDGES[1:]) / (1 / 0.1 - 1 / 10)
RUNS = 200  # 1e7 uses / (5000 showers x 10 uses)


def cap(theta):
    """Solid angle over 2 pi of a cone (deg)."""
    return 1 - np.cos(np.deg2rad(theta))


def events(n=4000, *, cut=1.0, runs=RUNS, seed=0):
    """Arguments of write_dl2 for n events uniform in a cone around the pointing."""
    rng = np.random.default_rng(seed)
    offset = np.arccos(1 - rng.uniform(0, cap(cut), n))
    az, alt = np.rad2deg(offset_direction(np.pi, np.deg2rad(70), offset, rng.uniform(0, 2 * np.pi, n)))
    energy = 1 / rng.uniform(1 / 10, 1 / 0.1, n)
    return {
        "energy_edges": EDGES,
        "n_simulated": THROWN,
        "run": np.sort(np.arange(n) % runs) + 1000,
        "energy_true": energy.clip(0.1001, 9.999),
        "energy_reco": energy * rng.lognormal(0, 0.1, n),
        "azimuth_true": az,
        "altitude_true": alt,
        "azimuth_reco": az,
        "altitude_reco": alt - 0.1,
    }


@pytest.fixture
def sample(tmp_path):
    """File whose events fill the thrown cone and all runs."""
    write_dl2(tmp_path / "sample.fits", HEADER, **events(cut=10.0))
    return tmp_path / "sample.fits"


def changed(path, change, name="changed.fits"):
    """Copy of a file after a change to its HDUs."""
    target = path.with_name(name)
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(target, overwrite=True)
    return target


def joined(file, size=262_144):
    """All events of a file as one dict of arrays."""
    chunks = list(file.chunks(size))
    return {name: np.concatenate([getattr(c, name) for c in chunks]) for name in chunks[0].__dataclass_fields__}


def test_round_trip_and_no_warning_when_the_cone_and_the_runs_are_full(sample):
    file = DL2File(sample)
    wanted = events(cut=10.0)
    got = joined(file)
    assert np.array_equal(got["energy_true"], wanted["energy_true"].astype("f4"))
    assert np.array_equal(got["energy_reco"], wanted["energy_reco"].astype("f4"))
    assert np.array_equal(got["run"], wanted["run"])
    assert np.allclose(np.rad2deg(got["direction_error"]), 0.1, atol=2e-5)
    separation = angular_separation(
        *np.deg2rad([wanted["azimuth_true"], wanted["altitude_true"]]), np.pi, np.deg2rad(70)
    )
    assert np.allclose(got["offset"], separation, atol=1e-6)
    assert np.array_equal(file.n_simulated, THROWN)
    assert np.array_equal(file.energy_edges, EDGES)
    assert (file.zenith, file.azimuth, file.n_events, file.n_runs_present) == (20.0, 180.0, 4000, RUNS)
    assert file.n_runs_total == pytest.approx(RUNS)
    assert file.header == HEADER
    assert (file.energy_range, file.spectral_index, file.core_scatter_max) == ((0.1, 10.0), -2.0, 1000.0)


def test_a_file_goes_to_another_process(sample):
    file = DL2File(sample)
    back = pickle.loads(pickle.dumps(file))
    assert (back.header, back.path) == (file.header, file.path)


def test_chunks_are_the_same_for_every_size(sample):
    whole = joined(DL2File(sample))
    for size in (1000, 999, 1_000_000):
        parts = joined(DL2File(sample), size)
        assert all(np.array_equal(whole[name], parts[name]) for name in whole)
    for size in (0, -1, 2.5, True):
        with pytest.raises(ProdconfError, match="size must be"):
            next(DL2File(sample).chunks(size))


def test_gzip(sample, tmp_path):
    packed = tmp_path / "sample.fits.gz"
    packed.write_bytes(gzip.compress(sample.read_bytes()))
    assert np.array_equal(joined(DL2File(packed))["offset"], joined(DL2File(sample))["offset"])
    write_dl2(tmp_path / "written.fits.gz", HEADER, **events(cut=10.0))
    assert (tmp_path / "written.fits.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert np.array_equal(joined(DL2File(tmp_path / "written.fits.gz"))["offset"], joined(DL2File(sample))["offset"])
    assert looks_like_dl2(packed)


def test_cut_events_and_a_subset_of_runs_warn_and_can_be_corrected(tmp_path):
    path = tmp_path / "cut.fits"
    arguments = events(cut=1.0, runs=50)
    write_dl2(path, HEADER, **arguments)
    with pytest.warns(ProdconfWarning) as caught:
        assert np.array_equal(DL2File(path).n_simulated, THROWN)
    assert len(caught) == 2
    assert "offset_max=1" in str(caught[0].message)
    assert 'simulated_fraction="runs"' in str(caught[1].message)
    file = DL2File(path, offset_max=1.0, simulated_fraction="runs")
    assert np.allclose(file.n_simulated, THROWN * 50 / 200 * cap(1) / cap(10), rtol=1e-9)
    assert len(joined(file)["run"]) == 4000
    assert np.allclose(DL2File(path, offset_max=1.0, simulated_fraction=0.25).n_simulated, file.n_simulated)
    with pytest.warns(ProdconfWarning, match="end sharply"):
        _ = DL2File(path, simulated_fraction="runs").n_simulated
    with pytest.warns(ProdconfWarning, match="50 of 200"):
        _ = DL2File(path, offset_max=1).n_simulated


def test_a_smaller_cone_drops_events_and_thrown_events_alike(sample):
    file = DL2File(sample, offset_max=5.0)
    kept = joined(file)
    assert np.rad2deg(kept["offset"].max()) <= 5.0001
    assert len(kept["run"]) == pytest.approx(4000 * cap(5) / cap(10), abs=4 * np.sqrt(1000))
    assert np.allclose(file.n_simulated, THROWN * cap(5) / cap(10), rtol=1e-9)
    wide = DL2File(sample, offset_max=12.0)
    assert np.array_equal(wide.n_simulated, THROWN)
    assert "changes nothing" in " ".join(wide.notes)


def test_events_that_fade_out_are_not_taken_for_cut(tmp_path):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        arguments = events(2000, cut=10.0)
        offset = np.arccos(1 - np.minimum(rng.exponential(cap(2.0), 2000), cap(10)))
        az, alt = np.rad2deg(offset_direction(np.pi, np.deg2rad(70), offset, rng.uniform(0, 2 * np.pi, 2000)))
        write_dl2(
            tmp_path / "fade.fits", HEADER, overwrite=True, **arguments | {"azimuth_true": az, "altitude_true": alt}
        )
        assert np.array_equal(DL2File(tmp_path / "fade.fits").n_simulated, THROWN)


def test_sparse_events_cannot_count_runs(tmp_path):
    rng = np.random.default_rng(3)
    arguments = events(150, cut=10.0) | {"run": rng.integers(0, RUNS, 150)}
    write_dl2(tmp_path / "sparse.fits", HEADER, **arguments)
    assert np.array_equal(DL2File(tmp_path / "sparse.fits").n_simulated, THROWN)
    with pytest.warns(ProdconfWarning, match="events per run"):
        _ = DL2File(tmp_path / "sparse.fits", simulated_fraction="runs").n_simulated


def test_units_of_the_file_decide(sample):
    def to_gev_and_rad(hdus):
        data = hdus["EVENTS"].data
        for name in data.names:
            if name in ("MC_ENERGY", "ENERGY"):
                data[name] *= 1000
                hdus["EVENTS"].columns[name].unit = "GeV"
            elif name.endswith(("AZ", "ALT")):
                data[name] = np.deg2rad(data[name])
                hdus["EVENTS"].columns[name].unit = "rad"
        for name in ("MC_ENERG_LO", "MC_ENERG_HI"):
            hdus["SIMULATED EVENTS"].data[name] *= 1000
            hdus["SIMULATED EVENTS"].columns[name].unit = "GeV"
        hdus["RUNHEADER"].data["core_range"] *= 100
        hdus["RUNHEADER"].columns["core_range"].unit = "cm"

    plain, other = DL2File(sample), DL2File(changed(sample, to_gev_and_rad))
    a, b = joined(plain), joined(other)
    for name in ("energy_true", "energy_reco", "offset"):
        assert np.allclose(a[name], b[name], rtol=1e-5, atol=1e-6)
    assert np.allclose(other.energy_edges, EDGES)
    assert (other.zenith, other.core_scatter_max) == (20.0, 1000.0)


def test_a_missing_unit_is_noted_and_a_wrong_one_refused(sample):
    bare = DL2File(changed(sample, lambda h: h["EVENTS"].header.__delitem__("TUNIT5")))
    assert any("MC_ENERGY in TeV" in note for note in bare.notes)
    for text in ("m", "nonsense"):
        wrong = changed(sample, lambda h, t=text: h["EVENTS"].header.__setitem__("TUNIT5", t))
        with pytest.raises(ProdconfError, match=r"EVENTS, column MC_ENERGY: unit"):
            DL2File(wrong)


def with_bins(path, low, high, counts):
    """File with another histogram of thrown events."""

    def change(hdus):
        table = Table({"MC_ENERG_LO": low, "MC_ENERG_HI": high, "EVENTS": np.asarray(counts, float)})
        for name in table.colnames[:2]:
            table[name].unit = u.TeV
        hdus["SIMULATED EVENTS"] = fits.BinTableHDU(table, name="SIMULATED EVENTS")

    return changed(path, change)


def test_inverted_bins(sample):
    file = DL2File(with_bins(sample, [0.012, 0.01, 0.1, 1.0, 10.0], [0.01, 0.1, 1.0, 10.0, 3.3], [0, 5, 6, 1e7, 0]))
    assert file.energy_edges.tolist() == [0.01, 0.1, 1.0, 10.0]
    assert file.n_thrown.tolist() == [5, 6, 1e7]
    assert sum("dropped" in note for note in file.notes) == 2
    file = DL2File(with_bins(sample, [0.0, 1.0], [1.0, 10.0], [5, 6]))
    assert file.energy_edges[0] == 0.1
    for low, high, counts, rule in [
        ([0.1, 1.0], [1.0, 0.5], [5, 6], "bin 1 runs from 1 down to 0.5 TeV and counts 6"),
        ([0.1, 2.0], [1.0, 10.0], [5, 6], "contiguous"),
        ([1.0, 0.1], [10.0, 1.0], [5, 6], "contiguous"),
        ([-1.0, 1.0], [1.0, 10.0], [5, 6], "must be positive"),
        ([0.1, 1.0], [1.0, 10.0], [0, 0], "no thrown event"),
        ([0.1, 1.0], [1.0, 10.0], [-5, 6], "must be zero or more"),
        ([0.1, 1.0], [1.0, np.nan], [5, 6], "must be finite"),
        ([1.0], [0.1], [0], "no bin"),
    ]:
        with pytest.raises(ProdconfError, match=rule):
            DL2File(with_bins(sample, low, high, counts))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("MC_ENERGY", np.nan, "column MC_ENERGY: must be finite, got nan in row 7"),
        ("ENERGY", 0.0, "column ENERGY: must be positive, got 0.0 in row 7"),
        ("ENERGY", -2.0, "column ENERGY: must be positive"),
        ("MC_AZ", np.inf, "column MC_AZ: must be finite"),
        ("ALT", 91.0, "column ALT: must be within"),
        ("AZ", 1e30, "column AZ: must be within"),
        ("PNT_ALT", 60.0, "one direction, got a spread of 10 deg"),
    ],
)
def test_a_bad_value_is_named_with_its_row(sample, column, value, rule):
    file = DL2File(changed(sample, lambda h: h["EVENTS"].data[column].__setitem__(7, value)))
    with pytest.raises(ProdconfError, match=rule):
        print(file.n_simulated, list(file.chunks()))


def test_pointing_jitter_and_negative_azimuth_are_tolerated(sample):
    def jitter(hdus):
        data, rng = hdus["EVENTS"].data, np.random.default_rng(0)
        data["PNT_ALT"] += rng.normal(0, 1e-5, len(data))
        data["PNT_AZ"] += rng.normal(0, 1e-5, len(data))
        data["MC_AZ"] -= 360
        data["AZ"] -= 360

    file = DL2File(changed(sample, jitter))
    assert (file.zenith, file.azimuth) == (20.0, 180.0)
    assert np.allclose(joined(file)["offset"], joined(DL2File(sample))["offset"], atol=2e-6)


def test_missing_tables_columns_rows_and_files(sample, tmp_path):
    for name in ("EVENTS", "SIMULATED EVENTS", "RUNHEADER"):
        with pytest.raises(ProdconfError, match=f"has no table '{name}'"):
            DL2File(changed(sample, lambda h, n=name: h.pop(n)))
    for table, column in [("EVENTS", "ENERGY"), ("SIMULATED EVENTS", "EVENTS"), ("RUNHEADER", "num_use")]:

        def drop(hdus, table=table, column=column):
            old = hdus[table]
            hdus[table] = fits.BinTableHDU.from_columns([c for c in old.columns if c.name != column], name=table)

        with pytest.raises(ProdconfError, match=f"table {table}: has no column {column}"):
            DL2File(changed(sample, drop))
    for table in ("EVENTS", "SIMULATED EVENTS", "RUNHEADER"):
        with pytest.raises(ProdconfError, match=f"{table}: has no rows"):
            DL2File(changed(sample, lambda h, t=table: h[t].__setattr__("data", h[t].data[:0])))
    (tmp_path / "empty.fits").touch()
    (tmp_path / "text.fits").write_text("not a FITS file at all\n" * 100)
    for name, rule in [("empty.fits", "is empty"), ("text.fits", "cannot be read"), ("none.fits", "does not exist")]:
        with pytest.raises(ProdconfError, match=rule):
            DL2File(tmp_path / name)
        assert not looks_like_dl2(tmp_path / name)
    with pytest.raises(ProdconfError, match="is a folder"):
        DL2File(tmp_path)


def test_hdus_are_found_by_name_not_by_position(sample):
    def shuffle(hdus):
        hdus.insert(1, fits.BinTableHDU(Table({"x": [1, 2]}), name="OTHER"))
        hdus.append(hdus.pop("EVENTS"))

    assert DL2File(changed(sample, shuffle)).n_events == 4000


def test_impossible_headers(sample):
    for column, value, rule in [
        ("num_use", 0, "num_use must be a whole number"),
        ("spectral_index", 2.0, r"spectral_index must lie in \[-20, 0\]"),
        ("E_range", [10.0, 0.1], "E_range must increase"),
        ("core_range", [0.0, np.nan], "core_range: must be finite"),
        ("viewcone", [0.0, 400.0], "at most 180 deg"),
    ]:
        with pytest.raises(ProdconfError, match=rule):
            DL2File(changed(sample, lambda h, c=column, v=value: h["RUNHEADER"].data[c].__setitem__(0, v)))


def test_energies_beyond_the_thrown_range_warn(sample):
    def gev_without_unit(hdus):
        hdus["EVENTS"].data["MC_ENERGY"] *= 1000
        hdus["EVENTS"].columns["MC_ENERGY"].unit = None

    with pytest.warns(ProdconfWarning, match="beyond the thrown range"):
        _ = DL2File(changed(sample, gev_without_unit)).n_simulated


def test_shower_keys_are_unique_per_run_and_energy(tmp_path):
    rng = np.random.default_rng(5)
    shower = rng.integers(0, 500, 3000)
    energy, run = rng.uniform(0.2, 9, 500)[shower], rng.integers(0, 3, 500)[shower] + 2**31
    arguments = events(3000, cut=10.0) | {"energy_true": energy, "run": run}
    write_dl2(tmp_path / "reused.fits", HEADER, **arguments)
    double = changed(
        tmp_path / "reused.fits",
        lambda h: h.__setitem__(
            "EVENTS",
            fits.BinTableHDU.from_columns(
                [
                    fits.Column(
                        name=c.name,
                        format="D" if c.name == "MC_ENERGY" else c.format,
                        unit=c.unit,
                        bzero=c.bzero,
                        array=h["EVENTS"].data[c.name],
                    )
                    for c in h["EVENTS"].columns
                ],
                name="EVENTS",
            ),
        ),
    )
    _, wanted = np.unique(shower, return_inverse=True)
    for path in (tmp_path / "reused.fits", double):
        got = joined(DL2File(path), 700)
        assert got["shower"].dtype == np.int64
        pairs = {tuple(pair) for pair in zip(wanted.tolist(), got["shower"].tolist(), strict=True)}
        assert len(pairs) == len(set(wanted.tolist())) == len(set(got["shower"].tolist()))
        assert np.array_equal(got["run"], run)


def test_arguments(sample, tmp_path):
    for fraction in (0, -0.1, 1.5, "half", True, np.nan):
        with pytest.raises(ProdconfError, match="simulated_fraction"):
            DL2File(sample, simulated_fraction=fraction)
    with pytest.raises(ProdconfError, match="offset_max must be positive"):
        DL2File(sample, offset_max=0)
    arguments = events(10)
    target = tmp_path / "new.fits"
    for change, rule in [
        ({"energy_true": np.full(10, -1.0)}, "energy_true must be positive"),
        ({"energy_reco": np.ones(9)}, "energy_reco must have the shape"),
        ({"azimuth_true": np.full(10, np.nan)}, "azimuth_true must be finite"),
        ({"energy_edges": EDGES[::-1]}, "energy_edges must increase"),
        ({"n_simulated": THROWN[1:]}, "energy_edges must increase strictly and be one more"),
        ({"run": np.full(10, 0.5)}, "run must be whole numbers"),
        ({"run": []}, "at least one event"),
    ]:
        with pytest.raises(ProdconfError, match=rule):
            write_dl2(target, HEADER, **arguments | change)
        assert list(tmp_path.iterdir()) == [sample]
    with pytest.raises(ProdconfError, match="exists"):
        write_dl2(sample, HEADER, **arguments)


@pytest.mark.parametrize(("zenith", "expected"), [(20, 8.3e5), (40, 9.4e5), (60, 8.5e5)])
def test_effective_area_of_the_real_files(shared_data, zenith, expected):
    (path,) = (shared_data / "dl2").glob(f"*{zenith}deg*.fits")
    file = DL2File(path, offset_max=1.0, simulated_fraction="runs")
    got = joined(file)
    inside = (got["energy_true"] >= 10**-0.1) & (got["energy_true"] < 10**0.1)
    bins = (file.energy_edges[:-1] > 0.79) & (file.energy_edges[1:] < 1.26)
    area = inside.sum() / file.n_simulated[bins].sum() * np.pi * file.core_scatter_max**2
    uses = np.unique(got["shower"][inside], return_counts=True)[1]
    assert bins.sum() == 2
    assert abs(area - expected) < 3 * area * np.sqrt((uses**2).sum()) / inside.sum()
    assert file.zenith == zenith
    assert file.azimuth == 0
    assert (np.diff(file.energy_edges) > 0).all()
    assert len(file.energy_edges) == {20: 62, 40: 62, 60: 61}[zenith]
    assert np.rad2deg(got["offset"].max()) < 1.0


def test_real_files_against_a_plain_reading(shared_data):
    (path,) = (shared_data / "dl2").glob("*20deg*.fits")
    with pytest.warns(ProdconfWarning, match="offset_max=1"):
        _ = DL2File(path, simulated_fraction="runs").n_simulated
    with pytest.warns(ProdconfWarning, match="40 of 5500"):
        _ = DL2File(path, offset_max=1).n_simulated
    table = Table.read(path, hdu="EVENTS")
    got = joined(DL2File(path), 333)
    assert np.array_equal(got["energy_true"], table["MC_ENERGY"])
    sky = [np.deg2rad(np.asarray(table[name], float)) for name in ("MC_AZ", "MC_ALT", "AZ", "ALT", "PNT_AZ", "PNT_ALT")]
    assert np.allclose(got["offset"], angular_separation(*sky[:2], *sky[4:]), atol=1e-9)
    assert np.allclose(got["direction_error"], angular_separation(*sky[:4]), atol=1e-9)
    text = inspect_dl2(path)
    assert "zenith 20 deg" in text
    assert "1.1e+10 in 5500 runs of 100000 showers x 20 uses" in text
    assert "counts nothing, dropped" in text


def read_everything(path):
    """Success or ProdconfError, and nothing else (warnings of other kinds are errors)."""
    looks_like_dl2(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ProdconfWarning)
            file = DL2File(path, simulated_fraction=0.5)
            assert np.isfinite(file.n_simulated).all()
            for chunk in file.chunks():
                assert np.isfinite(chunk.offset).all()
        inspect_dl2(path)
    except ProdconfError as error:
        return str(path) not in str(error) and pytest.fail(f"does not name the file: {error}")
    return True


def test_damaged_files(sample, tmp_path):
    rng = np.random.default_rng(11)
    write_dl2(tmp_path / "small.fits", HEADER, **events(60, cut=10.0))
    small = (tmp_path / "small.fits").read_bytes()
    packed = gzip.compress(small)
    outcome = {True: 0, False: 0}
    for i in range(60):
        data = bytearray(packed if i % 5 == 0 else small)
        kind = i % 3
        if kind == 0:
            del data[int(rng.integers(1, len(data))) :]
        else:
            limit = len(data) if kind == 1 else min(len(data), 9000)
            for at in rng.integers(0, limit, 3):
                data[at] ^= 1 << int(rng.integers(0, 8))
        target = tmp_path / ("bad.fits.gz" if i % 5 == 0 else "bad.fits")
        target.write_bytes(data)
        outcome[read_everything(target)] += 1
    assert outcome[False] > 20
    shutil.copy(sample, tmp_path / "good.fits")
    assert read_everything(tmp_path / "good.fits")


def test_arguments_are_one_number(sample):
    assert DL2File(sample, offset_max=60 * u.arcmin).offset_max == pytest.approx(1.0, rel=1e-15)
    assert DL2File(sample, simulated_fraction=50 * u.percent).simulated_fraction == pytest.approx(0.5, rel=1e-15)
    for value in ([1, 2], True, "1", 1 * u.m, [1] * u.deg, np.nan):
        with pytest.raises(ProdconfError, match=r"^offset_max must be "):
            DL2File(sample, offset_max=value)
    for value in ([0.5], True, "0.5", 1 * u.m, np.array(["runs"])):
        with pytest.raises(ProdconfError, match=r"^simulated_fraction must be "):
            DL2File(sample, simulated_fraction=value)


@pytest.mark.parametrize("path", [None, 3, b"x", "x" * 5000, "a\0b", ["x"]])
def test_what_is_no_path(path):
    with pytest.raises(ProdconfError, match=r"must be a path|cannot be read"):
        DL2File(path)
    assert not looks_like_dl2(path)


def _set(table, column, value):
    """Change a column of one table."""

    def change(hdus):
        hdus[table].data[column] = value

    return change


@pytest.mark.parametrize(
    ("table", "column", "value", "text"),
    [
        ("RUNHEADER", "core_range", [0, 1e-4], "core_range must be 1 mm to 1000 km wide"),
        ("RUNHEADER", "viewcone", [0, 1e-5], "viewcone must be one angle or at least 0.0001 deg wide"),
        ("RUNHEADER", "E_range", [1e-12, 1], "E_range must lie within 1e-9 to 1e9 TeV"),
        ("RUNHEADER", "E_range", [1e-2, 1e300], "E_range must lie within 1e-9 to 1e9 TeV"),
        ("RUNHEADER", "alt_range", [1e300, 1e300], r"alt_range: must be within \+-100 rad"),
        ("RUNHEADER", "az_range", [-101, 0], r"az_range: must be within \+-100 rad"),
        ("SIMULATED EVENTS", "EVENTS", 1e30, "column EVENTS: must be below 1e30, got 1e.30 in row 0"),
        ("EVENTS", "MC_ENERGY", 1e-20, "column MC_ENERGY: must be within 1e-12 to 1e12 TeV, got .*e-2[01] in row 0"),
        ("EVENTS", "ENERGY", 1e20, "column ENERGY: must be within 1e-12 to 1e12 TeV, got .*e.20 in row 0"),
    ],
)
def test_absurd_numbers_are_a_sentence(sample, table, column, value, text):
    path = changed(sample, _set(table, column, value))
    with pytest.raises(ProdconfError, match=text):
        list(DL2File(path).chunks())


def _retyped(name, form, value):
    """Replace a column of RUNHEADER by one of another format."""

    def change(hdus):
        old = hdus["RUNHEADER"].columns
        new = fits.Column(name=name, format=form, array=np.array([value]))
        columns = [new if column.name == name else column for column in old]
        hdus["RUNHEADER"] = fits.BinTableHDU.from_columns(columns, name="RUNHEADER")

    return change


@pytest.mark.parametrize("name", ["num_use", "num_showers"])
@pytest.mark.parametrize("value", [2.7, 0.5, 1e300])
def test_numbers_of_showers_and_uses_are_whole(sample, name, value):
    with pytest.raises(ProdconfError, match=f"{name} must be a whole number from 1 to 1000000000000, got"):
        DL2File(changed(sample, _retyped(name, "D", value)))


def test_absurd_edges_are_a_sentence(sample):
    for factor, text in [(1e20, "MC_ENERG_LO: must be within"), (1e-20, "MC_ENERG_LO: must be within")]:

        def change(hdus, factor=factor):
            for column in ("MC_ENERG_LO", "MC_ENERG_HI"):
                hdus["SIMULATED EVENTS"].data[column] *= factor

        with pytest.raises(ProdconfError, match=text):
            DL2File(changed(sample, change))


@pytest.mark.parametrize("unit", ["1e40 TeV", "1e-40 TeV"])
def test_absurd_units_are_a_sentence(sample, unit):
    def change(hdus):
        number = hdus["EVENTS"].columns.names.index("MC_ENERGY") + 1
        hdus["EVENTS"].header[f"TUNIT{number}"] = unit

    with pytest.raises(ProdconfError, match=r"column MC_ENERGY: unit .* must be 1e-30 to 1e30 TeV"):
        DL2File(changed(sample, change))


def test_point_source_needs_no_cone(tmp_path):
    header = DL2Header(5000, 10, 1000.0, 0.0, 0.1, 10.0, -2.0, zenith=20.0, azimuth=180.0)
    write_dl2(tmp_path / "point.fits", header, **events(cut=0.0))
    assert DL2File(tmp_path / "point.fits").n_simulated.sum() == pytest.approx(THROWN.sum())


def test_names_equal_but_for_case(sample):
    content = sample.read_bytes()
    assert content.count(b"'GH_MVA  '") == 1
    path = sample.with_name("twice.fits")
    path.write_bytes(content.replace(b"'GH_MVA  '", b"'mc_az   '"))
    with pytest.raises(ProdconfError, match=r"table EVENTS: has two columns named .*mc_az"):
        DL2File(path)


def test_more_runs_than_were_thrown_are_refused(shared_data):
    """The counts of half the runs stand beside the events of all: every area would be twice too large."""
    for path in [shared_data / "cases" / "thrown_counts_bad" / "low_half.fits"]:
        if not path.is_file():
            pytest.skip("the case is not here")
        for asked in (lambda file: file.n_simulated, lambda file: file.runs, lambda file: file.warnings):
            with pytest.raises(FileError, match=r"more runs in EVENTS than SIMULATED EVENTS counts, 20 of .*, got 40"):
                asked(DL2File(path))
    good = shared_data / "cases" / "thrown_counts_bad" / "low_good.fits"
    assert DL2File(good).n_runs_present <= DL2File(good).n_runs_total * 1.01
