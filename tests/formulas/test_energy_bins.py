"""The lookup of energy bins against the search, for energies of any kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prodconf.core.errors import ProdconfError
from prodconf.formulas.energy_bins import EnergyBins

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
