"""Power-law shares against numerical integration and the counts of real files."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import quad

from prodconf.core.errors import ProdconfError
from prodconf.formulas.power_law import bin_fractions, reweight, sample


@pytest.mark.parametrize("index", [-1.0, 0.0, 1.0, 1.0 + 1e-9, 1.5, 2.0, 2.7])
def test_shares_agree_with_quadrature(index):
    edges = np.geomspace(0.1, 50, 8)
    whole = quad(lambda x: np.exp((1 - index) * x), np.log(0.1), np.log(50))[0]
    parts = [quad(lambda x: np.exp((1 - index) * x), *np.log(pair))[0] / whole for pair in np.c_[edges[:-1], edges[1:]]]
    np.testing.assert_allclose(bin_fractions(edges, index), parts, rtol=1e-8)


def test_shares_reproduce_the_thrown_counts_of_a_real_file(shared_data):
    path = next((shared_data / "dl2").glob("*20deg*"))
    with fits.open(path) as file:
        rows = file["SIMULATED EVENTS"].data[:40]
        counts, total = rows["EVENTS"].astype(float), file["SIMULATED EVENTS"].data["EVENTS"].sum()
        edges = np.append(rows["MC_ENERG_LO"], rows["MC_ENERG_HI"][-1])
    expected = bin_fractions(edges, 2.0, energy_min=0.003, energy_max=330)
    sigma = np.sqrt(20 * total * expected)  # showers are used 20 times
    assert np.abs((counts - total * expected) / sigma).max() < 3.5


def test_bins_outside_the_thrown_range_have_no_share():
    assert bin_fractions([1e-3, 1e-2, 0.1, 1, 10], 2, energy_min=0.1, energy_max=1).tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("index", [1.0, 1.5, 2.6])
def test_sample_follows_the_cumulative_law(index):
    rng = np.random.default_rng(8)
    energy = np.sort(sample(rng, 100_000, index=index, energy_min=0.01, energy_max=100))
    at = np.geomspace(0.02, 90, 20)
    cumulative = [bin_fractions([0.01, e], index, energy_min=0.01, energy_max=100)[0] for e in at]
    distance = np.abs(np.searchsorted(energy, at) / energy.size - cumulative).max()
    assert distance < 1.63 / np.sqrt(energy.size)  # Kolmogorov, 1 %


def test_reweighted_counts_follow_the_other_index():
    rng = np.random.default_rng(9)
    energy = sample(rng, 400_000, index=2.0, energy_min=0.1, energy_max=10)
    weight = reweight(energy, index_thrown=2.0, index_wanted=2.5, energy_min=0.1, energy_max=10)
    edges = np.geomspace(0.1, 10, 6)
    found, squared = (np.histogram(energy, edges, weights=w)[0] for w in (weight, weight**2))
    pull = (found - energy.size * bin_fractions(edges, 2.5)) / np.sqrt(squared)
    assert np.abs(pull).max() < 3.5


def test_bad_ranges_are_named():
    with pytest.raises(ProdconfError, match="energy_max must be above energy_min"):
        sample(np.random.default_rng(1), 1, index=2, energy_min=2, energy_max=1)
