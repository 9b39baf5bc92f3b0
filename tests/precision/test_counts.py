"""One pass over the events against counts by dictionary, for every way a file can be read."""

from collections import defaultdict

import numpy as np
import pytest

from prodconf.core.errors import ProdconfError
from prodconf.events.dl2 import DL2File, DL2Header, write_dl2
from prodconf.formulas.power_law import reweight
from prodconf.precision import counts as event_counts
from prodconf.precision.counts import count_events

EDGES = np.geomspace(0.1, 10.0, 7)
N_SHOWERS = 3000


def events(seed=1, *, n_use=10):
    """Draw events of re-used showers, some of which pass several times."""
    rng = np.random.default_rng(seed)
    passes = rng.integers(1, n_use + 1, N_SHOWERS)
    energy = np.repeat(10 ** rng.uniform(-1.2, 1.2, N_SHOWERS), passes)
    run = np.repeat(np.sort(rng.integers(10, 40, N_SHOWERS)), passes)
    reco = energy * np.exp(rng.normal(0.05, 0.3, run.size))
    return {
        "run": run,
        "energy_true": energy,
        "energy_reco": reco,
        "azimuth_true": np.full(run.size, 10.0),
        "altitude_true": 70 - 5 * rng.random(run.size),
        "azimuth_reco": np.full(run.size, 10.0),
        "altitude_reco": np.full(run.size, 70.0),
    }


def write(path, columns, *, n_use=10):
    """Write them."""
    header = DL2Header(1000, n_use, 1000.0, 5.0, 0.05, 20.0, -2.0, zenith=20.0, azimuth=10.0)
    write_dl2(path, header, energy_edges=EDGES, n_simulated=np.full(6, 1e6), **columns)
    return DL2File(path)


def single(values):
    """Round to what the file holds."""
    return values.astype(np.float32).astype(np.float64)


def by_dictionary(columns, index=None):
    """Count cluster by cluster."""
    true, reco = single(columns["energy_true"]), single(columns["energy_reco"])
    weight = np.ones_like(true)
    if index is not None:
        weight = reweight(true, index_thrown=2.0, index_wanted=index, energy_min=0.05, energy_max=20.0)
    sums = {}
    for name, energy in (("true", true), ("reco", reco)):
        passes, weights = defaultdict(int), {}
        for run, e, w, j in zip(columns["run"], true, weight, np.digitize(energy, EDGES) - 1, strict=True):
            passes[run, e, j] += 1
            weights[run, e, j] = w
        table = np.zeros((5, 8))
        for (run, e, j), m in passes.items():
            w = weights[run, e, j]
            if 0 <= j < 6:
                table[:, j] += [w * m, w**2 * m**2, w**2 * m**3, w**2 * m**4, w * m**2]
        sums[name] = table[:, :6]
    return sums


def check(counts, columns, index=None):
    """Compare."""
    true, reco = single(columns["energy_true"]), single(columns["energy_reco"])
    wanted = by_dictionary(columns, index)
    for name in ("true", "reco"):
        found = getattr(counts, name)
        np.testing.assert_allclose(found.sums, wanted[name][:4], rtol=1e-6)
        np.testing.assert_allclose(found.passes_squared, wanted[name][4], rtol=1e-6)
        np.testing.assert_allclose(found.by_run.sum(axis=0), wanted[name][:2], rtol=1e-6)
    np.testing.assert_array_equal(counts.n_true, np.histogram(true, EDGES)[0])
    np.testing.assert_array_equal(counts.n_reco, np.histogram(reco, EDGES)[0])
    outer = np.concatenate([[0], EDGES, [np.inf]])
    np.testing.assert_array_equal(counts.migration, np.histogram2d(true, reco, (EDGES, outer))[0])
    np.testing.assert_array_equal(counts.runs, np.unique(columns["run"]))
    assert counts.n_events == true.size


def test_counts_are_those_of_a_dictionary(tmp_path):
    columns = events()
    counts = count_events(write(tmp_path / "a.fits", columns), reco=True)
    check(counts, columns)
    assert counts.index is None
    np.testing.assert_array_equal(counts.true.squares, counts.n_true)
    assert counts.true.by_run.shape == (30, 2, 6)
    true, r = single(columns["energy_true"]), single(columns["energy_reco"]) / single(columns["energy_true"]) - 1
    bins = np.digitize(true, EDGES) - 1
    for j in range(6):
        inside = r[bins == j]
        np.testing.assert_allclose(counts.error_sums[:, j], [inside.sum(), (inside**2).sum()])
        np.testing.assert_allclose(counts.ratio.quantile(0.3)[j], np.quantile(inside, 0.3) + 1, rtol=1e-12)


@pytest.mark.parametrize("index", [1.5, 3.0])
def test_weights(tmp_path, index):
    columns = events()
    check(count_events(write(tmp_path / "a.fits", columns), index=index, reco=True), columns, index)


def test_the_thrown_index_weights_nothing(tmp_path):
    assert count_events(write(tmp_path / "a.fits", events()), index=2.0, reco=True).index is None


def test_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(event_counts, "_BLOCK", 1000)
    columns = events()
    counts = count_events(write(tmp_path / "a.fits", columns), reco=True)
    check(counts, columns)
    assert not counts.ratio.exact
    r = single(columns["energy_reco"]) / single(columns["energy_true"]) - 1
    bins = np.digitize(single(columns["energy_true"]), EDGES) - 1
    for j in range(6):
        inside = r[bins == j]
        np.testing.assert_allclose(counts.error_sums[:, j], [inside.sum(), (inside**2).sum()], rtol=2e-2)
        np.testing.assert_allclose(counts.ratio.quantile(0.5)[j], np.median(inside) + 1, rtol=4e-3)


def test_reconstructed_energy_is_counted_when_asked_for(tmp_path):
    file = write(tmp_path / "a.fits", events())
    one, other = count_events(file), count_events(file, reco=True)
    assert (one.reco, one.n_reco, one.migration) == (None, None, None)
    assert (one.true.sums == other.true.sums).all()
    assert (one.pair_sums == other.pair_sums).all()


@pytest.mark.parametrize("block", [700, 1 << 17])
def test_showers_that_do_not_stand_together(tmp_path, monkeypatch, block):
    monkeypatch.setattr(event_counts, "_BLOCK", block)
    columns = events()
    order = np.random.default_rng(3).permutation(columns["run"].size)
    check(count_events(write(tmp_path / "a.fits", {k: v[order] for k, v in columns.items()}), reco=True), columns)


def test_without_reuse_every_event_is_a_shower(tmp_path):
    columns = events(n_use=1)
    counts = count_events(write(tmp_path / "a.fits", columns, n_use=1), reco=True)
    check(counts, columns)
    assert (counts.pair_sums == 0).all()


def test_pairs_give_the_correlation(tmp_path):
    """Uses that share 60 % of the variance of their energy error."""
    rng, columns = np.random.default_rng(4), events()
    shower = np.unique(columns["energy_true"], return_inverse=True)[1]
    shared = rng.normal(size=N_SHOWERS)[shower]
    error = 0.2 * (np.sqrt(0.6) * shared + np.sqrt(0.4) * rng.normal(size=shower.size))
    columns["energy_reco"] = columns["energy_true"] * np.exp(error)
    counts = count_events(write(tmp_path / "a.fits", columns), reco=True)
    mean = counts.clipped_sums[0] / counts.n_true
    variance = counts.clipped_sums[1] / counts.n_true - mean**2
    pairs = counts.pair_sums[0] - 2 * mean * counts.pair_sums[1] + mean**2 * counts.pair_sums[2]
    correlation = pairs / counts.pair_sums[2] / variance
    assert correlation.mean() == pytest.approx(0.6, abs=0.05)


def test_a_cut_that_leaves_nothing(tmp_path):
    columns = events()
    columns["altitude_true"] = np.full(columns["run"].size, 66.0)
    path = tmp_path / "a.fits"
    write(path, columns)
    counts = count_events(DL2File(path, offset_max=1.0), reco=True)
    assert counts.n_events == 0
    assert (counts.true.sums == 0).all()
    assert np.isnan(counts.ratio.quantile(0.5)).all()
    np.testing.assert_array_equal(counts.runs, np.unique(columns["run"]))


def test_a_cut_in_offset(tmp_path):
    columns = events()
    path = tmp_path / "a.fits"
    write(path, columns)
    keep = 70 - columns["altitude_true"] <= 2
    counts = count_events(DL2File(path, offset_max=2.0), reco=True)
    assert counts.n_events == pytest.approx(keep.sum(), abs=2)


@pytest.mark.parametrize("index", [np.nan, np.inf])
def test_a_bad_index_is_refused(tmp_path, index):
    with pytest.raises(ProdconfError, match="index must be finite"):
        count_events(write(tmp_path / "a.fits", events()), index=index, reco=True)


def test_a_cut_that_leaves_nothing_counts_zero_events(tmp_path):
    write(tmp_path / "few.fits", events())
    file = DL2File(tmp_path / "few.fits", offset_max=1e-9)
    for index in (None, 3.0):
        counts = count_events(file, index=index, reco=True)
        assert counts.n_events == 0
        assert not counts.n_true.any()
        for sums in (counts.true, counts.reco):
            for name in ("sums", "passes_squared", "squares", "largest", "by_run"):
                assert getattr(sums, name).dtype == np.float64, name
        assert counts.pair_sums.dtype == counts.error_sums.dtype == np.float64
    with pytest.raises(ProdconfError, match=r"^index must be one number, got \[2, 3\]$"):
        count_events(file, index=[2, 3])
