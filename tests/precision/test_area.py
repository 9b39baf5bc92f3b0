"""Errors of effective areas: exact coverage, brute force over showers and runs, published numbers, real files."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.events.dl2 import DL2File, DL2Header, write_dl2
from prodconf.precision.area import (
    PassedOfThrown,
    count_uncertainty,
    jackknife_design_effect,
    measure_effective_area,
    weighted_thrown,
)
from prodconf.precision.counts import count_events


def showers(rng, n_toys, n_showers, *, n_use=20, mean=0.05, spread=0.6):
    """Passes of beta-binomial showers, (n_toys, n_showers)."""
    a = (1 - mean) / spread**2 - mean
    chance = rng.beta(a, a * (1 - mean) / mean, size=(n_toys, n_showers))
    return rng.binomial(n_use, chance).astype(float)


def sums_of(m):
    return np.array([(m**power).sum(axis=-1) for power in (1, 2, 3, 4)])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=8))
def test_binomial_error_against_its_formula(pairs):
    k, n = np.array([(min(k, n), n) for k, n in pairs], float).T
    found = count_uncertainty(PassedOfThrown([k, k], n))
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.where(k > 0, np.sqrt((1 - k / n) / k), np.nan)
    np.testing.assert_allclose(found.relative_errors, wanted, rtol=1e-12)
    inside = (k > 0) & (k < n)
    np.testing.assert_array_equal(found.relative_uncertainty[inside], found.relative_errors[inside])
    np.testing.assert_allclose(found.relative_uncertainty[k == n], 1 / np.sqrt(n[k == n]))  # not perfect
    assert (found.low <= k / n).all()
    assert (k / n <= found.high).all()
    assert (found.high <= 1).all()


@pytest.mark.parametrize(("level", "wanted"), [(0.6827, 0.69), (0.95, 0.95)])
def test_mean_coverage_of_an_expectation_is_exact(level, wanted):
    """Summed over the Poisson law, mean counts .5 to 200: statistics.md gives .69 and .95 for Wilson."""
    means, k = np.geomspace(0.5, 200, 400), np.arange(400.0)
    thrown = np.full(k.size, 1e5)
    thrown[-1] += 1  # sums, for the check of totals only
    found = count_uncertainty(PassedOfThrown([k, k], thrown, counted=False), level=level)
    low, high = found.low * thrown, found.high * thrown
    covered = [poisson.pmf(k, mu)[(low <= mu) & (mu <= high)].sum() for mu in means]
    assert np.mean(covered) == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("counted", [True, False])
def test_pulls_and_coverage_with_reused_showers(counted):
    """10 000 toys, 20 uses: pulls N(0, 1) to 3 %, coverage to 1.5 % (standard error .5 %)."""
    rng, n_toys, n_showers, n_use, mean, spread = np.random.default_rng(5), 10_000, 400, 20, 0.05, 0.6
    m = showers(rng, n_toys, n_showers)
    if not counted:  # the number of showers in the bin fluctuates about the expected one
        m = m * (np.arange(n_showers) < rng.poisson(300, size=n_toys)[:, None])
    thrown = np.full(n_toys, n_use * (n_showers if counted else 300.0))
    sums = sums_of(m)
    found = count_uncertainty(PassedOfThrown(sums, thrown, n_use, counted))
    truth = 1 + 19 * mean * spread**2 / (1 - mean) if counted else 1 + 19 * mean * (1 + spread**2)
    assert found.design_effect.mean() == pytest.approx(truth, rel=0.01)
    pull = (sums[0] / thrown / mean - 1) / found.relative_uncertainty
    assert abs(pull.mean()) < 0.05
    assert pull.std() == pytest.approx(1, abs=0.03)
    assert np.mean((found.low <= mean) & (mean <= found.high)) == pytest.approx(0.6827, abs=0.015)


def test_weights_of_one_size_change_nothing_but_the_unit():
    m = showers(np.random.default_rng(6), 5, 300)
    one = count_uncertainty(PassedOfThrown(sums_of(m), np.full(5, 6000.0), 20, counted=False))
    weight = 0.25
    heavy = PassedOfThrown(
        sums_of(weight * m),
        np.full(5, 6000.0 * weight),
        n_use=20,
        counted=False,
        squares=weight**2 * m.sum(axis=1),
        unit=weight,
    )
    other = count_uncertainty(heavy)
    for name in ("relative_errors", "relative_uncertainty", "design_effect", "low", "high", "n_effective"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9)


def test_nothing_passed_and_nothing_thrown():
    found = count_uncertainty(PassedOfThrown([[0, 0, 3], [0, 0, 5]], [0, 100, 100], n_use=10))
    assert np.isnan(found.relative_errors[:2]).all()
    assert np.isnan(found.relative_uncertainty[:2]).all()
    assert np.isnan([found.low[0], found.high[0]]).all()
    assert found.low[1] == 0
    assert 0.005 < found.high[1] < 0.02
    assert found.n_effective.tolist()[:2] == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[5], [5]], [4]), ("n_simulated", "4", "5")),
        (([[-1], [1]], [4]), ("sums", "-1")),
        (([[np.nan], [1]], [4]), ("sums", "nan")),
        (([[1], [1]], [np.inf]), ("n_simulated", "inf")),
    ],
)
def test_refused(arguments, words):
    with pytest.raises(ProdconfError) as caught:
        count_uncertainty(PassedOfThrown(*arguments))
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(ProdconfError, match="normalisation"):
        count_uncertainty(PassedOfThrown([[5, 5], [5, 5]], [4, 4], counted=False))


def test_jackknife_against_leaving_out_one_group_at_a_time():
    rng = np.random.default_rng(3)
    groups = rng.poisson(6.0, size=(12, 4)).astype(float)
    value, error = jackknife_design_effect(np.stack([groups, groups], axis=1), groups.sum(axis=0), n_groups=15)
    full = np.concatenate([groups, np.zeros((3, 4))])
    left = np.array([np.delete(full, i, axis=0).mean(axis=0) for i in range(15)])  # estimates of the mean per group
    variance = 14 / 15 * ((left - left.mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(value, variance * 15**2 / groups.sum(axis=0), rtol=1e-12)
    assert (error > np.sqrt(2 / 14) * np.maximum(value, 1) * 0.999).all()


def test_jackknife_of_blocks_allows_for_their_fixed_totals():
    """Blocks of 2000 events each: the scatter of their composition is multinomial, D = 1."""
    rng = np.random.default_rng(4)
    blocks = rng.multinomial(2000, [0.5, 0.3, 0.2], size=4000).astype(float)
    value, _ = jackknife_design_effect(np.stack([blocks, blocks], axis=1), blocks.sum(axis=0))
    np.testing.assert_allclose(value, 1, atol=0.08)


def test_jackknife_of_one_group_is_undetermined():
    value, error = jackknife_design_effect(np.ones((1, 2, 3)), np.ones(3), n_groups=1)
    assert np.isnan(value).all()
    assert np.isnan(error).all()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """60 000 showers used 20 times, efficiency a power law; nothing passes in the last ten of 60 runs."""
    rng, path = np.random.default_rng(1), tmp_path_factory.mktemp("area") / "toy.fits"
    n_runs, n_showers, n_use = 60, 1000, 20
    edges = np.logspace(-1, 1, 11)
    energy = 0.1 / (1 - rng.random(n_runs * n_showers) * 0.99)
    energy = np.clip(energy.astype(np.float32), np.float32(edges[0]), np.float32(9.9999)).astype(float)
    run = 1 + np.arange(n_runs * n_showers) // n_showers
    mean, a = 0.02 * energy**0.5, 4.0
    m = rng.binomial(n_use, rng.beta(a, a * (1 - mean) / mean))
    m[run > 50] = 0
    event = np.repeat(np.arange(energy.size), m)
    n = event.size
    write_dl2(
        path,
        DL2Header(n_showers, n_use, 500.0, 0.0, 0.1, 10.0, -2.0, zenith=30.0, azimuth=0.0),
        energy_edges=edges,
        n_simulated=np.histogram(energy, edges)[0] * n_use,
        run=run[event],
        energy_true=energy[event],
        energy_reco=energy[event] * np.exp(0.2 * rng.standard_normal(n)),
        azimuth_true=np.zeros(n),
        altitude_true=np.full(n, 60.0),
        azimuth_reco=np.zeros(n),
        altitude_reco=np.full(n, 60.0),
    )
    return DL2File(path, simulated_fraction=1.0), energy, m, run, edges, n_use


def test_file_against_brute_force_over_showers(toy):
    file, energy, m, _, edges, n_use = toy
    area = measure_effective_area(file, count_events(file, reco=True))
    where = np.digitize(energy, edges) - 1
    for j in range(edges.size - 1):
        passes = m[where == j].astype(float)
        k, n = passes.sum(), passes.size * n_use
        p = k / n
        variance = passes.size * np.var(passes)  # of the sum of passes, over showers of the bin
        assert area.n_passed[j] == k
        assert area.effective_area[j] == pytest.approx(p * np.pi * 500**2, rel=1e-12)
        assert area.design_effect[j] == pytest.approx(max(variance / (n * p * (1 - p)), 1), rel=1e-9)
        assert area.relative_uncertainty[j] == pytest.approx(np.sqrt(variance) / k, rel=1e-9)
        assert area.low[j] < area.effective_area[j] < area.high[j]


def test_runs_without_events_belong_to_the_exposure(toy):
    file, energy, m, run, edges, n_use = toy
    area = measure_effective_area(file, count_events(file, reco=True))
    j = 3
    inside = np.digitize(energy, edges) - 1 == j
    per_run = np.bincount(run[inside], weights=m[inside], minlength=61)[1:]
    k, n_showers = per_run.sum(), inside.sum()
    p = k / n_showers / n_use
    wanted = (60 / 59 * ((per_run - per_run.mean()) ** 2).sum() - k**2 / n_showers) / (k * (1 - p))
    assert area.design_effect_jackknife[j] == pytest.approx(wanted, rel=1e-9)
    assert wanted > 2 * area.design_effect[j]  # ten dead runs, which the showers alone do not tell


def test_weighting_keeps_the_area_of_narrow_bins_and_moves_reconstructed_ones(toy):
    file, energy, m, _, edges, n_use = toy
    thrown, unit = weighted_thrown(file, 2.6)
    assert thrown.sum() == pytest.approx(file.n_simulated.sum(), rel=0.02)  # weights of mean 1
    weight = energy**-0.6 / np.mean(energy**-0.6)
    where = np.digitize(energy, edges) - 1
    np.testing.assert_allclose(thrown, n_use * np.bincount(where, weight, minlength=10), rtol=0.06)
    np.testing.assert_allclose(unit, np.bincount(where, weight) / np.bincount(where), rtol=0.03)
    counts = count_events(file, index=2.6, reco=True)
    area = measure_effective_area(file, counts)
    np.testing.assert_allclose(area.n_passed, np.bincount(where, m * weight, minlength=10), rtol=0.01)
    spread = np.sqrt(np.bincount(where, (m * weight) ** 2)) / np.bincount(where, m * weight)
    np.testing.assert_allclose(area.relative_uncertainty, spread, rtol=0.01)
    plain = measure_effective_area(file, count_events(file, reco=True))
    np.testing.assert_allclose(area.effective_area, plain.effective_area, rtol=0.06)


def test_reco_axis_and_bad_words(toy):
    file = toy[0]
    counts = count_events(file, reco=True)
    area = measure_effective_area(file, counts, axis="reco")
    assert area.n_passed.sum() == counts.n_reco.sum()
    np.testing.assert_allclose(area.relative_uncertainty, np.sqrt(area.design_effect / area.n_passed), rtol=1e-12)
    for change in ({"axis": "both"}, {"level": 0.0}):
        with pytest.raises(ProdconfError, match=r"axis|level"):
            measure_effective_area(file, counts, **change)


NAME = "dl2/prod6_LaPalma-{}deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits"


def test_design_effect_of_the_real_file(shared_data):
    """
    Against grouping the rows by run and true energy, in five ranges of energy.

    statistics.md gives 1.21, 1.44, 1.70, 2.09 and 2.45 for the whole file; its first 2000 events, which are here, agree
    within three standard errors.
    """
    with fits.open(shared_data / NAME.format(20)) as hdus:
        rows = hdus["EVENTS"].data
        energy = np.array(rows["MC_ENERGY"], dtype=float)
        _, first, passes = np.unique(np.stack([rows["OBS_ID"], energy]), axis=1, return_index=True, return_counts=True)
    counts = count_events(DL2File(shared_data / NAME.format(20)), reco=True)
    borders = np.searchsorted(counts.energy_edges, [0.001, 0.0999, 0.316, 0.999, 3.16, 9.99])
    for (a, b), whole in zip(pairwise(borders), [1.21, 1.44, 1.70, 2.09, 2.45], strict=True):
        edges, sums = counts.energy_edges[[a, b]], counts.true.sums[:, a:b].sum(axis=1)
        m = passes[(energy[first] >= edges[0]) & (energy[first] < edges[1])].astype(float)
        found = sums[1] / sums[0]
        assert found == pytest.approx((m**2).sum() / m.sum(), rel=1e-12)
        assert abs(found - whole) < 3 * found * np.sqrt(sums[3]) / sums[1]


@pytest.mark.parametrize(("zenith", "value", "error"), [(20, 6.4, 1.2), (40, 6.9, 1.1), (60, 8.2, 0.7)])
def test_effective_area_of_the_real_files_at_1_tev(shared_data, zenith, value, error):
    """Two bins of .1 dex around 1 TeV, 1e5 m². The full files give 8.3, 9.4, 8.5: within three standard errors."""
    file = DL2File(shared_data / NAME.format(zenith), offset_max=1.0, simulated_fraction="runs")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ProdconfWarning)
        area = measure_effective_area(file, count_events(file, reco=True))
    pair = np.searchsorted(file.energy_edges, 0.99) + np.array([-1, 0])
    k, n, design = area.n_passed[pair], area.n_simulated[pair], area.design_effect[pair]
    found = k.sum() / n.sum() * np.pi * file.core_scatter_max**2 / 1e5
    sigma = found * np.sqrt((design * k).sum()) / k.sum()
    assert found == pytest.approx(value, abs=0.1)
    assert sigma == pytest.approx(error, abs=0.1)
    assert abs(found - {20: 8.3, 40: 9.4, 60: 8.5}[zenith]) < 3 * sigma
