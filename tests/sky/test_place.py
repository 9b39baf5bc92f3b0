"""A grid point: what is read, what is refused, and how two of them are put together."""

import math

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.sky.place import GridPoint, contradictions, merge_grid_points, parse_grid_point

COORDINATES = ("energy", "azimuth", "zenith", "nsb", "offset")
POINTS = st.tuples(
    st.floats(1e-4, 1e4), st.floats(-360, 360), st.floats(0, 89.999), st.floats(0, 1e4), st.floats(0, 180)
)


@given(POINTS)
def test_numbers_are_kept_and_come_back_with_units(point):
    parsed = parse_grid_point(point)
    assert tuple(parsed) == point
    units = (u.TeV, u.deg, u.deg, u.dimensionless_unscaled, u.deg)
    for value, quantity, unit in zip(point, parsed.quantities(), units, strict=True):
        assert quantity.unit == unit
        assert quantity.value == value


@given(POINTS)
def test_units_are_converted(point):
    energy, azimuth, zenith, nsb, offset = point
    other = (energy * 1e3 * u.GeV, math.radians(azimuth) * u.rad, zenith * 60 * u.arcmin, nsb, offset * 3600 * u.arcsec)
    try:
        parsed = parse_grid_point(other)
    except ProdconfError:  # the conversion may round beyond the edge of a range
        assert abs(azimuth) > 359.999 or zenith > 89.998 or offset > 179.999
        return
    np.testing.assert_allclose(parsed, point, rtol=1e-12, atol=1e-12)


@given(st.tuples(*[st.booleans()] * 5), POINTS)
def test_nothing_stated_stays_nothing(known, point):
    wanted = tuple(value if keep else None for keep, value in zip(known, point, strict=True))
    assert parse_grid_point(list(wanted)) == wanted
    assert merge_grid_points(GridPoint(*wanted), GridPoint(*point)) == point
    assert merge_grid_points(GridPoint(), GridPoint(*wanted)) == wanted


def test_none_and_arrays():
    assert parse_grid_point(None) == GridPoint(None, None, None, None, None)
    assert parse_grid_point(np.array([1.0, 180.0, 20.0, 1.0, 0.5])) == (1.0, 180.0, 20.0, 1.0, 0.5)
    assert parse_grid_point(["40 GeV", {"value": 180, "unit": "deg"}, np.float32(20), np.array(1.0), 0])[0] == 0.04


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((1, 2, 3, 4), ("five values", "got 4")),
        ((1, 2, 3, 4, 5, 6), ("five values", "got 6")),
        (1.0, ("five values", "1.0")),
        ("1 TeV", ("five values",)),
        ({"energy": 1}, ("five values",)),
        (np.ones((1, 5)), ("shape (1, 5)",)),
        ([1, 2, 3, 4, 5] * u.TeV, ("one Quantity", "TeV")),
        ((math.nan, 0, 20, 1, 0), ("energy", "finite", "nan")),
        ((1, math.inf, 20, 1, 0), ("azimuth", "finite", "inf")),
        ((math.nan * u.TeV, 0, 20, 1, 0), ("energy", "finite", "nan")),
        ((0, 0, 20, 1, 0), ("energy", "positive", "0")),
        ((-1, 0, 20, 1, 0), ("energy", "positive", "-1")),
        ((1 * u.m, 0, 20, 1, 0), ("energy", "TeV", "m")),
        ((1, 361, 20, 1, 0), ("azimuth", "360", "361")),
        ((1, 0, 90, 1, 0), ("zenith", "90")),
        ((1, 0, 91 * u.deg, 1, 0), ("zenith", "91")),
        ((1, 0, -1, 1, 0), ("zenith", "-1")),
        ((1, 0, 20, -1, 0), ("nsb", "zero or positive", "-1")),
        ((1, 0, 20, 1 * u.deg, 0), ("nsb", "deg")),
        ((1, 0, 20, 1, 181), ("offset", "181")),
        ((1, 0, 20, 1, True), ("offset", "truth", "True")),
        (([1, 2], 0, 20, 1, 0), ("energy", "[1, 2]")),
        (([1, 2] * u.TeV, 0, 20, 1, 0), ("energy", "one finite number")),
        (("dark", 0, 20, 1, 0), ("energy", "dark")),
        ((1, 0, 20, "dark", 0), ("nsb", "dark")),
        ((10**400, 0, 20, 1, 0), ("energy",)),
        ((1 + 1j, 0, 20, 1, 0), ("energy",)),
    ],
)
def test_refused_with_argument_rule_and_value(point, words):
    with pytest.raises(ProdconfError) as caught:
        parse_grid_point(point, "query")
    for word in ("query", *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.floats(-360, 360), st.floats(-3, 3), st.integers(-1, 1))
def test_azimuth_is_compared_on_the_circle(azimuth, step, turns):
    found = contradictions(GridPoint(azimuth=azimuth), GridPoint(azimuth=azimuth + step + 360 * turns))
    if abs(abs(step) - 0.05) > 1e-9:
        assert found == (["azimuth"] if abs(step) > 0.05 else [])


@pytest.mark.parametrize(
    ("coordinate", "value", "near", "far"),
    [
        ("energy", 1.0, 1.0005, 1.01),
        ("azimuth", 0.0, 359.96, 359.0),
        ("zenith", 20.0, 20.04, 20.1),
        ("nsb", 0.24, 0.2415, 0.25),
        ("nsb", 0.0, 0.0, 0.24),
        ("offset", 0.5, 0.5, 1.0),
    ],
)
def test_tolerances(coordinate, value, near, far):
    given_point = GridPoint(**{coordinate: value})
    assert merge_grid_points(given_point, GridPoint(**{coordinate: near})) == given_point
    with pytest.raises(
        ProdconfError, match=rf"^grid_point: {coordinate}: must agree with a\.fits, got {value:g}.* {far:g}"
    ):
        merge_grid_points(given_point, GridPoint(**{coordinate: far}), source="a.fits")
