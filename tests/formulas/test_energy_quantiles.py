"""The lookup of energy bins against the search; quantiles against numpy and against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from prodconf.core.errors import ProdconfError
from prodconf.formulas.energy_quantiles import N_CELLS, BinnedQuantiles, EnergyBins, cell_numbers

RNG = np.random.default_rng(5)


def counted(bins, values, n):
    """Count values in cells."""
    place = bins * N_CELLS + cell_numbers(values.astype(np.float32))
    return BinnedQuantiles.from_cells(np.bincount(place, minlength=n * N_CELLS).reshape(n, N_CELLS))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_kept_values_give_numpys_quantile(size):
    bins, values = RNG.integers(0, 3, size), RNG.lognormal(0, 0.5, size)
    quantiles = BinnedQuantiles.from_values(bins, values, 4)
    for p in (0.0, 0.16, 0.5, 0.9, 1.0):
        found = quantiles.quantile(p)
        for j in range(4):
            inside = values[bins == j]
            if inside.size:
                assert found[j] == pytest.approx(np.quantile(inside, p), rel=1e-14)
            else:
                assert np.isnan(found[j])


def test_counted_values_follow_the_closed_form():
    """A log-normal of width 0.15: quantiles within the noise of two million values and the width of a cell."""
    values = RNG.lognormal(0.02, 0.15, 2_000_000)
    quantiles = counted(np.zeros(values.size, int), values, 1)
    for p in (0.001, 0.16, 0.5, 0.84, 0.999):
        truth = np.exp(0.02 + 0.15 * stats.norm.ppf(p))
        noise = truth * 0.15 * np.sqrt(p * (1 - p) / values.size) / stats.norm.pdf(stats.norm.ppf(p))
        assert abs(quantiles.quantile(p)[0] - truth) < 4 * noise + truth * 2e-4


def test_one_probability_per_bin_and_the_ends():
    bins = np.repeat([0, 1], 100)
    values = np.concatenate([np.linspace(1, 2, 100), np.linspace(3, 4, 100)])
    for quantiles in (BinnedQuantiles.from_values(bins, values, 2), counted(bins, values, 2)):
        np.testing.assert_allclose(quantiles.quantile([0.0, 1.0]), [1.0, 4.0], rtol=5e-3)
        np.testing.assert_allclose(quantiles.quantile([-1.0, 2.0]), [1.0, 4.0], rtol=5e-3)
        assert quantiles.counts.tolist() == [100, 100]


def test_nothing_has_no_quantile():
    assert np.isnan(BinnedQuantiles.from_values([], [], 3).quantile(0.5)).all()
    assert np.isnan(BinnedQuantiles.from_cells(np.zeros((3, N_CELLS), int)).quantile(0.5)).all()


@pytest.mark.parametrize(("bins", "values"), [([0], [0.0]), ([0], [np.nan]), ([0, 1], [1.0]), ([[0]], [[1.0]])])
def test_bad_values_are_refused(bins, values):
    with pytest.raises(ProdconfError, match="values"):
        BinnedQuantiles.from_values(bins, values, 2)
    with pytest.raises(ProdconfError, match="probability"):
        BinnedQuantiles.from_values([0], [1.0], 2).quantile(np.nan)


ENERGIES = st.floats(2.0**-20, 2.0**20, width=32)


@given(
    hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(1e-5, 1e5), unique=True),
    hnp.arrays(np.float32, st.integers(0, 50), elements=ENERGIES),
)
def test_lookup_equals_search(edges, energy):
    edges = np.sort(edges)
    energy = np.concatenate([energy, edges.astype(np.float32)])
    inside = np.histogram(energy.astype(np.float64), edges)[0]
    number = EnergyBins(edges).number(energy)
    np.testing.assert_array_equal(np.bincount(number, minlength=edges.size + 1)[1:-1], inside)
    np.testing.assert_array_equal(number, EnergyBins(edges).number(energy.astype(np.float64)))


def test_many_bins_fit_a_wider_table():
    edges = np.geomspace(0.01, 100, 401)
    energy = np.random.default_rng(1).uniform(0.001, 200, 10_000).astype(np.float32)
    number = EnergyBins(edges).number(energy)
    np.testing.assert_array_equal(number, np.searchsorted(edges, energy.astype(np.float64), side="right"))
    assert number.max() == 401


@pytest.mark.parametrize("edges", [[1.0], [2.0, 1.0], [1.0, 1.0], [-1.0, 1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_edges_that_are_none_are_refused(edges):
    with pytest.raises(ProdconfError, match="edges"):
        EnergyBins(edges)
