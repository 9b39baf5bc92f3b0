"""binomial against closed forms, published numbers, scipy's own intervals and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.formulas import binomial

COUNTS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.floats(0.5, 0.999))
def test_intervals_agree_with_scipy(counts, level):
    k, n = counts
    for ours, method in ((binomial.wilson_interval, "wilson"), (binomial.clopper_pearson_interval, "exact")):
        reference = stats.binomtest(k, n).proportion_ci(level, method=method)
        np.testing.assert_allclose(ours(k, n, level=level), reference, rtol=1e-6, atol=1e-12)


@given(COUNTS, st.floats(0.5, 0.999))
def test_one_sided_limits_bracket_the_efficiency(counts, confidence):
    k, n = counts
    low = binomial.clopper_pearson_lower(k, n, confidence=confidence)
    high = binomial.clopper_pearson_upper(k, n, confidence=confidence)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = 1 - binomial.clopper_pearson_lower(n - k, n, confidence=confidence)
    np.testing.assert_allclose(high, mirrored, rtol=1e-9, atol=1e-12)


def test_limits_solve_the_equations_that_define_them():
    z, k, n = 1.959963984540054, 5, 50
    for p in binomial.wilson_interval(k, n, level=0.95):
        assert abs(k / n - p) == pytest.approx(z * np.sqrt(p * (1 - p) / n), rel=1e-9)
    low, high = binomial.clopper_pearson_interval(k, n, level=0.95)
    assert stats.binom.sf(k - 1, n, low) == pytest.approx(0.025, rel=1e-9)
    assert stats.binom.cdf(k, n, high) == pytest.approx(0.025, rel=1e-9)


def test_intervals_at_the_ends():
    assert binomial.wilson_interval(0, 100)[0] == 0
    assert binomial.wilson_interval(100, 100)[1] == 1
    assert binomial.clopper_pearson_upper(100, 100) == 1
    np.testing.assert_allclose(binomial.clopper_pearson_upper(0, 10**6), 1 - 0.05 ** (1e-6), rtol=1e-9)
    for interval in (binomial.wilson_interval, binomial.clopper_pearson_interval):
        assert tuple(float(end) for end in interval(0, 0)) == (0.0, 1.0)


def test_design_effect_divides_the_counts():
    for interval in (binomial.wilson_interval, binomial.clopper_pearson_interval):
        np.testing.assert_allclose(interval(20, 1000, design_effect=2.0), interval(10, 500))
    assert binomial.relative_uncertainty(20, 1000, design_effect=4) == 2 * binomial.relative_uncertainty(20, 1000)
    np.testing.assert_allclose(
        binomial.required_events(20, 1000, 0.02, design_effect=2.5), 2.5 * binomial.required_events(20, 1000, 0.02)
    )


def test_exact_mean_coverage():
    n, means, k = 5000, np.geomspace(0.5, 200, 600), np.arange(500)
    probability = stats.binom.pmf(k[:, None], n, means / n)
    for interval, expected in (
        (binomial.wilson_interval, {0.6827: 0.69, 0.95: 0.95}),
        (binomial.clopper_pearson_interval, {0.6827: 0.78, 0.95: 0.97}),
    ):
        for level, value in expected.items():
            low, high = interval(k, n, level=level)
            inside = (low[:, None] <= means / n) & (means / n <= high[:, None])
            assert (probability * inside).sum(axis=0).mean() == pytest.approx(value, abs=0.006)


def test_undetermined_is_nan_and_certain_is_zero():
    np.testing.assert_array_equal(binomial.relative_uncertainty([0, 0, 10], [10, 0, 10]), [np.nan, np.nan, 0.0])
    np.testing.assert_array_equal(binomial.required_events([0, 10], [10, 10], 0.1), [np.nan, 0.0])
    np.testing.assert_array_equal(binomial.required_events_bound([0, 0], [10, 0], 0.1), [np.inf, np.inf])
    assert np.isnan(binomial.efficiency(0, 0))
    assert np.isnan(binomial.design_effect_analytic(0, 0))
    assert np.isnan(binomial.design_effect_counted(0, 0, 5, 0.0))


def test_required_events_reach_the_target():
    n = binomial.required_events(50, 2000, 0.03)
    assert binomial.relative_uncertainty(n * 50 / 2000, n) == pytest.approx(0.03)
    assert binomial.required_events_bound(50, 2000, 0.03) > n
    assert binomial.required_events_floor(3_000_000, 0.02) == pytest.approx(2.5e9)


def test_bound_suffices_in_95_percent_of_pilots():
    rng = np.random.default_rng(7)
    truth = (1 - 2e-4) / (2e-4 * 0.05**2)
    enough = binomial.required_events_bound(rng.binomial(50_000, 2e-4, 20_000), 50_000, 0.05) >= truth
    assert enough.mean() >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 20_000)


def test_weighted_variance_against_resampling():
    rng = np.random.default_rng(3)
    weights = rng.exponential(size=500)
    passes = rng.random((20_000, 500)) < 0.1
    share, variance = binomial.weighted_efficiency(
        passes @ weights, weights.sum(), sum_passed_squared=passes @ weights**2, sum_all_squared=(weights**2).sum()
    )
    assert np.sqrt(variance.mean()) == pytest.approx(share.std(), rel=0.02)


@given(COUNTS, st.floats(1e-6, 1e6))
def test_equal_weights_are_counts(counts, weight):
    k, n = counts
    share, variance = binomial.weighted_efficiency(
        k * weight, n * weight, sum_passed_squared=k * weight**2, sum_all_squared=n * weight**2
    )
    np.testing.assert_allclose(share, k / n, rtol=1e-12)
    assert binomial.effective_count(k * weight, k * weight**2) == pytest.approx(k, rel=1e-12)
    if k:
        np.testing.assert_allclose(np.sqrt(variance) / share, binomial.relative_uncertainty(k, n), atol=1e-9)
    else:
        assert np.isnan(variance)


def test_dominant_weight_is_warned_of():
    with pytest.warns(ProdconfWarning, match="more than 5 %"):
        binomial.weighted_efficiency(5, 10, sum_passed_squared=5, sum_all_squared=10, largest_weight=1)


def test_design_effects_of_beta_binomial_showers():
    """Statistics of 20 uses: analytic 1.25/2.24/3.48 and counted 1.06/1.30/1.64 at P = .01/.05/.1."""
    rng = np.random.default_rng(11)
    for mean, analytic, counted in ((0.01, 1.25, 1.06), (0.05, 2.24, 1.30), (0.1, 3.48, 1.64)):
        total = (1 - mean) / (mean * 0.304) - 1
        passes = rng.binomial(20, rng.beta(mean * total, (1 - mean) * total, 400_000))
        k, squares = passes.sum(), (passes**2).sum()
        assert binomial.design_effect_analytic(squares, k) == pytest.approx(analytic, rel=0.015)
        found = binomial.design_effect_counted(squares, k, 400_000, k / 8e6)
        assert found == pytest.approx(counted, rel=0.015)


def test_effective_area_of_a_ring():
    assert binomial.effective_area(1.0, 3.0, 1.0) == pytest.approx(8 * np.pi)
    np.testing.assert_array_equal(np.isnan(binomial.effective_area([np.nan, 0.0], 10)), [True, False])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: binomial.efficiency(3, 2), "n_passed must not exceed n_simulated, got 3 of 2"),
        (lambda: binomial.efficiency([1, 2], [5, 5, 5]), "shapes that fit together"),
        (lambda: binomial.efficiency(np.nan, 2), "n_passed must be finite"),
        (lambda: binomial.relative_uncertainty(-1, 2), "n_passed must not be negative"),
        (lambda: binomial.relative_uncertainty(1, 2, design_effect=0), "design_effect must be positive"),
        (lambda: binomial.wilson_interval(1, 2, level=95), "level must lie in"),
        (lambda: binomial.clopper_pearson_lower(1, 2, confidence=1), "confidence must lie in"),
        (lambda: binomial.required_events(1, 2, 0), "target must be positive"),
        (lambda: binomial.required_events_bound(1, 2, -1), "target must be positive"),
        (lambda: binomial.effective_area(1.2, 10), "efficiency must lie in"),
        (lambda: binomial.effective_area(0.5, 10, 10), "radius_min must be below radius_max"),
        (lambda: binomial.effective_count(2, 5), "sum_w2 must lie in"),
        (lambda: binomial.design_effect_analytic(3, 4), "must not exceed"),
    ],
)
def test_bad_input_is_one_clear_sentence(call, words):
    with pytest.raises(ProdconfError, match=words):
        call()


def test_a_bound_from_next_to_nothing_is_infinite():
    """A design effect far above the count leaves no lower limit; no number overflows on the way."""
    assert np.isinf(binomial.required_events_bound(0.5, 1e9, 0.01, design_effect=400.0))
    assert np.isinf(binomial.required_events_bound([1e-3], [1e12], 1e-6, design_effect=1.0)).all()
