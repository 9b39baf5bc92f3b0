"""Rounding outward: steps and digits kept, decimals, no limit left behind, the simulated range, bad requests."""

import math
import warnings
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.limits.rounding import Rounding, parse_rounding, round_limits, round_within
from prodconf.limits.table import LIMIT_UNITS, LIMITS, SIMULATED_EDGES, read_limits, write_limits

VALUES = {"lower_energy_limit": 0.0123, "upper_radius_limit": 1310.2, "viewcone_radius": 9.6}
SURE = {"lower_energy_limit": 0.0119, "upper_radius_limit": 1333.0, "viewcone_radius": 9.83}
EDGES = {"lower_energy_limit": 0.003, "upper_radius_limit": 1900.0, "viewcone_radius": 10.0}


def table_of(*sure, edges=EDGES):
    """Rows with guaranteed limits."""
    n, table = len(sure), QTable()
    for name, unit in LIMIT_UNITS.items():
        table[SIMULATED_EDGES[name]] = np.full(n, edges[name]) * u.Unit(unit)
        table[name] = np.full(n, VALUES[name]) * u.Unit(unit)
        table[f"{name}_guaranteed"] = [row[name] for row in sure] * u.Unit(unit)
    table["joint_loss"], table["joint_loss_guaranteed"] = np.full(n, 0.0025), np.full(n, 0.0003)
    table["joint_loss_bound"], table["joint_loss_guaranteed_bound"] = np.full(n, 0.0036), np.full(n, 0.0008)
    table["joint_n_lost"] = np.full(n, 25)
    return table


def exact(value):
    """The decimal number that a float stands for."""
    return Fraction(repr(float(value)))


@given(
    value=st.floats(1e-6, 1e6),
    step=st.decimals("0.001", "500", places=3).map(float),
    name=st.sampled_from(list(LIMITS)),
)
def test_a_step_is_kept_and_the_limit_lies_inside(value, step, name):
    rounding = Rounding({name: step})
    found = rounding.outward(name, value)
    up = name != "lower_energy_limit"
    assert found >= value if up else found <= value
    assert abs(exact(found) - exact(value)) < exact(step) * (1 + Fraction(1, 10**12))
    assert abs(exact(found) / exact(step) - round(found / step)) < Fraction(1, 10**9)
    assert found == 0 or rounding.outward(name, found) == found


@given(value=st.floats(1e-6, 1e6), digits=st.integers(1, 6), name=st.sampled_from(list(LIMITS)))
def test_significant_digits_are_as_many_as_asked(value, digits, name):
    found = Rounding(digits=digits).outward(name, value)
    assert float(f"{found:.{digits - 1}e}") == found  # Python's own printing leaves it as it is
    assert found >= value if name != "lower_energy_limit" else found <= value
    assert abs(found - value) <= 10.0 ** (np.floor(np.log10(value)) + 1 - digits) * (1 + 1e-9)


def decimal(name, value, step, digits):
    """Round one number in decimal arithmetic, from the definition."""
    exact = Decimal(repr(value))
    unit = Decimal(repr(step)) if step else Decimal(1).scaleb(exact.adjusted() + 1 - digits)
    return float(
        (exact / unit).to_integral_value(ROUND_FLOOR if name == "lower_energy_limit" else ROUND_CEILING) * unit
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20),
    st.sampled_from([0.001, 0.005, 25.0, 0.25, 0.1, 0.3, 7.0, 1e-4, 30.0]),
    st.integers(1, 15),
    st.integers(0, 6),
)
def test_many_are_rounded_as_in_decimal_arithmetic(values, step, digits, decimals):
    powers = [math.nextafter(x, way) for x in (0.01, 10.0, 1000.0) for way in (0, x, math.inf)]
    values = [*values, *(round(v, decimals) for v in values), *(step * n for n in range(1, 8)), *powers]
    for name in LIMITS:
        assert Rounding({name: step}).outward(name, values).tolist() == [decimal(name, v, step, 0) for v in values]
        kept = [v for v in values if v > 0]
        assert Rounding(digits=digits).outward(name, kept).tolist() == [decimal(name, v, 0, digits) for v in kept]
        assert Rounding().outward(name, values).tolist() == values
    assert np.isnan(Rounding(digits=digits).outward(name, [math.nan, 1.0])).tolist() == [True, False]


def test_decimal_steps_are_not_fooled_by_binary():
    values = np.arange(1, 2000) / 100
    for name in ("lower_energy_limit", "viewcone_radius"):
        assert Rounding({name: 0.01}).outward(name, values).tolist() == values.tolist()


def test_what_misses_a_step_by_its_last_digits_is_on_it():
    """A radius in km or an interpolated one may be 1200.0000000000002 m."""
    near = math.nextafter(1200.0, 2000)
    found = round_within("upper_radius_limit", [near, 1200.001], [3000.0, 3000.0], parse_rounding("100 m"))
    assert found.tolist() == [1200.0, 1300.0]


@pytest.mark.parametrize("text", ["2", "5 GeV, 25 m, 0.25 deg", "0.25deg", "700 m"])
def test_rounding_leaves_no_guarantee_behind(text):
    table = table_of(SURE, dict(zip(LIMITS, (0.00305, 1899.0, 9.99), strict=True)))
    found = round_limits(table, parse_rounding(text))
    energy, radius, cone = (found[name].value for name in LIMITS)
    assert (energy <= table["lower_energy_limit_guaranteed"].value).all()
    assert (radius >= table["upper_radius_limit_guaranteed"].value).all()
    assert (cone >= table["viewcone_radius_guaranteed"].value).all()
    assert (energy >= 0.003).all() & (radius <= 1900.0).all() & (cone <= 10.0).all()
    for name in table.colnames:
        if name == "joint_n_lost":
            assert (found[name] == -1).all()  # not known; the share is that of the guaranteed limits
        elif name in ("joint_loss", "joint_loss_bound"):
            guaranteed = table[name.replace("joint_loss", "joint_loss_guaranteed")]
            assert np.array_equal(found[name], guaranteed, equal_nan=True)
        elif name not in LIMITS:
            assert np.array_equal(found[name], table[name]) or table[name].dtype.kind == "f", name
    for name in LIMITS:
        assert np.array_equal(found[f"{name}_unrounded"], table[name])
    assert "rounded_outward" in found.meta
    assert "rounded_outward" not in table.meta


def test_rounded_numbers_by_hand():
    found = round_limits(table_of(SURE), parse_rounding("2"))
    assert [found[name][0].value for name in LIMITS] == [0.011, 1400.0, 9.9]
    found = round_limits(table_of(SURE), parse_rounding("5 GeV, 25 m, 0.5 deg"))
    assert [found[name][0].value for name in LIMITS] == [0.01, 1350.0, 10.0]


def test_an_undetermined_limit_stays_so():
    table = table_of(SURE)
    table["viewcone_radius"] = table["viewcone_radius_guaranteed"] = [np.nan] * u.deg
    assert np.isnan(round_limits(table, Rounding(digits=1))["viewcone_radius"][0].value)


def test_a_step_above_the_energy_is_no_zero():
    unknown = table_of(SURE, edges=EDGES | {"lower_energy_limit": np.nan})
    with pytest.warns(ProdconfWarning, match=r"1 of 1 energy limits are below the step .* the first is 0.0119 TeV"):
        assert round_limits(unknown, parse_rounding("1 TeV"))["lower_energy_limit"][0].value == 0.0119
    assert round_limits(table_of(SURE), parse_rounding("1 TeV"))["lower_energy_limit"][0].value == 0.003


def test_a_real_table_without_guarantees_is_rounded_from_its_limits(shared_data, tmp_path):
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv")
    found = round_limits(table, parse_rounding("2 GeV, 100 m, 3 deg"))
    assert (found["upper_radius_limit"].value % 100 == 0).sum() > 0
    for name, edge in SIMULATED_EDGES.items():
        sign = -1 if name == "lower_energy_limit" else 1
        assert (sign * (found[name] - table[name]).value >= 0).all()
        assert (sign * (table[edge] - found[name]).value >= -1e-12).all()
    write_limits(found, tmp_path / "rounded.ecsv")
    again = read_limits(tmp_path / "rounded.ecsv")
    assert np.array_equal(again["upper_radius_limit_unrounded"], table["upper_radius_limit"])


@pytest.mark.parametrize("text", ["", "0", "16", "5 kg", "-5 m", "nan m", "inf deg", "5 m 3", "1 m, 1 km", "m,", "2.5"])
def test_what_is_no_rounding_is_refused(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ProdconfError, match=r"round"):
            parse_rounding(text)


def test_every_spelling_is_read():
    assert parse_rounding(None) is None
    assert parse_rounding(2) == parse_rounding(" 2 ") == parse_rounding(np.int64(2)) == Rounding(digits=2)
    steps = parse_rounding("5 GeV, 25 m,0.25deg")
    assert steps.steps == {"lower_energy_limit": 0.005, "upper_radius_limit": 25.0, "viewcone_radius": 0.25}
    assert parse_rounding(steps) is steps
    for wrong in (0.5, True, [2]):
        with pytest.raises(ProdconfError, match="rounding must be a number of digits"):
            parse_rounding(wrong)
