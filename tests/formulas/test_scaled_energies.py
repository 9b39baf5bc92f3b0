"""Reading tables at the same energy over threshold: closed forms, a second implementation, rules of the axis."""

import numpy as np
import pytest
from scipy import sparse

from prodconf.core.errors import ProdconfError
from prodconf.formulas.scaled_energies import Morphing, shared_axis

CENTRES = np.log(10) * (np.arange(40) / 10 - 2)


def brute(weights, log_threshold, centres, table, power=1):
    """Interpolate pilot by pilot and bin by bin."""
    result = np.full((len(weights), centres.size), np.nan)
    for q, row in enumerate(weights):
        pilots = np.flatnonzero(row)
        tau = sum(row[i] * log_threshold[i] for i in pilots) if pilots.size > 1 else log_threshold[pilots[0]]
        for j, centre in enumerate(centres):
            total = 0.0
            for i in pilots:
                at = centre + log_threshold[i] - tau
                if not centres[0] - 1e-9 <= at <= centres[-1] + 1e-9:
                    total = np.nan
                    break
                k = int(np.clip(np.searchsorted(centres, at, side="right") - 1, 0, centres.size - 2))
                f = (at - centres[k]) / (centres[k + 1] - centres[k])
                shares = ((1 - f, k), (f, k + 1))
                total += sum((row[i] * s) ** power * table[i, b] for s, b in shares if abs(s) > 1e-8)
            result[q, j] = total
    return result


@pytest.fixture
def pilots():
    rng = np.random.default_rng(6)
    weights = np.zeros((30, 12))
    for row in weights:
        chosen = rng.choice(12, size=rng.integers(1, 5), replace=False)
        row[chosen] = rng.dirichlet(np.ones(chosen.size))
    table = rng.normal(size=(12, 40))
    table[3, 17] = np.nan
    return weights, rng.normal(0, 0.8, 12), table


@pytest.mark.parametrize("power", [1, 2])
def test_agrees_with_a_second_implementation(pilots, power):
    weights, log_threshold, table = pilots
    ours = Morphing(sparse.csr_matrix(weights), log_threshold, CENTRES).read(table, np.arange(40), power=power)
    np.testing.assert_allclose(ours, brute(weights, log_threshold, CENTRES, table, power), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_bins_of_different_widths_agree_with_it_too(pilots, power):
    weights, log_threshold, table = pilots
    centres = CENTRES + 0.02 * np.sin(np.arange(40))
    morphing = Morphing(sparse.csr_matrix(weights), log_threshold, centres)
    assert not morphing.even
    ours = morphing.read(table, np.arange(5, 35), power=power)
    theirs = brute(weights, log_threshold, centres, table, power)[:, 5:35]
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_one_pilot_alone_gives_its_own_numbers_to_the_bit(pilots):
    _, log_threshold, table = pilots
    log_threshold[4] = np.nan  # it needs no threshold
    ours = Morphing(sparse.eye(12, format="csr"), log_threshold, CENTRES).read(table, np.arange(40))
    np.testing.assert_array_equal(ours, table)


def test_pilots_without_threshold_make_the_rest_undetermined(pilots):
    _, log_threshold, table = pilots
    log_threshold[0] = np.nan
    weights = np.zeros((2, 12))
    weights[0, [0, 1]], weights[1, [1, 2]] = 0.5, 0.5
    ours = Morphing(sparse.csr_matrix(weights), log_threshold, CENTRES).read(table, np.arange(20, 25))
    assert np.isnan(ours[0]).all()
    assert np.isfinite(ours[1]).all()


def test_a_function_of_energy_over_threshold_is_reproduced_for_whole_shifts():
    log_threshold = np.log(10) * np.array([0.0, 0.2, 0.6])
    curve = lambda x: 3 * x - np.log1p(np.exp(2.6 * x))  # noqa: E731
    table = curve(CENTRES - log_threshold[:, None])
    weights = sparse.csr_matrix([[0.5, 0.5, 0.0], [0.0, 0.75, 0.25], [0.25, 0.25, 0.5]])
    ours = Morphing(weights, log_threshold, CENTRES).read(table, np.arange(10, 30))
    mean = weights @ log_threshold
    np.testing.assert_allclose(ours[:2], curve(CENTRES[10:30] - mean[:2, None]), rtol=1e-12)


def test_thresholds_of_other_worlds_are_beyond_the_axis():
    table = np.zeros((2, 40))
    ours = Morphing(sparse.csr_matrix([[0.5, 0.5]]), np.log([1e-30, 1e30]), CENTRES).read(table, np.arange(40))
    assert np.isnan(ours).all()


def test_the_axis_holds_what_some_have_and_leaves_out_odd_ends():
    base = np.logspace(-2, 2, 41)
    stored = base[5:].astype(np.float32).astype(float)
    axis, own, place = shared_axis([np.append(0.003, base), np.append(0.006, base[:30]), stored], ["a", "b", "c"])
    np.testing.assert_allclose(axis, base, rtol=1e-6)
    assert own == [slice(1, 41), slice(1, 30), slice(0, 35)]
    assert place == [slice(0, 40), slice(0, 29), slice(5, 40)]


def test_an_odd_end_that_all_have_is_kept():
    base = np.append(0.003, np.logspace(-2, 2, 41))
    axis, own, place = shared_axis([base, base], ["a", "b"])
    assert axis.tolist() == base.tolist()
    assert own == place == [slice(0, 41)] * 2


@pytest.mark.parametrize(
    "other",
    [np.logspace(-2, 2, 21), np.logspace(-2, 2, 41) * 1.03, np.delete(np.logspace(-2, 2, 41), 20), [3e3, 4e3, 5e3]],
)
def test_other_bins_are_refused_with_both_files(other):
    for edges in ([np.logspace(-2, 2, 41), np.asarray(other)], [np.asarray(other), np.logspace(-2, 2, 41)]):
        with pytest.raises(ProdconfError, match="same energy bins") as told:
            shared_axis(edges, ["20deg.fits", "40deg.fits"])
        assert "20deg.fits" in str(told.value)
        assert "40deg.fits" in str(told.value)
