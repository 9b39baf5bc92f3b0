"""Targets per energy bin: closed forms, quadrature, simulated ratios, brute-force overlaps, properties."""

import math

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.utils.masked import Masked
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from prodconf.core.configuration import validate
from prodconf.core.errors import ProdconfError
from prodconf.precision.targets import (
    TARGET_UNITS,
    BinTargets,
    SourceSpectrum,
    bin_targets,
    data_targets,
    expected_counts,
    inflation,
)

EDGES = np.geomspace(0.03, 200, 40)
COUNT = st.floats(0, 1e12)
SHARE = st.floats(1e-6, 1e3)
FLAT = st.floats(1e-6, 0.9)
SOURCE = {"flux": "3.45e-11 1/(cm2 s TeV)", "pivot": "1 TeV", "index": 2.6, "exposure": "50 h"}


@pytest.mark.parametrize(("counts", "passed", "thrown"), [(3000, 30_000, None), (4000, 10_000, 25_000)])
def test_inflation_is_the_scatter_of_simulated_ratios(counts, passed, thrown):
    rng = np.random.default_rng(7)
    data = rng.poisson(counts, 400_000)
    if thrown is None:
        found, delta = rng.poisson(passed, data.size), 1 / math.sqrt(passed)
    else:
        found = rng.binomial(thrown, passed / thrown, data.size)
        delta = math.sqrt((1 - passed / thrown) / passed)
    ratio = data / found
    seen = ratio.std() / ratio.mean() / (data.std() / data.mean())
    assert seen == pytest.approx(float(inflation(counts, delta)), abs=4 * math.sqrt(2 / 8e5))


def test_weighted_events_of_a_simulation_count_by_their_uncertainty():
    rng = np.random.default_rng(8)
    weights = rng.exponential(1.0, 500)  # of thrown events, half of which pass
    delta = math.sqrt((weights**2).sum()) / weights.sum()  # as in binomial.weighted_efficiency for p = 1/2
    area = rng.integers(0, 2, (20_000, weights.size), dtype=np.int8).astype(np.float32) @ weights.astype(np.float32)
    data = rng.poisson(250, area.size)
    ratio = (data / area).std() / (data / area).mean() / (data.std() / data.mean())
    assert ratio == pytest.approx(float(inflation(250, delta)), abs=4 * math.sqrt(2 / 4e4))


def test_a_tenth_costs_the_data_five_per_cent():
    counts = np.array([1.0, 10.0, 240.0])
    target = data_targets(counts, flat=0.02)
    assert target == pytest.approx(0.316 / np.sqrt(counts), rel=1e-3)
    assert inflation(counts, target) == pytest.approx(1.049, abs=2e-4)


def test_without_counts_there_is_no_target_and_the_unknown_stays_unknown():
    target = data_targets([0.0, np.nan, 5e-324], flat=0.02)
    assert target[0] == np.inf
    assert np.isnan(target[1])
    assert np.isfinite(target[2])
    found = inflation([0, 0, np.nan, 4, 4, 0], [0.1, np.inf, 0.1, np.inf, np.nan, np.nan])
    assert found[:2].tolist() == [1, 1]
    assert found[3] == np.inf
    assert np.isnan(found[[2, 4, 5]]).all()


def test_nothing_is_asked_where_the_flat_target_asks_nothing():
    assert data_targets([100.0, 100.0], flat=[np.inf, 0.01])[0] == np.inf


@given(st.lists(COUNT, min_size=2, max_size=20), FLAT, SHARE)
def test_more_counts_never_loosen_a_target(counts, flat, share):
    target = data_targets(np.sort(counts), flat=flat, share=share)
    assert (target[1:] <= target[:-1]).all()
    assert (target >= flat).all()


@given(st.floats(1e-3, 1e9), SHARE, st.floats(1e-3, 1e3), FLAT)
def test_share_and_counts_scale_together(counts, share, factor, flat):
    one = data_targets(counts, flat=flat, share=share)
    assert data_targets(counts * factor, flat=flat, share=share * factor) == pytest.approx(float(one), rel=1e-9)
    tiny = 1e-200
    free = data_targets(counts, flat=tiny, share=share)
    assert data_targets(counts, flat=tiny, share=4 * share) == pytest.approx(2 * float(free), rel=1e-12)
    assert inflation(counts, free) == pytest.approx(math.sqrt(1 + share), rel=1e-9)


@given(COUNT, FLAT, SHARE)
def test_inflation_exceeds_the_share_only_under_the_flat_target(counts, flat, share):
    target = data_targets(counts, flat=flat, share=share)
    if target > flat:
        assert inflation(counts, target) <= math.sqrt(1 + share) * (1 + 1e-12)
    else:
        assert inflation(counts, target) == pytest.approx(math.sqrt(1 + counts * flat**2))


@pytest.mark.parametrize("index", [0.0, 1.0, 1.7, 2.0, 2.62, 4.5])
@pytest.mark.parametrize("cutoff", [None, 0.5, 14.3, 1e4])
def test_counts_agree_with_quadrature(index, cutoff):
    source = SourceSpectrum(3e-7, 1.3, index, cutoff)

    def flux(energy):
        return 3e-7 * (energy / 1.3) ** -index * (1 if cutoff is None else math.exp(-energy / cutoff))

    edges = np.array([0.02, 0.025, 0.1, 3.0, 20.0])
    area = np.array([1e3, 1e4, 1e5, 2e5])
    for low, high, a, n in zip(edges[:-1], edges[1:], area, expected_counts(edges, area, source, 1e4), strict=True):
        exact = quad(lambda x: flux(math.exp(x)) * math.exp(x), math.log(low), math.log(high), epsabs=0, limit=200)[0]
        assert n == pytest.approx(1e4 * a * exact, rel=1e-9)


def test_counts_have_their_closed_forms():
    flat = SourceSpectrum(1e-7, 1.0, 0.0, cutoff=2.0)  # an exponential
    assert expected_counts([1.0, 5.0], [1.0], flat, 1.0)[0] == pytest.approx(2e-7 * (math.exp(-0.5) - math.exp(-2.5)))
    linear = SourceSpectrum(1e-7, 2.0, 1.0)
    assert expected_counts([1.0, 5.0], [1.0], linear, 1.0)[0] == pytest.approx(2e-7 * math.log(5))
    whole = expected_counts([1e-9, 1e9], [1.0], SourceSpectrum(1.0, 1.0, 0.5, cutoff=1.0), 1.0)[0]
    assert whole == pytest.approx(math.gamma(0.5) - 2 * math.sqrt(1e-9), rel=1e-9)


@given(st.floats(0.1, 5), st.floats(0.1, 50), st.floats(0.01, 100))
def test_bins_add_up_and_the_pivot_can_be_moved(index, cutoff, pivot):
    for end in (None, cutoff):
        source = SourceSpectrum(1e-7, 1.0, index, end)
        parts = expected_counts([0.1, 0.3, 1.0, 12.0], [1e5] * 3, source, 100.0)
        assert parts.sum() == pytest.approx(expected_counts([0.1, 12.0], [1e5], source, 100.0)[0], rel=1e-9)
        moved = SourceSpectrum(1e-7 * pivot**-index, pivot, index, end)
        assert expected_counts([0.1, 12.0], [1e5], moved, 100.0)[0] == pytest.approx(parts.sum(), rel=1e-9)


def test_units_do_not_change_the_counts():
    plain = expected_counts(EDGES, np.full(39, 1e6), SourceSpectrum(3.45e-7, 1.0, 2.6, 10.0), 180_000)
    source = SourceSpectrum("3.45e-11 1/(cm2 s TeV)", 1000 * u.GeV, 2.6, {"value": 1e4, "unit": "GeV"})
    for exposure in ("50 h", 50 * u.h, {"value": 3000, "unit": "min"}):
        other = expected_counts(EDGES * 1e3 * u.GeV, np.ones(39) * u.km**2, source, exposure)
        assert other == pytest.approx(plain, rel=1e-12)


def test_what_is_masked_is_unknown():
    masked = np.ma.masked_array([1, 2], [False, True])
    assert np.isnan(data_targets(masked, flat=0.1)).tolist() == [False, True]
    area = Masked([1.0, 2.0] * u.km**2, mask=[False, True])
    found = expected_counts([1.0, 2.0, 3.0], area, SourceSpectrum(1e-7, 1, 2), 1.0)
    assert found[0] == pytest.approx(1e6 * 1e-7 / 2)
    assert np.isnan(found[1])


def test_an_undetermined_area_leaves_its_bin_undetermined():
    area = np.full((3, 39), 1e5)
    area[1, 4] = np.nan
    found = bin_targets({"source": SOURCE}, EDGES, flat=0.02, effective_area=area)
    assert found.target.shape == (3, 39)
    for values in (found.counts, found.target, found.inflation):
        assert np.argwhere(np.isnan(values)).tolist() == [[1, 4]]
    assert "1 is undetermined" in found.sentences[0]


def test_a_flat_target_is_that_of_the_plan():
    for entry in (None, {}, BinTargets()):
        found = bin_targets(entry, EDGES, flat=0.02)
        assert (found.target == 0.02).all()
        assert np.isnan(found.inflation).all()
        assert found.flat_ratio == 1
    within = np.where(EDGES[1:] < 1, np.inf, 0.03)
    assert (bin_targets(None, EDGES, flat=within).target == within).all()


def _interval_edges(widths):
    return np.exp(np.cumsum(np.concatenate([[-2.0], widths])))


WIDTHS = st.lists(st.floats(0.05, 1.5), min_size=1, max_size=6)


@given(WIDTHS, WIDTHS, st.data())
def test_a_bin_takes_the_smallest_target_it_overlaps(widths, own, data):
    edges, intervals = _interval_edges(widths) * 1.03, _interval_edges(own)
    wanted = data.draw(st.lists(st.floats(0.01, 0.5), min_size=len(own), max_size=len(own)))
    entry = {"per_bin": {"edges": list(intervals * u.TeV), "uncertainty": wanted}}
    found = bin_targets(entry, edges, flat=0.02).target
    for low, high, target in zip(edges[:-1], edges[1:], found, strict=True):
        touched = [
            wanted[i] for i in range(len(own)) if min(high, intervals[i + 1]) > max(low, intervals[i]) * (1 + 1e-6)
        ]
        assert target == min(touched, default=np.inf)


@given(WIDTHS, WIDTHS, st.data())
def test_counts_are_conserved_and_spread_evenly(widths, own, data):
    intervals = _interval_edges(own)
    counts = data.draw(st.lists(st.floats(1, 1e6), min_size=len(own), max_size=len(own)))
    entry = {"counts": {"edges": intervals * u.TeV, "counts": counts}}
    middle = _interval_edges(widths)
    cover = np.unique(np.concatenate([[intervals[0] / 3], middle * 0.9, [max(intervals[-1], middle[-1]) * 3]]))
    found = bin_targets(entry, cover, flat=0.02)
    assert np.nansum(found.counts) == pytest.approx(sum(counts), rel=1e-4)
    cumulated = np.interp(np.log(cover), np.log(intervals), np.concatenate([[0], np.cumsum(counts)]))
    assert np.nan_to_num(found.counts) == pytest.approx(np.diff(cumulated), rel=1e-4, abs=1e-5 * sum(counts))
    assert (found.target[np.isnan(found.inflation)] == np.inf).all()


def test_edges_that_differ_by_rounding_are_one():
    close = 1 + 1e-9
    entry = {"per_bin": {"edges": ["0.1 TeV", f"{1 * close!r} TeV", "10 TeV"], "uncertainty": [0.01, 0.05]}}
    assert bin_targets(entry, [0.1, 1.0, 10.0, 20.0], flat=0.02).target.tolist() == [0.01, 0.05, np.inf]


def test_intervals_without_a_target_ask_nothing():
    entry = {"per_bin": {"edges": ["0.1 TeV", "1 TeV", "10 TeV"], "uncertainty": [None, 0.05]}}
    assert bin_targets(entry, [0.1, 1.0, 10.0], flat=0.02).target.tolist() == [np.inf, 0.05]
    nothing = bin_targets(entry, [20.0, 30.0], flat=0.02)
    assert nothing.sentences == ("No energy bin has a target.",)
    assert math.isnan(nothing.flat_ratio)


def test_sentences_hold_the_numbers():
    edges = [0.1, 1.0, 10.0, 100.0, 1000.0]
    entry = {"counts": {"edges": list(edges[:-1] * u.TeV), "counts": [100_000, 1000, 10]}}
    found = bin_targets(entry, edges, flat=0.02)
    assert found.target == pytest.approx([0.02, 0.02, 0.1, np.inf])
    assert found.inflation[:3] == pytest.approx([math.sqrt(41), math.sqrt(1.4), math.sqrt(1.1)])
    assert found.flat_ratio == pytest.approx(4 * 2500 / (2 * 2500 + 100))
    first, second, third, fourth, fifth = found.sentences
    assert first == "3 of 4 energy bins have a target (matched to the expected counts): 2 % to 10 %."
    assert "at most 6.403 (0.1–1 TeV)" in second
    assert "In 2 bins that is more than the 1.049" in third
    assert "reach beyond" in fourth
    assert "1.96 times" in fifth


def _spelled(value, name=""):
    if isinstance(value, dict):
        return {key: _spelled(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(item, name) for item in value]
    return f"{value!r} {TARGET_UNITS[name]}" if name in TARGET_UNITS else value


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"per_bin": {"edges": ["30 GeV", "1 TeV", "9 TeV"], "uncertainty": [0.02, None]}},
        {"counts": {"edges": {"value": [0.03, 1], "unit": "TeV"}, "counts": [20]}, "share": 0.2},
        {"source": SOURCE, "share": 0.1},
        {"source": {**SOURCE, "cutoff": "14.3 TeV"}},
    ],
)
def test_what_is_written_back_is_read_again(entry):
    read = validate(BinTargets, entry, source="targets")
    text = yaml.safe_dump(_spelled(read.model_dump(exclude_defaults=True)))
    assert validate(BinTargets, yaml.safe_load(text), source="targets") == read


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"per_bin": {"edges": ["1 TeV"], "uncertainty": []}}, "two increasing"),
        ({"per_bin": {"edges": ["0 TeV", "1 TeV"], "uncertainty": [0.1]}}, "above 0"),
        ({"counts": {"edges": ["1 TeV", "1.0000001 TeV"], "counts": [5]}}, "two increasing"),
        ({"per_bin": {"edges": [1, 2], "uncertainty": [0.1]}}, "needs a unit"),
        ({"per_bin": {"edges": ["1 m", "2 m"], "uncertainty": [0.1]}}, "convertible to TeV"),
        ({"per_bin": {"edges": {"value": 3, "unit": "TeV"}, "uncertainty": [0.1]}}, "edges"),
        ({"per_bin": {"edges": ["1 TeV", "2 TeV"], "uncertainty": [1.0]}}, r"\[1e-6, 1\)"),
        ({"per_bin": {"edges": ["1 TeV", "2 TeV"], "uncertainty": [math.nan]}}, r"\[1e-6, 1\)"),
        ({"per_bin": {"edges": ["1 TeV", "2 TeV"], "uncertainty": [True]}}, "must be a plain number"),
        ({"per_bin": {"edges": ["1 TeV", "2 TeV"], "uncertainty": [None]}}, "one interval at least"),
        ({"per_bin": {"edges": ["1 TeV", "2 TeV"], "uncertainty": [0.1, 0.1]}}, "one value for each of the 1"),
        ({"counts": {"edges": ["1 TeV", "2 TeV"], "counts": [0]}}, "above 0 in one"),
        ({"counts": {"edges": ["1 TeV", "2 TeV"], "counts": [-1]}}, "counts.counts"),
        ({"counts": {"edges": ["1 TeV", "2 TeV"], "counts": [math.inf]}}, "finite"),
        ({"counts": {"edges": ["1 TeV", "2 TeV"], "counts": [3]}, "share": 0}, "share"),
        ({"counts": {"edges": ["1 TeV", "2 TeV"], "counts": [3]}, "source": SOURCE}, "counts and source"),
        ({"source": {**SOURCE, "flux": "1 1/(cm2 s)"}}, "source.flux: must have a unit"),
        ({"source": {**SOURCE, "flux": "-1 1/(cm2 s TeV)"}}, "flux must be positive"),
        ({"source": {**SOURCE, "flux": 3e-11}}, "needs a unit"),
        ({"source": {**SOURCE, "index": -2.6}}, r"index must lie in \[0, 20\]"),
        ({"source": {**SOURCE, "index": math.nan}}, "finite"),
        ({"source": {**SOURCE, "cutoff": "0 TeV"}}, "cutoff must be positive"),
        ({"source": {**SOURCE, "exposure": "50 m"}}, "convertible to s"),
        ({"source": {**SOURCE, "exposure": "0 h"}}, "exposure"),
        ({"source": {"flux": SOURCE["flux"]}}, "is missing"),
        ({"share": 0.2}, "share must stand with"),
        ({"flat": 0.02}, "unknown key flat"),
        ([], "must be a mapping"),
    ],
)
def test_a_wrong_entry_is_told_in_one_sentence(entry, message):
    with pytest.raises(ProdconfError, match=message) as caught:
        bin_targets(entry, EDGES, flat=0.02, effective_area=np.ones(39))
    assert str(caught.value).startswith("targets: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data_targets([-1], flat=0.1), "counts must be at least 0"),
        (lambda: data_targets([math.inf], flat=0.1), "counts must be finite"),
        (lambda: data_targets("many", flat=0.1), "counts must be numbers"),
        (lambda: data_targets([1j], flat=0.1), "counts must be numbers"),
        (lambda: data_targets(10**400, flat=0.1), "counts must be numbers"),
        (lambda: data_targets([1] * u.m, flat=0.1), "counts must have no unit, got m"),
        (lambda: data_targets([1, 2], flat=[0.1, 0.1, 0.1]), "shapes that fit"),
        (lambda: data_targets([1], flat=0), "flat must be positive"),
        (lambda: data_targets([1], flat=math.nan), "flat must be finite"),
        (lambda: data_targets([1], flat=0.1, share=0), "share must be positive"),
        (lambda: data_targets([1], flat=0.1, share=[0.1, 0.2]), "share must be one number"),
        (lambda: inflation([1], 0), "target must be positive"),
        (lambda: inflation([1, 2, 3], [0.1, 0.2]), "shapes that fit"),
        (lambda: SourceSpectrum(1e-7, math.inf, 2), "pivot must be"),
        (lambda: SourceSpectrum(1e-7 / u.cm**2, 1, 2), "flux must be one number in 1 / "),
        (lambda: SourceSpectrum(1e-7, 1, 2)(0.0), "energy must be positive"),
        (lambda: SourceSpectrum(1e-7, 1, 20)(1e-300), "finite"),
        (lambda: expected_counts([2, 1], [1], SourceSpectrum(1, 1, 2), 1), "edges must be at least two"),
        (lambda: expected_counts([[1, 2]], [1], SourceSpectrum(1, 1, 2), 1), "edges must be at least two"),
        (
            lambda: expected_counts([1, 2] * u.m, [1], SourceSpectrum(1, 1, 2), 1),
            "edges must have a unit convertible to TeV",
        ),
        (lambda: expected_counts([1, 2], [1, 2], SourceSpectrum(1, 1, 2), 1), "must hold 1 bins"),
        (lambda: expected_counts([1, 2], 1, SourceSpectrum(1, 1, 2), 1), "must hold 1 bins"),
        (lambda: expected_counts([1, 2], [math.inf], SourceSpectrum(1, 1, 2), 1), "finite"),
        (lambda: expected_counts([1, 2], [1], 2.6, 1), "spectrum must be a SourceSpectrum"),
        (lambda: expected_counts([1, 2], [1], SourceSpectrum(1, 1, 2), "50"), "exposure"),
        (lambda: expected_counts([1, 2], [1], SourceSpectrum(1, 1, 2), 0), "exposure must be positive"),
        (lambda: expected_counts([1, 2], [1e308], SourceSpectrum(1e10, 1, 2), 1e10), "too large"),
        (lambda: expected_counts([1e-200, 1], [1], SourceSpectrum(1, 1, 20), 1), "finite"),
        (lambda: bin_targets(None, EDGES, flat=[0.1, 0.2]), "flat must be one number or one for each of 39"),
        (lambda: bin_targets({"source": SOURCE}, EDGES, flat=0.1), "effective_area must be given"),
        (lambda: bin_targets(None, [], flat=0.1), "edges must be at least two"),
    ],
)
def test_a_wrong_argument_is_told_in_one_sentence(call, message):
    with pytest.raises(ProdconfError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
