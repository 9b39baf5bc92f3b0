"""loss_tails against sorting everything, exact rational sums, published anchors and simulation."""

import math
import pickle
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from prodconf.core.errors import ProdconfError
from prodconf.formulas.loss_tails import (
    SimulatedRange,
    TailSummary,
    Verdict,
    loss_bound,
    minimum_triggers,
    needs_capacity,
    survival,
    tail_count,
    tail_limit,
    weighted_events,
)

VALUES = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 1.0, 1.0, 2.5]))
WEIGHTS = st.one_of(st.floats(1e-150, 1e100), st.sampled_from([0.0, 1.0, 0.1]))
EVENTS = st.lists(st.tuples(VALUES, WEIGHTS), max_size=60)
SIDES = st.sampled_from(["lower", "upper"])


def summarise(events, side, capacity):
    array = np.array(events, dtype=float).reshape(-1, 2)
    return TailSummary.from_values(array[:, 0], side, capacity=capacity, weights=array[:, 1])


@given(EVENTS, SIDES, st.integers(1, 20), st.data())
def test_any_partition_in_any_order_keeps_the_same_bits(events, side, capacity, data):
    whole = summarise(events, side, capacity)
    shuffled = data.draw(st.permutations(events))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5)))
    pieces = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    summaries = [summarise(piece, side, capacity) for piece in pieces]
    left = reduce(add, summaries)
    right = reduce(lambda a, b: b + a, reversed(summaries))
    assert left == right == whole
    assert left.values.tobytes() == whole.values.tobytes()
    assert left.weights.tobytes() == whole.weights.tobytes()


@given(EVENTS, SIDES, st.integers(1, 20))
def test_equals_sorting_everything_and_adding_all_weights(events, side, capacity):
    kept = [(value + 0.0, weight) for value, weight in events if weight > 0]
    sign = -1 if side == "upper" else 1
    expected = sorted(kept, key=lambda event: (sign * event[0], -event[1]))[:capacity]
    summary = summarise(events, side, capacity)
    assert list(zip(summary.values.tolist(), summary.weights.tolist(), strict=True)) == expected
    assert summary.n_events == len(kept)
    assert summary.sum_weights == pytest.approx(math.fsum(weight for _, weight in kept), rel=1e-12)
    assert summary.sum_squares == pytest.approx(math.fsum(weight**2 for _, weight in kept), rel=1e-12)


@given(EVENTS, SIDES, st.integers(1, 20), st.data())
def test_labels_travel_with_their_events(events, side, capacity, data):
    labels = np.array(data.draw(st.lists(st.integers(0, 5), min_size=len(events), max_size=len(events))), dtype=int)
    array = np.array(events, dtype=float).reshape(-1, 2)

    def labelled(rows):
        return TailSummary.from_values(
            array[rows, 0], side, capacity=capacity, weights=array[rows, 1], labels=labels[rows]
        )

    order = np.array(data.draw(st.permutations(range(len(events)))), dtype=int)
    cut = data.draw(st.integers(0, len(events)))
    whole = labelled(np.arange(len(events)))
    merged = labelled(order[:cut]) + labelled(order[cut:])
    assert merged == whole
    assert merged.labels.tobytes() == whole.labels.tobytes()


def test_design_effect_of_labelled_tail_is_the_mean_square_over_the_mean():
    passes = np.array([1, 1, 2, 6])  # of four showers
    labels = np.repeat(np.arange(4), passes)
    summary = TailSummary.from_values(np.arange(10.0), "upper", capacity=10, labels=labels)
    assert summary.design_effect(10) == np.sum(passes**2) / np.sum(passes)
    assert summary.design_effect(6) == 6.0
    assert TailSummary.from_values(np.arange(10.0), "upper", capacity=10).design_effect(10) == 1.0


def test_unit_weights_are_no_weights():
    values = np.random.default_rng(1).normal(size=1000)
    plain = TailSummary.from_values(values, "lower", capacity=30)
    assert plain == TailSummary.from_values(values, "lower", capacity=30, weights=np.ones(1000))
    assert plain.sum_weights == plain.sum_squares == plain.n_events == 1000
    assert plain == pickle.loads(pickle.dumps(plain))
    assert plain != TailSummary.from_values(values, "lower", capacity=31)
    assert plain != "a summary"
    assert plain == plain + TailSummary.from_values([], "lower", capacity=30)


@pytest.mark.parametrize("side", ["lower", "upper"])
@pytest.mark.parametrize(
    ("fraction", "n", "beyond"), [(0.0, 500, 0), (0.3, 10, 3), (0.001, 10_000, 10), (0.29, 100, 29)]
)
def test_the_sample_never_loses_more_than_asked(side, fraction, n, beyond):
    values = np.random.default_rng(2).permutation(np.arange(n, dtype=float))
    limit = tail_limit(TailSummary.from_values(values, side, capacity=n), fraction, confidence=1e-9)
    expected = beyond if side == "lower" else n - 1 - beyond
    if fraction:
        assert limit.value == expected
        assert limit.n_tail == beyond
    else:
        assert limit.value == limit.guaranteed == expected
        assert limit.verdict is Verdict.SAMPLE_LIMITED


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.1, 0.2, 0.5, 1.0, 3.0])), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5]),
    SIDES,
)
def test_weighted_loss_is_never_above_the_fraction(events, fraction, side):
    limit = tail_limit(summarise(events, side, 100), fraction)
    lost = [w for v, w in events if (v > limit.value if side == "upper" else v < limit.value)]
    allowed = Fraction(repr(fraction)) * sum(Fraction(w) for _, w in events)
    assert sum(map(Fraction, lost), Fraction(0)) <= allowed * (1 + Fraction(1, 10**12))
    assert limit.interval_low <= limit.interval_high


def ranked(n, fraction, **options):
    """Limit of the values 1..n from below: a value is its rank."""
    summary = TailSummary.from_values(np.arange(1, n + 1), "lower", capacity=needs_capacity(n, fraction))
    return tail_limit(summary, fraction, **options)


def test_anchors_of_the_beta_and_binomial_distributions():
    limit = ranked(10_000, 1e-3)
    assert (limit.value, limit.guaranteed, limit.n_tail) == (11, 5, 10)
    limit = ranked(20_000, 1e-3)
    assert (limit.interval_low, limit.interval_high) == (12, 30)
    assert stats.binom.cdf(29, 20_000, 1e-3) - stats.binom.cdf(11, 20_000, 1e-3) == pytest.approx(0.956, abs=1e-3)
    assert [minimum_triggers(f) for f in (1e-3, 1e-4)] == [2995, 29956]
    assert minimum_triggers(1e-6) == pytest.approx(2.996e6, rel=2e-4)


@given(st.integers(1, 30_000), st.sampled_from([1e-3, 1e-2, 0.1, 0.4]), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_ranks_agree_with_binomial_quantiles(n, fraction, confidence):
    limit = ranked(n, fraction, confidence=confidence)
    allowed = np.flatnonzero(stats.binom.sf(np.arange(n // 2 + 2), n, fraction) >= confidence)
    if allowed.size:
        assert limit.verdict is Verdict.OK
        assert limit.guaranteed == allowed[-1] + 1
        assert limit.loss_bound <= fraction * (1 + 1e-9)
        assert stats.beta.cdf(limit.loss_bound, limit.guaranteed, n - limit.guaranteed + 1) == pytest.approx(confidence)
    else:
        assert limit.verdict is Verdict.SAMPLE_LIMITED
        assert limit.value == limit.guaranteed == 1
        assert limit.loss_bound == pytest.approx(1 - (1 - confidence) ** (1 / n))
    assert (limit.verdict is Verdict.OK) == (n >= minimum_triggers(fraction, confidence))
    outer = stats.binom.ppf(0.025, n, fraction)
    assert limit.interval_low == (outer if outer >= 1 else -np.inf)
    inner = stats.binom.ppf(0.975, n, fraction) + 1
    assert limit.interval_high == (inner if inner <= n else np.inf)


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
    if 1 < count < n:
        assert special.betainc(count, n - count + 1, share) == pytest.approx(probability, abs=1e-7)
    assert tail_count(n, 0.0, probability) == 0.0


@given(st.floats(0, 1e4), st.floats(1, 1e8), st.sampled_from([0.5, 0.9, 0.95, 0.999]), st.integers(1, 3))
def test_the_bound_on_the_loss_is_the_inverse_of_the_tail_count(n_tail, rest, confidence, n_cuts):
    """With one cut, n_tail + 1 events lie within the bound with the probability of the confidence."""
    n = n_tail + rest + n_cuts - 1
    bound = loss_bound(n, n_tail, confidence, n_cuts=n_cuts)
    assert stats.beta.cdf(bound, n_tail + n_cuts, rest) == pytest.approx(confidence, rel=1e-9)
    assert loss_bound(n_tail, n_tail, confidence) == 1.0


def test_design_effect_counts_whole_showers():
    """Every event twice with D = 2 is the sample of single events."""
    values = np.random.default_rng(4).random(8000)
    single = tail_limit(TailSummary.from_values(values, "upper", capacity=200), 1e-3)
    double = tail_limit(TailSummary.from_values(np.repeat(values, 2), "upper", capacity=200), 1e-3, design_effect=2.0)
    for name in ("value", "guaranteed", "interval_low", "interval_high", "n_effective", "loss_bound"):
        assert getattr(double, name) == pytest.approx(getattr(single, name))


def test_equal_weights_are_no_weights():
    values = np.random.default_rng(5).random(8000)
    plain = tail_limit(TailSummary.from_values(values, "upper", capacity=200), 1e-3)
    weighted = TailSummary.from_values(values, "upper", capacity=200, weights=np.full(8000, 0.25))
    assert tail_limit(weighted, 1e-3) == plain


def test_guarantee_and_interval_hold_in_simulated_productions():
    rng, n, fraction = np.random.default_rng(6), 5000, 2e-3
    found = [tail_limit(TailSummary.from_values(rng.random(n), "lower", capacity=60), fraction) for _ in range(1500)]
    error = np.sqrt(0.05 * 0.95 / 1500)
    assert np.mean([limit.guaranteed > fraction for limit in found]) <= 0.05 + 3 * error
    assert np.mean([limit.value > fraction for limit in found]) > 0.5
    covered = np.mean([limit.interval_low <= fraction <= limit.interval_high for limit in found])
    assert covered >= 0.95 - 3 * error


def test_truncated_range_is_named():
    radius = np.append(np.full(12, 1850.0), np.linspace(0, 1500, 3389))
    summary = TailSummary.from_values(radius, "upper", capacity=200)
    limit = tail_limit(summary, 1e-3, simulated_range=(0, 1900))
    assert limit.verdict == "truncated"
    assert (limit.value, limit.guaranteed, limit.interval_high, limit.loss_bound) == (1900, 1900, 1900, 1.0)
    assert limit.reason == (
        "12 of 3 401 triggers lie in the outer 5 % of the simulated range: the limit is at least 1900"
    )
    assert tail_limit(summary, 1e-3, simulated_range=(0, 2500)).verdict is Verdict.OK
    few = tail_limit(TailSummary.from_values([1.0, 1890.0], "upper", capacity=20), 1e-3, simulated_range=(0, 1900))
    assert few.verdict is Verdict.SAMPLE_LIMITED
    assert (few.value, few.interval_high, few.loss_bound) == (1890, 1900, 1.0)
    assert few.reason.startswith("2 triggers are fewer than the 2 995")
    assert few.reason.endswith("1 of 2 triggers lie in the outer 5 % of the simulated range, which may cut it off")


def test_outer_range_of_energies_is_logarithmic():
    """From 1 to 100 the outer 5 % end at 10**0.1 = 1.26 in the logarithm and at 5.95 linearly."""
    summary = TailSummary.from_values(np.linspace(2, 90, 5000), "lower", capacity=200)
    assert tail_limit(summary, 1e-3, simulated_range=SimulatedRange(1.0, 100.0, log=True)).verdict is Verdict.OK
    linear = tail_limit(summary, 1e-3, simulated_range=(1.0, 100.0))
    assert linear.verdict is Verdict.TRUNCATED
    assert linear.value == 1.0
    assert linear.reason.endswith("the limit is at most 1")


def test_capacity_is_enough_or_refused():
    values = np.random.default_rng(8).random(50_000)
    for fraction, effect in ((1e-3, 1.0), (0.05, 1.0), (1e-3, 3.0)):
        needed = needs_capacity(50_000, fraction, design_effect=effect)
        enough = TailSummary.from_values(values, "upper", capacity=needed)
        everything = TailSummary.from_values(values, "upper", capacity=50_000)
        assert tail_limit(enough, fraction, design_effect=effect) == tail_limit(
            everything, fraction, design_effect=effect
        )
        short = TailSummary.from_values(values, "upper", capacity=needed - 1)
        with pytest.raises(ProdconfError, match=f"capacity must be at least {needed} "):
            tail_limit(short, fraction, design_effect=effect)


def test_survival_is_the_empirical_one_with_a_wilson_band():
    values = np.array([5.0, 4.0, 4.0, 3.0, 2.0, 1.0, 1.0, 0.0])
    kept, fraction, low, high = survival(TailSummary.from_values(values, "upper", capacity=5), level=0.95)
    np.testing.assert_array_equal(kept, [5, 4, 3, 2])
    np.testing.assert_allclose(fraction, [1 / 8, 3 / 8, 4 / 8, 5 / 8])
    for count, *band in zip([1, 3, 4, 5], low, high, strict=True):
        np.testing.assert_allclose(band, stats.binomtest(count, 8).proportion_ci(0.95, "wilson"))


GOOD = TailSummary.from_values([3.0, 2.0, 1.0], "upper", capacity=2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TailSummary.from_values([np.nan], "upper", capacity=1), "values must be finite, got nan at index 0"),
        (lambda: TailSummary.from_values([np.inf], "upper", capacity=1), "values must be finite"),
        (lambda: TailSummary.from_values([[1.0]], "upper", capacity=1), "lists of one length"),
        (lambda: TailSummary.from_values([1], "upper", capacity=1, weights=[np.nan]), "weights must be finite"),
        (lambda: TailSummary.from_values([1], "upper", capacity=1, weights=[-1]), "weights must not be negative"),
        (lambda: TailSummary.from_values([1], "upper", capacity=1, weights=[1, 2]), "lists of one length"),
        (
            lambda: TailSummary.from_values([1], "upper", capacity=1, weights=[1e200]),
            r"must be 0 or lie in \[1e-150, 1e150\], got 1e\+200",
        ),
        (lambda: TailSummary.from_values([1], "left", capacity=1), "side must be 'lower' or 'upper', got 'left'"),
        (lambda: TailSummary.from_values([1], "upper", capacity=0), "capacity must be a whole number of at least 1"),
        (lambda: TailSummary.from_values([1], "upper", capacity=2.5), "capacity must be a whole number of at least 1"),
        (lambda: GOOD + TailSummary.from_values([1], "lower", capacity=2), "one side and one capacity"),
        (lambda: GOOD + TailSummary.from_values([1], "upper", capacity=3), "one side and one capacity"),
        (lambda: TailSummary("upper", 2, [1.0, 2.0], [1.0, 1.0], None, 3, 3.0, 3.0), "must be sorted"),
        (lambda: TailSummary.from_values([1.0], "upper", capacity=2, labels=[0.5]), "labels must be 1 whole numbers"),
        (
            lambda: (
                TailSummary.from_values([1.0], "upper", capacity=2, labels=[1])
                + TailSummary.from_values([1.0], "upper", capacity=2)
            ),
            "both have labels",
        ),
        (lambda: TailSummary("upper", 2, [1.0], [1.0], None, 3, 3.0, 3.0), "values must be the 2 kept"),
        (lambda: TailSummary("upper", 2, [1.0], [1.0], None, 1, 3.0, 1.0), "sum_weights must be the sum over all"),
        (lambda: TailSummary("upper", 2, [1.0], [1.0], None, 1, 1.0, 3.0), "sum_squares must be the sum over all"),
        (lambda: tail_limit(TailSummary.from_values([], "upper", capacity=2), 0.1), "at least one trigger"),
        (lambda: survival(TailSummary.from_values([], "upper", capacity=2)), "at least one trigger"),
        (lambda: tail_limit(GOOD, -0.1), "loss_fraction must lie in"),
        (lambda: tail_limit(GOOD, 1.0), "loss_fraction must lie in"),
        (lambda: tail_limit(GOOD, 0.1, confidence=95), "confidence must lie in"),
        (lambda: tail_limit(GOOD, 0.1, interval=1.0), "interval must lie in"),
        (lambda: tail_limit(GOOD, 0.1, design_effect=0.0), "design_effect must be positive"),
        (lambda: tail_limit(GOOD, 0.1, simulated_range=(3, 1)), "simulated_range must be"),
        (
            lambda: tail_limit(GOOD, 0.1, simulated_range=SimulatedRange(0, 1, log=True)),
            "simulated_range must be positive",
        ),
        (lambda: tail_limit(GOOD, 0.9), "capacity must be at least 3"),
        (lambda: minimum_triggers(0), "must be above 0"),
        (lambda: needs_capacity(-1, 0.1), "n_events must not be negative"),
    ],
)
def test_bad_input_is_one_clear_sentence(call, words):
    with pytest.raises(ProdconfError, match=words):
        call()


@pytest.mark.parametrize(("kind", "n_toys"), [("weights", 150), ("rising weights", 300), ("showers", 1000)])
def test_guarantee_holds_for_weights_and_whole_showers(kind, n_toys):
    """Failure rate of the guaranteed limit within three standard errors of 5 %."""
    rng, n, fraction = np.random.default_rng(12), 5000, 2e-3
    broken = []
    for _ in range(n_toys):
        values, weights, effect, power = rng.random(n), None, 1.0, 1.0
        if kind == "weights":
            weights = rng.exponential(size=n)
        elif kind == "rising weights":  # weighted loss below x is x**0.9
            weights, power = values**-0.1, 0.9
        elif kind == "showers":
            sizes = rng.integers(1, 6, size=n)
            values, effect = np.repeat(values, sizes), (sizes**2).sum() / sizes.sum()
        summary = TailSummary.from_values(values, "lower", capacity=100, weights=weights)
        found = tail_limit(summary, fraction, design_effect=effect)
        broken.append(found.guaranteed**power > max(found.loss_bound, fraction))
    assert np.mean(broken) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n_toys)


def heavy_tailed(kind, rng, n):
    """Weights of density w^-3 from 1 to 100, and values: independent of them, or the weight itself."""
    weights = 1 / np.sqrt(1 - rng.random(n) * (1 - 1e-4))
    if kind == "independent":
        return rng.random(n), weights
    return weights, weights


@pytest.mark.parametrize("n_toys", [200, pytest.param(2000, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["independent", "the weight itself"])
@pytest.mark.parametrize("fraction", [0.005, 0.2])
def test_guarantee_and_interval_hold_where_few_heavy_events_carry_the_total(kind, fraction, n_toys):
    """A tail that holds none of the heavy events knows from the whole that it might have."""
    rng, broken, covers = np.random.default_rng(33), [], []
    for _ in range(n_toys):
        values, weights = heavy_tailed(kind, rng, 5000)
        found = tail_limit(TailSummary.from_values(values, "lower", capacity=5000, weights=weights), fraction)
        cuts = np.array([found.guaranteed, max(found.interval_low, 1e-9), min(found.interval_high, 1e9)])
        sure, low, high = cuts if kind == "independent" else (1 - 1 / cuts) / 0.99
        broken.append(sure > max(fraction, found.loss_bound))
        covers.append(low <= fraction <= high)
    error = np.sqrt(0.05 * 0.95 / n_toys)
    assert np.mean(broken) <= 0.05 + 3 * error
    assert np.mean(covers) >= 0.95 - 3 * error


def test_weighted_events_are_worth_what_the_variance_of_the_share_says():
    """Drawn Poisson numbers of events of two weights inside and outside: var(share) = p (1 - p) / n."""
    rng, mean = np.random.default_rng(3), np.array([[300, 30], [3000, 300]])
    weight = np.array([1.0, 4.0])
    drawn = rng.poisson(mean, size=(40_000, 2, 2))
    tail, rest = (drawn @ weight).T
    p = (mean @ weight)[0] / (mean @ weight).sum()
    sums, squares = mean @ weight, mean @ weight**2
    found = weighted_events(sums[0], squares[0], 4.0, sums.sum(), squares.sum())
    assert found == pytest.approx(p * (1 - p) / np.var(tail / (tail + rest)), rel=0.03)
    assert weighted_events(7.0, 7.0, 1.0, 300.0, 300.0) == 300
    # Light events alone: the tail might hold heavy ones if one of them is seen, and else only the total has them.
    lucky = weighted_events(sums[0], sums[0], 4.0, sums.sum(), squares.sum())
    light = weighted_events(sums[0], sums[0], 1.0, sums.sum(), squares.sum())
    assert lucky == pytest.approx(sums.sum() ** 2 / squares.sum())
    assert sums.sum() / light == pytest.approx(1 - p + p * squares.sum() / sums.sum())


# ---------------------------------------------------------------- many depths at once, and the way around the search


def brute_design_effect(summary: TailSummary, depth: int) -> float:
    """Squared weight of whole showers over that of events, counted for one depth."""
    weights, labels = summary.weights[:depth], summary.labels[:depth]
    _, place = np.unique(labels, return_inverse=True)
    return float(np.sum(np.bincount(place, weights=weights) ** 2) / np.sum(weights**2))


@pytest.mark.parametrize("side", ["lower", "upper"])
@pytest.mark.parametrize("weighted", [False, True])
def test_design_effects_at_every_depth_are_counted(side, weighted):
    rng, n = np.random.default_rng(21), 700
    labels = rng.integers(-90, 90, n) * 10**15  # of any sign and size, in no order
    weights = rng.lognormal(0, 1.5, n) if weighted else None
    values = np.round(rng.normal(size=n), 1)  # many ties
    whole = TailSummary.from_values(values, side, capacity=500, weights=weights, labels=labels)
    merged = sum(
        (
            TailSummary.from_values(
                values[part],
                side,
                capacity=500,
                weights=None if weights is None else weights[part],
                labels=labels[part],
            )
            for part in np.array_split(rng.permutation(n), 5)
        ),
        start=TailSummary.from_values([], side, capacity=500, labels=np.zeros(0, dtype=int)),
    )
    for depth in [*range(1, 60), 100, 250, 499, 500]:
        assert whole.design_effect(depth) == pytest.approx(brute_design_effect(whole, depth), rel=1e-12)
        assert merged.design_effect(depth) == pytest.approx(whole.design_effect(depth), rel=1e-12)
    assert whole.design_effect(10_000) == whole.design_effect(500)
    assert pickle.loads(pickle.dumps(whole)).design_effect(77) == whole.design_effect(77)


def test_design_effects_of_extreme_showers():
    """All events of one shower: their number; each its own: one; no labels or no events: one."""
    values = np.arange(50.0)
    one = TailSummary.from_values(values, "upper", capacity=30, labels=np.zeros(50, dtype=int))
    assert [one.design_effect(k) for k in (1, 7, 30)] == pytest.approx([1, 7, 30])
    own = TailSummary.from_values(values, "upper", capacity=30, labels=np.arange(50))
    assert [own.design_effect(k) for k in (1, 7, 30)] == pytest.approx([1, 1, 1])
    assert TailSummary.from_values(values, "upper", capacity=30).design_effect(5) == 1
    assert TailSummary.from_values([], "upper", capacity=3, labels=np.zeros(0, dtype=int)).design_effect(5) == 1


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0, 7.25]), min_size=1, max_size=400),
    SIDES,
    st.sampled_from([0.0, 1e-4, 1e-3, 0.01, 1 / 3, 0.1, 0.25, 0.5, 0.9]),
    st.sampled_from([0.5, 0.68, 0.9, 0.95, 0.99]),
    st.sampled_from([1.0, 1.3, 2.0, 9.0]),
    st.booleans(),
)
def test_events_of_one_weight_are_counted_as_the_search_finds_them(values, side, fraction, sure, effect, ranged):
    """Weights of 2 take the general path by bisection; unweighted events the direct one: the same limits."""
    how = {"confidence": sure, "design_effect": effect, "simulated_range": (-1.0, 9.0) if ranged else None}
    direct = TailSummary.from_values(values, side, capacity=len(values))
    searched = TailSummary.from_values(values, side, capacity=len(values), weights=np.full(len(values), 2.0))
    one, other = (tail_limit(summary, fraction, **how) for summary in (direct, searched))
    for name in (
        "value",
        "guaranteed",
        "interval_low",
        "interval_high",
        "verdict",
        "n_tail",
        "n_events",
        "n_effective",
    ):
        assert getattr(one, name) == getattr(other, name), name
    assert one.loss_bound == pytest.approx(other.loss_bound, rel=1e-9)


@pytest.mark.parametrize("fraction", [1e-4, 1e-3, 0.0123, 0.05, 0.1])
def test_counting_and_searching_agree_where_the_tail_is_cut_off(fraction):
    rng, n = np.random.default_rng(4), 50_000
    values = np.round(rng.exponential(size=n), 3)
    capacity = needs_capacity(n, fraction) + 200
    one = TailSummary.from_values(values, "upper", capacity=capacity)
    two = TailSummary.from_values(values, "upper", capacity=capacity, weights=np.full(n, 2.0))
    for sure in (0.5, 0.8, 0.95, 0.999):
        first, second = tail_limit(one, fraction, confidence=sure), tail_limit(two, fraction, confidence=sure)
        assert (first.value, first.guaranteed, first.interval_low, first.interval_high, first.verdict) == (
            second.value,
            second.guaranteed,
            second.interval_low,
            second.interval_high,
            second.verdict,
        )
        allowed = int(Fraction(repr(fraction)) * n)
        ordered = np.sort(values)[::-1]
        if first.verdict is Verdict.OK:
            assert first.value == ordered[allowed]
