"""incomplete_beta against scipy.special over the ranges of limits, and against binomial sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from prodconf.formulas.incomplete_beta import (
    falling_root,
    incomplete_beta,
    incomplete_beta_quantile,
    normal_quantile,
    tail_count,
)

SIZE = st.floats(-2, 8).map(lambda exponent: 10.0**exponent)


@given(SIZE, SIZE, st.floats(-5, 5), st.booleans())
def test_agrees_with_scipy_around_the_mean(a, b, sigmas, tiny):
    mean = a / (a + b)
    x = mean * 10.0 ** (-abs(sigmas)) if tiny else mean + sigmas * math.sqrt(mean * (1 - mean) / (a + b + 1))
    x = min(max(x, 1e-300), 1 - 1e-9)
    assert incomplete_beta(a, b, x) == pytest.approx(special.betainc(a, b, x), abs=1e-10, rel=1e-8)


def test_agrees_with_scipy_for_limits():
    """Tail counts from a fraction of an event to 10^5 of up to 10^9 triggers: to 1e-10."""
    rng = np.random.default_rng(1)
    count, n = 10 ** rng.uniform(-1, 5, 3000), 10 ** rng.uniform(5.1, 9, 3000)
    share = np.clip((count + 4 * rng.normal(size=3000) * np.sqrt(count)) / n, 1e-13, 1)
    ours = [incomplete_beta(*row) for row in np.stack([count, n - count + 1, share], axis=1).tolist()]
    np.testing.assert_allclose(ours, special.betainc(count, n - count + 1, share), atol=1e-11, rtol=1e-10)


def test_ends_and_closed_forms():
    assert (incomplete_beta(2, 3, 0.0), incomplete_beta(2, 3, 1.0)) == (0.0, 1.0)
    assert (incomplete_beta(1e8, 1e8, 0.1), incomplete_beta(1e8, 1e8, 0.9)) == (0.0, 1.0)
    assert incomplete_beta(1, 1e8, 3e-8) == pytest.approx(-math.expm1(1e8 * math.log1p(-3e-8)), rel=1e-12)
    assert incomplete_beta(0.5, 0.5, 0.3) == pytest.approx(2 / math.pi * math.asin(math.sqrt(0.3)), rel=1e-12)


@given(
    st.one_of(st.integers(0, 300), st.floats(0, 1e5)), st.floats(0, 5), st.sampled_from([0.025, 0.5, 0.9, 0.95, 0.999])
)
def test_quantile_agrees_with_scipy(count, decades, confidence):
    a, b = count + 1, max(count, 1) * 10**decades
    found = incomplete_beta_quantile(a, b, confidence)
    assert found == pytest.approx(special.betaincinv(a, b, confidence), rel=1e-10)


@given(st.integers(1, 10**6), st.floats(-6, -0.1), st.sampled_from([0.025, 0.5, 0.95, 0.975, 0.99]))
def test_whole_counts_are_binomial_quantiles(n, exponent, probability):
    share = 10**exponent
    count = tail_count(n, share, probability)
    whole = math.floor(count)
    assert 0 <= count <= n + 1
    assert whole == 0 or stats.binom.sf(whole - 1, n, share) >= probability - 1e-9
    assert stats.binom.sf(whole, n, share) <= probability + 1e-9


@given(st.floats(0.5, 1e8), st.floats(-7, -0.1), st.sampled_from([0.025, 0.95]))
def test_counts_of_effective_events_solve_their_equation(n, exponent, probability):
    share = 10**exponent
    count = tail_count(n, share, probability)
    if 0.01 < count < n:
        assert special.betainc(count, n - count + 1, share) == pytest.approx(probability, abs=1e-7)
    assert tail_count(n, 0.0, probability) == 0.0


def test_guesses_and_roots():
    probability = np.linspace(0.001, 0.999, 50)
    guesses = [normal_quantile(p) for p in probability.tolist()]
    np.testing.assert_allclose(guesses, special.ndtri(probability), atol=6e-4)
    for start in (-30.0, 0.0, 50.0):
        assert falling_root(lambda x: 8 - x**3, start, 0.1) == pytest.approx(2, rel=1e-11)
        assert falling_root(lambda x: -x, start, 0.1) == pytest.approx(0, abs=1e-11)
