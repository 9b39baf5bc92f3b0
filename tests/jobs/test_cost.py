"""Costs of showers: moments against numerical integration, sums against conservation laws and drawn energies."""

import math
from dataclasses import astuple

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from prodconf.core.checks import require_array
from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.formulas.power_law import bin_fractions, sample
from prodconf.jobs.cost import (
    COST_UNITS,
    CostModel,
    cost_entry,
    energy_moment,
    read_cost_model,
    shower_and_use_seconds,
    shower_seconds,
    simulation_cost,
)

MODEL = CostModel(seconds_per_shower=0.7, seconds_per_tev=40.0, seconds_per_event=0.03, bytes_per_event=2e3)
RANGE = {"energy_min": 0.03, "energy_max": 100.0}
FULL = CostModel(0.7, 40.0, 0.03, 2e3, seconds_per_event_tev=0.9, energy_power=0.8, bytes_per_trigger=3e4)


@pytest.mark.parametrize("index", [0.0, 1.0, 1.0 + 1e-9, 1.5, 2.0, 2.7, 3.0, 3.0 - 1e-10])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_moments_agree_with_quadrature(index, power):
    def whole(weight):
        return quad(lambda x: np.exp((1 - index + weight) * x), math.log(0.02), math.log(50.0), epsabs=0, limit=200)[0]

    found = energy_moment(0.02, 50.0, index=index, power=power)
    assert found == pytest.approx(whole(power) / whole(0.0), rel=1e-8)


def test_moments_have_their_closed_forms():
    low, high = 0.003, 330.0
    assert energy_moment(low, high, index=1) == pytest.approx((high - low) / math.log(high / low))
    assert energy_moment(low, high, index=2) == pytest.approx(math.log(high / low) / (1 / low - 1 / high))
    assert energy_moment(low, high, index=2, power=2) == pytest.approx(low * high)
    assert energy_moment(low, high, index=3) == pytest.approx(2 / (1 / low + 1 / high))


@given(st.floats(1e-4, 1e3), st.floats(0, 6), st.floats(0, 10))
def test_the_mean_lies_in_the_range_and_one_energy_is_itself(low, index, decades):
    high = low * 10**decades
    slack = 1 + 1e-9
    assert low / slack <= energy_moment(low, high, index=index) <= high * slack
    assert energy_moment(low, low, index=index) == low


@given(st.floats(1.0, 3.5), st.floats(0.05, 50))
def test_slices_of_the_spectrum_cost_what_the_whole_costs(index, cut):
    edges = [0.03, cut, 100.0]
    shares = bin_fractions(edges, index)
    parts, _ = shower_seconds(edges[:-1], edges[1:], n_use=10, index=index, model=MODEL)
    whole, _ = shower_seconds(0.03, 100.0, n_use=10, index=index, model=MODEL)
    assert shares @ parts == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("index", [1.5, 2.0, 2.6])
def test_time_and_scatter_are_those_of_drawn_energies(index):
    energy = sample(np.random.default_rng(12), 400_000, index=index, **RANGE)
    seconds = 0.7 + 40.0 * energy + 5 * 0.03
    mean, scatter = shower_seconds(0.03, 100.0, n_use=5, index=index, model=MODEL)
    error = np.std((seconds - mean) ** 2) / math.sqrt(energy.size)
    assert abs(seconds.mean() - mean) < 4 * scatter / math.sqrt(energy.size)
    assert abs(seconds.var() - scatter**2) < 4 * error


def test_sums_of_drawn_showers_scatter_as_stated():
    cost = simulation_cost(5000, n_use=10, index=2.0, energy_min=0.03, energy_max=3.0, model=MODEL)
    energy = sample(np.random.default_rng(2), 500 * 2000, index=2.0, energy_min=0.03, energy_max=3.0).reshape(2000, 500)
    hours = (500 * (0.7 + 10 * 0.03) + 40.0 * energy.sum(axis=1)) / 3600
    assert hours.mean() == pytest.approx(float(cost.cpu_hours), abs=4 * cost.cpu_hours_scatter / math.sqrt(2000))
    assert hours.std() == pytest.approx(float(cost.cpu_hours_scatter), rel=0.1)


@given(st.integers(0, 10**12), st.integers(1, 20))
def test_showers_are_whole_and_cover_the_events(n_events, n_use):
    cost = simulation_cost(n_events, n_use=n_use, index=2, **RANGE, model=MODEL)
    assert int(cost.n_showers) == -(-n_events // n_use)
    assert cost.storage == pytest.approx(-(-n_events // n_use) * n_use * 2e3 / 1e9)


def test_parts_of_the_model_add_up():
    parts = [
        CostModel(seconds_per_shower=0.7),
        CostModel(seconds_per_tev=40.0),
        CostModel(seconds_per_event=0.03, bytes_per_event=2e3),
    ]
    common = {"n_use": 7, "index": 2.2, **RANGE}
    whole = simulation_cost([1e5, 3e7], model=MODEL, **common)
    hours = sum(simulation_cost([1e5, 3e7], model=part, **common).cpu_hours for part in parts)
    np.testing.assert_allclose(hours, whole.cpu_hours, rtol=1e-12)


def test_only_uses_grow_with_the_number_of_uses():
    one, twenty = (shower_seconds(0.03, 100.0, n_use=n, index=2, model=MODEL) for n in (1, 20))
    assert twenty[0] - one[0] == pytest.approx(19 * 0.03)
    assert twenty[1] == one[1]


def test_shapes_are_broadcast():
    low = np.geomspace(0.01, 0.1, 3)[:, None]
    cost = simulation_cost([1e5, 1e6, 1e7, 0], n_use=10, index=2, energy_min=low, energy_max=100.0, model=MODEL)
    assert cost.cpu_hours.shape == cost.cpu_hours_scatter.shape == cost.storage.shape == cost.n_showers.shape == (3, 4)
    single = simulation_cost(1e6, n_use=10, index=2, energy_min=low[1, 0], energy_max=100.0, model=MODEL)
    assert cost.cpu_hours[1, 1] == single.cpu_hours
    assert not cost.cpu_hours[:, 3].any()


def test_units_do_not_change_the_result():
    one = simulation_cost(1e6, n_use=10, index=2, **RANGE, model=MODEL)
    other = simulation_cost(
        u.Quantity(1e6), n_use=10, index=2, energy_min=30 * u.GeV, energy_max=1e14 * u.eV, model=MODEL
    )
    assert other.cpu_hours == pytest.approx(float(one.cpu_hours), rel=1e-12)
    model = read_cost_model(
        {
            "seconds_per_shower": 0.7 * u.s,
            "seconds_per_tev": {"value": 0.04, "unit": "s/GeV"},
            "seconds_per_event": "30 ms",
            "bytes_per_event": "2 kB",
        }
    )
    np.testing.assert_allclose(astuple(model), astuple(read_cost_model(MODEL)), rtol=1e-12)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"seconds_per_shower": 1}, "site: seconds_per_shower: needs a unit"),
        ({"seconds_per_shower": "1 m"}, "convertible to s, got '1 m'"),
        ({"seconds_per_tev": "nan s/TeV"}, "one finite number"),
        ({"seconds_per_event": "-1 s"}, "seconds_per_event must not be negative"),
        ({"seconds": "1 s"}, "unknown key 'seconds'"),
        ({}, "must be positive, got all zero"),
        ([1, 2], "site must be a mapping"),
        (None, "site must be a mapping"),
    ],
)
def test_wrong_models_are_told_in_a_sentence(entry, words):
    with pytest.raises(ProdconfError, match=words):
        read_cost_model(entry, source="site")


@pytest.mark.parametrize("values", [{}, {"seconds_per_tev": -1}, {"seconds_per_tev": np.inf}, {"seconds_per_tev": "a"}])
def test_models_made_directly_are_checked(values):
    with pytest.raises(ProdconfError):
        CostModel(**values)


@pytest.mark.parametrize(
    ("n_events", "change", "words"),
    [
        (np.nan, {}, "n_events must be finite"),
        ([1, -1], {}, "n_events must not be negative, got -1.0 at index 1"),
        (5 * u.m, {}, "n_events must have no unit, got m"),
        (1, {"energy_min": 0}, "energy_min must be positive"),
        (1, {"energy_min": 200}, "energy_max must not be below energy_min, got 100 and 200 TeV"),
        (1, {"energy_min": 1 * u.s}, "energy_min must have a unit convertible to TeV"),
        ([1, 2, 3], {"energy_min": [0.1, 0.2]}, "shapes that fit together"),
        (1, {"index": -2.0}, r"index must lie in \[0, 20\]"),
        (1, {"index": np.nan}, "index must be finite"),
        (1, {"n_use": 0}, "n_use must be a whole number of at least 1"),
        (1, {"n_use": 2.5}, "n_use must be a whole number of at least 1"),
        (1, {"model": {}}, "model must be a CostModel"),
    ],
)
def test_bad_input_is_told_in_a_sentence(n_events, change, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        simulation_cost(n_events, **{"n_use": 10, "index": 2.0, **RANGE, "model": MODEL} | change)
    assert "\n" not in str(caught.value)


def test_arrays_with_units_are_converted():
    assert require_array("size", [1, 2] * u.km, "m").tolist() == [1000.0, 2000.0]
    assert require_array("size", [1, 2], "m").tolist() == [1.0, 2.0]


def plain_seconds(energy, n_use):
    """Return the time of showers of known energies, with the numbers of FULL written out."""
    return 0.7 + 40.0 * energy**0.8 + n_use * (0.03 + 0.9 * energy**0.8)


@pytest.mark.parametrize(("index", "n_use"), [(1.0, 1), (1.8, 7), (2.0, 20), (2.8, 3)])
def test_the_full_model_agrees_with_quadrature(index, n_use):
    def mean(function):
        spectrum = quad(lambda x: np.exp((1 - index) * x), math.log(0.03), math.log(100.0), epsabs=0, limit=200)[0]
        weighted = quad(
            lambda x: function(np.exp(x)) * np.exp((1 - index) * x),
            math.log(0.03),
            math.log(100.0),
            epsabs=0,
            limit=200,
        )[0]
        return weighted / spectrum

    found, scatter = shower_seconds(0.03, 100.0, n_use=n_use, index=index, model=FULL)
    expected = mean(lambda energy: plain_seconds(energy, n_use))
    square = mean(lambda energy: (plain_seconds(energy, n_use) - expected) ** 2)
    assert found == pytest.approx(expected, rel=1e-8)
    assert scatter == pytest.approx(math.sqrt(square), rel=1e-7)
    once, each = shower_and_use_seconds(0.03, 100.0, index=index, model=FULL)
    assert once + n_use * each == pytest.approx(expected, rel=1e-8)
    assert once == pytest.approx(mean(lambda energy: plain_seconds(energy, 0)), rel=1e-8)


def test_the_full_model_agrees_with_drawn_energies():
    energy = sample(np.random.default_rng(21), 400_000, index=2.0, **RANGE)
    seconds = plain_seconds(energy, 12)
    mean, scatter = shower_seconds(0.03, 100.0, n_use=12, index=2.0, model=FULL)
    assert abs(seconds.mean() - mean) < 4 * scatter / math.sqrt(energy.size)
    assert abs(seconds.var() - scatter**2) < 4 * np.std((seconds - mean) ** 2) / math.sqrt(energy.size)


def test_a_range_of_one_energy_costs_that_energy():
    mean, scatter = shower_seconds(2.5, 2.5, n_use=4, index=2.0, model=FULL)
    assert mean == pytest.approx(plain_seconds(2.5, 4))
    assert scatter == pytest.approx(0.0, abs=1e-6 * mean)


def test_arrays_are_what_single_calls_give():
    low, high = np.array([0.01, 0.1, 1.0]), np.array([0.1, 1.0, 300.0])
    n_use, index, events = np.array([1, 10, 20]), np.array([2.5, 1.0, 1.4]), np.array([1e6, 12345, 0])
    triggers = np.array([5e5, 1e3, 0])
    cost = simulation_cost(
        events, n_use=n_use, index=index, energy_min=low, energy_max=high, model=FULL, n_triggers=triggers
    )
    for row in range(3):
        one = simulation_cost(
            events[row],
            n_use=int(n_use[row]),
            index=float(index[row]),
            energy_min=low[row],
            energy_max=high[row],
            model=FULL,
            n_triggers=triggers[row],
        )
        for name in ("n_showers", "cpu_hours", "cpu_hours_scatter", "storage"):
            assert getattr(cost, name)[row] == pytest.approx(float(getattr(one, name)), rel=1e-13)
    moments = energy_moment(low[:, None], 400.0, index=index, power=0.3)
    assert moments.shape == (3, 3)
    assert moments[1, 2] == pytest.approx(float(energy_moment(0.1, 400.0, index=1.4, power=0.3)), rel=1e-14)


def test_uses_and_indices_give_the_result_their_shape():
    mean, scatter = shower_seconds(0.03, 100.0, n_use=[1, 5, 20], index=2.0, model=FULL)
    assert mean.shape == scatter.shape == (3,)
    steps = np.diff(mean) / [4, 15]
    assert steps[0] == pytest.approx(steps[1], rel=1e-12)
    found = simulation_cost(1e5, n_use=[[1], [5]], index=[1.5, 2.0, 2.5], **RANGE, model=MODEL)
    assert found.n_showers.tolist() == [[1e5] * 3, [2e4] * 3]


@given(st.floats(0.1, 5.0), st.floats(0, 5), st.floats(0.01, 0.5))
def test_the_power_rescales_the_energy(power, index, low):
    """With x = E^a the spectrum E^-G is x^-g with g = 1 + (G - 1) / a, and the time linear in x."""
    gamma = 1 + (index - 1) / power
    if not 0 <= gamma <= 20:
        return
    model = CostModel(seconds_per_shower=1.0, seconds_per_tev=2.0, seconds_per_event_tev=3.0, energy_power=power)
    linear = CostModel(seconds_per_shower=1.0, seconds_per_tev=2.0, seconds_per_event_tev=3.0)
    one = shower_seconds(low, 2.0, n_use=3, index=index, model=model)
    other = shower_seconds(low**power, 2.0**power, n_use=3, index=gamma, model=linear)
    assert one[0] == pytest.approx(other[0], rel=1e-9)
    assert one[1] == pytest.approx(other[1], rel=1e-5)


def test_storage_counts_events_and_triggers():
    cost = simulation_cost([100, 1000], n_use=10, index=2, **RANGE, model=FULL, n_triggers=[0, 400])
    np.testing.assert_allclose(cost.storage, [100 * 2e3 / 1e9, (1000 * 2e3 + 400 * 3e4) / 1e9])
    with pytest.warns(ProdconfWarning, match="bytes_per_trigger is not in the storage"):
        without = simulation_cost([100, 1000], n_use=10, index=2, **RANGE, model=FULL)
    np.testing.assert_allclose(without.storage, [100 * 2e3 / 1e9, 1000 * 2e3 / 1e9])
    plain = simulation_cost(1000, n_use=10, index=2, **RANGE, model=MODEL, n_triggers=400)
    assert plain.storage == pytest.approx(1000 * 2e3 / 1e9)


def test_the_new_numbers_of_a_model_are_neutral_by_default():
    assert CostModel(1.0, 2.0, 3.0, 4.0) == CostModel(1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 0.0)
    assert set(COST_UNITS) == set(vars(MODEL))


def test_entries_of_a_model_give_it_back():
    assert read_cost_model(cost_entry(FULL)) == FULL
    assert cost_entry(CostModel(20.0, bytes_per_event=2000.0)) == {
        "seconds_per_shower": "20.0 s",
        "bytes_per_event": "2000.0 byte",
    }
    assert cost_entry(CostModel(1.0, energy_power=0.9)) == {"seconds_per_shower": "1.0 s", "energy_power": 0.9}


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6), st.floats(0.01, 5.0), st.floats(0, 1e9))
def test_any_model_survives_its_entry(shower, tev, power, trigger):
    model = CostModel(shower, tev, energy_power=power, bytes_per_trigger=trigger)
    assert read_cost_model(cost_entry(model)) == model


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"seconds_per_shower": "1 s", "energy_power": 0}, "energy_power must be above 0 and at most 5, got 0"),
        ({"seconds_per_shower": "1 s", "energy_power": 5.1}, "energy_power must be above 0 and at most 5, got 5.1"),
        ({"seconds_per_shower": "1 s", "energy_power": "1 TeV"}, "energy_power must be one number"),
        ({"seconds_per_shower": "1 s", "energy_power": True}, "energy_power must be one number"),
        ({"seconds_per_shower": "1 s", "energy_power": 1 * u.TeV}, "energy_power must be one number"),
        ({"seconds_per_shower": "1 s", "energy_power": np.nan}, "energy_power must be finite"),
        ({"energy_power": 1.2}, "must be positive, got all zero"),
        ({"seconds_per_event_tev": "1 s"}, "convertible to s/TeV"),
        ({"bytes_per_trigger": 5}, "bytes_per_trigger: needs a unit"),
    ],
)
def test_wrong_powers_and_sizes_are_told(entry, words):
    with pytest.raises(ProdconfError, match=words):
        read_cost_model(entry, source="site")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_use": [10, 0]}, "n_use must be a whole number of at least 1, got 0"),
        ({"n_use": "10"}, "n_use must be numbers"),
        ({"n_use": True}, "n_use must be numbers"),
        ({"n_use": [1, np.nan]}, "n_use must be finite"),
        ({"n_use": [1, 2, 3]}, "shapes that fit together"),
        ({"index": [2.0, -2.0]}, r"index must lie in \[0, 20\] .* got -2"),
        ({"index": "2"}, "index must be numbers"),
        ({"index": [2.0, 2.0, 2.0]}, "shapes that fit together"),
        ({"index": 2 * u.TeV}, "index must have no unit"),
        ({"n_triggers": -1}, "n_triggers must not be negative"),
        ({"n_triggers": np.inf}, "n_triggers must be finite"),
        ({"n_triggers": [101, 3]}, "n_triggers must not exceed the events thrown, got 101 of 100"),
        ({"n_triggers": [1, 2, 3]}, "shapes that fit together"),
        ({"n_triggers": [[1], [2]]}, r"n_triggers must fit the shape \(2,\)"),
        ({"n_triggers": 1 * u.s}, "n_triggers must have no unit"),
    ],
)
def test_bad_arrays_are_told_in_a_sentence(change, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        simulation_cost([100, 100], **{"n_use": 10, "index": 2.0, **RANGE, "model": MODEL} | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", [None, 20, {"seconds_per_shower": 1.0}])
def test_models_of_another_kind_are_refused(model):
    with pytest.raises(ProdconfError, match="model must be a CostModel"):
        shower_and_use_seconds(0.1, 1.0, index=2.0, model=model)
